"""Every role with exactly the rights that `penstock acls` prints, on a broker with ACLs and a Valkey with users."""

from __future__ import annotations

import json
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.patience import PATIENCE_S, eventually
from tests.rights.secured import Deployment, Secured, events

PREFIX = "shop."
DEFINITION = """
from river import linear_model, preprocessing
from penstock import Label, Pipeline, Source, View, count, mean
payments = Source("cards.payments", id="payment_id", time="paid_at", key="card")
card = View("card", payments, key={key!r}, features=dict(paid_1h=count("1h"), mean_1d=mean("amount", "1d")))
pipeline = Pipeline(
    "cards", [card], payments, Label(payments, lambda e: e["fraud"], wait="1h", fields=("fraud",)),
    preprocessing.StandardScaler() | linear_model.LogisticRegression(), ["amount"],
)
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[Secured]:
    made = Secured()
    yield made
    made.close()


@pytest.fixture(scope="module")
def deployment(servers: Secured, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A pipeline with its rights and topics, and some events in them."""
    folder = tmp_path_factory.mktemp("rights")
    file = folder / "cards.py"
    file.write_text(DEFINITION.format(key="card"))
    made = Deployment(servers, file, PREFIX)
    made.kafka_lines, made.redis_lines = made.printed("kafka"), made.printed("valkey")
    servers.set_kafka(made.kafka_lines)
    servers.set_redis(made.redis_lines)
    done = made.command("admin", "topics", str(file), "--create-sources", "--partitions", "2")
    assert done.returncode == 0, done.stderr
    yield made
    made.close()


def publish(deployment: Deployment, number: int) -> None:
    file = deployment.file.with_suffix(".ndjson")
    file.write_text("\n".join(events(number)) + "\n")
    done = deployment.command(
        "producer", "publish", "cards.payments", str(file), "--file", str(deployment.file)
    )
    assert done.returncode == 0, done.stderr


def get(address: str, path: str, body: bytes | None = None) -> tuple[int, str]:
    request = urllib.request.Request(f"http://{address}{path}", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_printed_rights_are_enough_from_events_to_predictions_and_back_to_a_rollback(
    deployment: Deployment,
) -> None:
    publish(deployment, 600)
    roles = {role: deployment.start(role, "--port", "0") for role in ("featurize", "learn", "control")}
    addresses = {name: role.address() for name, role in roles.items()}

    def alive() -> str:
        ended = [role.log.read_text() for role in roles.values() if role.process.poll() is not None]
        return "".join([*ended, *servers_log(deployment)]) if ended else ""

    def said() -> str:
        return "\n".join(role.log.read_text() for role in deployment.running)

    def learned() -> bool:
        told = get(addresses["learn"], "/metrics")[1]
        found = re.search(r'penstock_records_total\{topic="[^"]*samples"\} (\S+)', told)
        return found is not None and float(found[1]) >= 600

    assert eventually(lambda: alive() or learned()) and not alive(), alive()
    for role, address in addresses.items():
        assert eventually(lambda a=address: alive() or get(a, "/readyz")[0] == 200), role
        assert not alive(), alive()

    asked = ("cards", "--reason", "a drill", "--wait", "200")
    trained = deployment.command("operator", "retrain", *asked)
    assert trained.returncode == 0, (trained.stdout, trained.stderr, said())
    rolled = deployment.command("operator", "rollback", *asked, "--version", "v0")
    assert rolled.returncode == 0, (rolled.stdout, rolled.stderr, said())

    serve = deployment.start("serve", "--port", "0").address()
    assert eventually(lambda: get(serve, "/readyz")[0] == 200), get(serve, "/readyz")
    console = deployment.start("console", "--port", "0", user="viewer").address()
    assert eventually(lambda: get(console, "/readyz")[0] == 200), get(console, "/readyz")
    assert "cards" in get(console, "/")[1]

    features = deployment.command("features", "features", "get", "card", "c1", "--pipeline", "cards")
    assert (features.returncode, "paid_1h" in features.stdout) == (0, True), features.stderr
    looked = deployment.command("viewer", "status", "cards", "--json")
    assert json.loads(looked.stdout)["pipeline"] == "cards", looked.stderr
    refused = servers_log(deployment)
    assert not refused, refused
    for role in deployment.running:
        role.process.send_signal(signal.SIGTERM)
    for role in deployment.running:
        assert role.process.wait(PATIENCE_S) == 0, role.log.read_text()


def servers_log(deployment: Deployment) -> list[str]:
    """What Valkey refused its users."""
    log = deployment.servers.redis.execute_command("ACL", "LOG")
    return [str(entry) for entry in log]

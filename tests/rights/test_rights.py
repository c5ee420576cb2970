"""Every role with exactly the rights that `penstock acls` prints, on a broker with ACLs and a Valkey with users."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
import redis

from penstock.stream.stack.kafka import java_missing
from tests.patience import PATIENCE_S, eventually
from tests.rights.secured import Deployment, Secured, events

PREFIX = "shop."
pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("PENSTOCK_TEST_RIGHTS"), reason="takes minutes: `make test-rights` runs it"
    ),
    pytest.mark.skipif(java_missing() is not None and not os.environ.get("CI"), reason=str(java_missing())),
]
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
    made.lines = {form: made.printed(form) for form in ("kafka", "valkey")}
    servers.set_kafka(made.lines["kafka"])
    servers.set_redis(made.lines["valkey"])
    done = made.command("admin", "topics", str(file), "--create-sources", "--partitions", "2")
    assert done.returncode == 0, done.stderr
    publish(made, 600)
    featurize = made.start("featurize", "--port", "0")
    address = featurize.address()
    assert eventually(lambda: read_by(address, "sources") >= 600 or featurize.process.poll() is not None)
    featurize.process.send_signal(signal.SIGTERM)
    assert featurize.process.wait(PATIENCE_S) == 0, featurize.log.read_text()
    yield made
    made.close()


def read_by(address: str, topic: str) -> float:
    """How many records of a topic a role has worked on."""
    found = re.search(rf'penstock_records_total{{topic="[^"]*{topic}"}} (\S+)', get(address, "/metrics")[1])
    return float(found[1]) if found else 0.0


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


@pytest.mark.parametrize(
    ("role", "lines", "lost", "instead", "said"),
    [
        ("featurize", "kafka", r"Read .*cards\.payments", "", "cards.payments"),
        ("featurize", "kafka", r"Write .*cards\.dead-letters", "", "cards.dead-letters"),
        ("featurize", "kafka", r"--group shop\.cards\.featurize", "", "Group authorization failed"),
        ("featurize", "valkey", r" ~penstock:shop\.cards:\[0-9\]\S*", "", "access a key"),
        ("featurize", "valkey", r" \+evalsha", "", "evalsha"),
        ("learn", "kafka", r"Read( .*shop\.cards\.samples)", r"Describe\1", "shop.cards.samples"),
        ("learn", "kafka", r"Write( .*shop\.cards\.predictions)", r"Describe\1", "to write to shop.cards.predictions"),
        ("learn", "valkey", r" ~penstock:shop\.cards:learn:\S*", "", "access a key"),
        ("learn", "valkey", r" \+evalsha", "", "evalsha"),
        ("control", "kafka", r"Read( .*shop\.control\.commands)", r"Describe\1", "TopicAuthorizationFailed"),
        ("control", "kafka", r"--group shop\.cards\.control", "", "GroupAuthorizationFailed"),
        ("serve", "valkey", r" %R~penstock:shop\.cards:versions", "", "access a key"),
        ("serve", "valkey", r" \+hget", "", "hget"),
        ("serve", "valkey", r" %W~\S*", "", "access a key"),
    ],
)  # fmt: skip
def test_a_role_without_one_of_its_rights_ends_and_says_so(
    role: str, lines: str, lost: str, instead: str, said: str, deployment: Deployment
) -> None:
    """What is taken away is one line of Kafka's, an operation in it, or one rule of Redis'."""
    servers = deployment.servers
    every = deployment.lines[lines]
    mine = {"kafka": f"User:{role} ", "valkey": f"SETUSER {role} "}[lines]
    hit = [line for line in every if mine in line and re.search(lost, line)]
    assert len(hit) == 1, hit
    whole_line = lines == "kafka" and not instead
    less = [
        re.sub(lost, instead, line) if line == hit[0] else line
        for line in every
        if line != hit[0] or not whole_line
    ]
    set_rights = servers.set_kafka if lines == "kafka" else servers.set_redis
    set_rights(less)
    try:
        code, told = deployment.start(role, "--port", "0").last_words()
    finally:
        set_rights(every)
        servers.redis.execute_command("ACL", "LOG", "RESET")
    assert code == 2 and told.startswith("penstock: ") and said.lower() in told.lower(), (code, told)
    assert "`penstock acls FILE`" in told


def test_a_user_whom_nobody_knows_is_told_so(deployment: Deployment) -> None:
    for change in (
        {"PENSTOCK_KAFKA_SASL_PASSWORD": "wrong"},
        {"REDIS_URL": deployment.servers.redis_of("nobody")},
    ):
        role = deployment.start("learn", "--port", "0", change=change)
        code, told = role.last_words()
        assert code == 2 and "does not know this user" in told, told


def test_who_may_only_send_or_look_can_do_nothing_else(deployment: Deployment) -> None:
    asked = ("cards", "--reason", "not mine to ask", "--wait", "0")
    for user in ("viewer", "predictions", "producer"):
        done = deployment.command(user, "hold", *asked)
        assert done.returncode == 2 and done.stderr.startswith("penstock: "), (user, done.stderr)
    line = deployment.file.with_name("one.ndjson")
    line.write_text(events(1)[0])
    sent = deployment.command(
        "viewer", "publish", "cards.payments", str(line), "--file", str(deployment.file)
    )
    assert sent.returncode == 2, sent.stderr
    for key in ("penstock:shop.cards:versions", "penstock:shop.cards:identity"):
        reader = redis.Redis.from_url(deployment.servers.redis_of("features"))
        with reader, pytest.raises(redis.exceptions.NoPermissionError):
            reader.get(key)
    deployment.servers.redis.execute_command("ACL", "LOG", "RESET")


def test_the_printed_rights_are_enough_from_events_to_predictions_and_back_to_a_rollback(
    deployment: Deployment,
) -> None:
    deployment.servers.redis.execute_command("ACL", "LOG", "RESET")
    first = len(deployment.running)
    roles = {role: deployment.start(role, "--port", "0") for role in ("featurize", "learn", "control")}
    addresses = {name: role.address() for name, role in roles.items()}

    def alive() -> str:
        ended = [role.log.read_text() for role in roles.values() if role.process.poll() is not None]
        return "".join([*ended, *refused_by_redis(deployment)]) if ended else ""

    def said() -> str:
        return "\n".join(role.log.read_text() for role in roles.values())

    assert eventually(lambda: bool(alive()) or read_by(addresses["learn"], "samples") >= 600)
    assert not alive(), alive()
    for role, address in addresses.items():
        assert eventually(lambda a=address: alive() or get(a, "/readyz")[0] == 200), role  # type: ignore[misc]
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
    refused = refused_by_redis(deployment)
    assert not refused, refused
    started = deployment.running[first:]
    for one in started:
        one.process.send_signal(signal.SIGTERM)
    for one in started:
        assert one.process.wait(PATIENCE_S) == 0, one.log.read_text()


def refused_by_redis(deployment: Deployment) -> list[str]:
    """What Valkey refused its users."""
    log = deployment.servers.redis.execute_command("ACL", "LOG")
    return [str(entry) for entry in log]

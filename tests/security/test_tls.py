"""TLS and SASL in earnest, with the least rights: the whole loop, and what is said where something of it is wrong."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S, eventually
from tests.rights.conftest import DEFINITION, read_by
from tests.rights.secured import events, get
from tests.security.over_tls import OverTls, TlsDeployment

EVENTS = 800
ROLES = ("featurize", "learn", "control", "serve", "console")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OverTls]:
    made = OverTls(tmp_path_factory.mktemp("tls"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def deployment(servers: OverTls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsDeployment]:
    file = tmp_path_factory.mktemp("deployment") / "cards.py"
    file.write_text(DEFINITION)
    made = TlsDeployment(servers, file, "shop.")
    servers.set_kafka(made.printed("kafka"))
    servers.set_redis(made.printed("valkey"))
    done = made.command("admin", "topics", str(file), "--create-sources", "--partitions", "2")
    assert done.returncode == 0, done.stderr
    made.publish(events(EVENTS))
    yield made
    made.close()


def shown(*texts: str | bytes) -> str:
    """Everything that was said, as one text."""
    return "\n".join(one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in texts)


def test_the_whole_loop_runs_over_tls_with_the_least_rights_and_shows_no_secret(
    deployment: TlsDeployment,
) -> None:
    """Logs, pages, metrics, command lines of processes and what commands print are all searched for every password."""
    told: list[str] = []
    running = {role: deployment.start(role, "--port", "0") for role in ROLES}

    def ended() -> str:
        return "".join(one.log.read_text() for one in running.values() if one.process.poll() is not None)

    addresses = {role: one.address() for role, one in running.items()}
    assert eventually(lambda: read_by(addresses["learn"], "samples") >= EVENTS or ended()), told
    assert not ended(), ended()
    for role, address in addresses.items():
        assert eventually(lambda address=address: get(address, "/readyz")[0] == 200 or ended()), role  # type: ignore[misc]
        told += [get(address, path)[1] for path in ("/metrics", "/readyz", "/healthz")]
    asked = json.dumps(
        {"payment_id": "x", "paid_at": 1_700_000_000_000, "card": "c1", "amount": 0.5, "risk": 0.5}
    )
    status, answer = get(addresses["serve"], "/v1/pipelines/cards:predict", asked.encode())
    assert status == 200 and "prediction" in answer
    told += [answer, get(addresses["serve"], "/openapi.json")[1], get(addresses["serve"], "/docs")[1]]
    for path in (
        "/",
        "/pipelines/cards",
        "/pipelines/cards/versions",
        "/pipelines/cards/audit",
        "/pipelines/cards/nowhere",
    ):
        told.append(get(addresses["console"], path)[1])
    for user, words in (
        ("operator", ("hold", "cards", "--reason", "a look", "--wait", "20")),
        ("operator", ("models", str(deployment.file), "--json")),
        ("operator", ("features", "get", "card", "c1", "--pipeline", "cards")),
        ("viewer", ("status", "cards", "--json")),
        ("admin", ("check", str(deployment.file))),
        ("admin", ("acls", str(deployment.file), "--format", "json")),
        ("admin", ("models", "resign", str(deployment.file))),
    ):
        done = deployment.command(user, *words)
        assert done.returncode in ((0, 1) if words[0] == "status" else (0,)), (
            words,
            done.stdout,
            done.stderr,
        )
        told += [done.stdout, done.stderr]
    told.append(shown(*(Path(f"/proc/{one.process.pid}/cmdline").read_bytes() for one in running.values())))
    # A stop that is none (SIGABRT) leaves what Python says of it in the log.
    running["featurize"].process.send_signal(signal.SIGABRT)
    for role, one in running.items():
        if role != "featurize":
            one.process.send_signal(signal.SIGTERM)
        code = one.process.wait(PATIENCE_S)
        assert code == (-signal.SIGABRT if role == "featurize" else 0), (role, one.log.read_text()[-2_000:])
        told.append(one.log.read_text())
    assert deployment.refused_by_redis() == []
    everything = "\n".join(told)
    assert len(everything) > 10_000
    assert not [one for one in deployment.secrets() if one in everything]


WRONG_KAFKA = {
    "another authority": ("certificate", "PENSTOCK_KAFKA_SSL_CA_LOCATION"),
    "a certificate that is over": ("certificate", "not over"),
    "a certificate of another host": ("certificate", "KAFKA_BOOTSTRAP_SERVERS"),
    "a wrong password": ("", "_SASL_PASSWORD"),
    "no such file": ("", "PENSTOCK_KAFKA_"),
    "no TLS": ("", "PENSTOCK_KAFKA_SECURITY_PROTOCOL"),
}


def wrong_kafka(servers: OverTls, what: str) -> dict[str, str]:
    """The settings that are wrong in this way."""
    return {
        "another authority": {"PENSTOCK_KAFKA_SSL_CA_LOCATION": str(servers.other_ca)},
        "a certificate that is over": {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{servers.kafka_at['over']}"},
        "a certificate of another host": {
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{servers.kafka_at['elsewhere']}"
        },
        "a wrong password": {"PENSTOCK_KAFKA_SASL_PASSWORD": "kafka-wrong-0123456789"},
        "no such file": {"PENSTOCK_KAFKA_SSL_CA_LOCATION": "/nowhere/ca.pem"},
        "no TLS": {"PENSTOCK_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"},
    }[what]


def ends(deployment: TlsDeployment, user: str, words: list[str], change: dict[str, str]) -> str:
    """The last line of a command that cannot run. It ends with code 2, and shows no secret anywhere."""
    secret = [*deployment.secrets(), "kafka-wrong-0123456789", "redis-wrong-0123456789"]
    given = deployment.environment(user)
    deployment.environment = lambda _user: given | change  # type: ignore[method-assign]
    try:
        done: subprocess.CompletedProcess[str] = deployment.command(user, *words)
    finally:
        del deployment.environment
    said = done.stdout + done.stderr
    last = said.strip().splitlines()[-1]
    assert done.returncode == 2 and last.startswith("penstock: "), said[-2_000:]
    assert "Traceback" not in said and not [one for one in secret if one in said]
    return last


@pytest.mark.parametrize("what", WRONG_KAFKA)
def test_a_wrong_setting_of_kafka_ends_with_a_sentence_that_says_what_and_where_and_what_to_do(
    what: str, deployment: TlsDeployment
) -> None:
    """By both clients: a role's, and that of the command line."""
    change = wrong_kafka(deployment.servers, what)
    why, todo = WRONG_KAFKA[what]
    port = change.get("KAFKA_BOOTSTRAP_SERVERS", deployment.servers.kafka)
    file = str(deployment.file)
    for user, words in (
        ("learn", ["run", file, "--role", "learn", "--port", "0"]),
        ("admin", ["topics", file]),
    ):
        last = ends(deployment, user, words, change)
        assert why in last.lower() or why in last, last
        assert todo in last or (what == "no such file" and "PENSTOCK_KAFKA_" in last), last
        assert port in last or what in ("no such file",), last


@pytest.mark.parametrize(
    ("what", "case", "said", "todo"),
    [
        ("another authority", "right", "certificate verify failed", "ssl_ca_certs"),
        ("a certificate that is over", "over", "expired", "not over"),
        ("a certificate of another host", "elsewhere", "not valid for '127.0.0.1'", "for this host"),
        ("a wrong password", "right", "does not know this user", "password in REDIS_URL"),
        ("no such file", "right", "No such file", "REDIS_URL"),
        ("no TLS", "right", "", "REDIS_URL"),
        ("TLS where there is none", "right", "", "rediss://"),
    ],
)
def test_a_wrong_setting_of_redis_ends_with_a_sentence_that_says_what_and_where_and_what_to_do(
    what: str, case: str, said: str, todo: str, deployment: TlsDeployment
) -> None:
    servers = deployment.servers
    ca = {"another authority": servers.other_ca, "no such file": Path("/nowhere/ca.pem")}.get(what)
    password = "redis-wrong-0123456789" if what == "a wrong password" else ""
    url = servers.redis_of("serve", case, ca, password)
    if what == "no TLS":
        url = url.replace("rediss://", "redis://").partition("?")[0]
    if what == "TLS where there is none":
        plain = servers.admin_redis.rpartition(":")[2].partition("/")[0]
        url = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{plain}", url)
    words = ["run", str(deployment.file), "--role", "serve", "--port", "0"]
    last = ends(deployment, "serve", words, {"REDIS_URL": url})
    assert said in last and todo in last and "127.0.0.1:" in last, last

"""A role without one of its rights, and users who may only send or look, on a broker with ACLs and a Valkey with users."""

from __future__ import annotations

import re
import signal

import pytest
import redis

from tests.patience import PATIENCE_S, eventually
from tests.rights.secured import Deployment, events, get


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
        ("challenge", "kafka", r"Read( .*shop\.control\.models)", r"Describe\1", "shop.control.models"),
        ("challenge", "kafka", r"--operation Write( .*shop\.cards\.samples)", r"\1", "to write to any topic"),
        ("challenge", "kafka", r"--group shop\.cards\.challenge", "", "Group authorization failed"),
        ("challenge", "valkey", r" ~penstock:shop\.cards:versions", "", "access a key"),
        ("challenge", "valkey", r" \+hset", "", "hset"),
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
        deployment.forget_refusals()
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


def test_a_console_that_may_not_read_a_topic_is_not_ready_and_its_pages_say_why(
    deployment: Deployment,
) -> None:
    every = deployment.lines["kafka"]
    [line] = [one for one in every if "User:viewer " in one and "shop.control.alerts" in one]
    # That the topic is there may be known still: of one that may not even be described Kafka says that there is none.
    deployment.servers.set_kafka([one.replace("Read", "Describe") if one == line else one for one in every])
    try:
        console = deployment.start("console", "--port", "0", user="viewer")
        address = console.address()
        assert eventually(
            lambda: "refuses this user" in get(address, "/")[1] or console.process.poll() is not None
        )
        status, told = get(address, "/readyz")
        assert (status, console.process.poll()) == (503, None) and "in touch with Kafka" in told
        assert "penstock acls FILE" in get(address, "/")[1]
        console.process.send_signal(signal.SIGTERM)
        assert console.process.wait(PATIENCE_S) == 0
    finally:
        deployment.servers.set_kafka(every)


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
    deployment.forget_refusals()

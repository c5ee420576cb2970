"""Records that no client of Python can read, on every control topic of a real broker: each reader says so and goes on."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from kafka import KafkaConsumer, TopicPartition

from penstock.stream import cli, topology
from penstock.stream.console.reading.follow import Follower
from penstock.stream.control.kept import KeptControl
from penstock.stream.control.role import prepare_topics
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.kafka_batches import MOST_UNPACKED_BYTES
from penstock.stream.log.kafka_python import client
from penstock.stream.messages import OperatorRequest, encode_json
from penstock.stream.process.clock import wall_ms
from penstock.stream.process.health_page import Health
from tests.effort import first_here
from tests.integration.test_control import Outside
from tests.integration.test_flood import Bytes
from tests.patience import PATIENCE_S, eventually
from tests.stream.control.test_step import pipeline

HUGE = 900_000
FOREIGN = ("zstd", "lz4", "snappy")
#: Offsets on `control.commands`, as `poison` writes it after one record.
GARBAGE, TOO_LARGE, PACKED, BOMB, LAST = 2, 4, (6, 8, 10), 13, 14
#: Taken by every reader; and what is refused by one that lacks these libraries.
GOOD = ["before", "header", "gzip0", "gzip1", "after"]
REFUSED = [f"control.commands@{at}" for at in (GARBAGE, TOO_LARGE, *PACKED, BOMB)]


def request(name: str) -> bytes:
    return encode_json(OperatorRequest(id=name, pipeline="flights", verb="hold", reason="night", by="mia"))


def send(bootstrap: str, topic: str, packing: str, *values: bytes) -> None:
    """One batch."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": packing,
            "linger.ms": 60_000,  # until it is flushed, however long it takes to get there
            "message.max.bytes": 2 * MOST_UNPACKED_BYTES,
            "batch.size": 2 * MOST_UNPACKED_BYTES,
        }
    )
    for value in values:
        producer.produce(topic, value, b"flights")
    assert producer.flush(PATIENCE_S) == 0


def poison(outside: Outside, topic: str, *, bomb: bool = True) -> None:
    """All that stops or stopped a reader, between good records, in known order."""
    name, bootstrap = outside.prefix + topic, outside.settings.bootstrap
    outside.producer.send(
        name, key=b"flights", value=request("header"), headers=[(Bytes("x"), b"1"), ("y", b"2")]
    )
    for value in (b"\xff{ garbage", None, b"x" * HUGE):
        outside.producer.send(name, key=b"flights", value=value).get(PATIENCE_S)
    for packing in FOREIGN:
        send(bootstrap, name, packing, request(packing + "0"), request(packing + "1"))
    send(bootstrap, name, "gzip", request("gzip0"), request("gzip1"))
    if bomb:
        send(bootstrap, name, "gzip", bytes(MOST_UNPACKED_BYTES + 1_000))
    outside.producer.send(name, key=b"flights", value=request("after")).get(PATIENCE_S)


@pytest.fixture
def outside(kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Outside]:
    made = Outside(kafka_bootstrap, unique("poisoned") + ".", tmp_path / "notes")
    yield made
    made.close()


@pytest.mark.parametrize("running", first_here([True, False]))
def test_control_goes_on_past_every_record_and_says_once_which_it_could_not_use(
    outside: Outside, running: bool
) -> None:
    outside.ask("before")
    if running:
        outside.start()
        outside.decisions(1)
    poison(outside, topology.CONTROL_COMMANDS)
    if not running:
        outside.start()
    decided = outside.decisions(len(GOOD) + len(REFUSED))
    assert sorted(one.request for one in decided) == sorted(GOOD + REFUSED)
    assert {one.request for one in decided if one.verdict == "refused"} == set(REFUSED)
    assert {one.id for one in outside.commands(len(GOOD))} == {f"command-{name}" for name in GOOD}
    why = {one.request: one.why for one in decided}
    assert "packed with zstd, cannot be unpacked" in why[f"control.commands@{PACKED[0]}"]
    assert "more than 64 MB" in why[f"control.commands@{BOMB}"]
    said = re.findall(rf"{topology.CONTROL_COMMANDS} at (\d+) is not used", outside.notes.read_text())
    assert [int(one) for one in said] == [GARBAGE, TOO_LARGE, *PACKED, BOMB]


def test_control_among_other_roles_goes_on_past_every_record(outside: Outside) -> None:
    outside.ask("before")
    poison(outside, topology.CONTROL_COMMANDS)
    log = KafkaLog(outside.settings.bootstrap)
    prepare_topics(pipeline(), outside.settings)
    control = KeptControl(pipeline(), log, wall_ms, prefix=outside.prefix)
    deadline = time.monotonic() + PATIENCE_S
    while control.read.get(outside.prefix + topology.CONTROL_COMMANDS, 0) < LAST + 1:
        assert time.monotonic() < deadline
        control.process_batch(0.1)
    control.close()
    log.close()
    packed = [packing + number for packing in FOREIGN for number in "01"]
    decided = outside.decisions(len(GOOD) + len(packed))
    accepted = [one.request for one in decided if one.verdict == "accepted"]
    assert accepted == ["before", "header", *packed, "gzip0", "gzip1", "after"]


@pytest.mark.long
def test_watch_status_and_a_request_that_waits_go_on_past_every_record(
    outside: Outside, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", outside.settings.bootstrap)
    monkeypatch.setenv("PENSTOCK_PREFIX", outside.prefix)
    outside.ask("before")
    for topic in (*topology.CONTROL_ALL, "flights.samples", "flights.predictions", "flights.dead-letters"):
        poison(outside, topic, bomb=topic == topology.CONTROL_COMMANDS)
    outside.start()

    def accepted() -> bool:
        """Asked again under the same id, as long as control starts."""
        cli.main(["hold", "flights", "--reason", "night", "--id", "mine", "--wait", "2", "--json"])
        decision = json.loads(capsys.readouterr().out)["decision"]
        return decision is not None and decision["verdict"] == "accepted"

    assert eventually(accepted), outside.notes.read_text()
    assert cli.main(["watch", "--from-start", "--no-follow"]) == 0
    cannot = f"cannot be read: {outside.prefix}{topology.CONTROL_COMMANDS} at (\\d+)"
    bad = [int(one) for one in re.findall(cannot, capsys.readouterr().out)]
    assert bad == [GARBAGE, TOO_LARGE, *PACKED, BOMB]
    assert cli.main(["watch", "--from-start", "--no-follow", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    good = [one["message"]["id"] for one in told if one["topic"] == topology.CONTROL_COMMANDS]
    assert list(dict.fromkeys(good)) == [*GOOD, "mine"]
    assert cli.main(["status", "flights", "--json"]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["pipeline"] == "flights"
    assert cli.main(["dead-letters", "flights", "--json"]) == 0
    letters = [json.loads(line)["offset"] for line in capsys.readouterr().out.splitlines()]
    assert letters == [0, 1, 2, 3, *(at - 1 for at in PACKED), 10, 11, 12]


def test_the_console_follows_past_every_record_and_says_once_which_it_cannot_show(
    outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    outside.ask("before")
    poison(outside, topology.CONTROL_COMMANDS)
    with caplog.at_level(logging.WARNING, "penstock.console"):
        follower = Follower(["flights"], outside.settings, Health("console")).start()
        try:
            assert eventually(lambda: follower.reading.states.caught_up)
        finally:
            follower.close()
    states = follower.reading.states
    assert (states.failed, states.positions[topology.CONTROL_COMMANDS]) == ("", LAST + 1)
    said = [int(one) for one in re.findall(r"control.commands/0 at (\d+) is not shown", caplog.text)]
    assert said == [GARBAGE, TOO_LARGE, *PACKED, BOMB]


def test_a_batch_is_read_from_its_middle_and_the_same_whatever_stands_in_it(outside: Outside) -> None:
    outside.ask("before")
    poison(outside, topology.CONTROL_COMMANDS)
    tp = TopicPartition(outside.prefix + topology.CONTROL_COMMANDS, 0)

    def read(start: int, most: int) -> list[tuple[int, Any]]:
        more = {"enable_auto_commit": False, "max_poll_records": most}
        with client(KafkaConsumer, outside.settings, **more) as consumer:
            consumer.assign([tp])
            consumer.seek(tp, start)
            found: list[tuple[int, Any]] = []
            while consumer.position(tp) <= LAST:
                for records in consumer.poll(timeout_ms=200).values():
                    found += [(record.offset, record.value) for record in records]
        return found

    whole = read(0, 500)
    assert [offset for offset, _ in whole] == [0, 1, 2, 3, 4, *PACKED, 11, 12, BOMB, LAST]
    assert read(0, 1) == whole
    for start in (1, 5, PACKED[0], 12, LAST):
        assert read(start, 500) == [one for one in whole if one[0] >= start]

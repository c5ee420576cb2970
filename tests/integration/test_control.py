"""The control role on a real broker: outside clients ask, the Faust app decides, and it is killed in between."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from penstock.stream import topology
from penstock.stream.control import role
from penstock.stream.log.admin import ensure
from penstock.stream.log.kafka_python import client
from penstock.stream.log.protocol import LogError, LogUnavailable
from penstock.stream.messages import (
    Command,
    Decision,
    LiveModel,
    OperatorRequest,
    decode_decision,
    decode_entry,
    encode_json,
)
from penstock.stream.process.settings import Settings
from tests.patience import PATIENCE_S, eventually
from tests.stream.control.test_policy import event
from tests.stream.control.test_step import pipeline

ROOT = Path(__file__).parents[2]
SCRIPT = """
import logging, sys
logging.basicConfig(level=logging.INFO)
from penstock.stream.control import role
from penstock.stream.process.settings import Settings
from tests.stream.control.test_step import pipeline
role.run(pipeline(**eval(sys.argv[3])), Settings(bootstrap=sys.argv[1], prefix=sys.argv[2]),
resend_ms=int(sys.argv[4]))
"""


class Outside:
    """A producer and a consumer of somebody else's, and control processes that can be killed."""

    def __init__(self, bootstrap: str, prefix: str, notes: Path) -> None:
        self.settings = Settings(bootstrap=bootstrap, prefix=prefix)
        self.prefix, self.notes = prefix, notes
        self.producer = KafkaProducer(bootstrap_servers=bootstrap)
        self.consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
        self.processes: list[subprocess.Popen[bytes]] = []
        with client(KafkaAdminClient, self.settings) as admin:
            ensure(admin, topology.owned("flights", prefix))

    def start(self, resend_ms: int = 3_600_000, **fields: Any) -> subprocess.Popen[bytes]:
        arguments = [self.settings.bootstrap, self.prefix, repr(fields), str(resend_ms)]
        with self.notes.open("ab") as notes:
            process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, *arguments],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=notes,
            )
        self.processes.append(process)
        return process

    def send(self, topic: str, message: Any) -> None:
        value = message if isinstance(message, bytes) else encode_json(message)
        self.producer.send(self.prefix + topic, key=b"flights", value=value).get(PATIENCE_S)

    def ask(self, name: str, verb: Any = "hold") -> None:
        self.send(
            topology.CONTROL_COMMANDS,
            OperatorRequest(id=name, pipeline="flights", verb=verb, reason="night", by="mia"),
        )

    def read(self, topic: str, count: int) -> list[bytes]:
        """At least `count` records of a topic from its start, once there are so many."""
        tp = TopicPartition(self.prefix + topic, 0)
        self.consumer.assign([tp])
        self.consumer.seek_to_beginning(tp)
        found: list[bytes] = []
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for records in self.consumer.poll(timeout_ms=100).values():
                found += [record.value for record in records]
            if len(found) >= count and self.consumer.position(tp) >= self.consumer.end_offsets([tp])[tp]:
                return found
        raise AssertionError(f"{len(found)} of {count} records on {tp.topic}:\n{self.notes.read_text()}")

    def decisions(self, count: int) -> list[Decision]:
        return [decode_decision(value) for value in self.read(topology.CONTROL_DECISIONS, count)]

    def commands(self, count: int) -> list[Command]:
        return [decode_entry(value) for value in self.read("flights.samples", count)]  # type: ignore[misc]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(PATIENCE_S)
        self.producer.close()
        self.consumer.close()


@pytest.fixture
def outside(kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Outside]:
    made = Outside(kafka_bootstrap, unique("control") + ".", tmp_path / "notes")
    yield made
    made.close()


def test_requests_become_decisions_and_commands_and_a_retry_the_same_ones(outside):
    outside.ask("before the start")
    outside.start()
    assert [one.request for one in outside.decisions(1)] == ["before the start"]
    outside.send(topology.CONTROL_ROLLBACK, event("a"))
    outside.send(topology.CONTROL_RETRAIN, b"\xff not a message")
    outside.ask("b", "resume")
    found = {one.request: one for one in outside.decisions(4)[1:]}  # topics have no order between them
    rollback, resume, unreadable = (found[name] for name in ("a", "b", "control.retrain@0"))
    assert [one.verdict for one in (rollback, resume, unreadable)] == ["accepted", "accepted", "refused"]
    assert "control.retrain is not used" in unreadable.why
    commands = outside.commands(3)
    assert {one.id for one in commands} == {"command-before the start", "command-a", "command-b"}
    assert {one.version for one in commands if one.verb == "rollback"} == {"v3"}
    outside.ask("b", "resume")
    again = outside.decisions(5)[4]
    assert again == resume and outside.commands(4)[3].id == "command-b"


@pytest.mark.long
def test_a_killed_control_process_forgets_nothing_and_decides_nothing_twice(outside):
    process = outside.start()
    outside.send(topology.CONTROL_RETRAIN, event("a", "retrain", at=5))
    first = outside.decisions(1)
    process.kill()
    process.wait(PATIENCE_S)
    # within the cooldown of "a", which is remembered
    outside.send(topology.CONTROL_RETRAIN, event("b", "retrain", at=6))
    outside.send(topology.CONTROL_RETRAIN, event("a", "retrain", at=5))
    outside.start()
    # Killed between publishing a decision and noting that it did, it publishes the same one again.
    everything = outside.decisions(3)
    refused = [one for one in everything if one.request == "b"]
    assert [one for one in everything if one.request == "a"] == [first[0]] * (len(everything) - 1)
    assert [one.verdict for one in refused] == ["refused"] and "cooling down" in refused[0].why
    assert {one.id for one in outside.commands(1)} == {"command-a"}


@pytest.mark.long
def test_kills_at_any_moment_lose_no_request_and_contradict_none(outside):
    asked = [f"r{number}" for number in range(12)]
    for number, name in enumerate(asked):
        if number % 4 == 0:
            for process in outside.processes:
                process.kill()
                process.wait(PATIENCE_S)
            outside.start()
            if number:
                outside.decisions(number - 2)
        outside.ask(name)
    outside.decisions(len(asked))
    found: dict[str, Decision] = {}
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < len(asked) and time.monotonic() < deadline:
        for one in outside.decisions(len(asked)):
            assert found.setdefault(one.request, one) == one
    assert set(found) == set(asked)
    assert {one.id for one in outside.commands(len(asked))} == {f"command-{name}" for name in asked}


@pytest.mark.long
def test_a_command_that_the_models_topic_does_not_show_is_sent_again_and_then_no_more(outside):
    outside.start(resend_ms=300)
    outside.ask("a")
    first, second = outside.commands(2)[:2]
    assert first == second
    live = LiveModel(
        pipeline="flights", version="v1", why="", at=0, position=0, recipe="", applied=[first.id]
    )
    outside.send(topology.CONTROL_MODELS, live)
    outside.ask("b")

    def only_the_other_is_sent() -> bool:
        """A sweep that still sent the first would send it between any two of the other."""
        return {one.id for one in outside.commands(3)[-3:]} == {"command-b"}

    assert eventually(only_the_other_is_sent), outside.commands(3)


def test_it_is_ready_when_recovered_and_ends_within_seconds_when_told(outside):
    process = outside.start()
    outside.ask("a")
    outside.decisions(1)
    [page] = re.findall(r"health page on (http://\S+)", outside.notes.read_text())

    def ready() -> bool:
        try:
            with urllib.request.urlopen(page + "/readyz", timeout=PATIENCE_S) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            return False

    assert eventually(ready)
    with urllib.request.urlopen(page + "/metrics", timeout=PATIENCE_S) as answer:
        assert 'penstock_decisions_total{verb="hold",verdict="accepted"} 1.0' in answer.read().decode()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0


@pytest.mark.long
def test_its_page_says_how_many_requests_wait_for_a_person_and_which_pipeline_it_runs(outside):
    outside.start(approval=True)
    outside.send(topology.CONTROL_RETRAIN, event("a", "retrain"))
    outside.decisions(1)
    [page] = re.findall(r"health page on (http://\S+)", outside.notes.read_text())

    def shown(line: str) -> bool:
        with urllib.request.urlopen(page + "/metrics", timeout=PATIENCE_S) as answer:
            return line in answer.read().decode()

    assert eventually(lambda: shown("penstock_requests_waiting 1.0"))
    assert shown(f'pipeline="{topology.deployed("flights", outside.prefix)}"') and shown('role="control"')
    assert eventually(lambda: shown("penstock_role_ready 1.0"))
    outside.ask("b", "retrain")
    assert eventually(lambda: shown("penstock_requests_waiting 0.0"))


def test_a_missing_topic_and_a_missing_broker_are_one_line_before_anything_starts(outside):
    with pytest.raises(LogError, match="penstock topics FILE"):
        role.run(pipeline(), Settings(bootstrap=outside.settings.bootstrap, prefix="nowhere."))
    with pytest.raises(LogUnavailable, match="127.0.0.1:1 does not answer"):
        role.run(pipeline(), Settings(bootstrap="127.0.0.1:1", connect_timeout_s=0.5))

"""The control step and its shell, on the log in memory."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.stream import topology
from penstock.stream.control.state import PolicyConfig, PolicyState, decode_state, encode_state
from penstock.stream.control.step import ControlWorker, Undecodable, control_step, take_due
from penstock.stream.definitions import Label, Pipeline, Source
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import AppendFailed, Out
from penstock.stream.messages import (
    Command,
    Decision,
    LiveModel,
    OperatorRequest,
    decode_decision,
    decode_entry,
    encode_json,
)
from tests.stream.control.test_policy import event

RESEND_MS = 1_000


class Model:
    """As much of a river classifier as a definition asks for."""

    def learn_one(self, x: Any, y: Any) -> None: ...

    def predict_proba_one(self, x: Any) -> dict[bool, float]:
        return {}


def pipeline(**fields: Any) -> Pipeline:
    source = Source("departures", id="id", time="at", key="tail")
    return Pipeline(
        "flights", [], source, Label(source, lambda e: e["y"], fields=("y",)), Model(), ["hour"], **fields
    )


class Clock:
    """A wall clock that the test moves."""

    now = 0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def log() -> MemoryLog:
    made = MemoryLog()
    for topic in topology.owned("flights", "p."):
        made.create(topic.name, topic.partitions)
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def worker(log: MemoryLog, clock: Clock) -> ControlWorker:
    return ControlWorker(pipeline(), log, clock, prefix="p.", resend_ms=RESEND_MS)


def send(log: MemoryLog, topic: str, message: Any) -> None:
    value = message if isinstance(message, bytes) else encode_json(message)
    log.append([Out("p." + topic, b"flights", value)])


def read(log: MemoryLog, topic: str) -> list[bytes]:
    reader = log.reader({("p." + topic, 0): 0})
    return [record.value or b"" for record in reader.poll(1_000, 0)]


def commands(log: MemoryLog) -> list[Command]:
    found = [decode_entry(value) for value in read(log, "flights.samples")]
    assert all(isinstance(entry, Command) for entry in found)
    return found  # type: ignore[return-value]


def decisions(log: MemoryLog) -> list[Decision]:
    return [decode_decision(value) for value in read(log, topology.CONTROL_DECISIONS)]


def request(**fields: Any) -> OperatorRequest:
    return OperatorRequest(
        **{"id": "r1", "pipeline": "flights", "verb": "hold", "reason": "storm", "by": "mia", **fields}
    )


def test_a_requested_rollback_comes_back_as_a_command_in_the_samples_log(log, worker):
    send(log, topology.CONTROL_ROLLBACK, event("a"))
    assert worker.process_batch(0) == 1
    [command], [decision] = commands(log), decisions(log)
    assert (command.verb, command.version, command.from_position) == ("rollback", "v3", 70)
    assert (
        decision.verdict == "accepted"
        and decision.command is not None
        and decision.command.entry() == command
    )


def test_an_operators_request_comes_back_as_a_command(log, worker):
    send(log, topology.CONTROL_COMMANDS, request())
    worker.process_batch(0)
    assert [(one.verb, one.by, one.reason) for one in commands(log)] == [("hold", "mia", "storm")]


def test_a_promotion_is_asked_for_on_the_alerts(log, worker):
    send(log, topology.CONTROL_ALERTS, event("a", "promote"))
    worker.process_batch(0)
    assert [one.verb for one in commands(log)] == ["promote"]


@pytest.mark.parametrize("verb", ["retrain", "rollback", "promote"])
def test_an_action_is_taken_only_from_the_topic_that_learn_asks_for_it_on(log, worker, verb):
    topics = (topology.CONTROL_RETRAIN, topology.CONTROL_ROLLBACK, topology.CONTROL_ALERTS)
    for number, topic in enumerate(topics):
        send(log, topic, event(f"{verb}{number}", verb))
    worker.process_batch(0)
    expected = {f"{verb}{topics.index(topic)}" for topic in topology.ACTION_TOPICS[verb]}
    assert {one.request for one in decisions(log)} == expected and len(expected) < len(topics)


def test_other_pipelines_notes_and_tombstones_are_none_of_its_business(log, worker):
    send(log, topology.CONTROL_COMMANDS, request(pipeline="cards"))
    send(log, topology.CONTROL_ALERTS, event("a", "none"))
    send(log, topology.CONTROL_ALERTS, event("b", "hold"))
    log.append([Out("p." + topology.CONTROL_MODELS, b"flights", None)])
    worker.process_batch(0)
    assert commands(log) == [] and decisions(log) == []


@pytest.mark.parametrize("value", [b"", b"{", b"\xff\xfe", b"[]", b'{"id": 7}', b"null", b"[" * 10_000])
@pytest.mark.parametrize(
    "topic", [topology.CONTROL_MODELS, topology.CONTROL_COMMANDS, topology.CONTROL_RETRAIN]
)
def test_what_cannot_be_read_is_counted_and_stops_nothing(log, worker, topic, value):
    send(log, topic, value)
    send(log, topology.CONTROL_COMMANDS, request())
    worker.process_batch(0)
    assert worker.undecodable == 1 and len(commands(log)) == 1


def test_an_undecodable_record_says_of_which_topic():
    with pytest.raises(Undecodable, match=r"control\.commands"):
        control_step(PolicyState("flights"), topology.CONTROL_COMMANDS, b"?", PolicyConfig(), 0)


def test_a_command_is_sent_again_until_the_models_topic_shows_it(log, worker, clock):
    send(log, topology.CONTROL_COMMANDS, request())
    worker.process_batch(0)
    worker.process_batch(0)
    assert len(commands(log)) == 1
    clock.now = RESEND_MS
    worker.process_batch(0)
    first, second = commands(log)
    assert first == second and len(decisions(log)) == 1
    live = LiveModel(
        pipeline="flights", version="v1", why="", at=0, position=0, recipe="", applied=[first.id]
    )
    send(log, topology.CONTROL_MODELS, live)
    clock.now = 100 * RESEND_MS
    worker.process_batch(0)
    assert len(commands(log)) == 2


def test_what_the_log_did_not_take_is_sent_by_the_next_turn(log, worker, monkeypatch):
    send(log, topology.CONTROL_COMMANDS, request())

    def refuse(outs: Any) -> None:
        raise AppendFailed(1, 1, "no leader")

    with monkeypatch.context() as broken:
        broken.setattr(log, "append", refuse)
        with pytest.raises(AppendFailed):
            worker.process_batch(0)
    assert commands(log) == []
    worker.process_batch(0)
    assert len(commands(log)) == len(decisions(log)) == 1


def test_a_worker_that_starts_over_sends_the_same_ids(log, worker, clock):
    send(log, topology.CONTROL_ROLLBACK, event("a"))
    worker.process_batch(0)
    clock.now = 77
    ControlWorker(pipeline(), log, clock, prefix="p.").process_batch(0)
    first, second = commands(log)
    assert first.id == second.id


def test_the_definition_may_ask_for_approval(log, clock):
    careful = ControlWorker(pipeline(approval=True), log, clock, prefix="p.")
    send(log, topology.CONTROL_ROLLBACK, event("a"))
    careful.process_batch(0)
    assert [one.verdict for one in decisions(log)] == ["waits for approval"] and commands(log) == []


def test_a_state_stored_before_sending_sends_after_a_restart():
    state = PolicyState("flights")
    control_step(state, topology.CONTROL_COMMANDS, encode_json(request()), PolicyConfig(), 0)
    stored = encode_state(state)
    sent = take_due(state, "", 5)
    assert take_due(decode_state(stored), "", 5) == sent
    assert take_due(decode_state(encode_state(state)), "", 5) == []

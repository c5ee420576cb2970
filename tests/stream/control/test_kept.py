"""The control role on any log, its state in its changelog: killed anywhere it decides once, and takes turns with others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from penstock.stream import topology
from penstock.stream.control.kept import KeptControl
from penstock.stream.control.state import PolicyState, decode_state, encode_state
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import AppendFailed, Out
from penstock.stream.messages import OperatorRequest, decode_decision, decode_entry, encode_json
from tests.stream.control.test_policy import event
from tests.stream.control.test_step import Clock, pipeline

CHANGELOG = topology.policy_changelog("flights", "p.")


class Failing(MemoryLog):
    """A log whose append number `at` fails, before or after its records stand."""

    at, stands, count = -1, False, 0

    def append(self, outs: Sequence[Out]) -> None:
        asked = outs[0].topic == "p." + topology.CONTROL_COMMANDS  # the asker's own
        self.count += not asked
        fails = self.count == self.at and not asked
        if fails and not self.stands:
            raise AppendFailed(len(outs), len(outs), "told to")
        super().append(outs)
        if fails:
            raise AppendFailed(len(outs), len(outs), "told to")


def made() -> Failing:
    log = Failing()
    for topic in (*topology.owned("flights", "p."), CHANGELOG):
        log.create(topic.name, topic.partitions)
    return log


def worker(log: MemoryLog, clock: Clock) -> KeptControl:
    return KeptControl(pipeline(), log, clock, prefix="p.", resend_ms=1_000)


def turned(one: KeptControl, clock: Clock, turns: int = 20) -> KeptControl:
    for _ in range(turns):
        clock.now += 100
        one.process_batch(0.0)
    return one


def request(number: int) -> OperatorRequest:
    return OperatorRequest(id=f"r{number}", pipeline="flights", verb="hold", reason="told to", by="ann")


def send(log: MemoryLog, topic: str, *messages: Any) -> None:
    log.append([Out("p." + topic, b"flights", encode_json(message)) for message in messages])


def read(log: MemoryLog, topic: str) -> list[bytes]:
    return [record.value or b"" for record in log.reader({("p." + topic, 0): 0}).poll(1_000, 0)]


def decisions(log: MemoryLog) -> list[tuple[str, str]]:
    found = [decode_decision(value) for value in read(log, topology.CONTROL_DECISIONS)]
    return [(one.request, one.verdict) for one in found]


def commands(log: MemoryLog) -> list[str]:
    return [str(getattr(decode_entry(value), "id", "")) for value in read(log, "flights.samples")]


def test_what_is_asked_for_becomes_a_command_and_a_decision_each_once() -> None:
    log, clock = made(), Clock()
    one = turned(worker(log, clock), clock)
    send(log, topology.CONTROL_COMMANDS, request(1), request(2))
    send(log, topology.CONTROL_ROLLBACK, event("e1"))
    turned(one, clock, 5)
    assert sorted(decisions(log)) == [("e1", "accepted"), ("r1", "accepted"), ("r2", "accepted")]
    assert len(commands(log)) == len(set(commands(log))) == 3


@pytest.mark.parametrize("stands", [False, True])
@pytest.mark.parametrize("at", range(1, 10))
def test_a_failure_at_any_append_loses_nothing_and_never_decides_otherwise(at: int, stands: bool) -> None:
    log, clock = made(), Clock()
    one = turned(worker(log, clock), clock)
    log.at, log.stands, log.count = at, stands, 0
    for number in range(3):
        send(log, topology.CONTROL_COMMANDS, request(number))
        turned(one, clock)
    assert {*decisions(log)} == {(f"r{number}", "accepted") for number in range(3)}
    assert len({*commands(log)}) == 3
    # what is said again is the same to the byte, the time of the decision too
    assert len({*read(log, topology.CONTROL_DECISIONS)}) == len({*read(log, "flights.samples")}) == 3


def test_another_goes_on_where_one_stopped_and_does_not_decide_again() -> None:
    log, clock = made(), Clock()
    send(log, topology.CONTROL_COMMANDS, request(1))
    first = turned(worker(log, clock), clock)
    first.close()
    before = len(decisions(log))
    send(log, topology.CONTROL_COMMANDS, request(1), request(2))
    second = turned(worker(log, clock), clock, 5)
    assert before == 1 and decisions(log)[1:] == [("r1", "accepted"), ("r2", "accepted")]
    assert second.state is not None and second.state.positions["p.control.commands"] == 3


def test_of_two_one_decides_and_the_other_when_it_has_gone() -> None:
    log, clock = made(), Clock()
    one, spare = worker(log, clock), worker(log, clock)
    for _ in range(5):
        turned(one, clock, 1)
        turned(spare, clock, 1)
    assert (one.state is None) != (spare.state is None)
    owner, other = (one, spare) if one.state is not None else (spare, one)
    send(log, topology.CONTROL_COMMANDS, request(1))
    turned(other, clock, 3)
    assert decisions(log) == []
    turned(owner, clock, 3)
    owner.close()
    send(log, topology.CONTROL_COMMANDS, request(2))
    turned(other, clock, 5)
    assert decisions(log) == [("r1", "accepted"), ("r2", "accepted")]


def test_the_newest_state_is_found_among_other_keys_however_many_came_after() -> None:
    log, clock = made(), Clock()
    mine = encode_state(PolicyState("flights", versions=["mine"]))
    log.append([Out(CHANGELOG.name, b"flights", mine, (), 0)])
    log.append([Out(CHANGELOG.name, b"other", encode_state(PolicyState("other")), (), 0)] * 1_500)
    one = turned(worker(log, clock), clock)
    assert one.state is not None and one.state.versions == ["mine"]


def test_a_control_topic_that_was_made_anew_is_read_from_its_start() -> None:
    log, clock = made(), Clock()
    stored = PolicyState("flights", positions={"p.control.commands": 99})
    log.append([Out(CHANGELOG.name, b"flights", encode_state(stored), (), 0)])
    send(log, topology.CONTROL_COMMANDS, request(1))
    turned(worker(log, clock), clock)
    assert decisions(log) == [("r1", "accepted")]
    last = log.reader({(CHANGELOG.name, 0): 0}).poll(100, 0)[-1].value
    assert decode_state(last or b"").positions["p.control.commands"] == 1

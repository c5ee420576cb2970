"""Whatever stands on the control topics: what cannot be carried out is refused with its reason, and stops nothing."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.stream import topology
from penstock.stream.control.policy import REMEMBERED_DECISIONS
from penstock.stream.control.state import PolicyConfig, PolicyState, decode_state, encode_state
from penstock.stream.control.step import MOST_RECORD_BYTES, ControlWorker, Undecodable, control_step, take_due
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import MAX_RECORD_BYTES, Out, record_bytes
from penstock.stream.messages import (
    MAX_NAME_CHARACTERS,
    MAX_REASON_CHARACTERS,
    decode_decision,
    decode_entry,
    encode_json,
)
from tests.effort import examples
from tests.stream.control.test_policy import event
from tests.stream.control.test_step import pipeline, read, request

ASKING = (
    topology.CONTROL_COMMANDS,
    topology.CONTROL_RETRAIN,
    topology.CONTROL_ROLLBACK,
    topology.CONTROL_ALERTS,
)
TOPICS = (*ASKING, topology.CONTROL_MODELS)
LONG = "x" * 200_000
OVER = "x" * (MAX_NAME_CHARACTERS + 1)


def asked(**fields: Any) -> bytes:
    return json.dumps({**msgspec.to_builtins(request()), **fields}).encode()


def event_with(**data: Any) -> bytes:
    made = msgspec.to_builtins(event("a"))
    return json.dumps({**made, "data": {**made["data"], **data}}).encode()


def stepped(state: PolicyState, topic: str, value: bytes, offset: int = 7) -> str:
    """Why the record was not used; empty if it was."""
    try:
        control_step(state, topic, value, PolicyConfig(), 0, offset)
    except Undecodable as error:
        return str(error)
    return ""


WRONG = {
    "a long id": (topology.CONTROL_COMMANDS, asked(id=LONG), "control.commands@7"),
    "an id a little too long": (topology.CONTROL_COMMANDS, asked(id=OVER), "control.commands@7"),
    "no id at all": (topology.CONTROL_COMMANDS, asked(id=""), "control.commands@7"),
    "an id that is a number": (topology.CONTROL_COMMANDS, asked(id=7), "control.commands@7"),
    "a long asker": (topology.CONTROL_COMMANDS, asked(by=OVER), "r1"),
    "a long version": (topology.CONTROL_COMMANDS, asked(version=OVER), "r1"),
    "a long reason": (topology.CONTROL_COMMANDS, asked(reason="x" * (MAX_REASON_CHARACTERS + 1)), "r1"),
    "a reason of many bytes": (topology.CONTROL_COMMANDS, asked(reason=LONG), "r1"),
    "a position beyond any log": (topology.CONTROL_COMMANDS, asked(from_position=10**30), "r1"),
    "a time beyond all times": (topology.CONTROL_COMMANDS, asked(wall_ms=-(10**30)), "r1"),
    "another verb": (topology.CONTROL_COMMANDS, asked(verb="delete"), "r1"),
    "a long unused field": (topology.CONTROL_COMMANDS, asked(note=LONG), "r1"),
    "no JSON": (topology.CONTROL_COMMANDS, b"\xff\x00", "control.commands@7"),
    "nothing": (topology.CONTROL_COMMANDS, b"", "control.commands@7"),
    "deep nesting": (
        topology.CONTROL_RETRAIN,
        event_with().replace(
            b'"detector":', b'"window": ' + b'{"a":' * 9_000 + b"1" + b"}" * 9_000 + b', "detector":'
        ),
        "control.retrain@7",
    ),
    "an event with a position beyond any log": (
        topology.CONTROL_RETRAIN,
        event_with(since={"position": 10**30}),
        "a",
    ),
    "an event with a long target": (topology.CONTROL_ROLLBACK, event_with(target_version=OVER), "a"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_carried_out_is_refused_with_its_reason_and_once(name: str) -> None:
    topic, value, asked_as = WRONG[name]
    state = PolicyState("flights")
    assert stepped(state, topic, value)
    assert stepped(state, topic, value)
    (decision,) = [decode_decision(out.value or b"") for out in take_due(state, "", 0)]
    assert decision.verdict == "refused" and decision.command is None and decision.pipeline == "flights"
    assert decision.request == asked_as and decision.id == f"decision-{asked_as}"
    assert f"the record at 7 of {topic} is not used: " in decision.why
    assert len(encode_json(decision)) < 4_000


def test_the_longest_that_is_allowed_is_carried_out() -> None:
    state = PolicyState("flights")
    whole = "é" * MAX_NAME_CHARACTERS
    value = asked(id=whole, by=whole, reason="é" * MAX_REASON_CHARACTERS)
    assert stepped(state, topology.CONTROL_COMMANDS, value) == ""
    command, decision = take_due(state, "", 0)
    assert decode_decision(decision.value or b"").verdict == "accepted"
    assert len(decode_entry(command.value or b"").reason) == MAX_REASON_CHARACTERS  # type: ignore[union-attr]


def test_a_wrong_record_of_another_pipeline_is_its_own_roles_to_refuse() -> None:
    state = PolicyState("flights")
    assert stepped(state, topology.CONTROL_COMMANDS, asked(pipeline="cards", id=LONG))
    assert stepped(state, topology.CONTROL_RETRAIN, event_with(pipeline="cards", target_version=OVER))
    assert take_due(state, "", 0) == [] and state == PolicyState("flights")


def test_a_wrong_record_under_a_known_id_gets_the_decision_that_was_made() -> None:
    state = PolicyState("flights")
    stepped(state, topology.CONTROL_COMMANDS, asked())
    first = take_due(state, "", 0)[-1]
    stepped(state, topology.CONTROL_COMMANDS, asked(reason=LONG))
    assert take_due(state, "", 0)[-1] == first


def test_what_models_says_is_never_a_request() -> None:
    state = PolicyState("flights")
    assert stepped(state, topology.CONTROL_MODELS, b"{}")
    assert stepped(state, topology.CONTROL_MODELS, b'{"pipeline": "flights"}')
    assert take_due(state, "", 0) == []


def test_the_state_fits_into_one_record_whatever_was_asked() -> None:
    state = PolicyState("flights")
    dark = "\x00" * MAX_NAME_CHARACTERS
    for n in range(2 * REMEMBERED_DECISIONS):
        value = asked(id=f"{n}" + dark[:-4], by=dark, version=None, reason="\x00" * MAX_REASON_CHARACTERS)
        assert stepped(state, topology.CONTROL_COMMANDS, value, n) == ""
        take_due(state, "", n)
        assert len(encode_state(state)) < MAX_RECORD_BYTES
    assert 10 < len(state.decisions) < REMEMBERED_DECISIONS and len(state.sending) == len(state.decisions)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
VERBS = st.sampled_from(["retrain", "rollback", "hold", "resume", "promote", "accept", "adopt"])
TEXT = st.text(max_size=20) | st.text(min_size=190, max_size=1_100)
REQUESTS = st.fixed_dictionaries(
    {
        "id": TEXT,
        "pipeline": st.sampled_from(["flights", "cards"]),
        "verb": VERBS,
        "reason": TEXT,
        "by": TEXT,
    },
    optional={"version": TEXT | st.none(), "from_position": st.integers() | JSON, "wall_ms": JSON},
)


def mixed(whole: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {**whole, **changes}


def as_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


EVENT = msgspec.to_builtins(event("a"))
FIELDS = st.dictionaries(st.sampled_from([*EVENT["data"], "x"]), JSON | TEXT | st.integers(), max_size=3)
EVENTS = st.builds(lambda data, top: {**EVENT, **top, "data": {**EVENT["data"], **data}}, FIELDS,
                   st.fixed_dictionaries({"id": TEXT}))  # fmt: skip
VALUES = st.one_of(
    st.binary(max_size=200),
    JSON.map(as_bytes),
    st.builds(mixed, REQUESTS, st.dictionaries(st.sampled_from(["id", "by", "verb", "pipeline"]), JSON)).map(
        as_bytes
    ),
    EVENTS.map(as_bytes),
)
RECORDS = st.lists(st.tuples(st.sampled_from(TOPICS), VALUES), max_size=6)


@settings(deadline=None, max_examples=examples(150))
@given(RECORDS)
def test_any_records_leave_a_state_that_can_be_stored_and_outputs_that_can_be_sent(
    records: list[tuple[str, bytes]],
) -> None:
    state = PolicyState("flights")
    for offset, (topic, value) in enumerate(records):
        why = stepped(state, topic, value, offset)
        state = decode_state(encode_state(state))
        for out in take_due(state, "", offset):
            assert record_bytes(out) < MAX_RECORD_BYTES
            if out.topic == topology.CONTROL_DECISIONS:
                assert decode_decision(out.value or b"").why
            else:
                decode_entry(out.value or b"")
        assert len(value) < MOST_RECORD_BYTES or why


@settings(deadline=None, max_examples=examples(60))
@given(RECORDS)
def test_after_any_records_the_worker_carries_out_the_next_request(records: list[tuple[str, bytes]]) -> None:
    log = MemoryLog()
    for topic in topology.owned("flights", "p."):
        log.create(topic.name, topic.partitions)
    worker = ControlWorker(pipeline(), log, lambda: 0, prefix="p.")
    log.append([Out("p." + topic, None, value) for topic, value in records])
    log.append([Out("p." + topology.CONTROL_COMMANDS, b"flights", asked(id=LONG))])
    log.append([Out("p." + topology.CONTROL_COMMANDS, b"flights", asked(id="the last one", verb="hold"))])
    while worker.process_batch(0):
        pass
    by_request = {one.request: one for one in map(decode_decision, read(log, topology.CONTROL_DECISIONS))}
    assert by_request["the last one"].verdict == "accepted"
    assert any(
        one.verdict == "refused" and "control.commands is not used" in one.why for one in by_request.values()
    )

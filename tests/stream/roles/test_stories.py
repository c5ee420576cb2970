"""What people read of a stream: one story when the world changes, none when it does not. The policy takes part."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from river import linear_model, preprocessing

from penstock.monitors.inputs.guard import RangeGuard
from penstock.stream import topology
from penstock.stream.definitions import Label, Pipeline, Source
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Command, ControlData, ControlEvent, LiveModel, decode_entry
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.generated import MINUTE, START_MS
from tests.stream.naive_flow import everything

READ = Source("pumps.read", id="reading", time="at", key="pump")
CHANGED_AT, EVENTS, SLICE = 5_000, 7_000, 250
ASKS = {"retrain", "rollback", "promote"}


def pumps() -> Pipeline:
    return Pipeline(
        "pumps",
        views=[],
        predict=READ,
        inputs=["flow", "heat"],
        label=Label(READ, lambda e: e["failed"], wait="1h", fields=("failed",)),
        model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    )


def readings(seed: int, changed_at: int, broken: range = range(0)) -> Iterator[Out]:
    """A reading a minute; from `changed_at` on the same values mean the contrary. While `broken`, one pump's flow is odd."""
    chance = random.Random(seed)
    for number in range(EVENTS):
        flow, heat = chance.gauss(0.0, 1.0), chance.gauss(0.0, 1.0)
        odds = 2.5 * flow - 1.5 * heat
        failed = chance.random() < 1 / (1 + math.exp(-odds if number < changed_at else odds))
        if number in broken and number % 7 == 3:
            flow *= 1_000.0
        event = {
            "reading": f"r{number}", "pump": f"p{number % 7}", "at": START_MS + number * MINUTE, "flow": flow, "heat": heat,
            "failed": failed,
        }  # fmt: skip
        yield Out(READ.name, event["pump"].encode(), json.dumps(event).encode())


def flowed(seed: int, changed_at: int, broken: range = range(0)) -> MemoryFlow:
    """The flow after the whole stream, given in slices, so that a decision comes soon after what it answers."""
    flow = MemoryFlow(pumps(), partitions=1)
    outs = list(readings(seed, changed_at, broken))
    for start in range(0, EVENTS, SLICE):
        flow.feed(outs[start : start + SLICE])
        flow.settle()
        if start == 0 and flow.learn.fold is not None:
            flow.learn.fold.drift.guard = RangeGuard(["flow", "heat"], 1.0, learn_samples=2_000)
    return flow


def values(flow: MemoryFlow, topic: str, of: Any) -> list[Any]:
    return [msgspec.json.decode(record.value or b"", type=of) for record in everything(flow.log, topic)]


def told(flow: MemoryFlow) -> list[ControlData]:
    """Everything on the control topics, by when it was detected."""
    topics = (topology.CONTROL_RETRAIN, topology.CONTROL_ROLLBACK, topology.CONTROL_ALERTS)
    found = [event.data for topic in topics for event in values(flow, topic, ControlEvent)]
    return sorted(found, key=lambda data: data.detected_at["position"])


def commands(flow: MemoryFlow) -> list[Command]:
    entries = [decode_entry(record.value or b"") for record in everything(flow.log, flow.learn.topic)]
    return [entry for entry in entries if isinstance(entry, Command)]


@pytest.mark.parametrize("seed", [1, 2])
def test_when_the_world_turns_round_people_read_one_story_and_one_model_is_committed(seed: int) -> None:
    flow = flowed(seed, CHANGED_AT)
    [asked] = [data for data in told(flow) if data.suggested_action in ASKS]
    assert asked.kind == "lead" and {data.episode for data in told(flow)} == {asked.episode}
    assert told(flow)[-1].state == "resolved"
    # The story says which loss, since when, and what won.
    since = (asked.since["at"] - START_MS) // MINUTE
    assert CHANGED_AT - 250 <= since <= CHANGED_AT + 250 and "nats less than v0" in asked.reason
    assert ": loss " in asked.reason and ", all together " in asked.reason
    [command] = commands(flow)
    assert (command.version, command.episode) == (asked.target_version, asked.episode)
    live = values(flow, topology.CONTROL_MODELS, LiveModel)[-1]
    assert live.committed == live.version == asked.target_version and live.applied == [command.id]
    winner = next(one for one in live.experts if one.version == live.committed)
    assert winner.born_at >= START_MS + CHANGED_AT * MINUTE


@pytest.mark.parametrize("seed", [1, 2])
def test_when_a_producer_sends_nonsense_people_read_one_story_that_names_the_field(seed: int) -> None:
    flow = flowed(seed, EVENTS, range(CHANGED_AT - 1_500, EVENTS - 1_000))
    alert, *rest = told(flow)
    assert (alert.kind, alert.severity, alert.detector["subject"]) == ("range", "critical", "flow")
    assert {data.episode for data in rest} == {alert.episode}, [data.reason for data in rest]
    [asked] = [data for data in rest if data.target_version]
    assert asked.reason.startswith("flow left its range, and ") and asked.kind == "lead"
    assert ("range", "resolved") in {(data.kind, data.state) for data in rest}
    live = values(flow, topology.CONTROL_MODELS, LiveModel)[-1]
    assert live.committed == asked.target_version != "v0"


@pytest.mark.parametrize("seed", [1, 2])
def test_when_nothing_changes_nothing_is_asked_for_and_nothing_committed(seed: int) -> None:
    flow = flowed(seed, EVENTS)
    assert told(flow) == [] and commands(flow) == []
    live = values(flow, topology.CONTROL_MODELS, LiveModel)
    assert all(one.committed == "v0" for one in live)

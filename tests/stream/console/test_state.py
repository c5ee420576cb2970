"""The state is a fold: what it is depends on what the topics say, not on how they were read."""

from __future__ import annotations

import random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.stream import topology
from penstock.stream.console import state as state_module
from penstock.stream.console.past import DAY_MS, HOUR_MS, Past, binned, merged, point
from penstock.stream.console.state import PipelineState, States
from penstock.stream.history_record import Counted, ExpertThen, HistoryRecord, decode_history
from penstock.stream.messages import decode_live_model
from tests.effort import examples
from tests.stream.console.year import Line, stepped


def seen(state: PipelineState) -> dict[str, Any]:
    """Everything that pages may show of a state."""
    return {
        "points": (state.past.points, state.past.hours),
        "blocks": list(state.blocks),
        "changes": list(state.changes),
        "told": state.told,
        "live": state.live,
        "open": state.open,
        "at": (state.event_at, state.position),
    }


def interleaved(lines: list[Line], seed: int) -> list[Line]:
    """Each topic in its order, the topics anyhow."""
    chance = random.Random(seed)
    queues: dict[str, list[Line]] = {}
    for line in lines:
        queues.setdefault(line.topic, []).append(line)
    found = []
    while queues:
        topic = chance.choice(sorted(queues))
        portion = chance.randrange(1, 40)
        found += queues[topic][:portion]
        queues[topic] = queues[topic][portion:]
        if not queues[topic]:
            del queues[topic]
    return found


def test_the_stretch_has_something_to_see(lines: list[Line]) -> None:
    topics = {line.topic for line in lines}
    assert {topology.CONTROL_ALERTS, topology.CONTROL_MODELS, topology.history("parcels")} <= topics
    state = stepped(["parcels"], lines).pipelines["parcels"]
    assert state.changes and state.past.hours and state.past.blocks and state.blocks and state.events


def test_however_topics_lie_between_one_another_the_state_is_the_same(lines: list[Line]) -> None:
    expected = seen(stepped(["parcels"], lines).pipelines["parcels"])
    for seed in range(8):
        assert seen(stepped(["parcels"], interleaved(lines, seed)).pipelines["parcels"]) == expected


def test_what_is_read_again_changes_nothing(lines: list[Line]) -> None:
    once = stepped(["parcels"], lines)
    again = States(["parcels"])
    for number, line in enumerate(lines):
        again.step(*line[1:3], line.wall_ms, line.value)
        for repeat in lines[max(number - 3, 0) : number]:
            again.step(*repeat[1:3], repeat.wall_ms, repeat.value)
    assert seen(again.pipelines["parcels"]) == seen(once.pipelines["parcels"])
    assert again.positions == once.positions


def test_what_a_crash_wrote_twice_is_there_once(lines: list[Line]) -> None:
    once, twice = stepped(["parcels"], lines), States(["parcels"])
    offsets: dict[str, int] = {}
    for line in lines:
        for _ in range(2):
            offset = offsets.get(line.topic, 0)
            offsets[line.topic] = offset + 1
            twice.step(line.topic, offset, line.wall_ms, line.value)
    one, two = seen(once.pipelines["parcels"]), seen(twice.pipelines["parcels"])
    assert [told.message for told in two.pop("told")] == [told.message for told in one.pop("told")]
    assert two == one


def test_a_record_that_cannot_be_read_is_counted_and_passed(lines: list[Line]) -> None:
    found = stepped(["parcels"], lines)
    before = seen(found.pipelines["parcels"])
    for topic in (*found.topics,):
        for value in (b"what", b"\xff", b"[" * 10_000, b"{}", None):
            found.step(topic, found.positions.get(topic, 0), 5, value)
    assert seen(found.pipelines["parcels"]) == before
    assert found.unreadable == 4 * len(found.topics)


def test_other_pipelines_are_not_shown_and_their_positions_are_passed(lines: list[Line]) -> None:
    other = stepped(["cards"], lines)
    assert not other.pipelines["cards"].told and other.pipelines["cards"].live is None
    assert other.positions[topology.CONTROL_MODELS] > 0


def test_what_is_kept_is_bounded_and_the_newest(lines: list[Line], monkeypatch: Any) -> None:
    monkeypatch.setattr(state_module, "MOST_EVENTS", 1)
    everything = stepped(["parcels"], lines).pipelines["parcels"]
    monkeypatch.undo()
    assert len(everything.events) == 1
    assert everything.events == stepped(["parcels"], lines).pipelines["parcels"].events[-1:]


def test_a_deploy_is_a_change_and_so_is_a_hold(lines: list[Line]) -> None:
    record = decode_history(next(line.value for line in lines if line.topic == topology.history("parcels")))
    state = PipelineState("parcels")
    state.history(record)
    later = {"position": record.position + 9, "at": record.at + 9}
    state.history(msgspec.structs.replace(record, recipe="another", held=True, **later))
    assert [(one.what, one.after) for one in state.changes] == [("deploy", "another"), ("hold", "held")]


def test_live_is_what_learn_said_last(lines: list[Line]) -> None:
    said = [decode_live_model(line.value) for line in lines if line.topic == topology.CONTROL_MODELS]
    assert stepped(["parcels"], lines).pipelines["parcels"].live == said[-1]


# -- the past ----------------------------------------------------------------------------------------------------------------


def block(number: int, labels: int = 10, loss: float | None = 0.5) -> HistoryRecord:
    """A record of a block of labels that took an hour."""
    return HistoryRecord(
        id=f"b{number}", pipeline="p", kind="labels", task="binary", position=number, at=(number + 1) * HOUR_MS,
        since_position=number - 1, since=number * HOUR_MS, recipe="r", live="v0", leader="v0", committed="v0",
        counts=Counted(joined=labels, samples=labels), loss=loss, base_loss=1.0,
        experts=[ExpertThen(version="v0", kind="first", weight=1.0, loss=loss)],
    )  # fmt: skip


blocks = st.lists(
    st.tuples(st.integers(1, 30), st.integers(0, 50), st.floats(0, 3)), min_size=1, max_size=400
).map(
    lambda rows: [
        block(sum(gap for gap, *_ in rows[: place + 1]), labels, loss if labels else None)
        for place, (_, labels, loss) in enumerate(rows)
    ]
)


@given(blocks, st.integers(1, 100))
@settings(max_examples=examples(60), deadline=None)
def test_days_of_the_past_are_the_means_of_their_blocks_by_labels(
    records: list[HistoryRecord], most: int
) -> None:
    from penstock.stream.console import past as module

    before, module.MOST_BLOCKS = module.MOST_BLOCKS, most
    try:
        past = Past()
        for record in records:
            past.add(record)
    finally:
        module.MOST_BLOCKS = before
    assert len(past.blocks) < most + 48
    everything = [point(record) for record in records]
    assert sum(one.labels for one in past.points) == sum(one.labels for one in everything)
    assert past.blocks == everything[len(everything) - len(past.blocks) :]
    old = everything[: len(everything) - len(past.blocks)]
    days: dict[int, list[Any]] = {}
    for one in old:
        days.setdefault((one.at - 1) // DAY_MS, []).append(one)
    assert len(days) == len(past.days)
    for found, of in zip(past.days, days.values(), strict=True):
        labels = sum(one.labels for one in of)
        said = [one.loss * one.labels for one in of if one.loss is not None]
        assert (found.labels, found.since, found.at) == (labels, of[0].since, of[-1].at)
        assert (found.loss is None) == (labels == 0)
        assert found.loss is None or abs(found.loss - sum(said) / labels) < 1e-9
    assert not {one.at for one in past.days} & {one.at for one in past.blocks}


@given(blocks)
@settings(max_examples=examples(40), deadline=None)
def test_bins_hold_every_label_once_and_lie_on_a_grid(records: list[HistoryRecord]) -> None:
    points = [point(record) for record in records]
    found = binned(points, DAY_MS)
    assert sum(one.labels for one in found) == sum(one.labels for one in points)
    edges = [(one.at - 1) // DAY_MS for one in found]
    assert edges == sorted(set(edges))
    assert merged(points).position == points[-1].position

"""A bootstrap from files until any moment, and then the topics, is the flow that read the topics alone: to the last bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.stream.definitions import Pipeline
from penstock.stream.messages import LabelRecord, Sample
from tests.stream.bootstrap.in_files import (
    Event,
    at_of,
    bootstrapped,
    entries_of,
    flow_of,
    learned,
    plan_of,
    published,
    states_of,
    written,
)
from tests.stream.generated import DAY, START_MS, card_events, cards, parcel_events, parcels

Course = tuple[list[Any], dict[str, bytes], dict[str, Any]]


def live(pipeline: Pipeline, events: Sequence[Event], partitions: int) -> Course:
    """Everything from the topics."""
    flow = flow_of(pipeline, partitions)
    flow.feed(published(pipeline, events, partitions))
    flow.settle()
    return ended(flow)


def from_files(
    pipeline: Pipeline,
    events: Sequence[Event],
    partitions: int,
    until_ms: int,
    topics: Sequence[Event] | None = None,
) -> Course:
    """Files until a moment, and from there on the topics, which hold everything unless `topics` are given."""
    flow = flow_of(pipeline, partitions)
    flow.feed(published(pipeline, events if topics is None else topics, partitions))
    bootstrapped(flow, plan_of(flow, written(pipeline, events), until_ms))
    flow.settle()
    return ended(flow)


def ended(flow: Any) -> Course:
    found = entries_of(flow), states_of(flow), learned(flow)
    flow.close()
    return found


def without_ticks(course: Course) -> Course:
    """Ticks repeat where a worker begins, and looks go by offsets. Each moves positions, which the chain names."""
    entries, states, model = course
    return (
        [entry for entry in entries if isinstance(entry, Sample | LabelRecord)],
        states,
        {name: value for name, value in model.items() if name not in ("chain", "position")},
    )


def moment(pipeline: Pipeline, events: Sequence[Event], share: float) -> int:
    """An event time somewhere between the first event and behind the last."""
    last = max(at_of(pipeline, event) for event in events)
    return START_MS + round(share * (last + 1 - START_MS))


SEEDS, SHARES, PARTITIONS = st.integers(0, 1_000), st.floats(0, 1), st.integers(1, 3)


@given(seed=SEEDS, share=SHARES, partitions=PARTITIONS)
@settings(max_examples=12)
def test_one_task_is_the_same_until_any_moment(seed: int, share: float, partitions: int) -> None:
    events = list(parcel_events(120, seed))
    until_ms = moment(parcels(), events, share)
    assert from_files(parcels(), events, partitions, until_ms) == live(parcels(), events, partitions)


@given(seed=SEEDS, share=SHARES, partitions=PARTITIONS)
@settings(max_examples=12)
def test_a_task_a_partition_is_the_same_until_any_moment(seed: int, share: float, partitions: int) -> None:
    events = list(card_events(150, seed))
    files = from_files(cards(), events, partitions, moment(cards(), events, share))
    assert without_ticks(files) == without_ticks(live(cards(), events, partitions))


@given(seed=SEEDS, share=SHARES, partitions=PARTITIONS, data=st.data())
@settings(max_examples=12)
def test_what_is_out_of_order_around_the_end_counts_as_if_all_before_it_had_come_first(
    seed: int, share: float, partitions: int, data: st.DataObject
) -> None:
    """Events of both sides stand mixed in the topics, some late: each is taken once, as the rule says."""
    pipeline, events = parcels(), list(parcel_events(80, seed))
    until_ms = moment(pipeline, events, share)
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, len(events) - 1))
        events.insert(min(place + data.draw(st.integers(0, 15)), len(events)), events.pop(place))
    sorted_out = sorted(events, key=lambda event: at_of(pipeline, event) >= until_ms)
    files = from_files(pipeline, events, partitions, until_ms)
    assert without_ticks(files) == without_ticks(live(pipeline, sorted_out, partitions))


@given(seed=SEEDS, cut=st.floats(0, 1), partitions=PARTITIONS)
@settings(max_examples=12)
def test_from_offsets_on_it_is_the_same_whatever_the_order_of_events(
    seed: int, cut: float, partitions: int
) -> None:
    """The files are a dump of the topics up to some offsets. The topics' flow had read just as far before the rest came."""
    pipeline, events = parcels(), list(parcel_events(80, seed))
    events[10:30], events[50:60] = events[10:30][::-1], events[50:60][::-1]
    dumped = events[: round(cut * len(events))]
    records = published(pipeline, events, partitions)
    counts = Counter((out.topic, out.partition) for out in records[: len(dumped)])
    offsets = {
        f"{source.name}/{n}": counts[source.name, n] for source in pipeline.sources for n in range(partitions)
    }
    flow, alone = flow_of(pipeline, partitions), flow_of(pipeline, partitions)
    flow.feed(records)
    bootstrapped(flow, plan_of(flow, written(pipeline, dumped), offsets=offsets))
    flow.settle()
    for some in (records[: len(dumped)], records[len(dumped) :]):
        alone.feed(some)
        alone.settle()
    assert without_ticks(ended(flow)) == without_ticks(ended(alone))


def test_a_record_of_the_topics_that_no_file_had_is_skipped_if_it_is_older() -> None:
    pipeline, events = parcels(), list(parcel_events(60, 3))
    until_ms = moment(pipeline, events, 0.5)
    strange = ("parcels.sent", "van1", {**events[0][2], "parcel": "in no file"})
    with_it = [strange, *events]
    files = from_files(pipeline, events, 2, until_ms)
    assert without_ticks(from_files(pipeline, events, 2, until_ms, with_it)) == without_ticks(files)


def test_the_topics_may_begin_anywhere_before_the_end() -> None:
    pipeline, events = parcels(), list(parcel_events(100, 5))
    until_ms = moment(pipeline, events, 0.6)
    newer = [event for event in events if at_of(pipeline, event) >= until_ms - DAY // 24]
    assert len(newer) < len(events)
    entries, _, model = without_ticks(from_files(pipeline, events, 2, until_ms, newer))
    # A state names the offsets of newest events, which order those of one millisecond: they are others in another topic.
    assert (entries, model) == without_ticks(live(pipeline, events, 2))[::2]

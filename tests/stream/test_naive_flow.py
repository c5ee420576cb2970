"""The naive flow as a judge: it finds what was planted in topics that are right, and nothing where nothing is wrong."""

from __future__ import annotations

import msgspec
import pytest

from penstock.stream import topology
from penstock.stream.log.protocol import Out
from penstock.stream.messages import LabelRecord, Sample, decode_entry, encode_entry
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.generated import outs, parcel_events, parcels
from tests.stream.naive_flow import NaiveFlow, everything

SAMPLES, DEAD = topology.samples("parcels"), topology.dead_letters("parcels")


@pytest.fixture
def flow() -> MemoryFlow:
    """One that has stepped a stream with a broken record in it."""
    made = MemoryFlow(parcels(), partitions=2)
    records = outs(parcel_events(200))
    made.feed([*records[:100], records[100]._replace(value=b"{"), *records[101:]])
    made.settle()
    return made


def first(flow: MemoryFlow, kind: type[Sample] | type[LabelRecord]) -> Sample | LabelRecord:
    entries = (decode_entry(record.value or b"") for record in everything(flow.log, SAMPLES))
    return next(entry for entry in entries if isinstance(entry, kind))


def wrong(flow: MemoryFlow, *more: Sample | LabelRecord) -> list[str]:
    """What is wrong once these were appended, too."""
    flow.log.append([Out(SAMPLES, None, encode_entry(entry)) for entry in more])
    return NaiveFlow(flow.pipeline, flow.log).wrong_samples(flow.log, SAMPLES)


@pytest.mark.parametrize("kind", [Sample, LabelRecord])
def test_a_repeat_is_nothing_wrong_while_it_says_the_same(
    flow: MemoryFlow, kind: type[Sample] | type[LabelRecord]
) -> None:
    assert wrong(flow) == []
    entry = first(flow, kind)
    assert wrong(flow, entry) == []
    other = {"x": [None] * len(entry.x)} if isinstance(entry, Sample) else {"y": not entry.y}
    (found,) = wrong(flow, msgspec.structs.replace(entry, **other))
    assert "and, repeated," in found


def test_what_stands_behind_what_came_later_is_found(flow: MemoryFlow) -> None:
    entry = first(flow, Sample)
    of_other = msgspec.structs.replace(entry.origin, sub=7)
    (found,) = wrong(flow, msgspec.structs.replace(entry, origin=of_other))
    assert "behind what came later" in found


def test_a_dead_letter_that_should_be_none_is_found_as_is_one_that_is_missing(flow: MemoryFlow) -> None:
    naive = NaiveFlow(flow.pipeline, flow.log)
    assert len(naive.dead) == 1 and naive.wrong_dead_letters(flow.log, DEAD) == set()
    (letter,) = everything(flow.log, DEAD)
    place = next(iter(naive.samples))
    origin = {"penstock-topic": place[0], "penstock-partition": place[1], "penstock-offset": place[2]}
    headers = [(name, str(value).encode()) for name, value in origin.items()]
    flow.log.append([Out(DEAD, None, letter.value, tuple(headers))])
    assert naive.wrong_dead_letters(flow.log, DEAD) == {place}
    naive.dead.add(("parcels.sent", 0, 10**6))
    assert naive.wrong_dead_letters(flow.log, DEAD) == {place, ("parcels.sent", 0, 10**6)}


def test_those_joined_are_what_the_fold_joins_and_no_label_beyond_the_wait(flow: MemoryFlow) -> None:
    naive = NaiveFlow(flow.pipeline, flow.log)
    assert flow.learn.fold is not None and 0 < naive.joined() == flow.learn.fold.counts.joined
    place, (event_id, at, y) = next(
        (place, label)
        for place, label in naive.labels.items()
        if any(label[0] == sample[0] for sample in naive.samples.values())
    )
    joined = naive.joined()
    sampled = next(sample[1] for sample in naive.samples.values() if sample[0] == event_id)
    naive.labels[place] = (event_id, sampled + naive.pipeline.label_rule.wait_ms + 1, y)
    assert naive.joined() == joined - 1
    naive.labels[place] = ("nobody", at, y)
    assert naive.joined() == joined - 1

"""A worker that dies at any record, and goes on from its last snapshot, tells everything once: the same ids, the same bytes.

The stream has 5,000 records and an incident with every kind of event around it. A snapshot is taken every 50 records by the fold
that the one before restored, so that behind the last there lie a hundred crashes. Between two snapshots the worker dies at each
record in turn: what was committed before stands in the topics, what comes from there on is written by the restored fold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.history_record import decode_history
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.published import published
from penstock.stream.learn.snapshot import restore_fold, take
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Entry, Tick, decode_control_event, encode_entry
from tests.stream.generated import MINUTE, START_MS, parcels
from tests.stream.learn.courses import Course, light_is_late, quick_guard, quick_losses

RECORDS, EVERY = 5_000, 50
TOPIC = topology.samples("parcels")
HISTORY = topology.history("parcels")
EVENTS = {topology.CONTROL_ALERTS, topology.CONTROL_RETRAIN, topology.CONTROL_ROLLBACK}


class Straight(NamedTuple):
    """The uninterrupted run: its pipeline and log, what each record wrote, and the digest behind every `EVERY` records."""

    pipeline: Pipeline
    entries: list[Entry]
    written: list[list[Out]]
    digests: dict[int, str]


def quick(course: Course, patch: pytest.MonkeyPatch) -> Fold:
    quick_losses(course)
    quick_guard(course, patch)
    return course.fold


def tick(course: Course) -> None:
    at = START_MS + course.number * MINUTE
    course.give(Tick({"parcels.sent/0": at, "parcels.delivered/0": at}, [], at))


def played(course: Course) -> list[Entry]:
    """An input breaks and is right again, what wins is committed, a person holds, and the world turns round and back."""

    def go(count: int, **how: Any) -> None:
        for _ in range(count // 25):
            course.go(25, noise=0.1, **how)
            tick(course)

    go(1_000)
    go(100, rule=light_is_late, weight=9e4)
    go(400)
    (asked,) = [data for data in course.told() if data.target_version]
    course.command(asked.suggested_action, version=asked.target_version, episode=asked.episode)
    go(150)
    course.command("hold")
    go(25)
    course.command("resume")
    course.number += 12 * 60
    go(200)
    go(500, rule=light_is_late)
    while len(course.log) < RECORDS:
        go(25)
    return course.log[:RECORDS]


def step(fold: Fold, entry: Entry, below: int) -> list[Out]:
    """Fold a record as the worker does; what it writes."""
    assert fold.needs(entry) is None
    fold.step(fold.position, entry)
    outs = published(fold, below, "predictions", "")
    fold.drift.requests.clear()
    outputs = fold.outputs
    for made in (outputs.predictions, outputs.live, outputs.versions, outputs.dropped, outputs.history):
        made.clear()
    return outs


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.stream.learn.births.FREEZE_EVERY", 250)
        patch.setattr("penstock.stream.learn.history.BLOCK_LABELS", 70)
        patch.setattr("penstock.stream.learn.recording.BLOCK_LABELS", 70)
        patch.setattr("penstock.stream.learn.drift.PROVEN_LABELS", 100)
        yield patch


@pytest.fixture(scope="module")
def straight(patched: pytest.MonkeyPatch) -> Straight:
    pipeline = parcels(views=[])
    course = Course(pipeline)
    quick(course, patched)
    entries = played(course)
    fold = quick(Course(pipeline), patched)
    written: list[list[Out]] = []
    digests = {}
    for entry in entries:
        written.append(step(fold, entry, 0))
        if fold.position % EVERY == 0:
            digests[fold.position] = fold.digest()
    return Straight(pipeline, entries, written, digests)


def ids(outs: list[Out]) -> list[str]:
    return [decode_control_event(out.value or b"").id for out in outs if out.topic in EVENTS]


def test_the_stream_brings_every_kind_of_event_and_each_id_once(straight: Straight) -> None:
    outs = [out for one in straight.written for out in one]
    told = [decode_control_event(out.value or b"") for out in outs if out.topic in EVENTS]
    kinds = {(event.type.removeprefix("penstock."), event.data.kind, event.data.state) for event in told}
    assert {
        ("alert", "range", "firing"), ("note", "range", "resolved"), ("promote", "lead", "firing"), ("note", "lead", "resolved"),
        ("summary", "summary", "over"),
    } <= kinds, kinds  # fmt: skip
    assert {"retrain", "rollback"} <= {verb for verb, _, _ in kinds}
    assert len(set(ids(outs))) == len(ids(outs)) == len(told)


def test_the_stream_brings_blocks_and_hours_and_each_id_once(straight: Straight) -> None:
    history = [
        decode_history(out.value or b"") for one in straight.written for out in one if out.topic == HISTORY
    ]
    kinds = Counter(record.kind for record in history)
    assert kinds["labels"] > 30 and kinds["hour"] > 30
    assert len({record.id for record in history}) == len(history)


def test_killed_at_every_record_it_tells_nothing_twice_under_two_ids_and_misses_nothing(
    straight: Straight, patched: pytest.MonkeyPatch
) -> None:
    log = MemoryLog()
    log.create(TOPIC)
    log.append([Out(TOPIC, None, encode_entry(entry), (), 0) for entry in straight.entries])
    fold = quick(Course(straight.pipeline), patched)
    killed = 0
    for start in range(0, RECORDS, EVERY):
        fold = restore_fold(straight.pipeline, take(fold, log.topic_id(TOPIC)), log, TOPIC)
        assert fold.position == start
        stop = start + EVERY
        again = [step(fold, entry, 0) for entry in straight.entries[start:stop]]
        for place in range(start, stop):
            # Committed below `place`: those stand in the topics. From there on the restored fold writes.
            stands = [out for one in straight.written[start:place] for out in one]
            stands += [out for one in again[place - start :] for out in one]
            assert stands == [out for one in straight.written[start:stop] for out in one], (
                f"killed at {place}"
            )
            killed += 1
        assert fold.digest() == straight.digests[stop]
    assert killed == RECORDS


def test_what_lies_below_the_committed_offset_is_not_written_again(
    straight: Straight, patched: pytest.MonkeyPatch
) -> None:
    """Wherever one or history was told, the fold that comes back behind it leaves it out, and the one before it writes it."""
    places = [
        place
        for place, outs in enumerate(straight.written)
        if ids(outs) or any(out.topic == HISTORY for out in outs)
    ]
    assert len(places) >= 70
    fold = quick(Course(straight.pipeline), patched)
    for entry in straight.entries:
        fold.step(fold.position, entry)
        place = fold.position - 1
        if place in places:
            assert published(fold, place, "predictions", "") == straight.written[place]
            assert published(fold, place + 1, "predictions", "") == []
        fold.drift.requests.clear()
        for made in (fold.outputs.predictions, fold.outputs.live, fold.outputs.history):
            made.clear()

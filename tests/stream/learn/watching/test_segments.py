"""What is found is told with the one segment that carries it, and what one segment shows alone is told as well."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from river import anomaly, linear_model

from penstock.monitors.episodes import Transition
from penstock.monitors.inputs import guard as of_guard
from penstock.monitors.inputs.guard import RangeGuard
from penstock.monitors.losses.drift import LossConfig, LossMonitor
from penstock.monitors.segments import blame
from penstock.monitors.segments import losses as of_losses
from penstock.stream import topology
from penstock.stream.definitions import Label
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.snapshot import restore_fold, take
from penstock.stream.learn.watching.segments import SegmentWatch, budget_of_whole, shown, told_of
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import ControlData, Entry, LabelRecord, Origin, Sample, encode_entry
from penstock.stream.segment_blamed import SegmentBlamed
from tests.stream.generated import DELIVERED, MINUTE, START_MS, parcels

PIPELINE = parcels(views=[], segments=["zone", "side"], inputs=["weight", "size"])
ZONES = ["north", "south", "east", "west", "inner", "outer", None]


def course(
    count: int, bad_from: int, *, wrong: bool = False, weight: float = 1.0, null: bool = False, seed: int = 4
) -> Iterator[Entry]:
    """A sample a minute, its label 30 later. From `bad_from` on the north, a seventh of all, is wrong or weighs more."""
    chance = random.Random(seed)
    waiting: list[LabelRecord] = []
    for n in range(count):
        at = START_MS + n * MINUTE
        zone, side = chance.choice(ZONES), chance.choice(["left", "right"])
        bad = n >= bad_from and zone == "north"
        x: list[Any] = [chance.gauss(0, 1), chance.gauss(0, 1)]
        y = (x[0] + 0.5 * chance.gauss(0, 1) > 0) != (wrong and bad)
        if bad:
            x[0] = None if null else x[0] * weight
        yield Sample(Origin("sent", 0, n), f"p{n}", "van", at, x, "", None, [zone, side])
        waiting.append(LabelRecord(Origin("done", 0, n, 1), f"p{n}", at + 30 * MINUTE, y))
        if len(waiting) > 30:
            yield waiting.pop(0)
    yield from waiting


def fold_of(patch: pytest.MonkeyPatch, pipeline: Any = PIPELINE, *, guard: bool = True) -> Fold:
    """A fold whose monitors see something in some hundred records."""
    patch.setattr(of_losses, "BLOCK_LABELS", 40)
    patch.setattr(of_losses, "BASE_LABELS", 20)
    patch.setattr(of_losses, "REFERENCE_BLOCKS", 60)
    patch.setattr(of_losses, "LEAST_BEFORE", 200.0)
    patch.setattr(of_guard, "EPOCH_SAMPLES", 200)
    fold = Fold(pipeline, guard=guard)
    fold.drift.losses = LossMonitor(
        LossConfig(
            base_labels=20,
            reference_labels=1_200,
            min_blocks=24,
            labels_per_year=20_000.0,
            false_alarms_per_year=budget_of_whole(pipeline),
        )
    )
    if guard:
        fold.drift.guard = RangeGuard(["weight", "size"], 1.0, learn_samples=400)
    return fold


def told(fold: Fold, log: Iterator[Entry] | list[Entry]) -> list[ControlData]:
    for entry in log:
        fold.step(fold.position, entry)
    return [request.event.data for request in fold.drift.requests]


@pytest.mark.parametrize(("how", "monitor"), [({"weight": 60.0}, "range"), ({"null": True}, "nulls")])
def test_a_guard_names_the_segment_whose_records_are_broken(how: dict[str, Any], monitor: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        found = told(fold_of(patch), course(2_000, 1_500, **how))
    first = next(one for one in found if one.kind == monitor)
    assert first.state == "firing" and first.segment is not None
    assert (first.segment.field, first.segment.value, first.segment.share) == ("zone", "north", 1.0)
    assert 0.1 < first.segment.usual < 0.2 and first.segment.labels >= 3
    assert "; zone north has 100% of it (" in first.reason


def test_a_guard_that_fires_too_early_to_name_a_segment_names_it_once_as_soon_as_it_can() -> None:
    with pytest.MonkeyPatch.context() as patch:
        # six records of the north are needed, and the guard fires before
        patch.setattr(blame, "CHANCE", 1e-4)
        fold = fold_of(patch)
        found = [one for one in told(fold, course(2_000, 1_500, weight=60.0)) if one.kind == "range"]
    alert, later, *more = found
    assert (alert.segment, alert.state) == (None, "firing") and not any(one.state == "firing" for one in more)
    assert later.segment is not None and (later.segment.value, later.segment.labels) == ("north", 6)
    assert (later.episode, later.suggested_action, later.severity) == (alert.episode, "none", "info")
    assert later.detected_at["position"] > alert.detected_at["position"] and later.since == alert.since
    assert later.causes == ["weight left its range where zone is north"]
    ids = [request.event.id for request in fold.drift.requests]
    assert len(ids) == len(set(ids))


def test_a_value_that_breaks_everywhere_is_no_segments() -> None:
    log = [
        msgspec.structs.replace(one, x=[99.0, one.x[1]])
        if isinstance(one, Sample) and one.origin.offset >= 1_500
        else one
        for one in course(1_600, 9_999)
    ]
    with pytest.MonkeyPatch.context() as patch:
        found = told(fold_of(patch), log)
    first = next(one for one in found if one.kind == "range")
    assert first.segment is None and " of it (" not in first.reason


def test_a_loss_of_skill_names_the_segment_that_lost_it_and_its_budget() -> None:
    with pytest.MonkeyPatch.context() as patch:
        found = told(fold_of(patch, guard=False), course(6_000, 4_000, wrong=True))
    about = [one for one in found if one.kind in ("harm", "adwin", "segment") and one.state == "firing"]
    assert about
    for one in about:
        assert one.segment is not None and (one.segment.field, one.segment.value) == ("zone", "north")
        assert one.segment.share > 0.8 and one.detector["params"]["budget_per_year"] == (
            0.2 if one.kind == "segment" else 0.8
        )


def test_what_one_segment_shows_before_the_whole_is_told_under_its_name() -> None:
    with pytest.MonkeyPatch.context() as patch:
        fold = fold_of(patch, guard=False)
        fold.drift.losses = LossMonitor(LossConfig(false_alarms_per_year=0.8))  # which knows nothing yet
        found = [one for one in told(fold, course(9_000, 4_000, wrong=True)) if one.kind == "segment"]
    assert [one.state for one in found][:1] == ["firing"]
    first = found[0]
    assert first.detector["subject"] == "zone is north" and first.severity == "warning"
    assert "lost skill over the base rate where zone is north" in first.reason
    assert first.detector["params"]["budget_segments"] == 9
    assert first.segment is not None and first.segment.value == "north"
    onset = first.since["position"]
    assert onset is not None and 7_000 < onset < 9_000  # the log holds a label for each sample


def test_the_same_log_gives_the_same_events_and_a_snapshot_in_the_middle_changes_none() -> None:
    log = list(course(5_000, 3_000, wrong=True, weight=60.0))
    with pytest.MonkeyPatch.context() as patch:
        straight, again = fold_of(patch), fold_of(patch)
        first = told(straight, log)
        stored, topic = MemoryLog(), topology.samples(PIPELINE.name)
        stored.create(topic)
        stored.append([Out(topic, None, encode_entry(entry), (), 0) for entry in log])
        for position, entry in enumerate(log):
            if position % 2_503 == 2_502:
                again = restore_fold(PIPELINE, take(again, stored.topic_id(topic)), stored, topic)
                assert all(waits.segments for waits in again.pending.values())
            again.step(position, entry)
    assert [request.event.data for request in again.drift.requests] == first
    assert [one for one in first if one.segment is not None]
    assert again.digest() == straight.digest()


def test_a_sample_of_a_definition_with_other_segments_counts_for_none() -> None:
    with pytest.MonkeyPatch.context() as patch:
        fold = fold_of(patch)
        told(fold, course(100, 999))
        for n, values in enumerate((None, ["north"], ["a", "b", "c"])):
            sample = Sample(Origin("late", 0, n), f"late{n}", "van", START_MS, [0.0, 0.0], "", None, values)
            fold.step(fold.position, sample)
            assert fold.pending[f"late{n}"].segments == () and fold.drift.values == ()
        fold.step(fold.position, LabelRecord(Origin("done", 0, 999, 1), "late0", START_MS, True))
    assert fold.counts.joined == 101


def test_an_input_can_be_a_segment_and_then_samples_carry_nothing() -> None:
    pipeline = parcels(views=[], inputs=["weight"], segments=["weight"])
    fold = Fold(pipeline)
    for n in range(40):
        fold.step(n, Sample(Origin("sent", 0, n), f"p{n}", "van", START_MS + n, [float(n % 3)]))
    assert fold.drift.values == (0.0,) and fold.pending["p38"].segments == (2.0,)


def test_without_segments_there_is_nothing_of_them() -> None:
    fold = Fold(parcels(views=[]))
    fold.step(0, Sample(Origin("sent", 0, 0), "p0", "van", START_MS, [1.0]))
    assert fold.drift.segments is None and fold.pending["p0"].segments == ()
    assert budget_of_whole(fold.pipeline) == 1.0 and budget_of_whole(PIPELINE) == 0.8


def test_a_segment_is_shown_as_people_write_it() -> None:
    assert [shown(one) for one in ("UA", None, False, 2.5, 1e15)] == ["UA", "null", "false", "2.5", "1e+15"]
    blamed = SegmentBlamed(field="zone", value=None, share=0.876, labels=5, usual=0.25)
    assert told_of(blamed) == "; zone null has 88% of it (25% of all records)"


def test_numbers_have_segments_as_well_and_without_labels_the_guard_names_them() -> None:
    numbers = parcels(
        views=[], segments=["zone"], model=linear_model.LinearRegression(),
        label=Label(DELIVERED, lambda e: e["late"], fields=("late",)),
    )  # fmt: skip
    unlabelled = parcels(views=[], segments=["zone"], label=None, model=anomaly.HalfSpaceTrees())
    for pipeline in (numbers, unlabelled):
        fold = Fold(pipeline)
        for n in range(60):
            sample = Sample(Origin("s", 0, n), f"p{n}", "van", START_MS + n, [1.0 * n], "", None, ["north"])
            fold.step(fold.position, sample)
            if pipeline is numbers:
                label = LabelRecord(Origin("d", 0, n, 1), f"p{n}", START_MS + n, 2.0 * n)
                fold.step(fold.position, label)
        watch = fold.drift.segments
        assert watch is not None and len(watch.records.open) == 60
        assert watch.losses.labels == (60 if pipeline is numbers else 0)


def test_what_follows_from_a_broken_input_says_in_which_segment_it_broke() -> None:
    log = list(course(6_000, 4_000, wrong=True, weight=60.0))
    with pytest.MonkeyPatch.context() as patch:
        found = told(fold_of(patch), log)
    first = next(one for one in found if one.kind == "range")
    assert first.causes == ["weight left its range where zone is north"]
    later = [one for one in found if first.causes[0] in one.causes and one.kind != "range"]
    assert any("weight left its range where zone is north, and" in one.reason for one in later)


def test_what_moved_in_one_segment_is_told_unless_it_moved_in_the_whole() -> None:
    watch = SegmentWatch(PIPELINE, PIPELINE.vector_names)
    (place, _) = watch.places.take(("north", "left"), 0)
    fires = Transition("psi", "weight", "firing", 1e-9, 1e-6, 0.5, 1, 1, 2, 2)
    (told,) = watch.moved([(place, fires)], {"size"})
    assert told.verb == "note" and told.transition.subject == "weight where zone is north"
    assert (
        told.reason == "the distribution of weight where zone is north moved, and that of the whole did not"
    )
    assert watch.moved([(place, fires)], {"weight"}) == []
    ends = Transition("psi", "weight", "resolved", 0.5, 1e-6, 0.0, 1, 1, 2, 2)
    assert [one.reason for one in watch.moved([(place, ends)], {"weight"})] == [
        "the distribution of weight where zone is north is as before again"
    ]

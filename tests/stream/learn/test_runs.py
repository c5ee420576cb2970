"""A run in C leaves a fold exactly as `Fold.step` does, in all of its state, and publishes the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from river import linear_model, preprocessing, tree

from penstock.monitors.episodes import Transition
from penstock.monitors.quality import repeats
from penstock.stream.definitions import Label, Pipeline
from penstock.stream.learn import births, join_by_id
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.runs import Runs
from penstock.stream.learn.watching.segment_flow import SegmentFlow
from penstock.stream.learn.watching.segments import SegmentWatch
from penstock.stream.learn.watching.watcher import Finding
from penstock.stream.messages import (
    Entry,
    LabelRecord,
    Origin,
    Recipe,
    Sample,
    Tick,
    decode_entry,
    encode_entry,
)
from penstock.stream.models.digest import digest
from tests.stream.generated import MINUTE, PAID, START_MS, cards, parcels
from tests.stream.learn.courses import Course, heavy_is_late, light_is_late, quick_guard, quick_losses
from tests.stream.learn.test_any_course import give, stretches

pytestmark = pytest.mark.skipif(Runs(Fold(cards()))._run is None, reason="it was not built")


def state_of(fold: Fold) -> dict[str, str]:
    """A digest of everything that a fold is, by name."""
    found = {name: digest(value) for name, value in vars(fold).items() if name not in ("pipeline", "drift")}
    return found | {
        f"drift {name}": digest(value) for name, value in vars(fold.drift).items() if name != "requests"
    }


class Told:
    """What a fold published, kept as the shell would: versions go when they are stored."""

    def __init__(self, fold: Fold) -> None:
        self.fold, self.all = fold, list[Any]()

    def take(self) -> None:
        outputs = self.fold.outputs
        said = (
            outputs.predictions,
            outputs.live,
            outputs.history,
            outputs.versions,
            self.fold.drift.requests,
        )
        for place, one in enumerate(said):
            self.all += [(place, repr(each)) for each in one]
            one.clear()  # type: ignore[attr-defined]
        self.all.sort(key=lambda each: each[0])


def in_runs(fold: Fold, log: Sequence[Entry], sizes: Callable[[], int]) -> tuple[int, Told]:
    """Fold a log batch by batch as the worker does; how many records were stepped in runs."""
    runs, told, done = Runs(fold), Told(fold), 0
    place = 0
    while place < len(log):
        batch = list(log[place : place + sizes()])
        positions = list(range(place, place + len(batch)))
        number = 0
        while number < len(batch):
            begun, number = number, runs.run(batch, positions, number)
            done += number - begun
            if number == begun:
                fold.step(positions[number], batch[number])
                number += 1
        place += len(batch)
        told.take()
    return done, told


def stepped(fold: Fold, log: Sequence[Entry]) -> Told:
    told = Told(fold)
    for position, entry in enumerate(log):
        fold.step(position, entry)
    told.take()
    return told


def same(pipeline: Pipeline, log: Sequence[Entry], seed: int = 1, *, prepare: Any = None) -> tuple[int, Fold]:
    """Hold both against each other; how many records were stepped in runs, and the fold."""
    chance = random.Random(seed)
    one, other = Fold(pipeline), Fold(pipeline)
    for fold in (one, other):
        if prepare is not None:
            prepare(fold)
    done, told = in_runs(one, log, lambda: chance.choice([1, 7, 60, 400]))
    assert told.all == stepped(other, log).all
    assert state_of(one) == state_of(other)
    return done, one


@settings(max_examples=15, deadline=None)
@given(
    st.lists(stretches, min_size=3, max_size=12),
    st.sampled_from([4, 6, 9]),
    st.sampled_from([True, "hold", False]),
    st.integers(0, 9),
)
def test_a_run_leaves_the_fold_of_any_course_as_steps_do(
    course_of: list[Any], most: int, guard: Any, seed: int
) -> None:
    pipeline = parcels(views=[], experts=most, guard=guard)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(births, "FREEZE_EVERY", 96)
        patch.setattr(births, "is_due", lambda labels: labels % 70 == 0)

        def prepare(fold: Fold) -> None:
            course = Course(pipeline)
            course.fold = fold
            quick_losses(course)
            if guard:
                quick_guard(course, patch, 200)

        course = Course(pipeline)
        prepare(course.fold)
        course.go(250)
        for kind, number, what in course_of:
            give(course, kind, number, what)
        same(pipeline, course.log, seed, prepare=prepare)


def payments(
    number: int, seed: int, *, late: int = 0, odd: float = 0.0, model: Any = None, pipeline: Any = None
) -> list[Entry]:
    """Samples of three inputs whose labels follow, with ticks; a share of `odd` ones: repeats, lost labels, nulls, strangers."""
    chance, pipeline = random.Random(seed), pipeline or three(model)
    log: list[Entry] = [Recipe(pipeline.digest, pipeline.vector_names, "")]
    waiting: list[LabelRecord] = []
    at = START_MS
    for n in range(number):
        at += chance.randrange(1, 2 * MINUTE)
        x: list[Any] = [chance.gauss(0.0, 1.0) for _ in pipeline.vector_names]
        y = (x[0] if n < number * 2 / 3 else -x[0]) + chance.gauss(0.0, 0.5) > 0.0
        shop = chance.choice("aaab") if n < number * 5 / 6 else chance.choice("bc")
        if shop != "a" and n > number / 2:
            x[0], y = x[0] + 3.0, chance.random() < 0.5
        segments: list[Any] | None = [shop] if pipeline.segments else None
        origin = Origin("paid", n % 3, n)
        sample = Sample(origin, f"p{n}", f"c{n % 9}", at, x, pipeline.digest, None, segments)
        label = LabelRecord(Origin("told", n % 3, n, 1), f"p{n}", at, y)
        if chance.random() < odd:
            kind = chance.randrange(8)
            if kind == 0:
                x[0] = None
            elif kind == 1:
                x[1] = 1e9
            elif kind == 2:
                log.append(sample)
            elif kind == 3:
                label = LabelRecord(label.origin, f"q{n}", at, y)
            elif kind == 4:
                sample = Sample(sample.origin, f"p{n - 1}", "c", at - 90 * MINUTE, x)
            elif kind == 5:
                waiting.append(LabelRecord(Origin("paid", 7, n, 1), f"p{n}", at, not y))
            elif kind == 6:
                log.append(LabelRecord(Origin("paid", 8, n, 1), f"p{n}", at, y))
            else:
                x[2] = "text"
        log.append(sample)
        waiting.append(label)
        while len(waiting) > late:
            log.append(waiting.pop(0))
        if n % 64 == 63:
            log.append(Tick({f"{PAID.name}/{p}": at - MINUTE for p in range(3)}, [], at, 3))
    return [*log, *waiting]


def three(model: Any = None) -> Pipeline:
    """A definition with three inputs and no views."""
    label = Label(PAID, lambda e: e["fraud"], wait="3h", fields=("fraud",))
    model = model or preprocessing.StandardScaler() | linear_model.LogisticRegression()
    return cards(views=[], inputs=["amount", "hour", "online"], label=label, model=model)


@pytest.mark.parametrize("late", [0, 3, 40])
def test_a_long_run_meets_every_block_epoch_hour_and_birth(
    late: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(births, "FREEZE_EVERY", 500)
    monkeypatch.setattr(repeats, "MOST_IDS", 900)
    monkeypatch.setattr(join_by_id, "MOST_REMEMBERED", 900)
    log = payments(5_000, 1, late=late)
    done, fold = same(three(), log, prepare=lambda fold: setattr(fold.drift.skill, "proven", True))
    assert done > 0.6 * len(log)
    assert fold.counts.learned == 5_000 and len(fold.experts.all) > 3


@pytest.mark.parametrize("late", [0, 20])
def test_segments_hear_of_every_record_and_what_they_find_is_told(
    late: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of their three hooks finds something now and then, which may have the leading model kept."""

    def found(monitor: str, at: int, position: int) -> Transition:
        state: Any = "firing" if position % 2 else "resolved"
        where = "shop is b" if monitor != "psi" else "amount"
        return Transition(monitor, where, state, 1.0, 1.0, 1.0, at, position, at, position, {})

    def flowed(self: SegmentFlow, at: int, position: int, sample: Any, said: float) -> list[Finding]:
        forks = position % 3 == 0
        now = position % 211 in (50, 51)
        return [Finding(found("volume", at, position), "warn", "so", forks)] if now else []

    def moved(self: Any, at: int, position: int, *_: Any) -> list[tuple[int, Transition]]:
        return [(0, found("psi", at, position))] if position % 223 in (50, 51) else []

    def lost(self: Any, at: int, position: int, *_: Any) -> list[Finding]:
        now = position % 227 in (50, 51)
        return [Finding(found("segment", at, position), "note", f"so {self.losses}"[:2])] if now else []

    monkeypatch.setattr(SegmentFlow, "sample", flowed)
    monkeypatch.setattr(SegmentWatch, "inputs", moved)
    monkeypatch.setattr(SegmentWatch, "label", lost)
    pipeline = cards(views=[], inputs=["amount", "hour", "online"], segments=("shop",))
    log = payments(2_500, 4, late=late, pipeline=pipeline)
    done, fold = same(pipeline, log)
    assert done > 0.5 * len(log)
    kinds = {one.monitor for one in fold.drift.episodes.open}
    assert kinds & {"volume", "psi", "segment"}


def test_samples_behind_the_clock_wait_from_the_clock_on() -> None:
    log = payments(300, 1, late=5)
    ahead = Tick({f"{PAID.name}/{p}": START_MS + 10**9 for p in range(3)}, [], START_MS, 3)
    done, fold = same(three(), [log[0], ahead, *log[1:]])
    assert done > 200 and min(since for since, _ in fold.join.waiting) == fold.join.clock  # type: ignore[attr-defined]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.sampled_from([0, 1, 30]), st.sampled_from([0.02, 0.3]))
def test_odd_records_are_left_to_the_step(seed: int, late: int, odd: float) -> None:
    same(three(), payments(700, seed, late=late, odd=odd), seed)


@pytest.mark.parametrize("odd", [2**62, 2**63, 2**64 - 1, -1])
@pytest.mark.parametrize("what", ["sample", "label", "offset"])
def test_numbers_that_no_time_and_no_offset_has_are_left_to_the_step(what: str, odd: int) -> None:
    """Somebody else may write to the log: what decodes is folded."""
    log = payments(300, 2, late=3)
    for place in (150, 151, 320):
        one = log[place]
        if what == "offset" and isinstance(one, Sample | LabelRecord):
            log[place] = structs.replace(one, origin=structs.replace(one.origin, offset=odd))
        elif isinstance(one, Sample if what == "sample" else LabelRecord):
            log[place] = structs.replace(one, at=odd)
    assert all(decode_entry(encode_entry(one)) for one in log)
    same(three(), log)


def test_models_that_fail_and_models_of_python_are_asked_and_taught_as_ever() -> None:
    class Failing(linear_model.LogisticRegression):  # type: ignore[misc]
        """It can neither say nor learn anything now and then."""

        def predict_proba_one(self, x: Any) -> Any:
            if x.get("amount", 0.0) > 1.5:
                raise ArithmeticError
            return super().predict_proba_one(x)

        def learn_one(self, x: Any, y: Any, w: float = 1.0) -> None:
            if x.get("amount", 0.0) < -1.5:
                raise ArithmeticError
            super().learn_one(x, y, w)

    for model in (Failing(), tree.HoeffdingTreeClassifier(grace_period=50)):
        done, fold = same(three(model), payments(900, 3, model=model))
        assert done > 900
    assert fold.counts.failed == 0


def test_a_world_that_turns_round_changes_the_lead_as_ever() -> None:
    course = Course(parcels(views=[]))
    quick_losses(course)
    course.go(900, heavy_is_late, noise=0.1)
    course.go(900, light_is_late, noise=0.1)

    def prepare(fold: Fold) -> None:
        one = Course(parcels(views=[]))
        one.fold = fold
        quick_losses(one)

    done, fold = same(parcels(views=[]), course.log, prepare=prepare)
    assert fold.counts.leads > 0 and done > 0.7 * len(course.log)


@pytest.mark.parametrize("asked", [{"approval": True}, {"interval": 0.9}, {"quality": False}])
def test_definitions_of_which_no_record_is_ordinary_and_those_without_quality(asked: dict[str, Any]) -> None:
    pipeline = cards(views=[], inputs=["amount", "hour", "online"], **asked)
    log: list[Entry] = [
        Sample(one.origin, one.id, one.key, one.at, one.x) if isinstance(one, Sample) else one
        for one in payments(400, 5)
        if not isinstance(one, Recipe)
    ]
    done, _ = same(pipeline, log)
    assert (done > 0) == ("quality" in asked)

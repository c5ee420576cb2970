"""Models that give no numbers, or cannot learn, any more: they leave, people are told, and by rule alone."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest

from penstock.stream.learn.engine import said
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.health import FAILURES, RECOVERED
from penstock.stream.learn.learner import vector
from penstock.stream.messages import Command, Entry, LabelRecord, Origin, Sample
from penstock.stream.models.digest import digest
from tests.stream.generated import START_MS, parcels
from tests.stream.learn.courses import Course, light_is_late, quick_losses
from tests.stream.learn.test_fold import Long, X, sample

HUGE = 1e200
NUMBER = iter(range(10**9))


def poison(value: Any = HUGE, *, labelled: bool = True, count: int = 1) -> list[Entry]:
    """Samples with an odd weight, and their labels."""
    made: list[Entry] = []
    for n in range(count):
        event_id, at = f"odd{next(NUMBER)}", START_MS
        made.append(Sample(Origin(f"odd {event_id}", 0, n), event_id, "van", at, [value, *X[1:]]))
        if labelled:
            made.append(LabelRecord(Origin(f"odd {event_id}", 0, n, 1), event_id, at, True))
    return made


def told(fold: Fold) -> list[tuple[str, str, str]]:
    return [
        (r.event.data.state, r.event.data.severity, r.event.id)
        for r in fold.drift.requests
        if r.event.data.kind == "failures"
    ]


def give(long: Long, entries: list[Entry]) -> None:
    for entry in entries:
        long.give(entry)


class Stubborn:
    """Answers, and cannot learn unless `learns`; with None it does not answer either."""

    def __init__(self, p: Any = 0.7, learns: bool = False) -> None:
        self.p, self.learns = p, learns

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        if self.p is None:
            raise ZeroDivisionError
        return {True: self.p}

    def learn_one(self, x: dict[str, Any], y: bool) -> None:
        if not self.learns:
            raise ZeroDivisionError


def test_one_huge_number_costs_what_learned_it_its_place_and_who_never_saw_it_predicts() -> None:
    long = Long(3_000)
    fold = long.fold
    frozen = {one.version for one in fold.experts.models if one.kind == "frozen"}
    before = {one.version for one in fold.experts.models if one.learns}
    assert frozen and "v0" in before
    give(long, poison())
    fold.outputs.predictions.clear()
    long.go(60)
    now = {one.version for one in fold.experts.models}
    assert not now & before, "they all learned it"
    assert frozen <= now, "and copies of before did not"
    first = fold.experts.first
    assert first in fold.experts.all and first.version != "v0" and 0 < first.taught <= 40
    assert all(0.0 <= p.p <= 1.0 for p in fold.outputs.predictions)
    ((state, severity, _),) = told(fold)
    assert (state, severity) == ("firing", "critical")
    long.go(3 * RECOVERED)
    assert [state for state, _, _ in told(fold)] == ["firing", "resolved"]
    assert any("is gone" in live.change for live in fold.outputs.live)


def test_the_same_log_gives_the_same_models_and_the_same_events_also_from_a_snapshot_in_between() -> None:
    folds = []
    for restarts in (False, True):
        long, odd = Long(3_000), [_same(entry) for entry in poison()]
        for entry in [*odd, *long.log[:300]]:
            long.give(entry)
            if restarts and long.fold.experts.first.failures in (1, 3):
                long.fold = pickle.loads(pickle.dumps(_picklable(long.fold)))
                long.fold.pipeline = parcels()
        folds.append(long.fold)
    assert folds[0].digest() == folds[1].digest() and folds[0].counts.failed >= FAILURES
    assert told(folds[0]) == told(folds[1]) != []


def _same(entry: Entry) -> Entry:
    """Under one name whichever run made it."""
    if isinstance(entry, Sample):
        return Sample(Origin("odd", 0, 0), "odd", "van", START_MS, entry.x)
    return LabelRecord(Origin("odd", 0, 0, 1), "odd", START_MS, True)


def _picklable(fold: Fold) -> Fold:
    fold.pipeline = None  # type: ignore[assignment]
    return fold


@pytest.mark.parametrize("count", [1, FAILURES - 1, FAILURES, 3 * FAILURES])
def test_odd_vectors_that_no_model_has_an_answer_to_cost_no_model_its_place(count: int) -> None:
    long = Long(3_000)
    fold = long.fold
    before = [(one.version, digest(one.model)) for one in fold.experts.models]
    give(long, poison("heavy", labelled=False, count=count))
    assert fold.counts.failed == count
    assert [(one.version, digest(one.model)) for one in fold.experts.models] == before
    assert all(p.p == pytest.approx(fold.base) for p in fold.outputs.predictions[-count:]), "the base rate"
    assert len(told(fold)) == (count >= FAILURES)
    long.go(3 * RECOVERED)
    assert fold.experts.first.version == "v0"
    assert [state for state, _, _ in told(fold)] == ["firing", "resolved"] * (count >= FAILURES)


def test_without_any_other_model_a_fresh_one_takes_the_first_ones_place_and_learns() -> None:
    long = Long(500)
    assert len(long.fold.experts.models) == 1
    give(long, poison())
    long.go(60)
    first = long.fold.experts.first
    assert first.version.startswith("v1") and long.fold.version == first.version and first.taught > 10
    assert first.kind == "first" and len(long.fold.experts.models) == 1
    assert long.fold.experts.committed is first
    long.go(300)
    p = said(first.model, vector(long.fold.pipeline.vector_names, X))
    assert p is not None and math.isfinite(p) and p != 0.5
    assert [state for state, _, _ in told(long.fold)] == ["firing", "resolved"]


@pytest.mark.parametrize("answer", [None, math.nan, 1.7, "much"])
def test_a_model_that_raises_or_answers_no_probability_leaves_and_the_others_predict(answer: Any) -> None:
    course = Course()
    course.go(520)
    fresh = course.fold.experts.models[-1]
    fresh.model = Stubborn(answer, learns=True)
    asked = 0
    for _ in range(20 * FAILURES):
        if fresh in course.fold.experts.all:
            asked = fresh.failures
            course.go(1)
    assert fresh not in course.fold.experts.all
    assert asked == FAILURES - 1 and told(course.fold) == [], "it did not lead"
    assert all(math.isfinite(p.p) for p in course.fold.outputs.predictions)
    assert f"{fresh.version} gave no number" in course.fold.outputs.live[-1].change


def test_a_leader_that_fails_is_told_of_once_and_again_when_it_is_over() -> None:
    course = Course()
    course.go(520)
    leader = course.fold.experts.leader
    leader.model = Stubborn(None)
    course.go(FAILURES + RECOVERED - 2)
    assert [state for state, _, _ in told(course.fold)] == ["firing"]
    course.go(3)
    assert [state for state, _, _ in told(course.fold)] == ["firing", "resolved"]
    assert leader not in course.fold.experts.all and course.fold.experts.leader in course.fold.experts.models


def test_when_all_models_fail_the_base_rate_answers_and_a_fresh_one_begins() -> None:
    course = Course()
    course.go(520)
    for one in course.fold.experts.models:
        one.model = Stubborn(None)
    course.fold.outputs.predictions.clear()
    base = course.fold.base
    course.go(1)
    assert course.fold.outputs.predictions[-1].p == pytest.approx(base)
    course.go(2 * FAILURES)
    assert all(not isinstance(one.model, Stubborn) for one in course.fold.experts.models)
    assert course.fold.experts.first.version != "v0"
    course.go(200)
    assert 0.0 < course.fold.outputs.predictions[-1].p < 1.0 and course.fold.counts.taught > 520


def test_a_model_that_can_no_longer_learn_leaves_and_a_fresh_one_takes_the_place_of_the_first() -> None:
    course = Course()
    course.go(520)
    first = course.fold.experts.first
    first.model = Stubborn()
    course.go(FAILURES)
    experts = course.fold.experts
    assert (
        first not in experts.all
        and experts.first.kind == "first"
        and experts.first.born == 520 + FAILURES - 1
    )
    assert "could not learn" in course.fold.outputs.live[-1].change
    assert [state for state, _, _ in told(course.fold)] == ["firing"], "it led"


def test_a_broken_product_of_a_retrain_and_a_broken_frozen_copy_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("penstock.stream.learn.births.FREEZE_EVERY", 200)
    course = Course()
    course.go(350)
    course.command("retrain")
    job = f"c{course.fold.position - 1}"
    course.give(Command(f"adopt-{job}", "adopt", version="x", trained_to=5), Stubborn(None))
    (frozen,) = [one for one in course.fold.experts.models if one.kind == "frozen"]
    frozen.model = Stubborn(None)
    assert "retrained" in course.kinds()
    course.go(8 * FAILURES)
    assert course.kinds() == ["first"]
    assert told(course.fold) == []


def test_who_is_committed_and_fails_is_followed_by_who_leads_also_under_approval() -> None:
    course = Course(parcels(views=[], approval=True))
    course.go(520)
    experts = course.fold.experts
    committed = experts.committed
    committed.model = Stubborn(None)
    course.go(FAILURES + 1)
    assert experts.committed in experts.all and experts.committed is not committed
    assert course.fold.version == experts.committed.version
    assert course.fold.outputs.predictions[-1].weight == 1.0
    assert course.fold.drift.models["committed"] == experts.committed.version


def test_a_pin_ends_with_the_model_it_names() -> None:
    course = Course()
    course.go(520)
    pinned = course.fold.experts.models[-1]
    course.command("rollback", version=pinned.version, pin=True)
    pinned.model = Stubborn(None)
    course.go(FAILURES)
    assert pinned not in course.fold.experts.all and not course.fold.pinned
    assert course.fold.version == course.fold.experts.leader.version


def test_what_was_found_about_a_committed_model_that_is_gone_is_closed() -> None:
    course = Course()
    quick_losses(course)
    course.go(900, noise=0.05)
    course.go(600, light_is_late, noise=0.05)
    assert course.fold.drift.lead is not None and course.fold.experts.committed.version == "v0"
    course.fold.experts.first.model = Stubborn(None)
    course.go(FAILURES, light_is_late)
    assert course.fold.drift.lead is None and course.fold.drift.losses.lead.phase == "ok"
    assert ["lead", "resolved"] in [[data.kind, data.state] for data in course.told()]


@pytest.mark.parametrize("p", [None, 0.7])
def test_with_actions_off_a_model_that_fails_is_counted_and_stays(p: Any) -> None:
    course = Course(actions=False)
    course.fold.experts.first.model = Stubborn(p)
    course.go(3 * FAILURES)
    assert course.fold.counts.failed >= 3 * FAILURES
    assert isinstance(course.fold.experts.first.model, Stubborn) and course.fold.experts.first.version == "v0"
    assert course.fold.drift.requests == []


def test_a_few_failures_are_no_reason() -> None:
    long = Long(3_000)
    long.fold.experts.first.model = Stubborn(None)
    for n in range(FAILURES - 1):
        long.give(sample(10**6 + n, f"s{n}"))
    assert long.fold.experts.first.version == "v0" and told(long.fold) == []

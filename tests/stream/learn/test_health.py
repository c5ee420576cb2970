"""A live model that gives no numbers any more: told once, replaced by one that does, and by rule alone."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest

from penstock.stream.learn.fold import Fold
from penstock.stream.learn.health import FAILURES, RECOVERED
from penstock.stream.learn.learner import said, vector
from penstock.stream.messages import Entry, LabelRecord, Origin, Sample
from penstock.stream.models.digest import digest
from penstock.stream.models.version import dump, restore
from tests.stream.generated import START_MS, parcels
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


def test_one_huge_number_costs_the_live_model_its_place_and_the_newest_kept_version_takes_it() -> None:
    long = Long(6_000)
    fold, anchors = long.fold, long.fold.drift.anchors
    newest = anchors.probation or anchors.current
    assert newest is not None
    was = fold.version
    give(long, poison())
    fold.outputs.predictions.clear()
    long.go(40)
    assert fold.counts.failed == FAILURES
    assert fold.version == newest.version
    assert fold.outputs.live[-1].why == f"in place of {was}, which gave no number {FAILURES} times in a row"
    ((state, severity, event_id),) = told(fold)
    assert (state, severity) == ("firing", "critical")
    assert (
        f"{newest.version}, as it was kept, is live in its place" in fold.drift.requests[-1].event.data.reason
    )
    halves = [p.p == 0.5 for p in fold.outputs.predictions]
    assert sum(halves) == FAILURES - 1 and not any(halves[-10:])
    long.go(3 * RECOVERED)
    assert [state for state, _, _ in told(fold)] == ["firing", "resolved"]
    assert not fold.drift.is_open
    assert event_id == told(copy.deepcopy(fold, {id(fold.pipeline): fold.pipeline}))[0][2]


def test_the_same_log_gives_the_same_model_and_the_same_events_also_from_a_snapshot_in_between() -> None:
    folds = []
    for restarts in (False, True):
        long, odd = Long(6_000), poison()
        odd = [_same(entry) for entry in odd]
        for entry in [*odd, *long.log[:400]]:
            long.give(entry)
            if restarts and long.fold.failed_samples.length in (1, 3):
                long.fold = pickle.loads(pickle.dumps(_picklable(long.fold)))
                long.fold.pipeline = parcels()
        folds.append(long.fold)
    assert folds[0].digest() == folds[1].digest() and folds[0].counts.failed == FAILURES
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
def test_odd_vectors_that_no_model_has_an_answer_to_do_not_cost_a_sound_model_its_place(count: int) -> None:
    long = Long(6_000)
    before, was = digest(long.fold.champion), long.fold.version
    give(long, poison("heavy", labelled=False, count=count))
    assert (long.fold.counts.failed, long.fold.version) == (count, was)
    assert digest(long.fold.champion) == before
    assert len(told(long.fold)) == (count >= FAILURES)
    long.go(4 * RECOVERED)
    assert long.fold.version.split(".")[0] != "v0"
    assert [state for state, _, _ in told(long.fold)] == ["firing", "resolved"] * (count >= FAILURES)


def test_a_kept_version_that_fails_as_well_is_passed_over_for_an_older_one() -> None:
    long = Long(7_000)
    kept = long.fold.drift.anchors.kept
    assert len(kept) >= 3
    long.fold.drift.anchors.probation = None
    ruined = restore(kept[-1].payload)
    for n in range(3):
        ruined.learn_one(vector(long.fold.pipeline.vector_names, [HUGE * (n + 1), *X[1:]]), True)
    assert said(ruined, vector(long.fold.pipeline.vector_names, X)) is None
    kept[-1].frozen.model, kept[-1].payload = ruined, dump(ruined)
    older = kept[-2].version
    give(long, poison())
    long.go(40)
    assert long.fold.version == older


def test_without_any_version_a_fresh_model_takes_its_place_and_learns() -> None:
    long = Long(500)
    assert long.fold.drift.anchors.probation is None and long.fold.drift.anchors.kept == []
    give(long, poison())
    learned = digest(long.fold.champion)
    long.go(60)
    assert long.fold.version == "v0" and long.fold.outputs.live[-1].why.startswith("in place of v0")
    assert digest(long.fold.champion) != learned
    long.go(400)
    p = said(long.fold.champion, vector(long.fold.pipeline.vector_names, X))
    assert p is not None and math.isfinite(p) and p != 0.5


class Stubborn:
    """Answers, and cannot learn."""

    def __init__(self, p: float | None = 0.7) -> None:
        self.p = p

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        if self.p is None:
            raise ZeroDivisionError
        return {True: self.p}

    def learn_one(self, x: dict[str, Any], y: bool) -> None:
        raise ZeroDivisionError


def test_a_model_that_can_no_longer_learn_gives_way_to_one_that_can() -> None:
    long = Long(6_000)
    newest = long.fold.drift.anchors.probation or long.fold.drift.anchors.current
    assert newest is not None
    long.fold.champion = Stubborn()
    long.go(60)
    assert long.fold.version == newest.version and long.fold.counts.failed == FAILURES
    assert "could not learn" in long.fold.outputs.live[-1].why
    assert [state for state, _, _ in told(long.fold)] == ["firing"]


def test_no_version_is_born_from_a_model_that_fails() -> None:
    long = Long(6_000)
    long.fold.drift.anchors.probation = None
    long.fold.champion = Stubborn(None)
    versions = long.fold.version_count
    for n in range(FAILURES - 1):
        long.give(sample(10**6 + n, f"s{n}"))
    long.go(1)
    assert long.fold.version_count == versions


def test_a_candidate_and_an_anchor_that_give_no_numbers_are_dropped() -> None:
    long = Long(6_000)
    long.command("retrain", from_position=100)
    job = f"c{long.fold.position - 1}"
    from penstock.stream.messages import Command

    long.give(
        Command(f"adopt-{job}", "adopt", version="x", from_position=100, trained_to=5_000), Stubborn(None)
    )
    assert long.fold.candidate is not None
    anchor = long.fold.drift.anchors.current
    assert anchor is not None
    anchor.frozen.model = Stubborn(None)
    long.go(60)
    assert long.fold.candidate is None and long.fold.drift.candidate is None
    assert long.fold.drift.anchors.find(anchor.version) is None
    assert any("gave no number" in live.change for live in long.fold.outputs.live)
    assert told(long.fold) == []


def test_with_actions_off_a_model_that_fails_is_counted_and_stays() -> None:
    fold = Fold(parcels(), actions=False)
    fold.champion = Stubborn(None)
    for n in range(3 * FAILURES):
        fold.step(n, sample(n))
    assert fold.counts.failed == 3 * FAILURES and isinstance(fold.champion, Stubborn)

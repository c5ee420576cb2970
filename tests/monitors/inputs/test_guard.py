"""The range and null guard: what fires, what does not, when it ends."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.monitors.episodes import Transition
from penstock.monitors.inputs.guard import RangeGuard
from penstock.monitors.inputs.ranges import ColumnRange, Value, summarise
from penstock.monitors.inputs.violations import Violations

SECOND_MS = 1_000
Row = tuple[Value, ...]


def ordinary(seed: int, samples: int) -> list[Row]:
    """A delay with a heavy tail, an hour, a carrier."""
    rng = np.random.default_rng(seed)
    delay = rng.gamma(0.5, 40, samples) - 8
    return list(
        zip(
            delay.tolist(),
            rng.integers(0, 24, samples).astype(float).tolist(),
            rng.choice(["UA", "DL", "B6"], samples).tolist(),
            strict=True,
        )
    )


def feed(guard: RangeGuard, rows: Sequence[Row], start: int = 0, learn: bool = True) -> list[Transition]:
    said: list[Transition] = []
    for place, row in enumerate(rows, start):
        said += guard.update(place * 100 * SECOND_MS, place, row, learn)
    return said


def learned() -> RangeGuard:
    guard = RangeGuard(["delay", "hour", "carrier"])
    assert feed(guard, ordinary(1, 12_000)) == []
    return guard


def polluted(seed: int, samples: int, factor: float) -> list[Row]:
    """A sixth of the samples sends the delay in another unit."""
    rng = np.random.default_rng(seed)
    return [
        (float(row[0] or 0) * factor, *row[1:]) if rng.random() < 1 / 6 else row
        for row in ordinary(seed, samples)
    ]


def test_a_year_of_ordinary_samples_fires_nothing() -> None:
    assert feed(RangeGuard(["delay", "hour", "carrier"]), ordinary(2, 60_000)) == []


@pytest.mark.parametrize("factor", [60.0, 60_000.0])
def test_one_producer_in_another_unit_fires_within_a_hundred_samples(factor: float) -> None:
    (fired, *_) = feed(learned(), polluted(3, 400, factor), start=12_000)
    assert (fired.monitor, fired.subject, fired.state) == ("range", "delay", "firing")
    assert fired.position - 12_000 <= 100
    assert 12_000 <= fired.since_position <= fired.position
    assert 0 < fired.effect <= 1


def test_a_single_outlier_and_a_pair_of_them_fire_nothing() -> None:
    guard = learned()
    rows = ordinary(4, 5_000)
    for place in (100, 2_000, 2_001, 4_000):
        rows[place] = (1e9, *rows[place][1:])
    assert feed(guard, rows, start=12_000) == []


def test_a_storm_twice_as_large_as_any_before_fires_nothing() -> None:
    guard = learned()
    low, high = guard.bounds()["delay"]
    assert isinstance(high, float)
    rows = [(high * 0.99, *row[1:]) for row in ordinary(5, 500)]
    assert feed(guard, rows, start=12_000) == []
    assert isinstance(low, float)
    assert low < -8


@pytest.mark.parametrize("bad", [None, math.nan])
def test_nulls_in_a_column_that_had_none_fire(bad: Value) -> None:
    (fired, *_) = feed(learned(), [(bad, *row[1:]) for row in ordinary(6, 50)], start=12_000)
    assert (fired.monitor, fired.subject) == ("nulls", "delay")
    assert fired.position - 12_000 <= 10
    assert fired.since_position == 12_000


@pytest.mark.parametrize("bad", ["12", math.inf, -math.inf])
def test_a_wrong_type_or_an_infinite_number_is_out_of_range(bad: Value) -> None:
    (fired, *_) = feed(learned(), [(bad, *row[1:]) for row in ordinary(7, 50)], start=12_000)
    assert (fired.monitor, fired.subject) == ("range", "delay")


def test_a_number_in_a_column_of_text_is_out_of_range() -> None:
    (fired, *_) = feed(learned(), [(*row[:2], 3.0) for row in ordinary(8, 50)], start=12_000)
    assert (fired.monitor, fired.subject) == ("range", "carrier")


def test_it_ends_after_a_run_of_clean_samples_and_names_the_last_violation() -> None:
    guard = learned()
    feed(guard, polluted(9, 1_000, 60_000), start=12_000)
    assert guard.firing == [("range", "delay")]
    said = feed(guard, ordinary(10, 2_000), start=13_000)
    (resolved,) = said
    assert resolved.state == "resolved"
    assert 13_000 + 100 <= resolved.position <= 13_000 + 600
    last = resolved.detail["last_position"]
    assert isinstance(last, int)
    assert 12_950 <= last < 13_000
    assert guard.firing == []


def test_it_goes_on_while_violations_go_on() -> None:
    said = feed(learned(), polluted(11, 6_000, 60_000), start=12_000)
    assert [t.state for t in said] == ["firing"]


def test_polluted_samples_do_not_widen_the_range() -> None:
    guard = learned()
    before = guard.bounds()["delay"]
    feed(guard, polluted(12, 8_000, 60_000), start=12_000)
    after = guard.bounds()["delay"]
    assert isinstance(before[1], float)
    assert isinstance(after[1], float)
    assert after[1] < 2 * before[1]


def test_held_samples_do_not_shape_the_range() -> None:
    guard = learned()
    before = guard.bounds()
    feed(guard, ordinary(13, 5_000), start=12_000, learn=False)
    assert guard.bounds() == before


def test_the_range_follows_a_slow_trend() -> None:
    guard = RangeGuard(["x"])
    rng = np.random.default_rng(14)
    rows: list[Row] = [
        (value,) for value in (rng.standard_normal(60_000) + np.arange(60_000) / 5_000).tolist()
    ]
    assert feed(guard, rows) == []


def test_a_column_often_null_in_runs_is_not_guarded_for_nulls() -> None:
    guard = RangeGuard(["x"])
    rows: list[Row] = [(None,) if i % 500 < 25 else (float(i % 7),) for i in range(30_000)]
    assert feed(guard, rows) == []


def test_a_constant_column_has_no_range() -> None:
    guard = RangeGuard(["x"])
    feed(guard, [(0.0,)] * 12_000)
    assert feed(guard, [(1.0,)] * 100, start=12_000) == []


def test_what_lies_outside_is_named_sample_by_sample_whether_it_fires_or_not() -> None:
    guard = learned()
    usual = ordinary(40, 3)
    for row, outside in (
        (usual[0], ()),
        ((1e9, *usual[1][1:]), ("delay",)),
        ((1e9, -5e5, usual[1][2]), ("delay", "hour")),
        ((None, *usual[1][1:]), ()),
        (("soon", *usual[1][1:]), ("delay",)),
        (usual[2], ()),
    ):
        feed(guard, [row], start=12_000 + guard.samples)
        assert guard.outside == outside
    assert guard.firing == []


def test_before_its_range_is_learned_nothing_lies_outside() -> None:
    guard = RangeGuard(["delay", "hour", "carrier"])
    feed(guard, [(1e9, *row[1:]) for row in ordinary(41, 50)])
    assert guard.outside == ()


def test_what_is_accepted_ends_with_a_transition_and_is_learned_anew() -> None:
    guard = learned()
    assert guard.accept(0, 12_000) == [], "nothing fires"
    (fired, *_) = feed(guard, polluted(3, 400, 60.0), start=12_000)
    assert guard.firing == [("range", "delay")]
    (ended,) = guard.accept(12_400 * 100 * SECOND_MS, 12_400)
    assert (ended.monitor, ended.subject, ended.state, ended.position) == (
        "range",
        "delay",
        "resolved",
        12_400,
    )
    assert (ended.since_ms, ended.since_position) == (fired.since_ms, fired.since_position)
    assert guard.firing == [] and guard.accept(0, 12_401) == []
    assert guard.bounds()["delay"] == (-math.inf, math.inf) != guard.bounds()["hour"]
    assert feed(guard, polluted(42, 2_500, 60.0), start=12_400) == [], "what comes now is the usual"
    assert guard.outside == ()


def test_only_what_is_meant_is_accepted() -> None:
    guard = learned()
    feed(guard, polluted(3, 400, 60.0), start=12_000)
    feed(guard, [(row[0], None, row[2]) for row in polluted(43, 200, 60.0)], start=12_400)
    assert set(guard.firing) == {("range", "delay"), ("nulls", "hour")}
    (ended,) = guard.accept(0, 12_600, ("range",))
    assert (ended.monitor, ended.subject) == ("range", "delay")
    assert guard.firing == [("nulls", "hour")]
    (ended,) = guard.accept(0, 12_601)
    assert (ended.monitor, ended.subject) == ("nulls", "hour") and guard.firing == []


def test_a_row_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 values"):
        RangeGuard(["a", "b"]).update(0, 0, (1.0,))


@given(st.integers(0, 2**32), st.integers(1, 5_600), st.integers(400, 2_000))
@settings(max_examples=20)
def test_quantiles_from_extremes_are_those_of_all_samples(seed: int, samples: int, epoch: int) -> None:
    values = np.random.default_rng(seed).standard_t(2, samples).tolist()
    column = ColumnRange(1.0)
    for start in range(0, len(values), epoch):
        column.add(summarise(values[start : start + epoch], -math.inf, math.inf))
    low, high, _ = column.quantiles()
    rank = max(round(0.0005 * len(values)), 1)
    ordered = sorted(values)
    assert (low, high) == (ordered[rank - 1], ordered[-rank])


hits = st.lists(st.integers(1, 60), min_size=1, max_size=12)


@given(hits)
def test_folding_clean_samples_in_equals_taking_them_one_by_one(gaps: list[int]) -> None:
    test = Violations(0.001)
    naive, index = 0.0, 0
    for gap in gaps:
        for _ in range(gap - 1):
            naive = (naive + 1) * (1 - test.raised_rate) / (1 - 0.001)
        naive = (naive + 1) * test.raised_rate / 0.001
        index += gap
        test.hit(index, threshold=1e300)
    assert test.statistic == pytest.approx(naive, rel=1e-9)


def test_violations_at_their_usual_rate_fire_no_oftener_than_stated() -> None:
    rng = np.random.default_rng(15)
    test, threshold, alarms, samples = Violations(0.02), 500.0, 0, 200_000
    for index in np.flatnonzero(rng.random(samples) < 0.02).tolist():
        if test.hit(index + 1, threshold):
            alarms += 1
            test.restart()
            test.last_hit = index + 1
    assert samples / max(alarms, 1) >= threshold


@settings(max_examples=10)
@given(st.integers(0, 14_000))
def test_a_pickled_guard_says_the_same_as_one_that_never_stopped(split: int) -> None:
    rows = ordinary(16, 12_000) + polluted(17, 1_000, 60) + ordinary(18, 1_000)
    names = ["delay", "hour", "carrier"]
    expected = feed(RangeGuard(names), rows)
    broken = RangeGuard(names)
    found = feed(broken, rows[:split])
    found += feed(pickle.loads(pickle.dumps(broken)), rows[split:], start=split)
    assert found == expected
    assert [t.state for t in expected] == ["firing", "resolved"]

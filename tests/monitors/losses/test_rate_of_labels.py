"""The rate of labels: of lately, whatever came before, and never far below the truth for long."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.monitors.losses.rate_of_labels import DAY_MS, LONG_MS, SHORT_MS, YEAR_MS, LabelRate

HOUR_MS = 3_600_000


def run(rate: LabelRate, hours: int, per_hour: int, start_hour: int = 0) -> LabelRate:
    for hour in range(start_hour, start_hour + hours):
        rate.count(per_hour, hour * HOUR_MS, (hour + 1) * HOUR_MS)
    return rate


def per_year(per_hour: float) -> float:
    return per_hour * YEAR_MS / HOUR_MS


def test_before_the_first_label_it_is_nothing_and_with_the_first_it_is_finite() -> None:
    assert LabelRate().per_year == 0.0
    rate = LabelRate()
    rate.count(125, 1_000, 1_000)
    assert 0 < rate.per_year < float("inf")


@pytest.mark.parametrize("hours", [1, 5, 24, 100, 3_000])
def test_a_steady_stream_has_its_rate_from_the_start(hours: int) -> None:
    assert run(LabelRate(), hours, 40).per_year == pytest.approx(per_year(40))


def test_traffic_that_grew_counts_within_about_a_day_however_long_the_stream_is() -> None:
    rate = run(LabelRate(), 24 * 365, 10)
    run(rate, 27, 1_000, start_hour=24 * 365)
    assert rate.per_year == pytest.approx(per_year(1_000), rel=0.1)


def test_traffic_that_shrank_is_believed_within_a_month() -> None:
    rate = run(LabelRate(), 24 * 365, 1_000)
    run(rate, 24 * 7, 10, start_hour=24 * 365)
    assert rate.per_year > per_year(500)
    run(rate, 24 * 22, 10, start_hour=24 * 372)
    assert rate.per_year == pytest.approx(per_year(10), rel=0.1)


def test_after_a_pause_the_old_rate_is_back_within_about_a_day() -> None:
    rate = run(LabelRate(), 24 * 60, 100)
    run(rate, 27, 100, start_hour=24 * 160)
    assert rate.per_year == pytest.approx(per_year(100), rel=0.1)


def test_days_and_nights_are_levelled_once_there_was_a_whole_day() -> None:
    rate, found = LabelRate(), list[float]()
    for hour in range(24 * 40):
        rate.count(100 if hour % 24 < 12 else 2, hour * HOUR_MS, (hour + 1) * HOUR_MS)
        found.append(rate.per_year)
    assert all(0.95 * per_year(51) < one < 1.4 * per_year(51) for one in found[24:])
    assert all(one < 1.15 * per_year(51) for one in found[24 * 6 :])


COUNTS = st.lists(st.tuples(st.integers(1, 300), st.integers(-2, 60)), min_size=1, max_size=200)


@given(COUNTS)
def test_it_remembers_little_and_never_says_less_than_the_last_month_held(
    counts: list[tuple[int, int]],
) -> None:
    rate, now, seen = LabelRate(), 100 * DAY_MS, list[tuple[int, int]]()
    for labels, hours in counts:
        start, now = now, now + hours * HOUR_MS
        rate.count(labels, start, now)
        newest = max([start, now, *(at for at, _ in seen)])
        seen.append((newest, labels))
        within = sum(number for at, number in seen if at > newest - 28 * DAY_MS)
        first = 100 * DAY_MS
        assert rate.per_year >= 0.95 * within * YEAR_MS / max(newest - first, 32 * DAY_MS)
        assert len(rate._marks) <= 28 * 12 + 2
        rate = pickle.loads(pickle.dumps(rate))


def test_marks_are_bounded_over_years() -> None:
    assert len(run(LabelRate(), 24 * 365 * 2, 3)._marks) <= 28 * 12 + 2


def naive(rate: LabelRate, window_ms: int) -> float:
    """The newest kept moment at least as old as the window is long, looked for from the newest."""
    since_ms, before = rate._marks[0]
    for at_ms, total in reversed(rate._marks):
        if at_ms <= rate._now_ms - window_ms:
            since_ms, before = at_ms, total
            break
    return (rate._total - before) * YEAR_MS / max(rate._now_ms - since_ms, 1)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(-HOUR_MS, 90 * HOUR_MS)), min_size=1, max_size=60))
def test_both_windows_begin_where_a_search_from_the_newest_moment_finds(steps: list[tuple[int, int]]) -> None:
    rate, at_ms = LabelRate(), 10**12
    for labels, step_ms in steps:
        rate.count(labels, at_ms, at_ms + step_ms)
        at_ms += step_ms
        assert rate.per_year == max(naive(rate, SHORT_MS), naive(rate, LONG_MS))

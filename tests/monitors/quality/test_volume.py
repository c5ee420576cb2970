"""How much comes: halved, doubled and silent streams are found by their calendar, labels by the samples before them."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.monitors.episodes import Transition
from penstock.monitors.quality.buckets import BUCKET_MS, MOST_OPEN, WEEK_MS, Buckets
from penstock.monitors.quality.label_rate import LabelRate
from penstock.monitors.quality.lags import MOST_LAGS, Lags
from penstock.monitors.quality.volume import Volume

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = 1_704_067_200_000 // WEEK_MS * WEEK_MS
BUCKETS_A_DAY = DAY_MS // BUCKET_MS


def by_day(bucket: int) -> float:
    """Events a quarter of an hour: many by day, few at night, half as many at weekends."""
    hour = bucket // 4 % 24
    weekend = 0.5 if bucket // BUCKETS_A_DAY % 7 >= 5 else 1.0
    return (12.0 if 6 <= hour < 22 else 0.3) * weekend


def counts(days: int, seed: int, rate: Callable[[int], float] = by_day, storms: float = 0.0) -> list[int]:
    """Poisson counts; `storms` is the scale of a daily factor, in logarithm."""
    rng = np.random.default_rng(seed)
    factors = np.exp(storms * rng.standard_normal(days) - storms * storms / 2)
    rates = [rate(n) * factors[n // BUCKETS_A_DAY] for n in range(days * BUCKETS_A_DAY)]
    return [int(one) for one in rng.poisson(rates)]


def told(
    volume: Volume, came: list[int], step: Callable[[Volume], Volume] = lambda volume: volume
) -> list[Transition]:
    """All that was found; a tick an hour. A position is the number of events before it."""
    found: list[Transition] = []
    position = 0
    for bucket, count in enumerate(came):
        for n in range(count):
            volume.add(START_MS + bucket * BUCKET_MS + n * BUCKET_MS // count, position)
            position += 1
        if bucket % 4 == 3:
            found += volume.advance(START_MS + (bucket + 1) * BUCKET_MS, position)
            if bucket % 1_000 == 3:
                volume = step(volume)
    return found


def day_of(at_ms: int) -> float:
    return (at_ms - START_MS) / DAY_MS


@pytest.mark.parametrize(("factor", "side"), [(0.5, "low"), (2.0, "high"), (0.0, "silent")])
@pytest.mark.parametrize("rate", [by_day, lambda _: 10.0])
def test_half_twice_and_nothing_are_found_within_two_days_and_over_soon_after(
    factor: float, side: str, rate: Callable[[int], float]
) -> None:
    came = counts(60, 1, rate, storms=0.1)
    begins, ends = 45 * BUCKETS_A_DAY, 48 * BUCKETS_A_DAY
    came[begins:ends] = [round(one * factor) for one in came[begins:ends]]
    fired, over = told(Volume("volume", "orders", 0.3), came)
    assert (fired.monitor, fired.subject, fired.state, over.state) == (
        "volume",
        "orders",
        "firing",
        "resolved",
    )
    assert fired.detail["side"] == side
    assert 44.5 <= day_of(fired.since_ms) <= 45.7
    assert day_of(fired.at_ms) < (45.5 if side == "silent" else 47)
    assert sum(came[: 44 * BUCKETS_A_DAY]) < fired.since_position <= sum(came[: 46 * BUCKETS_A_DAY])
    assert 48 < day_of(over.at_ms) < 51
    if side != "silent":
        assert math.exp(fired.effect) == pytest.approx(factor, rel=0.3)


def test_nights_weekends_and_one_odd_day_are_no_news() -> None:
    came = counts(90, 2)
    assert told(Volume("volume", "orders", 0.3), came) == []
    noon = 60 * BUCKETS_A_DAY + 48
    came[noon : noon + 8] = [one // 3 for one in came[noon : noon + 8]]
    assert told(Volume("volume", "orders", 0.3), came) == []


@pytest.mark.long
@pytest.mark.parametrize("storms", [0.0, 0.15, 0.3])
def test_false_alarms_keep_to_the_budget_where_whole_days_differ(storms: float) -> None:
    """Four streams of a year, one alarm a year allowed: at most four, and twice as many where every third day is
    a third less or more (0.3)."""
    alarms = 0
    for seed in range(4):
        found = told(Volume("volume", "orders", 1.0), counts(365, 10 + seed, storms=storms))
        alarms += sum(one.state == "firing" for one in found)
    assert alarms <= (8 if storms > 0.2 else 4)


def test_a_new_level_is_the_normal_after_two_weeks() -> None:
    days = counts(140, 3)
    came = [2 * one if 60 <= n // BUCKETS_A_DAY < 120 else one for n, one in enumerate(days)]
    found = told(Volume("volume", "orders", 0.3), came)
    assert [one.state for one in found[:3]] == ["firing", "resolved", "firing"]
    assert found[1].detail["reason"] == "it lasts: this is the new level"
    assert 73.5 <= day_of(found[1].at_ms) <= 75
    assert found[2].detail["side"] == "low" and 119 <= day_of(found[2].since_ms) <= 121


@given(st.integers(0, 50))
def test_a_snapshot_in_the_middle_changes_nothing(seed: int) -> None:
    came = counts(30, seed)
    came[25 * BUCKETS_A_DAY : 28 * BUCKETS_A_DAY] = [0] * (3 * BUCKETS_A_DAY)

    def run(step: Callable[[Volume], Volume]) -> list[tuple[Any, ...]]:
        found = told(Volume("volume", "orders", 0.3), came, step)
        return [(one.state, one.statistic, one.since_ms, one.since_position, one.detail) for one in found]

    assert run(lambda volume: volume) == run(lambda volume: pickle.loads(pickle.dumps(volume))) != []


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=60), st.integers(1, 50))
def test_buckets_hold_what_came_in_them_in_order(events: list[tuple[int, bool]], clock: int) -> None:
    """In event-time order but for what is late, which counts in the oldest open bucket."""
    buckets, closed, expected = Buckets(10), [], {}
    until = None
    for position, (at, watched) in enumerate(events):
        first = next(iter(events))[0] // 10
        number = max(at // 10, first if until is None else max(until, first))
        (buckets.add if watched else buckets.beside)(at, position)
        came, beside = expected.get(number, (0, 0))
        expected[number] = (came + watched, beside + (not watched))
        if position % 7 == 6:
            closed += list(buckets.close(clock, position))
            until = max(clock // 10, 0) if clock // 10 > first else until
    closed += list(buckets.close(1_000, len(events)))
    numbers = [one.number for one in closed]
    assert numbers == list(range(numbers[0], 100)) if events else not closed
    assert {one.number: (one.came, one.beside) for one in closed if one.came or one.beside} == expected


def test_buckets_are_bounded_and_pass_over_a_long_gap_in_whole_weeks() -> None:
    buckets = Buckets()
    for n in range(3 * MOST_OPEN):
        buckets.add(n * BUCKET_MS, n)
    closed = list(buckets.close(0, 0)) + list(buckets.close(BUCKET_MS, 0))
    assert len(closed) == 2 * MOST_OPEN
    buckets = Buckets()
    buckets.add(0, 0)
    buckets.add(100 * WEEK_MS + HOUR_MS, 1)
    closed = list(buckets.close(101 * WEEK_MS, 2))
    assert len(closed) < 8 * 7 * BUCKETS_A_DAY
    assert sum(one.came for one in closed) == 2


# -- labels ---------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.integers(1, 6))
def test_labels_are_expected_at_the_lags_at_which_they_came(samples: list[int], lag: int) -> None:
    """Every label comes `lag` buckets later: what is expected is the samples of then, once some hundred were seen."""
    lags = Lags(8, BUCKET_MS)
    came = [0] * 200
    for bucket in range(200):
        count = samples[bucket % len(samples)] + 10
        if bucket >= lag:
            came[bucket] = samples[(bucket - lag) % len(samples)] + 10
            for _ in range(came[bucket]):
                lags.labelled(lag)
        said = lags.add(count)
        if said is not None and bucket > 150:
            assert said == pytest.approx(came[bucket], rel=0.1)


def test_lags_beyond_the_last_count_as_the_last() -> None:
    lags = Lags(10_000, BUCKET_MS)
    assert lags.lags == MOST_LAGS
    lags.labelled(5_000)
    lags.labelled(-3)
    assert lags.add(1) is None


def labelled(
    rate: LabelRate, samples: list[int], delay_h: float, missing: range, seed: int = 1
) -> list[Transition]:
    """A label for each sample after about so many hours; none come in the buckets `missing`, nor later for those."""
    chance = random.Random(seed)
    events: list[tuple[int, int, int]] = []
    for bucket, count in enumerate(samples):
        for _ in range(count):
            at = START_MS + int((bucket + chance.random()) * BUCKET_MS)
            events.append((at, 0, at))
            came = at + int(chance.uniform(0.5, 1.5) * delay_h * HOUR_MS)
            if (came - START_MS) // BUCKET_MS not in missing:
                events.append((came, 1, at))
    found: list[Transition] = []
    hour = 0
    for position, (at, kind, sample_at) in enumerate(sorted(events)):
        if at // HOUR_MS > hour:
            hour = at // HOUR_MS
            found += rate.advance(hour * HOUR_MS, position)
        if kind == 0:
            rate.sample(at, position)
        else:
            rate.arrived(at, position)
            rate.labelled([(sample_at, at, position)])
    return found


def test_labels_that_stop_are_found_within_hours_and_fewer_samples_are_no_lack_of_labels() -> None:
    samples = counts(40, 1)
    missing = range(30 * BUCKETS_A_DAY + 40, 32 * BUCKETS_A_DAY)
    fired, over = labelled(LabelRate("paid", 0.2, 36 * HOUR_MS), samples, 3, missing)
    assert (fired.monitor, fired.subject, fired.detail["side"]) == ("label_rate", "paid", "silent")
    assert 0 <= day_of(fired.since_ms) - (30 + 10 / 24) + 0.02 < 0.1
    assert day_of(fired.at_ms) < 30 + 14 / 24
    assert over.state == "resolved" and 32 < day_of(over.at_ms) < 34
    samples[20 * BUCKETS_A_DAY : 24 * BUCKETS_A_DAY] = [0] * (4 * BUCKETS_A_DAY)
    assert labelled(LabelRate("paid", 0.2, 36 * HOUR_MS), samples, 3, range(0)) == []


def test_half_of_the_labels_are_found_and_a_long_wait_makes_longer_buckets() -> None:
    samples = counts(60, 2)
    rate = LabelRate("paid", 0.2, 30 * DAY_MS)
    every_second = [n for n in range(45 * BUCKETS_A_DAY, 50 * BUCKETS_A_DAY) if n % 2]
    found = labelled(rate, samples, 24, every_second)  # type: ignore[arg-type]
    assert found[0].state == "firing" and found[0].detail["side"] == "low"
    assert 44.5 < day_of(found[0].since_ms) < 46.5
    assert len(pickle.dumps(rate)) < 60_000

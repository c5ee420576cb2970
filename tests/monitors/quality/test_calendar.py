"""What an hour usually brings: by the calendar where there is one, against a naive reading of all hours."""

from __future__ import annotations

import math
import pickle
import random
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.monitors.quality.calendar import (
    BETTER,
    DAYS,
    FORGETTING,
    KINDS,
    LEAST_EXPECTED,
    WEEKS,
    Calendar,
    deviance,
    trimmed_mean,
)
from tests.effort import examples


def told(calendar: Calendar, hours: list[int]) -> Calendar:
    for count in hours:
        calendar.add(count)
    return calendar


def shop(hour: int) -> int:
    """Open by day, closed at night and on the seventh day."""
    return 0 if hour % 24 < 8 or hour // 24 % 7 == 6 else 60


class Naive:
    """Every hour kept, and everything computed from all of them each time."""

    def __init__(self) -> None:
        self.hours: list[int | None] = []
        self.lost = dict.fromkeys(KINDS, 0.0)
        self.kind: str | None = None

    def says(self) -> dict[str, float | None]:
        size, hours = len(self.hours), self.hours
        kept = range(max(0, size - WEEKS * 168), size)
        plain = [hours[n] for n in kept if hours[n] is not None]
        day = [
            hours[n] for n in kept if hours[n] is not None and (size - n) % 24 == 0 and size - n <= DAYS * 24
        ]
        week = [hours[n] for n in kept if hours[n] is not None and (size - n) % 168 == 0]

        def trimmed(cells: list[int]) -> float:
            return mean(sorted(cells)[1:-1]) if len(cells) >= 5 else mean(cells)

        return {
            "plain": max(mean(plain), LEAST_EXPECTED) if len(plain) >= 72 else None,
            "day": max(trimmed(day), LEAST_EXPECTED) if len(day) >= 7 else None,  # type: ignore[arg-type]
            "week": max(trimmed(week), LEAST_EXPECTED) if len(week) >= 3 else None,  # type: ignore[arg-type]
        }

    def add(self, count: int | None) -> None:
        if count is not None:
            known = {kind: deviance(count, one) for kind, one in self.says().items() if one is not None}
            for kind in KINDS:
                self.lost[kind] = FORGETTING * self.lost[kind] + known.get(
                    kind, min(known.values(), default=0.0)
                )
        self.hours.append(count)
        able = [kind for kind in KINDS if self.says()[kind] is not None]
        best = min(able, key=lambda kind: self.lost[kind], default=None)
        if best is None:
            self.kind = None
        elif self.kind not in able or self.lost[best] < BETTER * self.lost[self.kind]:
            self.kind = best


@settings(max_examples=examples(60))
@given(st.integers(0, 10_000), st.sampled_from([0.5, 3.0, 40.0]), st.booleans(), st.integers(1, 700))
def test_what_is_expected_is_what_a_naive_reading_of_all_hours_says(
    seed: int, rate: float, gaps: bool, size: int
) -> None:
    chance = random.Random(seed)
    calendar, naive = Calendar(), Naive()
    for hour in range(size):
        count = round(chance.expovariate(1 / rate)) * (hour % 24 > 7)
        given_now = None if gaps and chance.random() < 0.2 else count
        calendar.add(given_now)
        naive.add(given_now)
        if hour % 97 == 0 or hour == size - 1:
            assert calendar.kind == naive.kind
            said = None if naive.kind is None else naive.says()[naive.kind]
            assert calendar.expected == (said if said is None else pytest.approx(said))


def test_a_week_is_followed_once_three_were_seen_and_a_stream_without_one_by_its_plain_rate() -> None:
    calendar = Calendar()
    kinds = []
    for hour in range(6 * 168):
        calendar.add(shop(hour))
        kinds.append(calendar.kind)
    assert kinds[71] == "plain" and kinds[70] is None
    assert kinds[8 * 24] == "day"
    assert kinds[-1] == "week"
    assert kinds.index("week") >= 3 * 168 - 1
    assert [calendar.ahead(hours) for hours in (7, 12, 6 * 24 + 12)] == [LEAST_EXPECTED, 60, LEAST_EXPECTED]
    chance = random.Random(1)
    flat = told(Calendar(), [chance.randrange(20, 40) for _ in range(6 * 168)])
    assert flat.kind == "plain" and flat.expected == pytest.approx(29.5, abs=1)


def test_one_holiday_is_not_the_next_weeks_normal_and_what_was_odd_can_be_forgotten() -> None:
    hours = [shop(hour) for hour in range(6 * 168)]
    holiday = list(hours)
    holiday[5 * 168 : 5 * 168 + 24] = [0] * 24
    assert told(Calendar(), holiday).ahead(12) == 60
    calendar = told(Calendar(), [*hours, *[600] * 48])
    assert calendar.forget_since(48) == [600] * 48
    assert calendar.ahead(5 * 24 + 12) == 60
    assert calendar.expected == calendar.ahead(0)
    calendar.learn_anew([7] * 24 * 8)
    assert calendar.expected == 7


def test_the_state_is_bounded_and_can_be_kept() -> None:
    calendar = told(Calendar(), [shop(hour) for hour in range(20 * 168)])
    kept = pickle.loads(pickle.dumps(calendar))
    assert len(pickle.dumps(calendar)) < 20_000
    for one in (calendar, kept):
        told(one, [shop(hour) for hour in range(200)])
    assert (kept.kind, kept.expected) == (calendar.kind, calendar.expected)


def test_surprise_is_nothing_where_what_was_expected_came_and_bounded() -> None:
    assert deviance(0, 0.02) == pytest.approx(0.04)
    assert deviance(10_000, 1.0) == 20
    assert trimmed_mean([1, 2, 3, 4, 1_000]) == 3
    assert math.isclose(trimmed_mean([2, 4]), 3)

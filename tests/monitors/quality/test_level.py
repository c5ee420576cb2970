"""Levels of blocks: a change is found on its side with its onset, noise is not, and what lasts is the new level."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.monitors.episodes import Transition
from penstock.monitors.quality.delay import BLOCK_LABELS, Delay
from penstock.monitors.quality.level import LEAST_BLOCKS, Level, Place
from penstock.monitors.quality.stuck import BLOCK_SAMPLES, Stuck

HOUR_MS = 3_600_000
MINUTE_MS = 60_000


def told(
    level: Level,
    values: Sequence[float],
    start: int = 0,
    step: Callable[[Level], Level] = lambda level: level,
) -> list[Transition]:
    """All that was found; block n lies in hour n, at the positions from 100 n on."""
    found: list[Transition] = []
    for number, value in enumerate(values, start):
        block = Place(number * HOUR_MS, 100 * number), Place((number + 1) * HOUR_MS, 100 * number + 99)
        found += level.update(value, *block)
        if number % 50 == 7:
            level = step(level)
    return found


def noise(number: int, seed: int, correlation: float = 0.0, tails: bool = False) -> list[float]:
    """Values about 3 with a scale of 0.1."""
    chance, last, made = random.Random(seed), 0.0, []
    for _ in range(number):
        shock = chance.gauss(0, 1)
        if tails:  # Student's t with 3 degrees of freedom
            shock /= (sum(chance.gauss(0, 1) ** 2 for _ in range(3)) / 3) ** 0.5
        last = correlation * last + (1 - correlation**2) ** 0.5 * shock
        made.append(3 + 0.1 * last)
    return made


@given(st.integers(0, 1_000), st.sampled_from([-0.7, 0.7]), st.integers(4 * LEAST_BLOCKS, 300))
def test_a_move_is_found_on_its_side_from_where_it_began_and_again_over(
    seed: int, move: float, before: int
) -> None:
    values = [*noise(before + 10, seed), *[one + move for one in noise(60, seed + 1)], *noise(200, seed + 2)]
    found = told(Level("volume", "x", 0.3, 0.1), values)
    first, last = found[0], found[-1]
    assert [one.state for one in found] == ["firing", "resolved"]
    assert first.detail["side"] == ("high" if move > 0 else "low")
    assert abs(first.since_position - 100 * (before + 10)) <= 300
    assert first.position <= 100 * (before + 10 + 30)
    assert first.effect == pytest.approx(move, abs=0.2)
    assert 100 * (before + 70) <= last.position <= 100 * (before + 70 + 60)
    assert last.since_position == first.since_position


def test_moves_within_the_margin_and_on_the_other_side_are_no_news() -> None:
    assert told(Level("volume", "x", 0.5, 0.1), [*noise(200, 1), *[one + 0.3 for one in noise(300, 2)]]) == []
    assert (
        told(Level("stuck", "x", 0.3, 0.1, ("high",)), [*noise(200, 1), *[one - 2 for one in noise(300, 2)]])
        == []
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("correlation", "tails"), [(0.0, False), (0.5, False), (0.8, False), (0.0, True), (0.5, True)]
)
def test_false_alarms_keep_to_the_budget_on_correlated_and_heavy_tailed_blocks(
    correlation: float, tails: bool
) -> None:
    """Ten streams of a year each at a block an hour, one alarm a year allowed: ten in all, twice as many under strong dependence.

    The margin is as large as the noise.
    """
    alarms = 0
    for seed in range(10):
        found = told(Level("volume", "x", 0.1, 1.0), noise(8_766, seed, correlation, tails))
        alarms += sum(one.state == "firing" for one in found)
    assert alarms <= (20 if correlation > 0.5 else 10)


def test_what_lasts_two_weeks_is_the_new_level_and_a_return_is_a_change() -> None:
    values = [*noise(300, 1), *[one + 1 for one in noise(500, 2)], *noise(200, 3)]
    found = told(Level("label_delay", "x", 0.3, 0.1), values)
    assert [one.state for one in found[:3]] == ["firing", "resolved", "firing"]
    assert found[1].detail["reason"] == "it lasts: this is the new level"
    assert 14 * 24 <= (found[1].at_ms - found[0].since_ms) / HOUR_MS <= 15 * 24
    assert found[2].detail["side"] == "low"
    assert abs(found[2].since_position - 80_000) <= 300


@given(st.integers(0, 200))
def test_a_snapshot_in_the_middle_changes_nothing(seed: int) -> None:
    values = [*noise(150, seed), *[one + 0.8 for one in noise(90, seed)], *noise(100, seed + 7)]

    def run(step: Callable[[Level], Level]) -> list[tuple[Any, ...]]:
        found = told(Level("volume", "x", 0.2, 0.5), values, step=step)
        return [(one.state, one.statistic, one.since_position, one.position, one.effect) for one in found]

    assert run(lambda level: level) == run(lambda level: pickle.loads(pickle.dumps(level))) != []


def test_labels_that_take_twice_as_long_are_found() -> None:
    chance = random.Random(1)
    delay, found = Delay("arrivals", 0.2), []
    for number in range(12_000):
        usual = chance.lognormvariate(0, 0.5) * 150 * MINUTE_MS
        taken = usual * (2 if number >= 9_000 else 1)
        found += delay.label(round(taken), number * MINUTE_MS, number)
    (fired,) = found
    assert (fired.monitor, fired.subject, fired.detail["side"]) == ("label_delay", "arrivals", "high")
    assert abs(fired.since_position - 9_000) <= 2 * BLOCK_LABELS
    assert fired.detail["usual_s"] == pytest.approx(150 * 60, rel=0.1)
    assert fired.detail["median_s"] == pytest.approx(300 * 60, rel=0.2)


def stuck(column: Sequence[Any]) -> list[Transition]:
    one, found = Stuck("heat", 0.1), []
    for n in range(0, len(column), BLOCK_SAMPLES):
        end = n + BLOCK_SAMPLES - 1
        found += one.block(column[n : end + 1], Place(n * MINUTE_MS, n), Place(end * MINUTE_MS, end))
    return found


def test_a_sensor_that_no_longer_moves_is_found_and_what_never_moved_is_no_news() -> None:
    chance = random.Random(1)
    usual: list[Any] = [round(chance.gauss(20, 5)) for _ in range(12_000)]
    broken = [28 if chance.random() < 0.5 else one for one in usual[:3_000]]
    (fired,) = stuck([*usual, *broken])
    assert (fired.monitor, fired.subject, fired.state) == ("stuck", "heat", "firing")
    assert abs(fired.since_position - 12_000) <= 2 * BLOCK_SAMPLES
    assert fired.detail["value"] == 28 and fired.detail["share"] > 0.4
    assert fired.detail["usual_share"] == pytest.approx(0.022, abs=0.01)
    assert stuck(usual) == []
    # a frequent value that becomes more frequent is a distribution that moves, and a seldom one that stays seldom is no news
    assert stuck([*usual, *[20 if chance.random() < 0.4 else one for one in usual[:3_000]]]) == []
    assert stuck([*usual, *[35 if chance.random() < 0.1 else one for one in usual[:3_000]]]) == []
    assert stuck([1.0] * 12_000) == []
    assert stuck([None] * 12_000) == []
    # nulls are the guard's business
    assert stuck([*usual, *[None] * 3_000]) == []
    nan = float("nan")
    assert stuck([*usual, *[nan if n % 2 else one for n, one in enumerate(usual[:3_000])]]) == []
    assert [one.state for one in stuck([*(str(one) for one in usual), *["x"] * 2_000])] == ["firing"]

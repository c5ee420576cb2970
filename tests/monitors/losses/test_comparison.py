"""A paired comparison: right about as often as it says, whatever hangs together, and the same from either side."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.monitors.losses.comparison import compare, log_losses, roc_auc
from penstock.monitors.losses.drift import log_loss
from tests.effort import examples


def noise(labels: int, memory: float, chance: np.random.Generator) -> np.ndarray:
    """Differences without a mean, half of them weather that lasts for 1 / (1 - memory) labels."""
    weather = np.empty(labels)
    level = chance.normal()
    fresh = chance.normal(size=labels) * math.sqrt(1 - memory**2)
    for place in range(labels):
        level = memory * level + fresh[place]
        weather[place] = level
    return 0.1 * chance.standard_t(4, size=labels) + 0.05 * weather


@pytest.mark.parametrize("memory", [0.0, 0.9, 0.99, 0.997])
def test_the_interval_and_the_e_value_err_no_more_often_than_they_say(memory: float) -> None:
    chance = np.random.default_rng(7)
    found = [compare(noise(6_000, memory, chance)) for _ in range(120)]
    covered = sum(one.low <= 0 <= one.high for one in found if one.low is not None and one.high is not None)
    assert covered >= 0.9 * len(found)
    assert np.mean([min(10**one.log10_e, 1e3) for one in found]) <= 2.0
    assert sum(one.clear for one in found) <= 2


def test_a_naive_interval_would_err_where_events_hang_together() -> None:
    """The test above says something: with independence taken for granted, it fails."""
    chance = np.random.default_rng(7)
    covered = 0
    for _ in range(60):
        found = noise(6_000, 0.98, chance)
        reach = 1.96 * found.std() / math.sqrt(len(found))
        covered += abs(found.mean()) <= reach
    assert covered < 0.8 * 60


def test_a_difference_is_found_and_its_size_lies_in_the_interval() -> None:
    chance = np.random.default_rng(3)
    for _ in range(20):
        found = compare(noise(20_000, 0.9, chance) - 0.02)
        assert found.clear and found.low is not None and found.high is not None
        assert found.low < found.difference < found.high < 0 and abs(found.difference + 0.02) < 0.01


def test_what_keeps_moving_is_not_called_sure() -> None:
    drifting = np.linspace(0.0, 0.2, 5_000)
    assert not compare(drifting).enough and not compare(drifting).clear


@settings(max_examples=examples(100))
@given(st.lists(st.floats(-5, 5), max_size=400), st.floats(0.1, 10))
def test_both_sides_see_the_same(differences: list[float], factor: float) -> None:
    given_ = np.array(differences, dtype=float)
    one, other = compare(given_), compare(-given_)
    assert one.difference == -other.difference and one.block_labels == other.block_labels
    assert math.isclose(one.log10_e, other.log10_e, abs_tol=1e-9)
    if one.low is not None and other.high is not None:
        assert math.isclose(one.low, -other.high, abs_tol=1e-12)
    assert (one.low is None) == (len(differences) < 48)


def test_losses_are_those_of_the_monitors() -> None:
    p = np.array([0.0, 0.004, 0.2, 0.9, 1.0])
    for y in (True, False):
        ours = log_losses(np.full(len(p), y), p)
        assert np.allclose(ours, [log_loss(one, y) for one in p])


def test_an_area_needs_both_outcomes() -> None:
    assert math.isnan(roc_auc(np.array([True]), np.array([0.3])))
    assert roc_auc(np.array([True, False, True, False]), np.array([0.9, 0.2, 0.2, 0.1])) == 0.875

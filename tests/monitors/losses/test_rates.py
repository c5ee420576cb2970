"""Concept drift of 0/1 errors on MOA's Bernoulli streams."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from penstock.monitors.losses.rates import RateRise

ABRUPT = np.concatenate([np.full(1_000, 0.2), np.full(999, 0.8)])
GRADUAL = np.concatenate([np.full(2_000, 0.2), 0.2 + 0.001 * np.arange(1_000)])


def errors(seed: int, rate: np.ndarray) -> list[float]:
    found: list[float] = (np.random.default_rng(seed).random(len(rate)) < rate).astype(float).tolist()
    return found


@pytest.mark.parametrize(("rate", "change", "delay"), [(ABRUPT, 1_000, 20), (GRADUAL, 2_000, 215)])
def test_a_change_is_one_alarm_soon_after_it(rate: np.ndarray, change: int, delay: float) -> None:
    before, after, delays = 0, 0, []
    for seed in range(500, 560):
        test = RateRise()
        steps = [step for step, value in enumerate(errors(seed, rate)) if test.update(value) == "firing"]
        late = [step - change for step in steps if step >= change]
        before += len(steps) - len(late)
        after += len(late)
        delays += late[:1]
    assert before <= 60 * 0.05 + 2 * math.sqrt(3)
    assert after <= 60
    assert np.mean(delays) <= delay


def test_a_rate_that_falls_is_no_alarm() -> None:
    test = RateRise()
    assert "firing" not in [test.update(value) for value in errors(1, 1 - ABRUPT)]


def test_the_base_does_not_learn_from_an_episode() -> None:
    test = RateRise()
    for value in errors(2, ABRUPT):
        test.update(value)
    assert test.base_rate < 0.3


def test_an_error_rate_of_nothing_still_has_a_base() -> None:
    test = RateRise()
    said = [test.update(value) for value in [0.0] * 1_000 + [1.0] * 20]
    assert "firing" in said


def test_a_pickled_test_continues_as_if_nothing_happened() -> None:
    values = errors(3, ABRUPT)
    straight, broken = RateRise(), RateRise()
    expected = [straight.update(value) for value in values]
    found = [broken.update(value) for value in values[:1_003]]
    broken = pickle.loads(pickle.dumps(broken))
    assert found + [broken.update(value) for value in values[1_003:]] == expected


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_a_value_that_is_no_share_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        RateRise().update(value)

"""Block size, scale and clip correction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.monitors.losses.blocks import Floats, calibrate, lag1_correlation, merge, robust_scale


def autoregressive(seed: int, correlation: float, length: int) -> Floats:
    rng = np.random.default_rng(seed)
    values = np.zeros(length)
    noise = rng.standard_normal(length) * np.sqrt(1 - correlation**2)
    for i in range(1, length):
        values[i] = correlation * values[i - 1] + noise[i]
    return values


def test_too_few_blocks_give_no_calibration() -> None:
    assert calibrate(np.zeros(23), 0.1) is None


def test_independent_blocks_are_judged_at_the_smallest_size() -> None:
    found = calibrate(autoregressive(1, 0.0, 224), 0.01)
    assert found is not None
    assert found.multiple == 1


def test_dependent_blocks_are_joined_until_they_are_nearly_independent() -> None:
    found = calibrate(autoregressive(1, 0.6, 2_000), 0.01)
    assert found is not None
    assert found.multiple >= 2
    assert found.correlation <= 0.2 + 0.01 / found.scale


def test_a_wide_margin_allows_more_dependence() -> None:
    values = autoregressive(2, 0.6, 2_000)
    narrow, wide = calibrate(values, 0.01), calibrate(values, 1.0)
    assert narrow is not None
    assert wide is not None
    assert wide.multiple < narrow.multiple


def test_the_largest_size_with_enough_blocks_is_the_last_resort() -> None:
    found = calibrate(np.linspace(0, 1, 100), 1e-6)
    assert found is not None
    assert (found.multiple, found.blocks) == (4, 25)


def test_one_storm_does_not_blind_the_scale() -> None:
    values = np.append(np.random.default_rng(3).standard_normal(200), 1_000.0)
    assert robust_scale(values) == pytest.approx(1.0, abs=0.3)


def test_a_constant_difference_has_the_margin_for_scale() -> None:
    found = calibrate(np.zeros(50), 0.2)
    assert found is not None
    assert found.scale == pytest.approx(0.1)
    assert lag1_correlation(np.zeros(50)) == 0.0


@given(st.lists(st.floats(-100, 100), min_size=24, max_size=80), st.floats(1e-6, 10), st.floats(-1e6, 1e6))
def test_a_standardised_value_is_never_below_minus_one(
    values: list[float], margin: float, difference: float
) -> None:
    found = calibrate(values, margin)
    assert found is not None
    assert found.standardise(difference, margin) >= -1


@given(st.lists(st.floats(-1e3, 1e3), min_size=24, max_size=120), st.floats(1e-3, 10))
def test_the_reference_itself_has_mean_z_of_at_most_zero(values: list[float], margin: float) -> None:
    centred = np.array(values) - np.mean(values)
    found = calibrate(centred, margin)
    assert found is not None
    means = merge(centred, found.multiple)
    z = [found.standardise(float(value - means.mean()), margin) for value in means]
    assert np.mean(z) <= 1e-9


def test_merging_leaves_out_the_oldest_incomplete_group() -> None:
    assert merge(np.array([9.0, 1.0, 3.0, 5.0, 7.0]), 2).tolist() == [2.0, 6.0]

"""The e-detector against a naive oracle, its stated run length, and its states."""

from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.monitors.losses.edetector import LAMBDAS, ONSET_LAMBDA, EDetector

zs = st.lists(st.floats(-1.0, 5.0), min_size=1, max_size=60)


def naive_shiryaev_roberts(values: list[float]) -> float:
    """Sum over every possible change point of the product of bets since it, averaged over the bets."""
    total = 0.0
    for bet in LAMBDAS:
        total += sum(math.prod(1 + bet * z for z in values[start:]) for start in range(len(values)))
    return total / len(LAMBDAS)


@given(zs)
def test_the_statistic_is_the_sum_over_all_change_points(values: list[float]) -> None:
    detector = EDetector(threshold=1e300)
    for z in values:
        detector.update(z)
    assert detector.statistic == pytest.approx(naive_shiryaev_roberts(values), rel=1e-9)


@given(zs)
def test_the_onset_lies_between_the_best_one_and_the_last_that_is_not_twenty_times_less_likely(
    values: list[float],
) -> None:
    detector = EDetector(threshold=1e300)
    for z in values:
        detector.update(z)
    gains = [math.log1p(ONSET_LAMBDA * z) for z in values]
    since = [math.fsum(gains[start:]) for start in range(len(values))]  # of every possible onset
    first = detector.onset_step - 1
    assert max(since) - since[first] < 1e-9 or max(since) < 1e-9
    assert since[first] - since[detector.onset_to_step - 1] <= math.log(20) + 1e-9
    assert (
        all(since[first] - later > math.log(20) - 1e-9 for later in since[detector.onset_to_step :])
        and first < detector.onset_to_step
    )


@given(zs, st.floats(2, 500))
def test_it_fires_at_the_first_statistic_at_or_above_the_threshold(
    values: list[float], threshold: float
) -> None:
    detector = EDetector(threshold)
    fired = next((i for i, z in enumerate(values) if detector.update(z) == "firing"), None)
    statistics = [naive_shiryaev_roberts(values[: i + 1]) for i in range(len(values))]
    # A statistic that equals the threshold but for rounding may go either way.
    surely = next((i for i, value in enumerate(statistics) if value >= threshold * (1 + 1e-9)), None)
    perhaps = next((i for i, value in enumerate(statistics) if value >= threshold * (1 - 1e-9)), None)
    assert fired in (surely, perhaps)


@given(st.lists(st.floats(-1.0, 5.0), max_size=200), st.floats(2, 200))
def test_states_follow_each_other_in_order(values: list[float], threshold: float) -> None:
    detector = EDetector(threshold)
    said = [state for z in values if (state := detector.update(z))]
    allowed = {
        (None, "suspected"), (None, "firing"), ("suspected", "firing"), ("suspected", "resolved"),
        ("firing", "resolved"), ("resolved", "suspected"), ("resolved", "firing"),
    }  # fmt: skip
    assert set(itertools.pairwise([None, *said])) <= allowed


def test_the_mean_run_length_without_a_change_is_at_least_the_threshold() -> None:
    rng = np.random.default_rng(4)
    threshold, lengths = 50.0, []
    for _ in range(300):
        detector = EDetector(threshold)
        # Two-point noise with mean exactly 0 attains the supermartingale's equality most nearly.
        lengths.append(
            next(i for i in itertools.count(1) if detector.update(rng.choice((-0.5, 0.5))) == "firing")
        )
    mean, error = np.mean(lengths), np.std(lengths) / math.sqrt(len(lengths))
    assert mean + 2 * error >= threshold
    assert mean < 4 * threshold


@pytest.mark.parametrize(("shift", "at_most"), [(0.5, 40), (1.0, 15), (2.0, 8)])
def test_a_larger_change_is_found_sooner(shift: float, at_most: float) -> None:
    rng = np.random.default_rng(5)
    delays = []
    for _ in range(60):
        detector = EDetector(500)
        for z in np.clip(rng.standard_normal(100), -2, 8) / 2:
            if detector.update(float(z)) == "firing":
                detector.restart()
        noise = np.clip(rng.standard_normal(400) * 0.5 + shift, -1, 4)
        delays.append(next(i for i, z in enumerate(noise, 1) if detector.update(float(z)) == "firing"))
    assert np.mean(delays) <= at_most


def test_the_onset_is_the_step_at_which_the_change_began() -> None:
    detector = EDetector(200)
    for _ in range(50):
        detector.update(-0.3)
    while detector.phase != "firing":
        detector.update(0.8)
    assert detector.onset_step == 51


def test_the_end_does_not_wait_longer_the_longer_it_has_fired() -> None:
    def steps_to_resolve(steps_firing: int) -> int:
        detector = EDetector(200)
        for _ in range(steps_firing):
            detector.update(1.0)
        return next(i for i in itertools.count(1) if detector.update(-0.5) == "resolved")

    assert steps_to_resolve(200) == steps_to_resolve(2_000) < 60


def test_evidence_stays_finite_for_ever() -> None:
    detector = EDetector(1e6)
    for _ in range(5_000):
        detector.update(4.0)
    assert math.isfinite(detector.statistic)


@pytest.mark.parametrize("z", [-1.01, math.nan])
def test_a_value_that_would_break_the_bound_is_refused(z: float) -> None:
    with pytest.raises(ValueError, match="at least -1"):
        EDetector(10).update(z)


@pytest.mark.parametrize("threshold", [1.0, 0.0, math.nan])
def test_a_threshold_without_meaning_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        EDetector(threshold)


@given(zs, st.integers(0, 60))
def test_a_pickled_detector_continues_as_if_nothing_happened(values: list[float], split: int) -> None:
    straight, broken = EDetector(20), EDetector(20)
    expected = [straight.update(z) for z in values]
    found = [broken.update(z) for z in values[:split]]
    broken = pickle.loads(pickle.dumps(broken))
    found += [broken.update(z) for z in values[split:]]
    assert found == expected
    assert broken.statistic == straight.statistic

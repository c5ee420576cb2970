"""What the predictions expect to lose: right where they mean what they say, told only while labels are missing."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.monitors.episodes import Transition
from penstock.monitors.losses.expected import BLOCK, ExpectedLoss, corrected, expected_loss, fitted

MINUTE_MS = 60_000
probabilities = st.floats(0.005, 0.995)


@given(probabilities, probabilities)
def test_the_expected_loss_is_the_mean_over_both_outcomes(p: float, q: float) -> None:
    naive = p * -math.log(q) + (1 - p) * -math.log(1 - q)
    assert expected_loss(np.array([p]), np.array([q]))[0] == pytest.approx(naive, rel=1e-9)


def test_a_correction_finds_back_what_was_distorted() -> None:
    chance = np.random.default_rng(1)
    odds = chance.normal(0, 1.0, 20_000)
    y = (chance.random(20_000) < 1 / (1 + np.exp(-odds))).astype(float)
    overconfident = 1 / (1 + np.exp(-1.4 * odds - 0.7))
    slope, offset = fitted(overconfident, y)
    assert corrected(overconfident, slope, offset) == pytest.approx(1 / (1 + np.exp(-odds)), abs=0.03)


class Stream:
    """Samples whose truth is drawn from `truth`; labels follow `delay` samples later, unless they are kept back."""

    def __init__(self, seed: int = 1, delay: int = 200) -> None:
        self.chance = np.random.default_rng(seed)
        self.estimate = ExpectedLoss(1.0)
        self.delay, self.position = delay, 0
        self.waiting: list[tuple[int, float, bool]] = []
        self.found: list[Transition] = []

    def run(self, samples: int, spread: float, *, labels: bool = True, flipped: bool = False) -> None:
        """`spread` is how far the log odds lie from a half: the lower, the harder."""
        for _ in range(samples):
            p = 1 / (1 + math.exp(-self.chance.normal(0, spread)))
            outcome = bool(self.chance.random() < (1 - p if flipped else p))
            self.waiting.append((self.position, p, outcome))
            self.found += self.estimate.sample(self.position * MINUTE_MS, self.position, p, 0.5)
            self.position += 1
            while labels and len(self.waiting) > self.delay:
                self.estimate.label(*self.waiting.pop(0))


def test_the_estimate_is_the_loss_that_labels_bring() -> None:
    stream = Stream()
    stream.run(20_000, 2.0)
    estimate = stream.estimate
    assert estimate.trusted and estimate.loss is not None and estimate.gap is not None
    assert abs(estimate.gap) < 0.03 and estimate.loss == pytest.approx(estimate.realised, abs=0.12)


def test_harder_samples_without_labels_are_suspected_from_where_they_began_and_never_more() -> None:
    stream = Stream()
    stream.run(20_000, 3.0)
    stream.run(8_000, 1.0, labels=False)
    (suspicion,) = stream.found
    assert (suspicion.state, suspicion.monitor) == ("suspected", "estimate")
    assert abs(suspicion.since_position - 20_000) <= 4 * BLOCK
    waiting = suspicion.detail["without_label"]
    assert isinstance(waiting, int) and waiting >= BLOCK
    stream.run(8_000, 1.0)  # the labels come
    assert [one.state for one in stream.found] == ["suspected", "resolved"]
    stream.run(20_000, 1.0)
    assert len(stream.found) == 2, "the new level is the normal one once labels have spoken of it"


def test_nothing_is_suspected_while_labels_come() -> None:
    stream = Stream()
    stream.run(20_000, 3.0)
    stream.run(20_000, 1.0)
    assert stream.found == []


def test_predictions_that_no_longer_mean_what_they_say_are_not_trusted() -> None:
    stream = Stream()
    stream.run(20_000, 3.0)
    assert stream.estimate.trusted
    stream.run(4_000, 3.0, flipped=True)
    assert not stream.estimate.trusted
    stream.run(8_000, 1.0, labels=False)
    assert stream.found == []


@pytest.mark.parametrize("seed", range(5))
def test_samples_as_before_are_not_suspected_however_long_their_labels_stay_away(seed: int) -> None:
    stream = Stream(seed)
    stream.run(20_000, 2.0)
    stream.run(30_000, 2.0, labels=False)
    assert stream.found == []


def test_a_snapshot_in_the_middle_changes_nothing_and_nan_is_survived() -> None:
    one, other = Stream(3), Stream(3)
    for stream in (one, other):
        stream.run(10_050, 3.0)
        stream.estimate.sample(stream.position * MINUTE_MS, stream.position, math.nan, 0.5)
        stream.estimate.label(stream.position, math.nan, True)
    other.estimate = pickle.loads(pickle.dumps(other.estimate))
    for stream in (one, other):
        stream.run(9_000, 3.0)
        stream.run(8_000, 1.0, labels=False)
    assert one.found == other.found and len(one.found) == 1
    assert one.estimate.gap == other.estimate.gap


def test_memory_does_not_grow() -> None:
    stream = Stream()
    stream.run(40_000, 2.0)
    before = len(pickle.dumps(stream.estimate))
    stream.run(40_000, 2.0)
    assert len(pickle.dumps(stream.estimate)) < 1.1 * before

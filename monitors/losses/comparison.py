"""Two predictors on the same labels: how much one loses more than the other, how sure that is, and scores of each.

Laws of this file
- Differences are paired, in the order of their events, and dependent: neighbours share their weather. So nothing is judged label
  by label, but on means of consecutive blocks, as long as `blocks.calibrate` finds that they must be.
- The interval is Student's, of block means about the mean of all labels, widened by what correlation the blocks still have.
- The e-value is a bet on each block, whose scale comes from the blocks before it only: while neither predictor is better its
  mean is at most 1, as far as block means are uncorrelated. What correlation past blocks had makes the bets smaller.
- Where events hang together for longer than the longest block (`correlation` stays high), neither is sure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penstock.monitors.losses.blocks import Floats, calibrate, merge
from penstock.monitors.losses.drift import PROBABILITY_LEAST, PROBABILITY_MOST
from penstock.monitors.losses.edetector import LAMBDAS

BASE_LABELS = 125
LEAST_BLOCKS = 24
LEAST_BETTED = 12
REFERENCE_BLOCKS = 224
"""Blocks before it that the bet on the next one rests on, at least and at most."""
CONFIDENCE = 0.95
CORRELATION_MOST = 0.96
CORRELATION_ALLOWED = 0.5
LOG10_CLEAR = math.log10(20.0)


@dataclass(frozen=True, slots=True)
class Compared:
    """How much the first predictor loses more than the second, in nats a label.

    `low` and `high` bound the 95 % interval, None where there are too few labels for one (below 48). `log10_e` is the decimal
    logarithm of the e-value against "neither is better". `block_labels` is the length of the blocks that both rest on, and
    `correlation` what is left between neighbouring ones: above `CORRELATION_ALLOWED` nothing is sure.
    """

    labels: int
    difference: float
    low: float | None
    high: float | None
    log10_e: float
    block_labels: int | None
    correlation: float

    @property
    def enough(self) -> bool:
        """Whether there are labels enough to judge by, given how long events hang together."""
        return self.low is not None and self.correlation <= CORRELATION_ALLOWED

    @property
    def clear(self) -> bool:
        """Whether one is better: the interval leaves 0 out, and the e-value is at least 20."""
        out = self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)
        return out and self.enough and self.log10_e >= LOG10_CLEAR


def compare(differences: Floats) -> Compared:
    """Judge paired differences, first less second, in the order of their events.

    >>> import numpy as np
    >>> found = compare(0.01 + 0.1 * np.sin(np.arange(20_000)))
    >>> found.labels, round(found.difference, 3), found.clear, found.log10_e > 10
    (20000, 0.01, True, True)
    >>> compare(np.zeros(1_000)).log10_e
    0.0
    """
    labels = len(differences)
    mean = math.fsum(differences.tolist()) / labels if labels else 0.0
    base = min(BASE_LABELS, labels // (2 * LEAST_BLOCKS))
    if not base:
        return Compared(labels, mean, None, None, 0.0, None, 0.0)
    return _judged(labels, mean, merge(differences, base), base)


def compare_blocks(means: Floats, block_labels: int) -> Compared:
    """The same of differences known only as means of consecutive blocks, all of `block_labels` labels.

    There is no interval of fewer than `LEAST_BLOCKS` blocks.

    >>> import numpy as np
    >>> labels = 0.01 + 0.1 * np.sin(np.arange(20_000))
    >>> blocks = compare_blocks(labels.reshape(-1, 125).mean(axis=1), 125)
    >>> blocks == compare(labels), compare_blocks(np.array([0.01] * 5), 125).low
    (True, None)
    """
    mean = math.fsum(means.tolist()) / len(means) if len(means) else 0.0
    if len(means) < LEAST_BLOCKS:
        return Compared(len(means) * block_labels, mean, None, None, 0.0, None, 0.0)
    return _judged(len(means) * block_labels, mean, means, block_labels)


def _judged(labels: int, mean: float, means: Floats, base: int) -> Compared:
    """What blocks of `base` labels say."""
    # Here: scipy takes a fifth of a second to load, and no role that never judges shall wait for it as it begins.
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    found = calibrate(means, 0.0, LEAST_BLOCKS, len(means))
    assert found is not None  # there are as many blocks as it wants
    judged = merge(means, found.multiple)
    error = float(judged.std(ddof=1)) * _widened(found.correlation, found.blocks) / math.sqrt(len(judged))
    reach = float(stdtrit(len(judged) - 1, (1 + CONFIDENCE) / 2)) * error
    evidence = np.logaddexp(evidence_of(judged), evidence_of(-judged)) - math.log(2.0)
    log10_e, block = round(float(evidence) / math.log(10.0), 9) + 0.0, base * found.multiple
    return Compared(labels, mean, mean - reach, mean + reach, log10_e, block, found.correlation)


def evidence_of(means: Floats) -> float:
    """The logarithm of the e-value against "the mean is at most 0", of blocks' mean differences, oldest first.

    A bet is made on each block once `LEAST_BETTED` are known before it; several stakes together need no guess of the size.
    """
    logs = [0.0] * len(LAMBDAS)
    for at in range(LEAST_BETTED, len(means)):
        past = calibrate(means[max(0, at - REFERENCE_BLOCKS) : at], 0.0, LEAST_BETTED, 1)
        assert past is not None
        z = max(-1.0, past.standardise(float(means[at]) / _widened(past.correlation, past.blocks), 0.0))
        logs = [log + math.log1p(stake * z) for log, stake in zip(logs, LAMBDAS, strict=True)]
    return float(np.logaddexp.reduce(logs)) - math.log(len(logs))


def _widened(correlation: float, blocks: int) -> float:
    """How much further the mean of blocks with this lag-1 correlation strays than that of independent ones, as of an AR(1).

    The correlation of few blocks about their own mean is found too low, by about (1 + 4 rho) / blocks (Marriott and Pope, 1954).
    """
    left = min(max(correlation + (1 + 4 * correlation) / blocks, 0.0), CORRELATION_MOST)
    return math.sqrt((1 + left) / (1 - left))


def log_losses(y: NDArray[np.bool_], p: Floats) -> Floats:
    """Log loss per label in nats, probabilities clipped to [.005, .995] as the monitors clip them."""
    clipped = np.clip(p, PROBABILITY_LEAST, PROBABILITY_MOST)
    return np.where(y, -np.log(clipped), -np.log1p(-clipped))


def roc_auc(y: NDArray[np.bool_], p: Floats) -> float:
    """Area under the ROC curve by the rank statistic (Hanley and McNeil 1982), ties counted half; NaN with one class only."""
    positives = int(y.sum())
    negatives = len(y) - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(p, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2.0
    return float((ranks[inverse][y].sum() - positives * (positives + 1) / 2) / (positives * negatives))

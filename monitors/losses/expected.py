"""What the loss will be, as far as the predictions themselves can say: for samples whose labels have not come yet.

Laws of this file
- A calibrated probability p expects the log loss -p ln p - (1 - p) ln (1 - p); the mean of it over samples without labels
  estimates their loss (confidence-based performance estimation, as NannyML's CBPE has it). It is blind to a concept that drifts:
  it holds while p means what it meant when labels last came.
- So its own calibration is watched. Over the last `TRUST_BLOCKS` blocks of labels the realised loss must be the expected one,
  to the margin or to three standard errors; otherwise nothing is concluded from it.
- Probabilities are corrected by two numbers, fitted to the last labels, only where that foretold later labels better.
- The expected loss is compared with the one that the base rate expects, by the same test that judges realised losses (`paired`).
  What it finds is a suspicion, told only while most of the samples since its onset have no label; it ends as labels come.
- State is bounded: one block of samples, `TRUST_BLOCKS` of labels, the test.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Literal

import numpy as np

from penstock.monitors.episodes import Transition
from penstock.monitors.losses.blocks import Floats, add
from penstock.monitors.losses.drift import PROBABILITY_LEAST, PROBABILITY_MOST, margin_of
from penstock.monitors.losses.paired import BaseBlock, PairedTest
from penstock.monitors.losses.rate_of_labels import LabelRate

BLOCK = 125
TRUST_BLOCKS = 16
TRUST_ERRORS = 3.0
SHOWN_BLOCKS = 8
REFERENCE_BLOCKS = 224
LEAST_BLOCKS = 24
FIT_BLOCKS = 8
"""Blocks of labels between two fits of the correction."""
RIDGE = 5.0
"""The correction's strength of belief, in labels, that the probabilities are right as they are."""


class Logs:
    """Logarithms of probabilities and of their complements, clipped, taken once for all that needs them."""

    __slots__ = ("no", "yes")

    def __init__(self, q: Floats) -> None:
        q = np.minimum(np.maximum(q, PROBABILITY_LEAST), PROBABILITY_MOST)
        self.yes, self.no = np.log(q), np.log1p(-q)

    def expected(self, p: Floats) -> Floats:
        """As `expected_loss`, of these where `p` is true."""
        expected: Floats = -p * self.yes - (1.0 - p) * self.no
        return expected

    def corrected(self, slope: float, offset: float) -> Floats:
        """As `corrected`, of these."""
        odds = slope * (self.yes - self.no) + offset
        found: Floats = 1.0 / (1.0 + np.exp(-np.minimum(np.maximum(odds, -30.0), 30.0)))
        return found


def sound(values: list[float]) -> Floats:
    """As an array; what is no number says as little as can be said."""
    found = np.array(values)
    return found if math.isfinite(add(found)) else np.nan_to_num(found, nan=0.5)


def mean(values: Floats) -> float:
    """The same as numpy's, at a fraction of its overhead on short arrays."""
    return float(add(values)) / len(values)


def expected_loss(p: Floats, q: Floats) -> Floats:
    """The log loss (nats) of saying `q` that is expected where `p` is true; of `p` itself, its entropy.

    >>> expected_loss(np.array([0.5]), np.array([0.5])).round(4).tolist()
    [0.6931]
    """
    return Logs(q).expected(p)


def corrected(p: Floats, slope: float, offset: float) -> Floats:
    """Probabilities with their log odds times `slope` plus `offset` (Platt's scaling)."""
    return Logs(p).corrected(slope, offset)


def fitted(p: Floats, y: Floats) -> tuple[float, float]:
    """Slope and offset that foretell `y` best, drawn towards (1, 0); Newton's method, a fixed number of steps.

    >>> slope, offset = fitted(np.full(200, 0.5), np.repeat([0.0, 1.0], 100))
    >>> round(slope, 3), abs(round(offset, 3))
    (1.0, 0.0)
    """
    logs = Logs(p)
    odds = logs.yes - logs.no
    columns = np.stack((odds, np.ones_like(odds)))
    prior = np.array([1.0, 0.0])
    at = prior.copy()
    for _ in range(8):
        said = 1.0 / (1.0 + np.exp(-np.minimum(np.maximum(at @ columns, -30.0), 30.0)))
        slope = columns @ (said - y) + RIDGE * (at - prior)
        bend = (columns * (said * (1.0 - said))) @ columns.T + RIDGE * np.eye(2)
        at = at - np.linalg.solve(bend, slope)
    return float(at[0]), float(at[1])


class ExpectedLoss:
    """Estimates the loss of samples without labels, and suspects that it rose. For labels that are true or false.

    Its transitions carry monitor `estimate`, subject `loss`, and are never more than `suspected`.

    Args:
        alarms_per_year: how many suspicions a year may be false.

    Example:
        >>> estimate = ExpectedLoss(1.0)
        >>> estimate.sample(at_ms=0, position=0, p=0.5, base=0.2)
        []
        >>> estimate.loss is None, estimate.trusted
        (True, False)
    """

    def __init__(self, alarms_per_year: float) -> None:
        self.alarms_per_year = alarms_per_year
        self.test = PairedTest(
            "estimate", estimate_ratio=True, base_labels=BLOCK, reference_blocks=REFERENCE_BLOCKS,
            min_blocks=LEAST_BLOCKS,
        )  # fmt: skip
        self._losses: deque[float] = deque(maxlen=SHOWN_BLOCKS)
        self._realised: deque[float] = deque(maxlen=SHOWN_BLOCKS)
        self.gap: float | None = None
        self.trusted = False
        self.slope, self.offset = 1.0, 0.0
        self._corrects = False
        self._rate = LabelRate()
        self._p: list[float] = []
        self._base: list[float] = []
        self._start = (0, 0)
        self._said: list[float] = []
        self._outcomes: list[bool] = []
        self._past: deque[tuple[bytes, bytes]] = deque(maxlen=TRUST_BLOCKS)
        self._blocks = 0
        self._gaps: deque[float] = deque(maxlen=TRUST_BLOCKS)
        self._gains: deque[float] = deque(maxlen=TRUST_BLOCKS)
        self._samples = 0
        self._seen: deque[tuple[int, int]] = deque(maxlen=REFERENCE_BLOCKS)
        self._newest = -1
        self._since: Transition | None = None
        self._told = False

    def sample(self, at_ms: int, position: int, p: float, base: float) -> list[Transition]:
        """Take what was said of one sample, by the model and by the base rate; what the block that it ends with tells."""
        if not self._p:
            self._start = (at_ms, position)
        self._p.append(p)
        self._base.append(base)
        return self._close(at_ms, position) if len(self._p) == BLOCK else []

    def label(self, sample_position: int, p: float, outcome: bool) -> None:
        """Take the label of the sample at a log position, of which `p` was said."""
        if sample_position > self._newest:
            self._newest = sample_position
        self._said.append(p)
        self._outcomes.append(outcome)
        if len(self._said) == BLOCK:
            self._learn()

    @property
    def loss(self) -> float | None:
        """What the newest `SHOWN_BLOCKS` blocks of samples are expected to lose, in nats per sample; None before the first."""
        return sum(self._losses) / len(self._losses) if self._losses else None

    @property
    def realised(self) -> float | None:
        """What the newest `SHOWN_BLOCKS` blocks of labels lost; None before the first."""
        return sum(self._realised) / len(self._realised) if self._realised else None

    @property
    def margin(self) -> float:
        """The least rise worth a word, in nats per sample."""
        return margin_of(*self.test.reference_means())

    def _learn(self) -> None:
        """Hold a block of labels against what was expected of it, then fit the correction to it and those before."""
        p = sound(self._said)
        y = np.array(self._outcomes, dtype=np.float64)
        logs = Logs(p)
        realised = mean(logs.expected(y))
        self._realised.append(realised)
        better = logs.corrected(self.slope, self.offset)
        self._gains.append(realised - mean(expected_loss(y, better)))
        self._corrects = len(self._gains) == TRUST_BLOCKS and sum(self._gains) > 0.0
        self._gaps.append(realised - mean(logs.expected(better if self._corrects else p)))
        self._past.append((p.tobytes(), y.tobytes()))
        self._said.clear()
        self._outcomes.clear()
        self._blocks += 1
        if self._blocks % FIT_BLOCKS == 0:
            self.slope, self.offset = fitted(
                *(np.frombuffer(b"".join(one)) for one in zip(*self._past, strict=True))
            )
        gaps = np.array(self._gaps)
        self.gap = mean(gaps)
        if len(gaps) == TRUST_BLOCKS:
            error = float(gaps.std(ddof=1)) / math.sqrt(TRUST_BLOCKS)
            self.trusted = abs(self.gap) <= max(self.margin, TRUST_ERRORS * error)

    def _close(self, at_ms: int, position: int) -> list[Transition]:
        """End a block of samples: expect its loss, and judge it."""
        p, base = sound(self._p), sound(self._base)
        logs = Logs(p)
        meant = logs.corrected(self.slope, self.offset) if self._corrects else p
        loss = mean(logs.expected(meant))
        self._losses.append(loss)
        against = mean(expected_loss(meant, base))
        self._rate.count(BLOCK, self._start[0], at_ms)
        self._samples += BLOCK
        self._seen.append((self._start[1], self._samples))
        block = BaseBlock(loss, against, *self._start, at_ms, position)
        self._p.clear()
        self._base.clear()
        allowed = self._rate.per_year / BLOCK / self.alarms_per_year
        for found in self.test.update(block, self.margin, allowed)[1]:
            if found.state == "firing":
                self._since = found
            elif found.state == "resolved":
                return self._end(at_ms, position, "the expected loss is as before")
        return self._judge(at_ms, position, loss, against)

    def _judge(self, at_ms: int, position: int, loss: float, against: float) -> list[Transition]:
        """While the test fires: suspect, if labels are missing and the estimate can be trusted; end it when they have come."""
        found = self._since
        if found is None:
            return []
        waiting, since = self._missing(found.since_position)
        if 2 * waiting < since:
            ended = self._end(at_ms, position, "labels have come, and what they say is told by itself")
            self.test.accept_level(self.margin)
            return ended
        if self._told or not self.trusted:
            return []
        self._told = True
        return [
            self._transition("suspected", at_ms, position, {"loss": loss, "against": against, "without_label": waiting})
        ]  # fmt: skip

    def _missing(self, since_position: int) -> tuple[int, int]:
        """Of the samples since a log position: those after the newest that has its label, and all; to a block."""
        waiting = sum(start > self._newest for start, _ in self._seen) * BLOCK
        since = sum(start >= since_position for start, _ in self._seen) * BLOCK
        return min(waiting, since), since

    def _end(self, at_ms: int, position: int, why: str) -> list[Transition]:
        told = [self._transition("resolved", at_ms, position, {"why": why})] if self._told else []
        self._since, self._told = None, False
        return told

    def _transition(
        self, state: Literal["suspected", "resolved"], at_ms: int, position: int, detail: dict[str, object]
    ) -> Transition:
        found = self._since
        assert found is not None
        calibration: dict[str, object] = {
            "gap": self.gap, "slope": self.slope, "offset": self.offset, "corrects": self._corrects,
            "block_samples": BLOCK, "margin": self.margin, "onset_to_position": found.detail["onset_to_position"],
        }  # fmt: skip
        return Transition(
            "estimate", "loss", state, found.statistic, found.threshold, found.effect, found.since_ms,
            found.since_position, at_ms, position, detail | calibration,
        )  # fmt: skip

"""A number: an answer is the value that a model expects.

Laws of this file:
- An answer is kept within what labels were seen to be, widened by as much again on either side: a model that diverged would
  otherwise move the mean of all, however little it weighs.
- The live prediction is the weighted mean of the answers. Its absolute error is at most the weighted mean of theirs.
- An answer is read as the middle of a Student t density with `FREEDOM` degrees of freedom, all of them with one common scale: the
  running mean absolute error of the live prediction. Its likelihood of the label, beside that of an answer without error, is what
  the gate weighs. A scale that all share cancels out when weights are divided by their sum, so the gate's bound holds for the
  mixture of these densities; the live prediction is their mean, a single value.
- The base predictor is the better of two that know no inputs: the running mean of the labels, and the last label.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from penstock.stream.learn.gate import LEAST_PROBABILITY, Gate, Mixture
from penstock.stream.learn.tasks.likelihoods import copied, heard, moment, pack, parts
from penstock.stream.learn.tasks.measures import Errors
from penstock.stream.learn.tasks.task import W
from penstock.stream.task_kind import Kind

FREEDOM = 4.0
RATE = 0.002
"""What the newest label counts in running means, once there are 500."""
YOUNG_LABELS = 100
MOST_SCALES = 20.0
"""After the first hundred labels, one counts in the scale at most this often: a single odd one must not blind the gate."""
LEAST_STEP = 0.001
"""But at least so much of the range counts, so that a scale that has come to 0 can grow again."""
LEAST_SCALE = 1e-9
"""The scale is at least so much of the range that labels were seen in."""


def likelihood(error: float, scale: float) -> float:
    """The density of a Student t at this error beside that at none.

    >>> likelihood(0.0, 2.0), round(likelihood(2.0, 2.0), 4), round(likelihood(-20.0, 2.0), 6)
    (1.0, 0.5724, 0.00029)
    """
    ratio = error / scale
    return float((1.0 + ratio * ratio / FREEDOM) ** (-(FREEDOM + 1.0) / 2.0))


class Regression:
    """See `Task`. It keeps the range of the labels, the scale, what the base predictor needs, and sums for its measures."""

    kind: Kind = "regression"
    at_once = False
    first_base = 0.0

    def __init__(self) -> None:
        self.labels = 0
        self.low = self.high = 0.0
        self.scale = 0.0
        self.mean = self.last = 0.0
        self.mean_error = self.last_error = 0.0
        self.errors = Errors()

    def fresh(self, model: Any) -> Any:
        """A clone."""
        return model.clone()

    def said(self, model: Any, x: dict[str, Any]) -> float | None:
        """What the model expects, within the widened range; None when it raises, or what it says is no finite number."""
        try:
            value = float(model.predict_one(x))
        except Exception:
            return None
        if not isfinite(value):
            return None
        if not self.labels:
            return value
        width = self.high - self.low
        return min(max(value, self.low - width), self.high + width)

    def knows(self, y: Any) -> bool:
        """A finite number."""
        return type(y) in (float, int) and isfinite(y)

    def learn(self, model: Any, x: dict[str, Any], y: float) -> bool:
        """One `learn_one`; False when the model raised."""
        try:
            model.learn_one(x, y)
        except Exception:
            return False
        return True

    def mix(self, gate: Gate, said: Sequence[Any], base: float, boosted: Sequence[bool]) -> Mixture:
        """The weighted mean."""
        weights = copied(gate)
        shares = parts(weights, said, boosted)
        value = sum([share * one for share, one in zip(shares, said, strict=True) if one is not None])
        return moment(value, weights, LEAST_PROBABILITY, boosted)

    def heard(self, waits: W, y: float) -> tuple[W, bool]:
        """Likelihoods under the scale as it is with this label: a common one, so that only their ratios count."""
        self._judge(waits.p, waits.base, y)
        scale = max(self.scale, LEAST_SCALE * (self.high - self.low), 1e-300)
        return heard(waits, lambda value: likelihood(value - y, scale))

    def _judge(self, live: float, base: float, y: float) -> None:
        """Take one label into the range, the scale and the measures."""
        error, before = abs(live - y), self.high - self.low
        self.low = min(self.low, y) if self.labels else y
        self.high = max(self.high, y) if self.labels else y
        self.labels += 1
        if self.labels > YOUNG_LABELS:
            error = min(error, MOST_SCALES * max(self.scale, LEAST_STEP * before))
        self.scale += max(RATE, 1.0 / self.labels) * (error - self.scale)
        self.errors.add(y, live, base)

    def follow(self, base: float, y: float) -> float:
        """The better of the running mean and the last label so far."""
        rate = max(RATE, 1.0 / max(self.labels, 1))
        self.mean_error += rate * (abs(self.mean - y) - self.mean_error)
        self.last_error += rate * (abs(self.last - y) - self.last_error)
        self.mean += rate * (y - self.mean)
        self.last = y
        return self.last if self.last_error < self.mean_error else self.mean

    def packed(self, position: int, p: float) -> bytes:
        """Position and bits."""
        return pack(position, p)

    def watched(self, p: float) -> float:
        """The value."""
        return p

    def shown(self, p: float) -> tuple[Any, ...]:
        """The value."""
        return (p,)

    def sums(self) -> dict[str, float]:
        """Of absolute errors, the live prediction's and the base predictor's."""
        return {"mae": self.errors.error, "base_mae": self.errors.base_error}

    def measures(self) -> dict[str, float]:
        """Mean absolute error, root mean squared error, R2, and the base predictor's mean absolute error."""
        return self.errors.measures()

"""Models that give no probability, made to give one by what labels said of the likes of what they gave.

Laws of this file:
- Wrapped like this, a detector and a classifier without probabilities are classifiers: fold, gate and jobs know no difference.
- Predicting changes nothing. At a label the wrapped model is asked again, before it learns.
- Each copy is calibrated by itself, since scores of two copies that learned different things mean different things.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from math import exp, log
from typing import Any

from penstock.stream.task_kind import names_only

RECENT_SCORES = 1_000
RATE = 0.002
STEP = 0.05
ROW_MEMORY = 0.998


class Recent:
    """The newest `RECENT_SCORES` scores.

    >>> recent = Recent()
    >>> for score in (1.0, 2.0, 2.0, 5.0):
    ...     recent.add(score)
    >>> recent.rank(2.0), recent.rank(9.0), Recent().rank(1.0)
    (0.5, 0.9, 0.5)
    """

    def __init__(self) -> None:
        self.order: deque[float] = deque()
        self.sorted: list[float] = []

    def rank(self, score: float) -> float:
        """The share of them that are lower, ties half, kept from 0 and 1 by half a score."""
        low, high = bisect_left(self.sorted, score), bisect_right(self.sorted, score)
        return (0.5 * (low + high) + 0.5) / (len(self.sorted) + 1)

    def add(self, score: float) -> None:
        """One more; the oldest goes."""
        self.order.append(score)
        insort(self.sorted, score)
        if len(self.order) > RECENT_SCORES:
            del self.sorted[bisect_left(self.sorted, self.order.popleft())]


class CalibratedDetector:
    """An anomaly detector whose score's rank among recent ones is made a probability by a logistic of two learned parameters.

    The logistic's offset goes out from the share of anomalies lately. The detector learns at the label, as in river's progressive
    validation: from every vector, whatever its label says.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.recent = Recent()
        self.labels = 0
        self.share = 0.5
        self.offset, self.slope = 0.0, 1.0

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        """How probable it is that this is an anomaly."""
        p = self._probability(_evidence(self.recent.rank(_finite(self.model.score_one(x)))))
        return {True: p, False: 1.0 - p}

    def _probability(self, evidence: float) -> float:
        share = min(max(self.share, 1e-4), 1.0 - 1e-4)
        z = log(share / (1.0 - share)) + self.offset + self.slope * evidence
        return 1.0 / (1.0 + exp(-min(max(z, -20.0), 20.0)))

    def learn_one(self, x: dict[str, Any], y: bool) -> None:
        """Calibrate by one label, then let the detector learn the vector."""
        score = _finite(self.model.score_one(x))
        evidence = _evidence(self.recent.rank(score))
        wrong = y - self._probability(evidence)
        self.offset = min(max(self.offset + STEP * wrong, -8.0), 8.0)
        self.slope = min(max(self.slope + STEP * wrong * evidence, -4.0), 4.0)
        self.labels += 1
        self.share += max(RATE, 1.0 / (self.labels + 2)) * (y - self.share)
        self.recent.add(score)
        self.model.learn_one(x)


class CalibratedClassifier:
    """A classifier that only names a class, made to say how often each class came lately where it named that one."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.came: dict[Any, dict[Any, float]] = {}

    def predict_proba_one(self, x: dict[str, Any]) -> dict[Any, float]:
        """The shares, with one label more for the class that is named; empty while nothing is known."""
        named = self.model.predict_one(x)
        if named is None:
            return {}
        row = dict(self.came.get(named, {}))
        row[named] = row.get(named, 0.0) + 1.0
        for one in self.came:  # so that no class that there is has probability 0
            row[one] = row.get(one, 0.0) + 0.5
        total = sum(row.values())
        return {one: count / total for one, count in row.items()}

    def learn_one(self, x: dict[str, Any], y: Any) -> None:
        """Count by one label, then let the classifier learn it."""
        named = self.model.predict_one(x)
        self.came.setdefault(y, {})
        if named is not None:
            row = self.came.setdefault(named, {})
            for one in row:
                row[one] *= ROW_MEMORY
            row[y] = row.get(y, 0.0) + 1.0
        self.model.learn_one(x, y)


def calibrated(model: Any) -> Any:
    """A classifier as it is, or calibrated where it only names classes."""
    return CalibratedClassifier(model) if names_only(model) else model


def _evidence(rank: float) -> float:
    """The rank's logit: 0 for a score like any other, above 4 for one of the highest in a hundred."""
    return log(rank / (1.0 - rank))


def _finite(score: Any) -> float:
    """The score as a number; raises `ValueError` for what is none, as a model that fails raises."""
    number = float(score)
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError(f"the score is {score!r}")
    return number

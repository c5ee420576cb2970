"""How unusual an event is, where no labels ever come: an answer is a detector's score.

Laws of this file:
- The model learns at the sample, right after it predicted. Nothing weighs experts, so one predicts: the first, or whichever a
  person put in place.
- A score has no scale of its own, so its rank is told beside it: the share of the last thousand scores that are lower. The
  highest `alert_share` of the ranks are alerts.
- Where the model fails, the running mean of the scores stands in, which is never an alert.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

from penstock.stream.learn.gate import Gate, Mixture
from penstock.stream.learn.tasks.calibrated import Recent
from penstock.stream.learn.tasks.likelihoods import pack
from penstock.stream.learn.tasks.task import W
from penstock.stream.task_kind import Kind

RATE = 0.002


class Scored(NamedTuple):
    """One event's score, its rank in [0, 1], and whether it is an alert."""

    score: float
    rank: float
    alert: bool


class Unlabelled:
    """See `Task`. It keeps the newest scores."""

    kind: Kind = "unlabelled"
    at_once = True
    first_base = 0.0
    still = False
    """Whether scores leave no trace: those of a replica are no events of the stream."""

    def __init__(self, alert_share: float) -> None:
        self.alert_share = alert_share
        self.recent = Recent()
        self.samples = self.alerts = 0

    def fresh(self, model: Any) -> Any:
        """A clone."""
        return model.clone()

    def said(self, model: Any, x: dict[str, Any]) -> float | None:
        """The score; None when it raises, or what it says is no finite number."""
        try:
            score = float(model.score_one(x))
        except Exception:
            return None
        return score if isfinite(score) else None

    def knows(self, y: Any) -> bool:
        """None."""
        return False

    def learn(self, model: Any, x: dict[str, Any], y: Any) -> bool:
        """One `learn_one`, of the vector alone; False when the model raised."""
        try:
            model.learn_one(x)
        except Exception:
            return False
        return True

    def mix(self, gate: Gate, said: Sequence[Any], base: float, boosted: Sequence[bool]) -> Mixture:
        """The score of the model with most of the weight that gave one, and its rank."""
        weights = gate.totals()
        awake = [place for place in range(1, len(said)) if said[place] is not None]
        if not awake:
            return Mixture(Scored(base, 0.5, False), (0.5, 0.5, 0.5), 0.0)
        score = said[max(awake, key=weights.__getitem__)]
        rank = self.recent.rank(score)
        alert = rank > 1.0 - self.alert_share
        if not self.still:
            self.recent.add(score)
            self.samples += 1
            self.alerts += alert
        return Mixture(Scored(score, rank, alert), (0.5, 0.5, 0.5), 0.0)

    def heard(self, waits: W, y: Any) -> tuple[W, bool]:
        """Never: there are no labels."""
        raise AssertionError("a pipeline without labels joined one")

    def follow(self, base: float, y: Any) -> float:
        """The mean of the scores, the newest counting `RATE`."""
        newest = self.recent.order[-1] if self.recent.order else 0.0
        return base + max(RATE, 1.0 / max(self.samples, 1)) * (newest - base)

    def packed(self, position: int, p: Scored) -> bytes:
        """Position, the score's bits and the rank's."""
        return pack(position, p.score) + pack(int(p.alert), p.rank)

    def watched(self, p: Scored) -> float:
        """The score."""
        return p.score

    def shown(self, p: Scored) -> tuple[Any, ...]:
        """The score, its rank and whether it is an alert."""
        return p.score, None, p.rank, p.alert

    def sums(self) -> dict[str, float]:
        """Of alerts."""
        return {"alert_share": float(self.alerts)}

    def measures(self) -> dict[str, float]:
        """The share of alerts: it should be the budget."""
        return {"alert_share": self.alerts / self.samples} if self.samples else {}

"""Promotion: has a candidate beaten the champion?

Laws of this file
- A product e-value from a fixed start: under "the candidate is no better", P(ever reaching e) <= 1/e. How much is asked
  follows from the budget (`drift.LossMonitor.evidence_needed`).
- The scale of a bet is set by blocks before it; the first `BURN_IN_BLOCKS` blocks only set the scale.
- One verdict, for good: promote or drop. A test that has spoken ignores what follows.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from penstock.monitors.episodes import Transition
from penstock.monitors.losses.blocks import CLIP_HIGH, CLIP_LOW, robust_scale
from penstock.monitors.losses.edetector import LAMBDAS

BURN_IN_BLOCKS = 4


class CandidateTest:
    """Compare the champion's and a candidate's losses on the same labels, from a fixed start.

    Args:
        margin: the candidate must be better by more than this, nats per label.
        block_labels: labels per block; the harm test's choice, since the dependence is the same.
        evidence_needed: promote at this e-value (20 allows a wrong promotion once in 20 candidates).
        drop_after_labels: give up after this many labels.

    `verdict` is `undecided`, `promote` or `drop`. Transitions carry monitor `promotion`: `firing` to promote,
    `resolved` when dropped.
    """

    __slots__ = (
        "_difference", "_evidence", "_in_block", "_means", "_since", "block_labels", "drop_after_labels",
        "evidence_needed", "labels", "margin", "verdict",
    )  # fmt: skip

    def __init__(
        self,
        margin: float = 0.0,
        block_labels: int = 250,
        evidence_needed: float = 20.0,
        drop_after_labels: int = 14_000,
    ) -> None:
        if block_labels < 1:
            raise ValueError(f"block_labels must be positive, got {block_labels}")
        self.margin = margin
        self.block_labels = block_labels
        self.evidence_needed = evidence_needed
        self.drop_after_labels = drop_after_labels
        self.verdict: Literal["undecided", "promote", "drop"] = "undecided"
        self.labels = 0
        self._since: tuple[int, int] | None = None
        self._difference = 0.0
        self._in_block = 0
        self._means: list[float] = []
        self._evidence = [1.0] * len(LAMBDAS)

    @property
    def statistic(self) -> float:
        """The e-value: evidence that the candidate is better."""
        return sum(self._evidence) / len(self._evidence)

    @property
    def effect(self) -> float:
        """Mean of champion loss less candidate loss so far, nats per label."""
        return sum(self._means) / len(self._means) if self._means else 0.0

    def update(self, at_ms: int, position: int, champion: float, candidate: float) -> list[Transition]:
        """Take one label's losses, both predicted at the sample; return the verdict's transition, once."""
        if self.verdict != "undecided":
            return []
        if self._since is None:
            self._since = (at_ms, position)
        self.labels += 1
        self._in_block += 1
        self._difference += champion - candidate
        if self._in_block == self.block_labels:
            self._judge(self._difference / self.block_labels)
            self._difference = 0.0
            self._in_block = 0
        if self.statistic >= self.evidence_needed:
            self.verdict = "promote"
        elif self.labels >= self.drop_after_labels:
            self.verdict = "drop"
        else:
            return []
        state: Literal["firing", "resolved"] = "firing" if self.verdict == "promote" else "resolved"
        detail: dict[str, object] = {
            "verdict": self.verdict,
            "labels": self.labels,
            "block_labels": self.block_labels,
            "margin": self.margin,
        }
        return [
            Transition(
                "promotion", "loss", state, self.statistic, self.evidence_needed, self.effect,
                *self._since, at_ms, position, detail,
            )
        ]  # fmt: skip

    def _judge(self, mean: float) -> None:
        if len(self._means) >= BURN_IN_BLOCKS:
            past = np.array(self._means)
            # Few blocks underestimate their own spread; 1 + 4/n keeps the early bets honest.
            scale = max(robust_scale(past), self.margin / 2, 1e-9) * (1.0 + 4.0 / len(past))
            x = min(max((mean - self.margin) / scale, CLIP_LOW), CLIP_HIGH)
            kappa = max(0.0, float(np.clip((past - past.mean()) / scale, CLIP_LOW, CLIP_HIGH).mean()))
            z = (x - kappa) / (kappa - CLIP_LOW)
            self._evidence = [
                (1.0 + bet * z) * value for bet, value in zip(LAMBDAS, self._evidence, strict=True)
            ]
        self._means.append(mean)

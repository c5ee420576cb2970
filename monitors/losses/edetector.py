"""A Shiryaev-Roberts e-detector: sequential change detection with a stated run length to a false alarm.

Laws of this file
- If E[z | past] <= 0 before a change, the mean number of updates to a false alarm is at least `threshold`
  (Shin, Ramdas and Rinaldo, "E-detectors", 2023: each M_lambda - n is a supermartingale, and so is their
  mean).
- ok -> suspected (M > sqrt A) -> firing (M >= A) -> resolved (M <= sqrt A). A detector that resolved, or was
  restarted, starts from nothing.
- While firing, no M_lambda exceeds A, so the evidence needed to resolve does not grow with the age of the
  episode.
"""

from __future__ import annotations

import math
from typing import Literal

Phase = Literal["ok", "suspected", "firing"]

LAMBDAS = (0.1, 0.3, 0.9)
"""Bets against small, middling and large changes; their mixture needs no guess of the size."""

ONSET_SURE = math.log(20.0)
"""An onset is known up to the steps before which its bet had gained less than twenty to one."""

ONSET_LAMBDA = 0.3
"""The bet whose CUSUM dates the onset: large enough to return to zero soon when nothing happens."""


class EDetector:
    """Detect a rise of the mean of z above 0, where z >= -1.

    M_lambda <- (1 + lambda z) (M_lambda + 1) per update, and M is their mean. Memory and cost do not grow.

    Args:
        threshold: A > 1. Mean updates between false alarms are at least A, so A = updates per year / alarms
            allowed.
        lambdas: bets, each in (0, 1).

    Example:
        >>> detector = EDetector(threshold=100)
        >>> [detector.update(1.0) for _ in range(8)][-4:]
        [None, None, None, 'firing']
        >>> detector.onset_step
        1
    """

    __slots__ = (
        "_cusum",
        "_evidence",
        "lambdas",
        "onset_step",
        "onset_to_step",
        "phase",
        "statistic",
        "step",
        "threshold",
    )

    def __init__(self, threshold: float, lambdas: tuple[float, ...] = LAMBDAS) -> None:
        if not threshold > 1:
            raise ValueError(f"threshold must be above 1, got {threshold}")
        if not lambdas or not all(0 < value < 1 for value in lambdas):
            raise ValueError(f"lambdas must lie in (0, 1), got {lambdas}")
        self.threshold = threshold
        self.lambdas = lambdas
        self.step = 0
        self.restart()

    def restart(self) -> None:
        """Forget all evidence. Steps go on counting."""
        self.phase: Phase = "ok"
        self.statistic = 0.0
        self.onset_step = self.onset_to_step = self.step + 1
        self._evidence = [0.0] * len(self.lambdas)
        self._cusum = 0.0

    def update(self, z: float) -> Literal["suspected", "firing", "resolved"] | None:
        """Take one z >= -1; return the transition it caused, if any.

        Raises:
            ValueError: z is below -1 or not a number; the evidence would no longer be a supermartingale.
        """
        if not z >= -1.0:
            raise ValueError(f"z must be at least -1, got {z}")
        self.step += 1
        self._evidence = [
            (1.0 + bet * z) * (value + 1.0) for bet, value in zip(self.lambdas, self._evidence, strict=True)
        ]
        self.statistic = sum(self._evidence) / len(self._evidence)
        self._follow_onset(z)
        return self._transition()

    def _follow_onset(self, z: float) -> None:
        # CUSUM of the log bet: its last departure from 0 is the usual estimate of a change point.
        if self._cusum <= 0.0 and self.phase != "firing":
            self.onset_step = self.step
        # A later onset gives up what the bet had gained before it: so much less likely it is.
        if self._cusum <= ONSET_SURE and self.phase != "firing":
            self.onset_to_step = self.step
        self._cusum = max(0.0, self._cusum + math.log1p(ONSET_LAMBDA * z))

    def _transition(self) -> Literal["suspected", "firing", "resolved"] | None:
        root = math.sqrt(self.threshold)
        if self.phase == "firing":
            if self.statistic <= root:
                # Statistic and onset stay readable until the next update: they describe what has ended.
                kept = self.statistic, self.onset_step, self.onset_to_step
                self.restart()
                self.statistic, self.onset_step, self.onset_to_step = kept
                return "resolved"
            self._evidence = [min(value, self.threshold) for value in self._evidence]
            return None
        if self.statistic >= self.threshold:
            self.phase = "firing"
            self._evidence = [min(value, self.threshold) for value in self._evidence]
            return "firing"
        if self.phase == "ok" and self.statistic > root:
            self.phase = "suspected"
            return "suspected"
        # Half the entry level, so that a statistic resting at the root does not flicker.
        if self.phase == "suspected" and self.statistic <= root / 2:
            self.phase = "ok"
            return "resolved"
        return None

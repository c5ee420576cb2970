"""Has the level of an anomaly score risen? For pipelines without labels, where no loss can be watched.

Laws of this file:
- Means of blocks of `BLOCK_SAMPLES` scores, in units of the noise of earlier blocks, go to ADWIN, for the reason that
  `AdwinRise` names.
- Nothing is judged before `LEAST_BLOCKS` blocks. What is found is told, and moves nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np

from penstock.monitors.episodes import Transition
from penstock.monitors.losses.adwin import AdwinRise
from penstock.monitors.losses.blocks import robust_scale

BLOCK_SAMPLES = 125
LEAST_BLOCKS = 24
MOST_BLOCKS = 224


class ScoreLevel:
    """Watches the score of every sample."""

    def __init__(self) -> None:
        self.total, self.samples = 0.0, 0
        self.start = self.since = (0, 0)
        self.past: deque[float] = deque(maxlen=MOST_BLOCKS)
        self.adwin = AdwinRise()

    def update(self, at: int, position: int, score: float) -> list[Transition]:
        """Take one score, at event time `at` (ms); the transition that its block ends with, if any."""
        if not self.samples:
            self.start = (at, position)
        self.samples += 1
        self.total += score
        if self.samples < BLOCK_SAMPLES:
            return []
        mean = self.total / self.samples
        self.total, self.samples = 0.0, 0
        scale = robust_scale(np.array(self.past)) if len(self.past) >= LEAST_BLOCKS else 0.0
        centre = float(np.median(np.array(self.past))) if scale else 0.0
        self.past.append(mean)
        if not scale:
            return []
        change = self.adwin.update((mean - centre) / scale)
        if change == "firing":
            self.since = self.start
        return [self._transition(change, mean - centre, at, position)] if change else []

    def _transition(
        self, change: Literal["firing", "resolved"], effect: float, at: int, position: int
    ) -> Transition:
        level = self.adwin.level
        params = {**self.adwin.figures, "block_samples": BLOCK_SAMPLES}
        return Transition("adwin", "score", change, level, 0.0, effect, *self.since, at, position, params)

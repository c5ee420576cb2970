"""ADWIN as a one-sided witness: only a rise counts, and one drift is one alarm.

Laws of this file
- river's ADWIN with clock 1 (Bifet and Gavalda, SDM 2007) looks after every value; a fall resets its window
  too, but is no alarm: a loss that improves must not cause a retrain.
- A rise that continues is one alarm, until the level has come back.
- Feed it means of blocks in units of their own noise. On single dependent losses it alarms hundreds of times
  a year (none of it drift), and its bound assumes a range near 1.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from river.drift import ADWIN

DELTA = 0.002
"""river's default. Clock 1, blocks of unit variance: no alarm in 200,000 independent ones (one at 0.01,
14 at 0.05); one in 1,700 to 60,000 for AR(1) noise at the block sizes `blocks` chooses."""

RECENT_VALUES = 8
"""The level just after a cut is the mean of so many last values: the window then still holds older ones."""


class AdwinRise:
    """Detect that the mean has risen, and above `floor`.

    Args:
        delta: ADWIN's confidence; nominal, not a rate.
        floor: a rise to a level at or below this is no alarm, and a level back at or below it ends one. None
            counts every rise, and ends it at the next fall that ADWIN sees.

    Example:
        >>> witness = AdwinRise()
        >>> [step for step in range(200) if witness.update(float(step >= 100)) == "firing"]
        [115]
    """

    __slots__ = ("_adwin", "_recent", "delta", "firing", "floor", "window")

    def __init__(self, delta: float = DELTA, floor: float | None = None) -> None:
        self.delta = delta
        self.floor = floor
        self.restart()

    def restart(self) -> None:
        """Forget everything seen."""
        self._adwin = ADWIN(delta=self.delta, clock=1)  # type: ignore[no-untyped-call]
        self._recent: deque[float] = deque(maxlen=RECENT_VALUES)
        self.firing: bool = False
        self.window = 0

    @property
    def figures(self) -> dict[str, object]:
        """What is told of it with an alarm: its confidence, its clock, and how many values its window held."""
        return {"delta": self.delta, "clock": 1, "window": self.window}

    @property
    def level(self) -> float:
        """Mean of the last values, 0 before the first."""
        return sum(self._recent) / len(self._recent) if self._recent else 0.0

    def update(self, value: float) -> Literal["firing", "resolved"] | None:
        """Take one value; say if the level rose beyond the floor, or came back."""
        before, self.window = self._adwin.estimation, self._adwin.width + 1
        self._adwin.update(value)  # type: ignore[no-untyped-call]
        self._recent.append(value)
        rose = fell = False
        if self._adwin.drift_detected:
            level = self.level
            rose = level > before and (self.floor is None or level > self.floor)
            fell = level < before
        if rose and not self.firing:
            self.firing = True
            return "firing"
        settled = self._adwin.width >= RECENT_VALUES and not self._adwin.drift_detected
        back = settled and self.floor is not None and self._adwin.estimation <= self.floor
        if self.firing and (back or fell):
            self.firing = False
            return "resolved"
        return None

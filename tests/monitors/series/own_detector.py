"""A detector as somebody might write it: three values in a row far above the mean of all before."""

from __future__ import annotations


class ThreeAbove:
    """It has river's two names, and stays at its alarm: nothing resets it."""

    def __init__(self, by: float = 2.0) -> None:
        self.by = by
        self.count, self.mean, self.run = 0, 0.0, 0
        self.drift_detected = False

    def update(self, x: float) -> None:
        """Take one value."""
        self.run = self.run + 1 if self.count > 20 and x > self.mean + self.by else 0
        self.drift_detected = self.drift_detected or self.run >= 3
        self.count += 1
        self.mean += (x - self.mean) / self.count

    @property
    def statistic(self) -> float:
        """The values in a row."""
        return float(self.run)

    threshold = 3.0

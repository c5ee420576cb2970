"""A loose suspicion that the leader's loss rises: it costs a fresh model's CPU, and no more.

Laws of this file:
- Only a rise counts. Many alarms are false, which is why nothing but a birth follows from one.
"""

from __future__ import annotations

from river.drift import ADWIN

DELTA = 0.01
"""ADWIN's confidence: loose, since an alarm costs only what a fresh model costs."""
LOSS_MOST = 3.0


class Suspicion:
    """Does the leader's loss rise? river's ADWIN (Bifet and Gavalda, 2007) on the loss, cut off at `LOSS_MOST` nats."""

    __slots__ = ("adwin",)

    def __init__(self) -> None:
        self.adwin = ADWIN(delta=DELTA, clock=8)  # type: ignore[no-untyped-call]

    def rose(self, loss: float) -> bool:
        """Take one loss (nats); whether a rise is suspected with it."""
        before: float = self.adwin.estimation
        self.adwin.update(min(loss, LOSS_MOST) / LOSS_MOST)  # type: ignore[no-untyped-call]
        return bool(self.adwin.drift_detected and self.adwin.estimation > before)

"""A loose suspicion that the leader's loss rises: it costs a fresh model's CPU, and no more.

Laws of this file:
- Only a rise counts. Many alarms are false, which is why nothing but a birth follows from one.
"""

from __future__ import annotations

from river.drift import ADWIN

DELTA = 0.01
"""ADWIN's confidence: loose, since an alarm costs only what a fresh model costs."""
CLOCK = 8
"""ADWIN looks at what it took in every so many losses since it began."""
LOSS_MOST = 3.0


class Suspicion:
    """Does the leader's loss rise? river's ADWIN (Bifet and Gavalda, 2007) on the loss, cut off at `LOSS_MOST` nats."""

    __slots__ = ("adwin", "taken")

    def __init__(self) -> None:
        self.adwin = ADWIN(delta=DELTA, clock=CLOCK)  # type: ignore[no-untyped-call]
        self.taken = 0

    def rose(self, loss: float) -> bool:
        """Take one loss (nats); whether a rise is suspected with it."""
        adwin = self.adwin
        loss = (LOSS_MOST if loss > LOSS_MOST else loss) / LOSS_MOST
        self.taken += 1
        if self.taken % CLOCK:  # between its looks ADWIN only takes losses in
            adwin.update(loss)  # type: ignore[no-untyped-call]
            return False
        before: float = adwin.estimation
        adwin.update(loss)  # type: ignore[no-untyped-call]
        if not adwin.drift_detected:
            return False
        self.taken = 0  # it begins anew with the next
        return bool(adwin.estimation > before)

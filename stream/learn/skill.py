"""A model that was never better than the base rate: no loss of skill can be found, because there was none to lose.

Laws of this file:
- Judged over whole windows of `WINDOW_LABELS` labels: told at the end of the first, unless the model was better in it, and over
  at the end of the first in which it is. From then on the drift rules watch what it loses.
"""

from __future__ import annotations

from penstock.monitors.episodes import Transition

WINDOW_LABELS = 10_000


class Skill:
    """Whether the model has ever been better than the base rate. `update` takes every label until it has been."""

    __slots__ = ("base", "live", "labels", "proven", "since", "told")

    def __init__(self) -> None:
        self.labels = 0
        self.live = self.base = 0.0
        self.since = (0, 0)
        self.told = False
        self.proven = False

    @property
    def reason(self) -> str:
        """What there is to tell."""
        return f"the model {'has never been' if self.told else 'is now'} better than the base rate"

    def update(self, at: int, position: int, live: float, base: float) -> list[Transition]:
        """One label's losses (nats); the transition that its window ends with, if any."""
        if not self.labels:
            self.since = (at, position)
        self.labels += 1
        self.live += live
        self.base += base
        if self.labels % WINDOW_LABELS:
            return []
        live, base = self.live / WINDOW_LABELS, self.base / WINDOW_LABELS
        self.live = self.base = 0.0
        self.proven = live < base
        if self.proven != self.told:
            return []
        self.told = not self.proven
        return [
            Transition(
                "skill", "loss", "firing" if self.told else "resolved", live, base, live - base,
                *self.since, at, position, {"loss": live, "against": base, "window_labels": WINDOW_LABELS},
            )
        ]  # fmt: skip

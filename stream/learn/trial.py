"""Is the leader by itself better than the committed model? Two models may be better together than either is alone.

Laws of this file:
- Counted from where the evidence was complete that all models together are better; a change of leader begins it again.
"""

from __future__ import annotations

TRIAL_LABELS = 125


class Trial:
    """The leader against the committed model, label by label."""

    __slots__ = ("gap", "labels", "version")

    def __init__(self) -> None:
        self.version, self.labels, self.gap = "", 0, 0.0

    def passed(self, leader: str, gap: float, margin: float) -> bool:
        """One label, by which the committed model lost `gap` nats more; whether the leader was better by `margin` on the mean.

        >>> trial = Trial()
        >>> [trial.passed("v7", 0.5, 0.1) for _ in range(TRIAL_LABELS)].count(True)
        1
        """
        if leader != self.version:
            self.version, self.labels, self.gap = leader, 0, 0.0
        self.labels += 1
        self.gap += gap
        return self.labels >= TRIAL_LABELS and self.gap >= self.labels * margin

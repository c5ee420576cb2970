"""Is the share of violating samples above its usual rate? A Bernoulli Shiryaev-Roberts test.

Laws of this file
- M <- LR (M + 1) per sample, with LR = p1/p0 at a violation and (1 - p1)/(1 - p0) otherwise: samples to a
  false alarm are at least the threshold on average if violations come independently at a rate of at most p0.
- Clean samples are folded in at the next violation in closed form, so a clean sample costs nothing.
- While firing, R <- LR' (R + 1) gathers evidence that the rate is back below p2; the end needs R >=
  sqrt(threshold).
"""

from __future__ import annotations

import math

RAISED_RATE = 0.10
"""The share of violations bet on: a tenth of the samples, one small producer among ten."""

BACK_RATE = 0.02
"""The share that counts as still broken when judging the end."""


class Violations:
    """Sequential test of one kind of violation.

    Args:
        base_rate: p0 in (0, 1), the usual share of violating samples, not underestimated.

    Sample numbers must increase; `hit` is called for violating samples, `clean` for the others only while
    firing.

    Example: five violations in thirty samples against one in a thousand.
        >>> test = Violations(0.001)
        >>> [test.hit(index, threshold=1e8) for index in (3, 11, 19, 27, 30)]
        [False, False, False, False, True]
        >>> test.onset
        3
    """

    __slots__ = (
        "_back", "_evidence", "_log_score", "base_rate", "firing", "hits", "last_hit", "onset", "raised_rate",
        "statistic",
    )  # fmt: skip

    def __init__(self, base_rate: float) -> None:
        self.set_base_rate(base_rate)
        self.restart()

    def set_base_rate(self, base_rate: float) -> None:
        """Follow a usual rate that has moved; the evidence so far stands."""
        if not 0 < base_rate < 1:
            raise ValueError(f"base_rate must lie in (0, 1), got {base_rate}")
        self.base_rate = base_rate
        self.raised_rate = max(RAISED_RATE, min(3 * base_rate, (1 + 2 * base_rate) / 3))

    def restart(self) -> None:
        """Forget the evidence."""
        self.firing = False
        self.statistic = 0.0
        self.onset = 0
        self.last_hit = 0
        self.hits = 0
        self._evidence = 0.0
        self._log_score = 0.0
        self._back = 0.0

    def hit(self, index: int, threshold: float) -> bool:
        """Take a violating sample; return whether the test fires with it."""
        raised, base = self.raised_rate, self.base_rate
        ratio_clean = (1 - raised) / (1 - base)
        gap = index - self.last_hit - 1
        decay = ratio_clean**gap
        evidence = self._evidence * decay + ratio_clean * (1 - decay) / (1 - ratio_clean)
        # Capped, as it may stay up for days: the end is judged by R, not by M.
        self._evidence = self.statistic = min((evidence + 1) * raised / base, threshold * 100)
        score = max(0.0, self._log_score + gap * math.log(ratio_clean))
        if score <= 0.0 and not self.firing:
            self.onset = index
            self.hits = 0
        self._log_score = score + math.log(raised / base)
        self.hits += 1
        self.last_hit = index
        if self.firing:
            self._back = (self._back + 1) * base / self._back_rate()
            return False
        self.firing = self.statistic >= threshold
        self._back = 0.0
        return self.firing

    def clean(self, threshold: float) -> bool:
        """Take a clean sample while firing; return whether the violations are over (and start anew if so)."""
        self._back = (self._back + 1) * (1 - self.base_rate) / (1 - self._back_rate())
        if self._back < math.sqrt(threshold):
            return False
        last = self.last_hit
        self.restart()
        self.last_hit = last
        return True

    def _back_rate(self) -> float:
        return max(BACK_RATE, (4 * self.base_rate + self.raised_rate) / 5)

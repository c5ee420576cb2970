"""How long labels take: the median of blocks of labels, against what it usually is.

Laws of this file
- A block is `BLOCK_LABELS` labels in the order in which they came; its value is the logarithm of their median delay in seconds,
  plus one: delays of less than a second are all alike.
- A third more or a quarter less is no news.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from penstock.monitors.episodes import Transition
from penstock.monitors.quality.level import Level, Place

BLOCK_LABELS = 100
MARGIN = math.log(4 / 3)


class Delay:
    """Tell when labels take longer, or come sooner, than they used to.

    Transitions carry monitor `label_delay`; effect is the logarithm of how many times as long it takes.

    Args:
        subject: what the transitions name.
        alarms_per_year: the share of the budget.
    """

    __slots__ = ("_delays", "_start", "level")

    def __init__(self, subject: str, alarms_per_year: float) -> None:
        self.level = Level("label_delay", subject, MARGIN, alarms_per_year)
        self._delays: list[int] = []
        self._start = Place(0, 0)

    def label(self, delay_ms: int, at_ms: int, position: int) -> list[Transition]:
        """A sample met its label after so long."""
        return self.labels([(at_ms - delay_ms, at_ms, position)])

    def labels(self, met: Sequence[tuple[int, int, int]]) -> list[Transition]:
        """Samples met their labels: the times of both, and where the label stands in the log."""
        found: list[Transition] = []
        delays = self._delays
        for sample_ms, at_ms, position in met:
            if not delays:
                self._start = Place(at_ms, position)
            delays.append(at_ms - sample_ms)
            if len(delays) >= BLOCK_LABELS:
                found += self._block(delays, Place(at_ms, position))
                delays.clear()
        return found

    def _block(self, delays: list[int], end: Place) -> list[Transition]:
        now_s = median(delays) / 1000
        found = self.level.update(math.log(max(now_s, 0.0) + 1), self._start, end)
        usual = self.level.centre
        for change in found:
            change.detail["median_s"] = round(now_s)
            change.detail["usual_s"] = round(math.exp(usual) - 1) if usual is not None else None
        return found

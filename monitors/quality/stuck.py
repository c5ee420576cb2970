"""An input that no longer moves: the share of its most frequent value in blocks of samples, against what it usually is.

Laws of this file
- A value is the log odds of that share, smoothed by half a sample: a constant input is constant from the beginning, and no news.
- Only a rise counts, and only one of more than half of the odds (`MARGIN`).
- Nulls are left out: they are the guard's. A block that is null for more than half has no value.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter

from penstock.monitors.episodes import Transition
from penstock.monitors.inputs.ranges import Value, is_null
from penstock.monitors.quality.level import Level, Place

BLOCK_SAMPLES = 100
MARGIN = math.log(1.5)
VALUE_CHARACTERS = 60


_second = itemgetter(1)


class Stuck:
    """Tell when one value of an input has become far more frequent than its most frequent one used to be.

    Transitions carry monitor `stuck` and the input's name; effect is the change of the log odds. Their detail names
    the value.

    Args:
        name: the input.
        alarms_per_year: its share of the budget.
    """

    __slots__ = ("level",)

    def __init__(self, name: str, alarms_per_year: float) -> None:
        self.level = Level("stuck", name, MARGIN, alarms_per_year, ("high",))

    def block(self, values: Sequence[Value], start: Place, end: Place) -> list[Transition]:
        """Take the values of one block of samples that lies between these places."""
        counted = Counter(values)
        for null in [value for value in counted if is_null(value)]:
            del counted[null]
        known = counted.total()
        if 2 * known < len(values):
            return []
        value, count = max(counted.items(), key=_second)
        found = self.level.update(math.log((count + 0.5) / (known - count + 0.5)), start, end)
        usual = self.level.centre
        for change in found:
            change.detail["value"] = value[:VALUE_CHARACTERS] if isinstance(value, str) else value
            change.detail["share"] = round(count / known, 3)
            change.detail["usual_share"] = round(1 / (1 + math.exp(-usual)), 3) if usual is not None else None
        return found

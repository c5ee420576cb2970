"""An input that no longer moves: the largest share, in blocks of samples, of a value that used to be rare.

Laws of this file
- A block's value is the log odds of that share, with a tenth of the block added on both sides: what is still seldom is no news.
- A share below the usual one of the most frequent value counts as that one: an input of few values is not stuck at a new one.
- A value with a usual share of `RARE` or more only becomes more frequent: that is a distribution which moves, and PSI tells it.
  It counts only where it is nearly all (`NEARLY_ALL`) of an input of which no value used to be half.
- Usual shares are learned from the first `FIRST_BLOCKS` and then follow slowly, so that a value does not become usual while its
  rise is still tested. Those of at most `MOST_VALUES` values are kept, the most frequent ones.
- Only a rise counts, and only one to more than twice the odds (`MARGIN`).
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
MARGIN = math.log(2)
SMOOTHING = 0.1
VALUE_CHARACTERS = 60
RARE = 0.05
NEARLY_ALL = 0.95
HALF = 0.5
FIRST_BLOCKS = 50
MEMORY_BLOCKS = 2_000
MOST_VALUES = 64
LEAST_SHARE = 0.001


_second = itemgetter(1)


class Stuck:
    """Tell when a value of an input that used to be rare has become far more frequent than any such value ever was.

    Transitions carry monitor `stuck` and the input's name; effect is the change of the log odds. Their detail names
    the value and its usual share.

    Args:
        name: the input.
        alarms_per_year: its share of the budget.
    """

    __slots__ = ("_blocks", "_shares", "level")

    def __init__(self, name: str, alarms_per_year: float) -> None:
        self.level = Level("stuck", name, MARGIN, alarms_per_year, ("high",))
        self._shares: dict[Value, float] = {}
        self._blocks = 0

    def block(self, values: Sequence[Value], start: Place, end: Place) -> list[Transition]:
        """Take the values of one block of samples that lies between these places."""
        counted = Counter(values)
        for null in [value for value in counted if is_null(value)]:
            del counted[null]
        known = counted.total()
        if 2 * known < len(values):
            return []
        value, count = self._newest(counted, known)
        added, most = SMOOTHING * known, max(count, known * max(self._shares.values(), default=0.0))
        found = self.level.update(math.log((most + added) / (known - most + added)), start, end)
        for change in found:
            change.detail["value"] = value[:VALUE_CHARACTERS] if isinstance(value, str) else value
            change.detail["share"] = round(count / known, 3)
            change.detail["usual_share"] = round(self._shares.get(value, 0.0), 4)
        if self.level.firing is None:
            self._follow(counted, known)
        return found

    def _newest(self, counted: Counter[Value], known: int) -> tuple[Value, int]:
        """The most frequent value that used to be rare, and how often it came; 0 times where there is none."""
        value, count = max(counted.items(), key=_second)
        shares = self._shares
        if count >= NEARLY_ALL * known and max(shares.values(), default=0.0) < HALF:
            return value, count
        rare = ((one, times) for one, times in counted.items() if shares.get(one, 0.0) < RARE)
        return max(rare, key=_second, default=(value, 0))

    def _follow(self, counted: Counter[Value], known: int) -> None:
        """These shares were usual."""
        self._blocks += 1
        weight = 1 / (self._blocks if self._blocks <= FIRST_BLOCKS else MEMORY_BLOCKS)
        shares = {value: (1 - weight) * share for value, share in self._shares.items()}
        for value, count in counted.items():
            shares[value] = shares.get(value, 0.0) + weight * count / known
        if len(shares) > MOST_VALUES:
            kept = sorted(shares.items(), key=_second, reverse=True)[:MOST_VALUES]
            shares = {value: share for value, share in kept if share >= LEAST_SHARE}
        self._shares = shares

"""The range and the share of nulls each input usually has, learned from past samples in bounded memory.

Laws of this file
- A range is [q.0005, q.9995] of the last `EPOCHS` epochs, exact: the k-th extreme of many samples is among
  the k extremes of their parts.
- It is widened on each side by `widen` times the distance from the median: a storm twice the size of any
  before is weather; seconds sent as minutes are sixty times.
- A column without spread, or of text, has no range.
- Violations that come in runs were usual are no news: the usual share is never below the fullest run of 50
  samples seen in the epochs, less two violations.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Value = float | str | None

EPOCH_SAMPLES = 2_000
EPOCHS = 14
TAIL = 0.0005
EXTREMES = 16
"""Kept per side and epoch: the tail of 28,000 samples is 14 values."""
RUN_SAMPLES = 50
TAIL_RATE = 2 * TAIL
TEXT_MOST = "\U0010ffff" * 8


def is_null(value: Value) -> bool:
    """None and NaN are null.

    >>> is_null(None), is_null(float("nan")), is_null(0.0), is_null("")
    (True, True, False, False)
    """
    return value is None or value != value


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch of a column leaves behind: its extremes (ascending), median and counts.

    `null_run` and `outside_run` are the most nulls and the most values outside the bounds then in force among
    `RUN_SAMPLES` consecutive samples.
    """

    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    median: float
    samples: int
    nulls: int
    null_run: int
    outside_run: int
    text: bool


def fullest_run(flags: NDArray[np.bool_]) -> int:
    """The most true flags in any aligned run of `RUN_SAMPLES`."""
    starts = np.arange(0, len(flags), RUN_SAMPLES)
    return int(np.add.reduceat(flags.astype(np.int64), starts).max()) if len(flags) else 0


def summarise(column: Sequence[Value], low: float | str, high: float | str) -> Epoch:
    """Reduce one column of an epoch; low and high are the bounds that were in force.

    Infinite values count as samples but never widen a range.
    """
    if str in set(map(type, column)):
        missing = np.array([is_null(value) for value in column], dtype=np.bool_)
        return Epoch((), (), math.nan, len(column), int(missing.sum()), fullest_run(missing), 0, True)
    numbers = np.array(column, dtype=np.float64)
    missing = np.isnan(numbers)
    nulls, null_run = int(missing.sum()), fullest_run(missing)
    outside_run = 0
    if not isinstance(low, str) and not isinstance(high, str):
        outside_run = fullest_run((numbers < low) | (numbers > high))
    values = np.sort(numbers[np.isfinite(numbers)])
    lowest, highest = values[:EXTREMES].tolist(), values[-EXTREMES:].tolist()
    middle = float(values[len(values) // 2]) if len(values) else math.nan
    return Epoch(tuple(lowest), tuple(highest), middle, len(column), nulls, null_run, outside_run, False)


class ColumnRange:
    """The usual range and null share of one input.

    Args:
        widen: how many times its own distance from the median each end is moved outwards.
    """

    __slots__ = ("_epochs", "widen")

    def __init__(self, widen: float) -> None:
        self.widen = widen
        self._epochs: deque[Epoch] = deque(maxlen=EPOCHS)

    def add(self, epoch: Epoch) -> None:
        """Take one more epoch; the oldest beyond the limit is forgotten."""
        self._epochs.append(epoch)

    @property
    def text(self) -> bool:
        """Whether the column has held text."""
        return any(epoch.text for epoch in self._epochs)

    def null_rate(self) -> float:
        """The usual share of nulls, runs included: not underestimated, at least 0.001."""
        share = max((epoch.nulls / epoch.samples for epoch in self._epochs), default=0.0)
        run = max((epoch.null_run for epoch in self._epochs), default=0)
        return max(0.001 + 2 * share, (run - 2) / RUN_SAMPLES)

    def outside_rate(self) -> float:
        """The usual share of values outside the widened range, runs included, at least 0.001."""
        run = max((epoch.outside_run for epoch in self._epochs), default=0)
        return max(TAIL_RATE, (run - 2) / RUN_SAMPLES)

    def bounds(self) -> tuple[float, float]:
        """Widened range; (-inf, inf) where there is nothing to judge by."""
        low, high, middle = self.quantiles()
        if not low < high:
            return -math.inf, math.inf
        return low - self.widen * (middle - low), high + self.widen * (high - middle)

    def quantiles(self) -> tuple[float, float, float]:
        """(q.0005, q.9995, median of the epochs' medians); NaN for a column without numbers."""
        epochs = [epoch for epoch in self._epochs if epoch.lowest]
        if not epochs or self.text:
            return math.nan, math.nan, math.nan
        count = sum(epoch.samples - epoch.nulls for epoch in epochs)
        rank = min(max(round(TAIL * count), 1), EXTREMES)
        lowest = sorted(value for epoch in epochs for value in epoch.lowest)
        highest = sorted((value for epoch in epochs for value in epoch.highest), reverse=True)
        medians = sorted(epoch.median for epoch in epochs)
        rank = min(rank, len(lowest))
        return lowest[rank - 1], highest[rank - 1], medians[len(medians) // 2]

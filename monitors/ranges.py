"""The range and the share of nulls each input usually has, learned from past samples in bounded memory.

Laws of this file
- A range is [q.0005, q.9995] of the last `EPOCHS` epochs, exact: the k-th extreme of many samples is among
  the k extremes of their parts.
- It is widened on each side by `widen` times the distance from the median: a storm twice the size of any
  before is weather; seconds sent as minutes are sixty times.
- A column without spread, or of text, has no range.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Value = float | str | None

EPOCH_SAMPLES = 2_000
EPOCHS = 14
TAIL = 0.0005
EXTREMES = 16
"""Kept per side and epoch: the tail of 28,000 samples is 14 values."""
TEXT_MOST = "\U0010ffff" * 8


def is_null(value: Value) -> bool:
    """None and NaN are null.

    >>> is_null(None), is_null(float("nan")), is_null(0.0), is_null("")
    (True, True, False, False)
    """
    return value is None or value != value


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch of a column leaves behind: its extremes (ascending), median and counts."""

    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    median: float
    samples: int
    nulls: int
    text: bool


def summarise(column: Sequence[Value]) -> Epoch:
    """Reduce one column of an epoch. Infinite values count as samples but never widen a range."""
    present = [value for value in column if value is not None and value == value]
    text = any(isinstance(value, str) for value in present)
    nulls = len(column) - len(present)
    if text:
        return Epoch((), (), 0.0, len(column), nulls, True)
    values = np.array(present, dtype=np.float64)
    values = np.sort(values[np.isfinite(values)])
    if len(values) == 0:
        return Epoch((), (), math.nan, len(column), nulls, False)
    middle = float(values[len(values) // 2])
    lowest, highest = values[:EXTREMES].tolist(), values[-EXTREMES:].tolist()
    return Epoch(tuple(lowest), tuple(highest), middle, len(column), nulls, False)


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
        """Twice the largest share of nulls of any epoch, and a little: nulls come in clusters."""
        return 0.001 + 2 * max((epoch.nulls / epoch.samples for epoch in self._epochs), default=0.0)

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

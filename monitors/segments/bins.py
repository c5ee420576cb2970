"""Few bins of one input, fixed once learned: of numbers by quantiles, of text by its most frequent values; null has its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.monitors.inputs.histogram import Histogram, Value

BINS = 9
"""Eight of values, or fewer, and the last of nulls."""


class Bins:
    """The bin of each value of a column.

    Example:
        >>> bins = Bins([float(value) for value in range(80)])
        >>> bins.of([0.0, 45.0, 1e9, None]).tolist()
        [0, 4, 7, 8]
    """

    __slots__ = ("edges", "values")

    def __init__(self, sample: Sequence[Value]) -> None:
        learned = Histogram.learn(sample)
        self.values: dict[Any, int] | None = None
        self.edges: list[float] = []
        if learned.values is not None:
            self.values = {value: number for number, value in enumerate(learned.values[: BINS - 2])}
            return
        numbers = np.array([value for value in sample if value is not None], dtype=np.float64)
        numbers = numbers[np.isfinite(numbers)]
        if len(numbers):
            shares = np.arange(1, BINS - 1) / (BINS - 1)
            self.edges = np.unique(np.quantile(numbers, shares, method="lower")).tolist()

    def of(self, column: Sequence[Value]) -> NDArray[np.int64]:
        """The bin of each value, 0 to BINS - 1. Text among numbers counts as null."""
        if self.values is not None:
            table = self.values
            return np.array(
                [
                    BINS - 1 if value is None or value != value else table.get(value, BINS - 2)
                    for value in column
                ],
                dtype=np.int64,
            )
        if str in set(map(type, column)):
            column = [None if isinstance(value, str) else value for value in column]
        numbers = np.array(column, dtype=np.float64)
        found = np.searchsorted(self.edges, numbers)
        found[np.isnan(numbers)] = BINS - 1
        return found

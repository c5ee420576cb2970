"""Bins of one input: learned once, fine, and merged afresh into a few coarse bins for every judgement.

Laws of this file
- Fine edges are quantiles of the cold-start sample, duplicates merged (a point mass has its own bin); the
  outer bins reach to -inf and inf, so nothing is ever dropped.
- Null has its own bin. Text has a bin for each of the most frequent values and one for all others.
- Counts only add: windows merge by addition.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Value = float | str | None
Counts = NDArray[np.int64]

FINE_BINS = 128
TOP_VALUES = 30


def merge_bins(counts: Counts, group: Counts, groups: int) -> Counts:
    """Sum the last axis of counts by group."""
    # Counts are whole numbers far below 2**53, so floats hold each sum exactly, and multiply many times faster.
    member = (group[:, None] == np.arange(groups)).astype(np.float64)
    merged: Counts = (counts.astype(np.float64) @ member).astype(np.int64)
    return merged


class Histogram:
    """Fine bins of one input.

    Exactly one of `edges` (numbers) and `values` (text) is used. Bin layout of numbers: x <= e0, (e0, e1],
    ..., x > last, null. Of text: one per value, others, null.

    Example:
        >>> bins = Histogram.learn([1.0, 2.0, 3.0, 4.0])
        >>> bins.count([0.0, 2.5, 9.0, None]).tolist()
        [1, 0, 1, 1, 1]
    """

    __slots__ = ("edges", "values")

    def __init__(self, edges: list[float] | None, values: list[str] | None) -> None:
        self.edges = edges
        self.values = values

    @classmethod
    def learn(cls, sample: Sequence[Value]) -> Histogram:
        """Learn the bins from a sample; any text makes the column text."""
        texts = [value for value in sample if isinstance(value, str)]
        if texts:
            ranked = sorted(Counter(texts).items(), key=lambda item: (-item[1], item[0]))
            return cls(None, [value for value, _ in ranked[:TOP_VALUES]])
        numbers = np.array([value for value in sample if value is not None], dtype=np.float64)
        numbers = numbers[np.isfinite(numbers)]
        if len(numbers) == 0:
            return cls([0.0], None)
        shares = np.arange(1, FINE_BINS) / FINE_BINS
        edges = np.unique(np.quantile(numbers, shares, method="lower"))
        # An edge at the largest value would leave the upper bin empty, but it is where a point mass ends:
        # keep it.
        return cls(edges.tolist(), None)

    def empty(self) -> Counts:
        """No counts yet."""
        bins = len(self.values) + 2 if self.values is not None else len(self.edges or ()) + 2
        return np.zeros(bins, dtype=np.int64)

    def count(self, column: Sequence[Value]) -> Counts:
        """Count a column's values per bin."""
        if self.values is not None:
            return self._count_text(column)
        edges = np.array(self.edges)
        if str in set(map(type, column)):
            # Text in a column of numbers is no number of any bin.
            column = [None if isinstance(value, str) else value for value in column]
        # The few edges are found among the sorted values, not the many values among the edges; nulls sort to the end.
        numbers = np.sort(np.array(column, dtype=np.float64))
        valid = int(numbers.searchsorted(np.nan))
        below = numbers[:valid].searchsorted(edges, side="right")
        counts = np.empty(len(edges) + 2, dtype=np.int64)
        counts[0] = below[0]
        np.subtract(below[1:], below[:-1], out=counts[1:-2])
        counts[-2:] = valid - below[-1], len(numbers) - valid
        return counts

    def _count_text(self, column: Sequence[Value]) -> Counts:
        assert self.values is not None
        found = Counter(value if value is None or value == value else None for value in column)
        counts = [found.pop(value, 0) for value in self.values]
        nulls = found.pop(None, 0)
        return np.array([*counts, sum(found.values()), nulls], dtype=np.int64)

    def coarse(self, reference: Counts, bins: int) -> tuple[Counts, list[str]]:
        """Group fine bins into about `bins` of equal reference share.

        Returns:
            The coarse bin of each fine bin, and the coarse bins' names. Bins of text are ranked by reference
            count, the rare ones grouped with the others. Null is always the last bin.
        """
        return (
            self._coarse_text(reference, bins)
            if self.values is not None
            else self._coarse_numbers(reference, bins)
        )

    def _coarse_numbers(self, reference: Counts, bins: int) -> tuple[Counts, list[str]]:
        assert self.edges is not None
        counts = reference[:-1]
        target = max(float(counts.sum()) / bins, 1e-9)
        group = np.zeros(len(reference), dtype=np.int64)
        names, start, filled, current = [], "-inf", 0.0, 0
        for index, count in enumerate(counts.tolist()):
            # Close the bin before a fine bin whose larger part lies beyond the target.
            if filled > 0 and filled + count / 2 > target:
                end = f"{self.edges[index - 1]:.6g}"
                names.append(f"({start}, {end}]")
                start, filled, current = end, 0.0, current + 1
            group[index] = current
            filled += count
        names.append(f"({start}, inf)")
        group[-1] = current + 1
        return group, [*names, "null"]

    def _coarse_text(self, reference: Counts, bins: int) -> tuple[Counts, list[str]]:
        assert self.values is not None
        counts = reference[: len(self.values)]
        ranked = sorted(range(len(counts)), key=lambda index: (-int(counts[index]), index))[
            : max(bins - 1, 1)
        ]
        group = np.full(len(reference), len(ranked), dtype=np.int64)
        for place, index in enumerate(ranked):
            group[index] = place
        group[-1] = len(ranked) + 1
        return group, [*(self.values[index] for index in ranked), "other", "null"]

    def digest(self) -> str:
        """A short name for these bins."""
        return hashlib.sha256(repr((self.edges, self.values)).encode()).hexdigest()[:16]

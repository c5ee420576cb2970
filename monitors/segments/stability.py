"""The population stability index by segment: whose inputs moved, and whether those of one segment did.

Laws of this file
- Counts by segment, input and bin, over the same tumbling windows as the whole. The reference is all windows before, fading as
  the last 28 do; nothing else is kept of them but each window's own statistic.
- Whose: PSI = sum (q - p) ln(q / p) splits exactly over the segments of a field, as their joint shares q and p do.
- Whether: ln G (PSI over its mean under no drift) of a segment's window is t-tested against those of its windows before, each
  judged by what came before it: whatever noise days have, is in both. alpha = budget / (segments * inputs * windows a year).
- A segment speaks with `LEAST_RECORDS` in a window and `LEAST_WINDOWS` such windows before. Of the segments in which one input
  moved at once, the clearest is told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from penstock.monitors.episodes import Transition
from penstock.monitors.segments.bins import BINS, Bins
from penstock.monitors.segments.blame import Blamed, Floats, blame
from penstock.monitors.segments.places import Placed, flattened

try:
    from penstock.monitors.inputs import counting
except ImportError:  # it was not built
    counting = None  # type: ignore[assignment]

YEAR_MS = 365.25 * 86_400_000
DAY_MS = 86_400_000
BUFFER_ROWS = 1_024
COLD_ROWS = 2_048
LEAST_RECORDS = 100
LEAST_WINDOWS = 10
WINDOWS = 28
Row = tuple[Placed, Sequence[Any], float]


class SegmentStability:
    """PSI of each input in each segment, by tumbling windows of event time.

    Args:
        names: the inputs and, last, the prediction.
        places: how many places there are.
        budget_per_year: false alarms a year, over all segments and inputs.
        window_ms: length of a window.
    """

    __slots__ = (
        "_bins", "_counts", "_firing", "_past", "_reference", "_rows", "_start", "_turn", "_window", "budget", "contributions",
        "judged", "names", "places", "window_ms", "window_records",
    )  # fmt: skip

    def __init__(
        self, names: Sequence[str], places: int, budget_per_year: float, window_ms: int = DAY_MS
    ) -> None:
        self.names = tuple(names)
        self.places = places
        self.budget = budget_per_year
        self.window_ms = window_ms
        shape = (places, len(self.names))
        self._bins: list[Bins] | None = None
        self._rows: list[Row] = []
        self._window: int | None = None
        self._start = (0, 0)
        self._counts: Floats = np.zeros((*shape, BINS))
        self._reference: Floats = np.zeros((*shape, BINS))
        self._past = np.full((WINDOWS, *shape), np.nan, np.float32)
        self._turn = 0
        self._firing: dict[int, tuple[int, tuple[int, int]]] = {}
        self.contributions: Floats = np.zeros(shape)
        self.window_records: Floats = np.zeros(places)
        self.judged = 0

    def update(
        self, at_ms: int, position: int, placed: Placed, x: Sequence[Any], score: float
    ) -> list[tuple[int, Transition]]:
        """Take one sample; transitions with their places. The first of a later window closes the open one."""
        found: list[tuple[int, Transition]] = []
        if self._window is None or at_ms >= (self._window + 1) * self.window_ms:
            if self._window is not None:
                found = self._close(at_ms, position)
            self._window = at_ms // self.window_ms
            self._start = (self._window * self.window_ms, position)
        self._rows.append((placed, x, score))
        if len(self._rows) >= (BUFFER_ROWS if self._bins else COLD_ROWS):
            self._count()
        return found

    def carries(self, name: str) -> tuple[Blamed, int] | None:
        """The segment that the shift of an input in the last closed window comes from, and its records there; None for no one."""
        if name not in self.names:
            return None
        blamed = blame(self.contributions[:, self.names.index(name)], self.window_records)
        return None if blamed is None else (blamed, int(self.window_records[blamed.place]))

    def forget(self, places: Sequence[int]) -> None:
        """These places belong to other values from here on."""
        gone = list(places)
        self._counts[gone] = self._reference[gone] = 0.0
        self._past[:, gone] = np.nan
        self._firing = {name: fired for name, fired in self._firing.items() if fired[0] not in gone}

    def _count(self) -> None:
        if not self._rows:
            return
        if self._bins is None:
            columns = zip(*((*x, score) for _, x, score in self._rows), strict=True)
            self._bins = [Bins(column) for column in columns]
        left: Sequence[int] | None = None
        if counting is not None:
            edges = [bins.edges if bins.values is None else bins.values for bins in self._bins]
            left = counting.count_by_place(self._rows, edges, self.places, BINS, self._counts)
        self._count_columns(self._bins, range(len(self.names)) if left is None else left)
        self._rows.clear()

    def _count_columns(self, all_bins: Sequence[Bins], left: Sequence[int]) -> None:
        """Count the columns that compiled code left: what is neither an ordinary number nor text where it belongs."""
        if not left:
            return
        placed = flattened([row[0] for row in self._rows]).reshape(len(self._rows), -1) * BINS
        columns = list(zip(*((*x, score) for _, x, score in self._rows), strict=True))
        for index in left:
            flat = (placed + all_bins[index].of(columns[index])[:, None]).ravel()
            counts = np.bincount(flat, minlength=self.places * BINS)
            self._counts[:, index] += counts.reshape(self.places, BINS)

    def _close(self, at_ms: int, position: int) -> list[tuple[int, Transition]]:
        """End a window: whose shift it was, which segments moved, then let it join the reference."""
        if self._bins is None:
            return []
        self._count()
        counts, reference = self._counts, self._reference
        records = counts[:, 0].sum(axis=1)
        self.window_records = records
        self.contributions = contributions(counts, reference)
        statistic = np.full(counts.shape[:2], np.nan)
        before = reference[:, 0].sum(axis=1)
        able = np.flatnonzero((records >= LEAST_RECORDS) & (before >= LEAST_RECORDS))
        found: list[tuple[int, Transition]] = []
        if len(able):
            relative, index = relatives(reference[able], counts[able])
            statistic[able] = np.log(np.maximum(relative, 1e-9))
            found = self._judge(able, statistic[able], index, at_ms, position)
        self._past[self._turn % WINDOWS] = statistic
        self._turn += 1
        self._reference = reference * (1 - 1 / WINDOWS) + counts
        self._counts = np.zeros_like(counts)
        return found

    def _judge(
        self, able: Any, logs: Floats, index: Floats, at_ms: int, position: int
    ) -> list[tuple[int, Transition]]:
        # Here: scipy takes a fifth of a second to load, and no role that never judges shall wait for it as it begins.
        from scipy.special import stdtr  # type: ignore[import-untyped]

        past = self._past[:, able].astype(np.float64)
        windows = (~np.isnan(past)).sum(axis=0)
        speaks = windows >= LEAST_WINDOWS
        judged = int(speaks.any(axis=1).sum())
        if not judged:
            return []
        self.judged = judged
        many = np.maximum(windows, 2)
        mean = np.nansum(past, axis=0) / many
        spread = np.sqrt(np.nansum((past - mean) ** 2, axis=0) / (many - 1))
        least = math.sqrt(2 / (BINS - 1))
        t = (logs - mean) / (np.maximum(spread, least) * np.sqrt(1 + 1 / many))
        p = np.where(speaks, stdtr(many - 1, -t), 1.0)
        alpha = self.budget * self.window_ms / (judged * len(self.names) * YEAR_MS)
        found: list[tuple[int, Transition]] = []
        rows = able.tolist()
        for column in range(len(self.names)):
            state: Literal["firing", "resolved"]
            if column in self._firing:
                place, since = self._firing[column]
                if place not in rows or p[rows.index(place), column] <= math.sqrt(alpha):
                    continue
                row, state = rows.index(place), "resolved"
                del self._firing[column]
            else:
                row = int(p[:, column].argmin())
                if p[row, column] >= alpha:
                    continue
                place, since, state = rows[row], self._start, "firing"
                self._firing[column] = place, since
            detail: dict[str, object] = {
                "psi": float(index[row, column]), "test": "t", "samples": int(self.window_records[place]),
                "reference_windows": int(windows[row, column]), "window_ms": [self._start[0], self._start[0] + self.window_ms],
                "budget_per_year": self.budget, "budget_segments": judged,
            }  # fmt: skip
            found.append((place, Transition(
                "psi", self.names[column], state, float(p[row, column]), alpha, float(index[row, column]), *since, at_ms,
                position, detail,
            )))  # fmt: skip
        return found


def contributions(counts: Floats, reference: Floats) -> Floats:
    """Each segment's part of the PSI of each input, by place; those of one field add up to it, but for the smoothing of shares.

    Places of all fields stand in one axis: sums over it count every record once for each field, and shares stay right.
    """
    n, before = max(float(counts[:, 0].sum()), 1.0), max(float(reference[:, 0].sum()), 1.0)
    q, p = (counts.sum(axis=0) + 0.5) / (n + BINS / 2), (reference.sum(axis=0) + 0.5) / (before + BINS / 2)
    parts: Floats = ((counts / n - reference / before) * np.log(q / p)).sum(axis=2)
    return parts


def relatives(reference: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """G of every segment and input, PSI over its mean under no drift, and PSI less that mean, not below 0."""
    used = (counts + reference) > 0
    bins = np.maximum(used.sum(axis=2), 2)
    n, before = counts.sum(axis=2), reference.sum(axis=2)
    p = (reference + 0.5) / (before + bins / 2)[..., None]
    q = (counts + 0.5) / (n + bins / 2)[..., None]
    psi = (np.where(used, (q - p) * np.log(q / p), 0.0)).sum(axis=2)
    usual = (bins - 1) * (1 / np.maximum(before, 1) + 1 / np.maximum(n, 1))
    return psi / usual, np.maximum(psi - usual, 0.0)

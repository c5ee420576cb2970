"""How the values of an input lay in one stretch, and in the one before it: shares of bins, and their stability index.

Laws of this file:
- Pure. Bins are learned from the reference alone, as the monitor of the inputs learns them (`monitors.inputs.histogram`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from penstock.monitors.inputs.histogram import Histogram
from penstock.monitors.inputs.stability import psi
from penstock.stream.operate.reporting.course import Rows

BINS = 10
LEAST_ROWS = 30


class Shares(NamedTuple):
    """One input. Shares are of the rows compared; `by_chance` is what the index would be on average if nothing had moved.

    `reach` is the least and the largest number of both, None where one has none. Stretches are event times in ms; `samples`
    counts what lay in them, of which every `every`-th was compared.
    """

    name: str
    bins: list[str]
    reference: list[float]
    window: list[float]
    psi: float
    by_chance: float
    reach: tuple[tuple[float, float], tuple[float, float]] | None
    spans: tuple[tuple[int, int], tuple[int, int]]
    samples: tuple[int, int]
    every: tuple[int, int]

    def row(self) -> dict[str, Any]:
        """For programs."""
        return {
            **self._asdict(),
            "spans": {"reference": self.spans[0], "window": self.spans[1]},
            "samples": {"reference": self.samples[0], "window": self.samples[1]},
            "every": {"reference": self.every[0], "window": self.every[1]},
        }


def compared(
    names: Sequence[str], reference: Rows, window: Rows, named: Collection[str] = ()
) -> list[Shares]:
    """Every column that both stretches have enough of: those that are `named` first, then the most moved."""
    if min(len(reference.rows), len(window.rows)) < LEAST_ROWS:
        return []
    columns = zip(names, zip(*reference.rows, strict=True), zip(*window.rows, strict=True), strict=True)
    found = [_shares(name, before, now, reference, window) for name, before, now in columns]
    return sorted(found, key=lambda one: (one.name not in named, -one.psi, one.name))


def _reach(
    before: Sequence[Any], now: Sequence[Any]
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    numbers = [[float(value) for value in side if isinstance(value, int | float)] for side in (before, now)]
    if not all(numbers):
        return None
    return (min(numbers[0]), max(numbers[0])), (min(numbers[1]), max(numbers[1]))


def _shares(name: str, before: Sequence[Any], now: Sequence[Any], reference: Rows, window: Rows) -> Shares:
    histogram = Histogram.learn(before)
    then, since = histogram.count(before), histogram.count(now)
    group, bins = histogram.coarse(then, BINS)
    counts = [[0] * len(bins), [0] * len(bins)]
    for side, fine in zip(counts, (then, since), strict=True):
        for place, count in zip(group.tolist(), fine.tolist(), strict=True):
            side[place] += count
    used = [place for place in range(len(bins)) if counts[0][place] or counts[1][place]]
    sides = [[side[place] for place in used] for side in counts]
    sizes = [max(sum(side), 1) for side in sides]
    return Shares(
        name=name,
        bins=[bins[place] for place in used],
        reference=[count / sizes[0] for count in sides[0]],
        window=[count / sizes[1] for count in sides[1]],
        psi=psi(*sides),
        by_chance=max(len(used) - 1, 0) * (1 / sizes[0] + 1 / sizes[1]),
        reach=None if isinstance(histogram.values, list) else _reach(before, now),
        spans=(reference.span, window.span),
        samples=(reference.samples, window.samples),
        every=(reference.every, window.every),
    )

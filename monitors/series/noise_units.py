"""A series as means of blocks, in units of their own noise: what a detector made for independent values can be given.

Laws of this file
- A block is the smallest of 1, 2, 4 or 8 base blocks whose means have lag-1 correlation of at most 0.2 in the past
  (`losses.blocks`): neighbouring events share their weather, and a detector takes that for drift.
- Scale and centre come from past blocks only, the last `PAST_BLOCKS`; the judged block never sets its own. While the caller says
  that something fires they stand still, and accepting the level makes the blocks since then the past.
- What is given lies within `MOST_UNITS`: one absurd value is no reason for a detector to be blind from then on.
"""

from __future__ import annotations

from collections import deque
from math import isfinite
from typing import NamedTuple

import numpy as np

from penstock.monitors.losses.blocks import calibrate, median

LEAST_BLOCKS = 24
PAST_BLOCKS = 224
MOST_MULTIPLE = 8
MOST_UNITS = 8.0


class Point(NamedTuple):
    """One number for a detector, where what it stands for began, in event time (ms) and log position, and its mean as it came."""

    x: float
    at: int
    position: int
    mean: float


class NoiseUnits:
    """Turn values into block means in units of noise.

    Args:
        block: values per base block.

    Nothing is given before `LEAST_BLOCKS` base blocks.

    Example:
        >>> units = NoiseUnits(2)
        >>> points = [units.update(0, n, float(n % 2)) for n in range(52)]
        >>> [point.x for point in points if point]
        [0.0, 0.0]
    """

    __slots__ = (
        "_count",
        "_episode",
        "_means",
        "_past",
        "_place",
        "_start",
        "_total",
        "block",
        "centre",
        "multiple",
        "scale",
    )

    def __init__(self, block: int) -> None:
        self.block = block
        self.multiple, self.centre, self.scale = 0, 0.0, 1.0
        self._past: deque[float] = deque(maxlen=PAST_BLOCKS)
        self._episode: deque[float] = deque(maxlen=PAST_BLOCKS)
        self._means: list[float] = []
        self._total, self._count = 0.0, 0
        self._start = self._place = (0, 0)

    def update(self, at: int, position: int, value: float, firing: bool = False) -> Point | None:
        """Take one finite value at an event time (ms) and log position; what it completes for a detector, if anything."""
        if not self._count:
            self._place = (at, position)
        self._count += 1
        self._total += value
        if self._count < self.block:
            return None
        mean = self._total / self._count
        self._total, self._count = 0.0, 0
        if not isfinite(mean):  # finite numbers whose sum is none
            return None
        if not self._means:
            self._start = self._place
        self._means.append(mean)
        if len(self._means) < self.multiple:
            return None
        point = None
        if self.multiple:
            mean = sum(self._means) / len(self._means)
            x = (mean - self.centre) / self.scale
            point = Point(min(max(x, -MOST_UNITS), MOST_UNITS), *self._start, mean)
        (self._episode if firing else self._past).extend(self._means)
        self._means.clear()
        if not firing:
            self._calibrate()
        return point

    def accept(self) -> None:
        """What came while something fired is the past from here on."""
        self._past, self._episode = self._episode, deque(maxlen=PAST_BLOCKS)
        self._calibrate()

    def dismiss(self) -> None:
        """What came while something fired was an exception: the past is as it was before."""
        self._episode.clear()

    def _calibrate(self) -> None:
        if not self._past:
            return
        past = np.array(self._past)
        with np.errstate(over="ignore", invalid="ignore"):
            found = calibrate(past, 0.0, LEAST_BLOCKS, MOST_MULTIPLE)
        if found is not None and isfinite(found.scale):
            self.multiple, self.scale = found.multiple, found.scale
        if self.multiple:
            self.centre = median(past)

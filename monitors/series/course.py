"""What a detector was told since it began, in bounded memory: where a change seems to lie, and how large it is.

Laws of this file
- The newest `KEPT` points are kept as they are, older ones as their number and moments: all of them lie before any change.
- The onset is the border at which the means before and after differ most for their numbers (the estimate of CUSUM).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from penstock.monitors.series.noise_units import Point

KEPT = 256


class Change(NamedTuple):
    """A border in a course: points and means before and after it, and where the first one after is.

    `before` and `after` are means of what the detector was given, `was` and `now` those of the series itself.
    """

    count_before: int
    before: float
    was: float
    count_after: int
    after: float
    now: float
    at: int
    position: int

    @property
    def points(self) -> int:
        """All of them."""
        return self.count_before + self.count_after

    @property
    def gain(self) -> float:
        """How far the means differ, for their numbers: what CUSUM is largest at."""
        gap = self.after - self.before
        return gap * gap * self.count_before * self.count_after


class Course:
    """The points since a detector began.

    Example:
        >>> course = Course()
        >>> for n in range(12):
        ...     course.add(Point(float(n >= 9), 10 * n, n, 70.0))
        >>> found = course.change()
        >>> found.position, found.before, found.after, found.now
        (9, 0.0, 1.0, 70.0)
    """

    __slots__ = ("_kept", "_mean", "_means", "_old", "_squares", "_total", "count", "high", "low")

    def __init__(self) -> None:
        self.count = 0
        self.low, self.high = float("inf"), float("-inf")
        self._kept: deque[Point] = deque()
        self._old, self._total, self._means = 0, 0.0, 0.0
        self._mean = self._squares = 0.0

    def add(self, point: Point) -> None:
        """One more."""
        x = point.x
        self.count += 1
        self.low, self.high = min(self.low, x), max(self.high, x)
        off = x - self._mean
        self._mean += off / self.count
        self._squares += off * (x - self._mean)
        self._kept.append(point)
        if len(self._kept) > KEPT:
            oldest = self._kept.popleft()
            self._old += 1
            self._total += oldest.x
            self._means += oldest.mean

    @property
    def mean(self) -> float:
        """Of all points as the detector was given them, 0 before the first."""
        return self._mean

    @property
    def mean_of_series(self) -> float:
        """Of all points as they came, 0 before the first."""
        return (self._means + sum(point.mean for point in self._kept)) / max(self.count, 1)

    @property
    def variance(self) -> float:
        """Of all points as the detector was given them, 0 before the first."""
        return self._squares / max(self.count, 1)

    def borders(self) -> Iterator[Change]:
        """Before each kept point that has others before it."""
        whole = self._total + sum(point.x for point in self._kept)
        whole_means = self._means + sum(point.mean for point in self._kept)
        count, total, means = self._old, self._total, self._means
        for point in self._kept:
            if count:
                rest = self.count - count
                yield Change(
                    count, total / count, means / count,
                    rest, (whole - total) / rest, (whole_means - means) / rest, point.at, point.position,
                )  # fmt: skip
            count, total, means = count + 1, total + point.x, means + point.mean

    def change(self) -> Change:
        """The border that parts the course best. There must be a point; a single one is after it, and its mean that of both."""
        newest = self._kept[-1]
        x, mean = newest.x, newest.mean
        alone = Change(self.count - 1, x, mean, 1, x, mean, newest.at, newest.position)
        return max(self.borders(), key=lambda border: border.gain, default=alone)

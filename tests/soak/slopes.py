"""Whether what was sampled stays flat: a slope over the last half of the samples, against a stated bound.

Laws of this file:
- Pure. The slope is Theil and Sen's, the median over all pairs: single peaks do not move it.
- The first half is the warm-up: caches fill, windows come to hold what they hold, every entity is met.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

BOUNDS = {
    "rss_mb": 24.0,
    "files": 4.0,
    "threads": 2.0,
    "redis_keys": 60.0,
    "redis_mb": 8.0,
}
"""How much more an hour may be, by what it is. 100 bytes an event that nobody frees are 36 MB an hour at 100 events a second."""
LEAST_SAMPLES = 8
MOST_THERE = 0.9  # of the samples: a server that is away cannot be asked
NEVER_BEGUN_AGAIN = frozenset({"featurize-0", "learn-0", "serve-0", "console-0", "all-0", "redis"})


class Slope(NamedTuple):
    """How one thing went: at the middle and at the end, and how much more it would be after an hour."""

    of: str
    what: str
    samples: int
    middle: float
    end: float
    an_hour: float
    bound: float

    @property
    def flat(self) -> bool:
        """Whether it stays within its bound."""
        return self.an_hour <= self.bound


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median slope of (seconds, value) points, an hour.

    >>> slope([(0.0, 5.0), (60.0, 6.0), (120.0, 50.0), (180.0, 8.0), (240.0, 9.0)])
    60.0
    """
    pairs = [
        (later - before) / (end - start)
        for number, (start, before) in enumerate(points)
        for end, later in points[number + 1 :]
        if end > start
    ]
    return 3_600.0 * statistics.median(pairs) if pairs else 0.0


def last_half(samples: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """The samples after the warm-up."""
    return list(samples[len(samples) // 2 :])


def slopes(samples: Sequence[Mapping[str, object]]) -> list[Slope]:
    """Of every role that was not begun again in the last half, and of Redis."""
    half = last_half(samples)
    series: dict[tuple[str, str], list[tuple[float, float]]] = {}
    pids: dict[str, set[object]] = {}
    for one in half:
        at = float(one["s"])  # type: ignore[arg-type]
        for name, found in one["of"].items():  # type: ignore[attr-defined]
            pids.setdefault(name, set()).add(found.get("pid"))
            for what, value in found.items():
                if what in BOUNDS:
                    series.setdefault((name, what), []).append((at, float(value)))
    return [
        Slope(name, what, len(points), points[0][1], points[-1][1], round(slope(points), 2), BOUNDS[what])
        for (name, what), points in series.items()
        if len(pids[name]) == 1 and len(points) >= max(MOST_THERE * len(half), LEAST_SAMPLES)
    ]


def missing(samples: Sequence[Mapping[str, object]], found: Sequence[Slope]) -> list[str]:
    """What was sampled at the middle, of what is never begun again, and has no slope: it ended, or could not be asked."""
    sampled = {
        (name, what)
        for name, one in (last_half(samples)[0]["of"] if samples else {}).items()  # type: ignore[attr-defined]
        for what in one
        if what in BOUNDS and name in NEVER_BEGUN_AGAIN
    }
    told = {(one.of, one.what) for one in found}
    names = {name for name, _ in told}
    return sorted(f"{name} {what}" for name, what in sampled - told) + sorted(NEVER_BEGUN_AGAIN - names)


def table(found: Sequence[Slope]) -> str:
    """For people."""
    lines = [f"{'of':14} {'what':10} samples   at the middle   at the end   more an hour   at most"]
    lines += [
        f"{one.of:14} {one.what:10} {one.samples:7} {one.middle:15.1f} {one.end:12.1f} {one.an_hour:14.2f} {one.bound:9.1f}"
        f"{'' if one.flat else '   NOT FLAT'}"
        for one in found
    ]
    return "\n".join(lines)

"""Counts of events in buckets of event time that are still open, and where in the log they lay.

Laws of this file
- A bucket is closed by the clock of the stream, which says that no older event comes. One that comes nevertheless counts in the
  oldest open bucket.
- Bounded: at most `MOST_OPEN` buckets are open; beyond that the clock is taken to stand further. A gap of more than six weeks is
  passed over, as whole weeks: hours of the week stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from penstock.monitors.quality.level import Place

BUCKET_MS = 900_000
MOST_OPEN = 2_000
WEEK_MS = 7 * 86_400_000
MOST_EMPTY_MS = 6 * WEEK_MS


class Closed(NamedTuple):
    """One bucket: its number since the epoch, its counts, its span, and the newest of the watched events until its end."""

    number: int
    came: int
    beside: int
    start: Place
    end: Place
    last: Place


class _Open:
    """Counts, the newest watched event, and the first record of any kind."""

    __slots__ = ("beside", "count", "first", "newest_ms", "newest_position")

    def __init__(self, first: int) -> None:
        self.count = self.beside = 0
        self.first = first
        self.newest_ms = self.newest_position = 0


class Buckets:
    """Counts by bucket, closed in order, empty ones too; the first is that of the first event."""

    __slots__ = ("_last", "_next", "_open", "bucket_ms")

    def __init__(self, bucket_ms: int = BUCKET_MS) -> None:
        self.bucket_ms = bucket_ms
        self._next: int | None = None
        self._open: dict[int, _Open] = {}
        self._last = Place(0, 0)

    def add(self, at_ms: int, position: int, count: int = 1, first: int | None = None) -> None:
        """A watched event of this time stands at this position of the log, as the last of `count` of its bucket since `first`."""
        one = self._open.get(at_ms // self.bucket_ms) or self._opened(
            at_ms, position if first is None else first
        )
        one.count += count
        one.newest_ms, one.newest_position = at_ms, position

    def beside(self, at_ms: int, position: int, count: int = 1, first: int | None = None) -> None:
        """The same of the other kind of events, which are counted beside the watched ones."""
        one = self._open.get(at_ms // self.bucket_ms) or self._opened(
            at_ms, position if first is None else first
        )
        one.beside += count

    def _opened(self, at_ms: int, position: int) -> _Open:
        number = at_ms // self.bucket_ms
        if self._next is None:
            self._next, self._last = number, Place(number * self.bucket_ms, position)
        number = max(number, self._next)
        one = self._open.get(number)
        if one is None:
            one = self._open[number] = _Open(position)
        return one

    def close(self, clock_ms: int, position: int) -> Iterator[Closed]:
        """The buckets that end at or before the clock, which stands at this position of the log."""
        until = clock_ms // self.bucket_ms
        if self._next is None or until <= self._next:
            return
        if len(self._open) > MOST_OPEN:
            until = max(until, sorted(self._open)[len(self._open) - MOST_OPEN])
        while self._next < until:
            oldest = self._next if self._next in self._open else min(self._open, default=until)
            empty_ms = (min(oldest, until) - self._next) * self.bucket_ms
            if empty_ms > MOST_EMPTY_MS:
                self._next += empty_ms // WEEK_MS * WEEK_MS // self.bucket_ms
                continue
            number, self._next = self._next, self._next + 1
            one = self._open.pop(number, None)
            if one is not None and one.count:
                self._last = Place(one.newest_ms, one.newest_position)
            start = Place(number * self.bucket_ms, self._last.position if one is None else one.first)
            end = Place(self._next * self.bucket_ms, position)
            count, beside = (0, 0) if one is None else (one.count, one.beside)
            yield Closed(number, count, beside, start, end, self._last)

"""Where in the samples log an event time was reached: for retrains that learn from the last so long.

Laws of this file:
- Every sample at or behind an event time stands at or behind the position that `position_of` gives for it, however disordered
  the log is: what is noted is the newest event time met so far.
- Bounded: at most `MOST` places are kept, as far apart as that needs.
"""

from __future__ import annotations

from bisect import bisect_left

MOST = 1_024
APART_MS = 3_600_000


class EventTimes:
    """Places of the log by event time, an hour apart at first; twice as far whenever there are too many."""

    __slots__ = ("apart_ms", "newest", "positions")

    def __init__(self) -> None:
        self.apart_ms = APART_MS
        self.newest: list[int] = []
        self.positions: list[int] = []

    def note(self, newest_ms: int, position: int) -> None:
        """Before `position` no sample is newer than `newest_ms`."""
        if self.newest and newest_ms < self.newest[-1] + self.apart_ms:
            return
        self.newest.append(newest_ms)
        self.positions.append(position)
        if len(self.newest) > MOST:
            self.newest, self.positions, self.apart_ms = (
                self.newest[::2],
                self.positions[::2],
                2 * self.apart_ms,
            )

    def position_of(self, at_ms: int) -> int:
        """A position before which every sample is older than this event time; 0 if none is known."""
        known = bisect_left(self.newest, at_ms)
        return self.positions[known - 1] if known else 0

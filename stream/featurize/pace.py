"""How long a partition that has nothing more is waited for: while history is published, its next records may only be late.

Laws of this file:
- A partition at its end holds nobody up for longer than the patience: that is wall time, counted from its last record.
- Nobody waits while event time goes about as fast as the wall clock, nor for what is within a line of what the partition reached.
- This moves the order of the samples log, and so which labels come in time, only where that order depended on the pace of arrival
  before: where every partition has something left, nobody is asked.
"""

from __future__ import annotations

from collections.abc import Iterable

PATIENCE_MS = 500
#: Event time that goes so many times as fast as the wall clock is history being read, or published.
FAST = 10
LOOK_EVERY_MS = 1_000
ALL = 1 << 62


class Pace:
    """Watches how fast event time goes, and says how far it may go on without partitions that are at their end.

    `patience_ms` 0 waits for nobody. `skew_ms` is how far in event time others may run ahead of one that is waited for.
    """

    def __init__(self, patience_ms: int, skew_ms: int) -> None:
        self.patience_ms, self.skew_ms = patience_ms, skew_ms
        #: At the start nobody knows: it is taken for history.
        self.fast = True
        self.looked: tuple[int, int] | None = None

    def limit(self, newest_at: int, at_end: Iterable[tuple[int, int]], wall_ms: int) -> int:
        """The event time in ms behind which nothing is to be stepped yet.

        `newest_at` is the newest event time that was read of any partition; `at_end` names, for each that has nothing more in
        the log, the newest event time that it brought (-1: none) and when that was, by the wall clock.

        Example:
            >>> pace = Pace(500, 1_000)
            >>> pace.limit(90_000, [(50_000, 7_000)], wall_ms=7_100)
            51000
            >>> pace.limit(90_000, [(50_000, 7_000)], wall_ms=7_600) == ALL
            True

        """
        if not self.patience_ms:
            return ALL
        if self.looked is None:
            self.looked = wall_ms, newest_at
        elif wall_ms - self.looked[0] >= LOOK_EVERY_MS:
            self.fast = newest_at - self.looked[1] > FAST * (wall_ms - self.looked[0])
            self.looked = wall_ms, newest_at
        if not self.fast:
            return ALL
        patient = [at for at, seen_ms in at_end if wall_ms - seen_ms < self.patience_ms]
        return min(patient) + self.skew_ms if patient else ALL

"""How many labels a year the stream has now: what a budget of alarms a year is turned into thresholds with.

Laws of this file
- The larger of two rates, over the last day and over the last 28: traffic that grew counts within a day, and one that shrank, or
  paused, is believed slowly. A rate too small gives more false alarms than the budget; one too large only costs a little delay.
- Both windows end at a kept moment at least as old as they are long, so a whole number of days is seen as soon as there was one.
"""

from __future__ import annotations

from collections import deque

YEAR_MS = 365.25 * 86_400_000
DAY_MS = 86_400_000
SHORT_MS = DAY_MS
LONG_MS = 28 * DAY_MS
STEP_MS = DAY_MS // 12


class LabelRate:
    """Labels per year, from counts at event times; times that go back count as the newest one.

    Example:
        >>> rate = LabelRate()
        >>> for day in range(10):
        ...     rate.count(100, day * DAY_MS, (day + 1) * DAY_MS)
        >>> rate.per_year
        36525.0
    """

    __slots__ = ("_marks", "_now_ms", "_total")

    def __init__(self) -> None:
        self._total = 0
        self._now_ms = 0
        self._marks: deque[tuple[int, int]] = deque()

    def count(self, labels: int, start_ms: int, end_ms: int) -> None:
        """So many labels came between these event times, the newest so far."""
        if not self._marks:
            self._marks.append((start_ms, 0))
            self._now_ms = start_ms
        self._now_ms = max(self._now_ms, end_ms)
        self._total += labels
        if self._now_ms - self._marks[-1][0] >= STEP_MS:
            self._marks.append((self._now_ms, self._total))
            while len(self._marks) > 2 and self._marks[1][0] <= self._now_ms - LONG_MS:
                self._marks.popleft()

    @property
    def per_year(self) -> float:
        """The rate now; 0 before the first count."""
        if not self._marks:
            return 0.0
        # the short window ends near the newest mark, the long one near the oldest
        short = next((mark for mark in reversed(self._marks) if mark[0] <= self._now_ms - SHORT_MS), None)
        long = None
        for mark in self._marks:
            if mark[0] > self._now_ms - LONG_MS:
                break
            long = mark
        return max(self._since(short), self._since(long))

    def _since(self, mark: tuple[int, int] | None) -> float:
        """Labels per year since a kept moment; since the oldest for None."""
        since_ms, before = mark or self._marks[0]
        return (self._total - before) * YEAR_MS / max(self._now_ms - since_ms, 1)

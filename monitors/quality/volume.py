"""How many events a topic brings, against what is usual at this hour.

Laws of this file
- What is usual is `calendar`'s answer; hours of an episode are no part of it, unless the episode lasts so long that they are the
  new normal.
- Times are event times, and the clock that closes buckets is the stream's: a worker that catches up, or a partition that is read
  later, is no change of volume.
"""

from __future__ import annotations

from penstock.monitors.episodes import Transition
from penstock.monitors.quality.buckets import BUCKET_MS, Buckets, Closed
from penstock.monitors.quality.calendar import HOUR_MS, Calendar
from penstock.monitors.quality.flow import Flow
from penstock.monitors.quality.level import DAY_MS

LEARN_MS = 21 * DAY_MS
"""A weekend is known once three were seen."""


class Volume:
    """Tell when a topic brings far less or more than usual, or nothing: transitions of monitor `monitor`.

    Args:
        monitor, subject: what the transitions carry.
        alarms_per_year: the share of the budget.
        bucket_ms: how finely it counts; a whole part of an hour. Silence is found to that.
    """

    __slots__ = ("_buckets", "_episode", "_hour", "_hour_buckets", "_whole", "calendar", "flow")

    def __init__(
        self, monitor: str, subject: str, alarms_per_year: float, bucket_ms: int = BUCKET_MS
    ) -> None:
        self.calendar = Calendar()
        self.flow = Flow(monitor, subject, alarms_per_year, LEARN_MS)
        self._buckets = Buckets(bucket_ms)
        self._hour_buckets = HOUR_MS // bucket_ms
        self._hour = 0
        self._whole = False  # whether the open hour was counted from its beginning
        self._episode: list[int] = []

    def add(self, at_ms: int, position: int, count: int = 1, first: int | None = None) -> None:
        """An event of this time came, as the last of `count` of its bucket since position `first`."""
        self._buckets.add(at_ms, position, count, first)

    def advance(self, clock_ms: int, position: int) -> list[Transition]:
        """The clock of the stream stands here: no event before it is still to come."""
        found: list[Transition] = []
        for bucket in self._buckets.close(clock_ms, position):
            found += self._close(bucket)
        return found

    def _close(self, bucket: Closed) -> list[Transition]:
        place = bucket.number % self._hour_buckets
        if place == 0:
            self._hour, self._whole = 0, True
        self._hour += bucket.came
        found: list[Transition] = []
        expected = self.calendar.expected
        if expected is not None:
            found = self.flow.update(
                bucket.came, expected / self._hour_buckets, bucket.start, bucket.end, bucket.last
            )
        for change in found:
            change.detail["calendar"] = self.calendar.kind
            if change.state == "firing":
                self._episode = self.calendar.forget_since((bucket.end.ms - change.since_ms) // HOUR_MS)
        if place == self._hour_buckets - 1 and self._whole:
            self.calendar.add(None if self.flow.firing else self._hour)
            if self.flow.firing:
                self._episode.append(self._hour)
                if self.flow.accepts(bucket.end.ms):
                    self.calendar.learn_anew(self._episode)
                    found += self.flow.accept(bucket.end)
        if self.flow.firing is None:
            self._episode = []
        return found

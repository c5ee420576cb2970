"""The event time a worker has reached, told to the fold as `Tick`s that stand in the samples log where event time passes a line.

Laws of this file:
- A tick's times are a function of the order of the events alone: the lines lie on a grid of event time, and the tick that says
  that one was passed stands right before the first event behind it, however fast the log is read.
- A tick of the wall clock repeats what the last line said; it adds only which partitions are idle, and that their owner lives.
- A time says that what comes after it, of the partitions it names, is not older: bar what its source brings out of order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from penstock.stream.definitions import Pipeline
from penstock.stream.messages import Tick

LINES_PER_WAIT = 32
LEAST_LINE_MS = 1_000
MOST_LINE_MS = 3_600_000
TICK_WALL_MS = 1_000
NEVER = 1 << 62


class Line(NamedTuple):
    """The event time that was told last, and the line it makes next, both in ms."""

    at: int
    next_at: int


class Ticks:
    """Makes the ticks of the tasks that one worker steps in one order.

    `partitions` is how many source partitions the pipeline has in all; the fold's clock waits until it heard of each. Lines are
    1/32 of the label's `wait` apart, at least a second and at most an hour. A line is told one line late, so that partitions
    and sources may bring their events that far behind each other.
    """

    def __init__(self, pipeline: Pipeline, partitions: int) -> None:
        self.line_ms = min(max(pipeline.label.wait_ms // LINES_PER_WAIT, LEAST_LINE_MS), MOST_LINE_MS)
        self.partitions = partitions
        self.names: list[str] = []
        self.line = Line(-1, 0)
        self.ticked_wall_ms = 0

    def add(self, names: Iterable[str], at: int) -> None:
        """Tell of these source partitions ("topic/0") too, whose events so far reach to `at` (-1: there were none)."""
        self.names += names
        if at >= 0:
            self._reach(at if self.line.at < 0 else min(self.line.at, at))

    def reach(self, at: int, wall_ms: int) -> Tick:
        """The tick to put before an event at `at`, when that is not before `line.next_at`."""
        self._reach(at)
        return self._tick(wall_ms, ())

    def after(self, wall_ms: int, idle: Iterable[str]) -> Tick | None:
        """The tick of the wall clock, when a second of it has passed."""
        if wall_ms - self.ticked_wall_ms < TICK_WALL_MS:
            return None
        self.ticked_wall_ms = wall_ms
        return self._tick(wall_ms, idle)

    def _reach(self, at: int) -> None:
        self.line = Line(at, (at // self.line_ms + 1) * self.line_ms)

    def _tick(self, wall_ms: int, idle: Iterable[str]) -> Tick:
        at = self.line.at
        passed = -1 if at < 0 else max(0, at // self.line_ms - 1) * self.line_ms
        return Tick(dict.fromkeys(self.names, passed), sorted(idle), wall_ms, self.partitions)

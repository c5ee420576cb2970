"""What detectors say that know nothing of dependence: river's ADWIN on every single loss, and PSI above 0.25 a day.

Laws of this file:
- Pure. They look on at a fold and change nothing in it. Everything is as it comes out of the box.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from river.drift import ADWIN

from penstock.monitors.inputs.histogram import Counts, Histogram
from penstock.monitors.inputs.stability import psi
from penstock.stream.learn.records import Pending
from penstock.stream.learn.watching.watcher import Finding, Watcher
from penstock.stream.messages import Sample
from penstock.stream.operate.reporting.course import Rows

DAY_MS = 86_400_000
REFERENCE_DAYS = 28
PSI_MOST = 0.25
BINS = 10
COUNTED_ROWS = 1_024
LEAST_ROWS = 30


class AdwinOfLosses(Watcher):
    """river's ADWIN with its defaults on the live loss of every label. `alarms` are event times (ms) in the range."""

    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop
        self.adwin: Any = ADWIN()  # type: ignore[no-untyped-call]
        self.alarms: list[int] = []

    def label(
        self, at: int, position: int, waits: Pending, y: Any, live: float, base: float
    ) -> Sequence[Finding]:
        """One loss."""
        self.adwin.update(live)
        if self.adwin.drift_detected and self.start <= at < self.stop:
            self.alarms.append(at)
        return ()


class FixedPsi(Watcher):
    """PSI of each day against the first `REFERENCE_DAYS`, in deciles of those; more than `PSI_MOST` is an alarm.

    `days` counts the days of the range that were judged, `alarms` those of each input, `alarm_days` those of any.
    """

    def __init__(self, names: Sequence[str], start: int, stop: int) -> None:
        self.names = tuple(names)
        self.start, self.stop = start, stop
        self.reference: Rows | None = None
        self.bins: list[tuple[Histogram, Counts, int]] = []
        self.expected: list[list[float]] = []
        self.day = -1
        self.rows: list[tuple[Any, ...]] = []
        self.counts: list[Counts] = []
        self.days = self.alarm_days = self.samples = 0
        self.alarms = dict.fromkeys(self.names, 0)

    def sample(self, at: int, position: int, sample: Sample, said: float) -> Sequence[Finding]:
        """One sample; a late one counts with the open day."""
        if self.reference is None:
            self.reference = Rows((at, at + REFERENCE_DAYS * DAY_MS), range(len(self.names)))
        values = (*sample.x, said)
        if at < self.reference.span[1] and not self.bins:
            self.reference.add(values)
            return ()
        if not self.bins:
            self._learn(self.reference)
        day = at // DAY_MS
        if day > self.day:
            self._close()
            self.day = day
        self.rows.append(values)
        if len(self.rows) >= COUNTED_ROWS:
            self._count()
        return ()

    def end(self) -> None:
        """The last day is over, too."""
        if self.bins:
            self._close()

    def _learn(self, reference: Rows) -> None:
        for column in zip(*reference.rows, strict=True):
            histogram = Histogram.learn(column)
            counts = histogram.count(column)
            group, names = histogram.coarse(counts, BINS)
            self.bins.append((histogram, group, len(names)))
            self.expected.append(_merged(counts, group, len(names)))
        self.counts = [histogram.empty() for histogram, _, _ in self.bins]

    def _count(self) -> None:
        columns = zip(self.bins, zip(*self.rows, strict=True), strict=True)
        for place, ((histogram, _, _), column) in enumerate(columns):
            self.counts[place] = self.counts[place] + histogram.count(column)
        self.samples += len(self.rows)
        self.rows.clear()

    def _close(self) -> None:
        if self.rows:
            self._count()
        if self.samples >= LEAST_ROWS and self.start <= self.day * DAY_MS < self.stop:
            self.days += 1
            found = False
            for name, expected, counts, (_, group, size) in zip(
                self.names, self.expected, self.counts, self.bins, strict=True
            ):
                if psi(expected, _merged(counts, group, size)) > PSI_MOST:
                    self.alarms[name] += 1
                    found = True
            self.alarm_days += found
        self.counts = [histogram.empty() for histogram, _, _ in self.bins]
        self.samples = 0


def _merged(counts: Counts, group: Counts, size: int) -> list[float]:
    merged = [0.0] * size
    for place, count in zip(group.tolist(), counts.tolist(), strict=True):
        merged[place] += count
    return merged

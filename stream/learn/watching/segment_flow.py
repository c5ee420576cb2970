"""Data quality by segment: a value that no longer comes, or comes far more or less than usual, and one that never came before.

Laws of this file:
- Watched are the values with a share of at least `LEAST_SHARE` of an epoch's samples, at most `MOST_VALUES` of a field.
- What one segment shows is told only while the whole shows nothing of the kind, and of the segments that show it at once only the
  first: the others are where the same records are counted again.
- They are counted by hour of event time, and judged when a tick ends one.
- The budget is the segments' part of the definition's, half of it for volumes and half for values never seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from penstock.monitors.episodes import Transition
from penstock.monitors.inputs.ranges import EPOCH_SAMPLES
from penstock.monitors.quality.calendar import HOUR_MS
from penstock.monitors.quality.unseen import Unseen
from penstock.monitors.quality.volume import Volume
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.watching.quality import DataQuality
from penstock.stream.learn.watching.quality_text import reason_of
from penstock.stream.learn.watching.segments import budget_of_whole, shown
from penstock.stream.learn.watching.watcher import Finding, Watcher
from penstock.stream.messages import Sample

LEAST_SHARE = 0.05
MOST_VALUES = 8


class Run:
    """Samples of one hour with the same values; `known`: none of those is one that was never seen, nor will be."""

    __slots__ = ("at", "count", "first", "known", "position")

    def __init__(self, first: int, known: bool) -> None:
        self.count, self.first, self.known = 0, first, known
        self.at = self.position = 0


class SegmentFlow(Watcher):
    """The volume of each segment, and its unseen values; `whole` watches the stream that they are parts of."""

    def __init__(self, pipeline: Pipeline, whole: DataQuality) -> None:
        carried, inputs = pipeline.carried, list(pipeline.inputs)
        asked = pipeline.asked_quality
        self.whole, self.topic, self.recipes = whole, pipeline.predict.name, frozenset({"", pipeline.digest})
        self.fields = list(pipeline.segments)
        self.carried = len(carried)
        self.only_carried = self.carried == len(self.fields)
        self._from = [
            (False, carried.index(name)) if name in carried else (True, inputs.index(name))
            for name in self.fields
        ]
        budget = (pipeline.alarms_per_year - budget_of_whole(pipeline)) / 2 / len(self.fields)
        self.share = budget / MOST_VALUES if asked.volume != "off" else 0.0
        unseen = [name for name in self.fields if name in carried] if asked.unseen != "off" else []
        self.unseen = {self.fields.index(name): Unseen(name, budget) for name in unseen}
        self.volumes: list[dict[Any, Volume]] = [{} for _ in self.fields]
        self.counts: list[Counter[Any]] = [Counter() for _ in self.fields]
        self.told: str | None = None
        self.number = self.hour = 0
        self.alarmed = False  # whether values never seen are told of now
        self.open: dict[int, dict[tuple[Any, ...], Run]] = {}  # by hour and values
        self.in_order: list[tuple[tuple[Any, ...], Run]] = []
        self.open_hour: dict[tuple[Any, ...], Run] = {}
        self.open_from = self.open_until = 0

    def sample(self, at: int, position: int, sample: Sample, said: float) -> Sequence[Finding]:
        """Count its values."""
        own = sample.segments or ()
        if sample.recipe not in self.recipes or len(own) != self.carried:
            return ()  # from a worker of a definition with other segments
        repeats = self.whole.repeats
        if repeats is not None and repeats.again:
            return ()
        self.number = number = self.number + 1
        if self.only_carried:
            values = tuple(own)
        else:
            values = tuple([(sample.x if of_x else own)[place] for of_x, place in self._from])
        if not self.open_from <= at < self.open_until:
            self._open_hour(at)
        run = self.open_hour.get(values)
        if run is None:
            known = all(unseen.knows(values[field]) for field, unseen in self.unseen.items())
            self.open_hour[values] = run = Run(position, known)
            self.in_order.append((values, run))
        run.count += 1
        run.at, run.position = at, position
        if run.known and not self.alarmed and number % EPOCH_SAMPLES:
            return ()
        found: list[Transition] = []
        for field, unseen in self.unseen.items():
            found += unseen.update(number, at, position, values[field])
        if number % EPOCH_SAMPLES == 0:
            found += self._turn(at, position)
        self.alarmed = any(unseen.rare.firing for unseen in self.unseen.values())
        return [self._finding(one) for one in found] if found else ()

    def _open_hour(self, at: int) -> None:
        """Count in the hour of this event time from here on."""
        hour = at // HOUR_MS
        self.open_hour = self.open.setdefault(hour, {})
        self.open_from, self.open_until = hour * HOUR_MS, (hour + 1) * HOUR_MS

    def tick(self, at: int, position: int) -> Sequence[Finding]:
        """The clock of the stream stands at `at`."""
        if at // HOUR_MS == self.hour:
            return ()
        self.hour = at // HOUR_MS
        self._count()
        found: list[Transition] = []
        for volumes in self.volumes:
            for volume in volumes.values():
                found += volume.advance(at, position)
        return [self._finding(one) for one in found if self._tells(one)] if found else ()

    def _count(self) -> None:
        """Hand what was counted by hour and values to the values' own counts."""
        for values, run in self.in_order:
            for field, value in enumerate(values):
                self.counts[field][value] += run.count
                volume = self.volumes[field].get(value)
                if volume is not None:
                    volume.add(run.at, run.position, run.count, run.first)
        self.open.clear()
        self.in_order.clear()
        self.open_hour, self.open_from, self.open_until = {}, 0, 0

    def _turn(self, at: int, position: int) -> list[Transition]:
        """An epoch is over: which values are watched from here on."""
        self._count()
        found: list[Transition] = []
        for field, counts in enumerate(self.counts):
            for value, count in sorted(counts.items(), key=lambda one: (-one[1], str(one[0]))):
                room = len(self.volumes[field]) < MOST_VALUES and self.share > 0.0
                if room and count >= LEAST_SHARE * EPOCH_SAMPLES and value not in self.volumes[field]:
                    subject = f"{self.topic} where {self.fields[field]} is {shown(value)}"
                    self.volumes[field][value] = Volume("volume", subject, self.share, HOUR_MS)
            counts.clear()
            if field in self.unseen:
                found += self.unseen[field].turn(self.number, at, position)
        return found

    def _tells(self, change: Transition) -> bool:
        """Whether a segment's volume is news: not while the whole's is, nor another segment's."""
        if change.state == "resolved":
            self.told = None if self.told == change.subject else self.told
            return True
        volume = self.whole.volume
        if (volume is not None and volume.flow.firing) or self.told not in (None, change.subject):
            return False
        self.told = change.subject
        return True

    def _finding(self, change: Transition) -> Finding:
        fires = change.state == "firing"
        return Finding(change, "warn" if fires else "note", reason_of(change, forks=False))

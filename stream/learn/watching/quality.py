"""Data quality beyond ranges: volume, labels, duplicates, unseen values, stuck inputs; `monitors.quality` has the statistics.

Laws of this file:
- A sample or a label costs a few counters; what is judged is judged by block, by epoch, or when a tick moves the clock.
- Volume and label rate are judged by the clock of ticks, so that what is read late is not taken for missing.
- Where labels are joined by key, one may label many samples or none: their topic has a volume like any other, and no delay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from penstock.monitors.episodes import Transition
from penstock.monitors.inputs.ranges import EPOCH_SAMPLES
from penstock.monitors.quality.buckets import BUCKET_MS
from penstock.monitors.quality.delay import BLOCK_LABELS, Delay
from penstock.monitors.quality.label_rate import LabelRate
from penstock.monitors.quality.level import Place
from penstock.monitors.quality.repeats import Repeats
from penstock.monitors.quality.stuck import BLOCK_SAMPLES, Stuck
from penstock.monitors.quality.unseen import Unseen
from penstock.monitors.quality.volume import Volume
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.records import Pending
from penstock.stream.learn.watching.quality_text import reason_of
from penstock.stream.learn.watching.watcher import Finding, Watcher
from penstock.stream.messages import LabelRecord, Sample
from penstock.stream.quality import SHARES


class Run:
    """Events of one bucket that came one after another and are not handed on yet."""

    __slots__ = ("at", "count", "end", "first", "position", "start")

    def __init__(self) -> None:
        self.start = self.end = self.count = 0  # event times (ms); none is of no bucket
        self.first = self.at = self.position = 0

    def open(self, at: int, position: int) -> None:
        """Begin with the event of this time, at this position of the log."""
        self.start = at // BUCKET_MS * BUCKET_MS
        self.end, self.first = self.start + BUCKET_MS, position


class DataQuality(Watcher):
    """All of a pipeline's tests of data quality, as its definition asks."""

    def __init__(self, pipeline: Pipeline) -> None:
        asked = pipeline.asked_quality
        topic, label = pipeline.predict.name, pipeline.label
        inputs = len(pipeline.inputs)
        self.told = asked
        self.share = {name: share * pipeline.alarms_per_year for name, share in SHARES.items()}
        by_id = pipeline.labelled and not label.key_fields
        self.number = 0
        self.names = list(pipeline.inputs)
        self.volume = Volume("volume", topic, self.share["volume"]) if asked.volume != "off" else None
        self.repeats = Repeats(topic, self.share["duplicates"]) if asked.duplicates != "off" else None
        self.unseen: dict[int, Unseen] = {}
        self.known: list[tuple[int, dict[str, None]]] = []
        self.alarmed = False
        self.stuck = [Stuck(name, self.share["stuck"] / inputs) for name in self.names]
        if asked.stuck == "off":
            self.stuck = []
        self.by_id: LabelRate | None = None
        self.by_key: Volume | None = None
        if asked.label_rate != "off" and pipeline.labelled:
            share, of_labels = self.share["label_rate"], label.source.name
            if by_id:
                self.by_id = LabelRate(of_labels, share, label.rule.wait_ms + label.rule.corrected_ms)
            else:
                self.by_key = Volume("label_rate", of_labels, share)
        self.delay = None
        if asked.label_delay != "off" and by_id:
            self.delay = Delay(label.source.name, self.share["label_delay"])
        self.rows: list[list[Any]] = []
        self.start: Place | None = None
        self.clock = 0
        self.samples, self.labels = Run(), Run()
        self.label_at: tuple[int, int] = (-1, 0)
        self.met: list[tuple[int, int, int]] = []

    def sample(self, at: int, position: int, sample: Sample, said: float) -> Sequence[Finding]:
        """Count it, and look at its id and its inputs."""
        self.number = number = self.number + 1
        repeats = self.repeats
        found: Sequence[Transition] = ()
        again = False
        if repeats is not None:
            found = repeats.update(number, at, position, sample.id)
            again = repeats.again
        if not again:  # what is sent twice is one event, with one label
            run, x = self.samples, sample.x
            if not run.start <= at < run.end:
                self._count_samples()
                run.open(at, position)
            run.count += 1
            run.at, run.position = at, position
            for index, known in self.known:
                if self.alarmed or x[index] not in known:
                    found = [*found, *self._unseen(at, position, x)]
                    break
            if self.names:
                self.rows.append(x)
                if len(self.rows) >= BLOCK_SAMPLES:
                    found = [*found, *self._block(Place(at, position))]
        if number % EPOCH_SAMPLES == 0:
            found = [*found, *self._turn(at, position)]
        return self._findings(found) if found else ()

    def _unseen(self, at: int, position: int, x: Sequence[Any]) -> list[Transition]:
        """A sample with a value that may be unseen, or one while such are told of."""
        found: list[Transition] = []
        for index, unseen in self.unseen.items():
            found += unseen.update(self.number, at, position, x[index])
        self._follow()
        return found

    def _turn(self, at: int, position: int) -> list[Transition]:
        """An epoch is over."""
        found: list[Transition] = []
        for unseen in self.unseen.values():
            found += unseen.turn(self.number, at, position)
        if self.repeats is not None:
            found += self.repeats.turn(self.number, at, position)
        self._follow()
        return found

    def _follow(self) -> None:
        """Which values each input is known to have, and whether one that never came is told of."""
        self.known = [(index, unseen.known) for index, unseen in self.unseen.items()]
        self.alarmed = any(unseen.rare.firing for unseen in self.unseen.values())

    def arrived(self, at: int, position: int, label: LabelRecord) -> Sequence[Finding]:
        """Count it; which sample it is of is heard in `label`."""
        run = self.labels
        if not run.start <= at < run.end:
            self._count_labels()
            run.open(at, position)
        run.count += 1
        run.at, run.position = at, position
        self.label_at = position, at if at > self.clock else self.clock
        return ()

    def label(
        self, at: int, position: int, waits: Pending, y: Any, live: float, base: float
    ) -> Sequence[Finding]:
        """How long it took; a label that was only taken for absent arrived nowhere."""
        arrived, came = self.label_at
        if arrived != position:
            if waits.position != position:
                return ()
            came = at  # it came before its sample
        self.met.append((waits.at, came, position))
        return self._findings(self._met()) if len(self.met) >= BLOCK_LABELS else ()

    def tick(self, at: int, position: int) -> Sequence[Finding]:
        """The clock of the stream stands at `at`."""
        if at <= self.clock:
            return ()
        self.clock = at
        self._count_samples()
        self._count_labels()
        found = self._met()
        for one in (self.volume, self.by_id, self.by_key):
            if one is not None:
                found += one.advance(at, position)
        return self._findings(found)

    def _count_samples(self) -> None:
        """Hand on what was counted one by one."""
        run = self.samples
        if run.count and self.volume is not None:
            self.volume.add(run.at, run.position, run.count, run.first)
        if run.count and self.by_id is not None:
            self.by_id.sample(run.at, run.position, run.count, run.first)
        run.count = run.start = run.end = 0

    def _count_labels(self) -> None:
        run = self.labels
        if run.count and self.by_id is not None:
            self.by_id.arrived(run.at, run.position, run.count, run.first)
        elif run.count and self.by_key is not None:
            self.by_key.add(run.at, run.position, run.count, run.first)
        run.count = run.start = run.end = 0

    def _met(self) -> list[Transition]:
        """Look at the labels that met their samples since the last look."""
        met, self.met = self.met, []
        found: list[Transition] = []
        if self.by_id is not None:
            self.by_id.labelled(met)
        if self.delay is not None:
            found += self.delay.labels(met)
        return found

    def _block(self, end: Place) -> list[Transition]:
        """A block of rows is full: look at each input of the event itself."""
        rows, self.rows = self.rows, []
        start, self.start = self.start, end
        found: list[Transition] = []
        for index, name in enumerate(self.names):
            values = [row[index] for row in rows]
            if self.stuck and start is not None:  # where the first block began was not noted
                found += self.stuck[index].block(values, start, end)
            if self.told.unseen != "off" and index not in self.unseen and str in set(map(type, values)):
                self.unseen[index] = Unseen(name, self.share["unseen"] / len(self.names))
                self._follow()
        return found

    def _findings(self, found: Sequence[Transition]) -> list[Finding]:
        findings = []
        for change in found:
            forks = getattr(self.told, change.monitor) == "fork"
            firing = change.state == "firing"
            verb: Literal["alert", "warn", "note"] = "note"
            if firing:
                verb = "alert" if forks or change.detail.get("side") == "silent" else "warn"
            findings.append(Finding(change, verb, reason_of(change, forks=forks), forks and firing))
        return findings

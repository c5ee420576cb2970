"""Data quality beyond ranges: volume, labels, duplicates, unseen values, stuck inputs; `monitors.quality` has the statistics.

Laws of this file:
- A sample costs a few counters; what is judged is judged by block of samples, by epoch, or when a tick moves the clock.
- Volume and label rate are judged by the clock of ticks, so that what is read late is not taken for missing.
- Where labels are joined by key, one may label many samples or none: their topic has a volume like any other, and no delay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from penstock.monitors.episodes import Transition
from penstock.monitors.inputs.ranges import EPOCH_SAMPLES
from penstock.monitors.quality.delay import Delay
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
        self.start = Place(0, 0)
        self.clock = 0
        self.label_at: tuple[int, int] = (-1, 0)

    def sample(self, at: int, position: int, sample: Sample, said: float) -> Sequence[Finding]:
        """Count it, and look at its id and its inputs."""
        self.number += 1
        number = self.number
        found: list[Transition] = []
        if self.repeats is not None:
            found += self.repeats.update(number, at, position, sample.id)
        if self.repeats is None or not self.repeats.again:  # what is sent twice is one event, with one label
            found += self._fresh(at, position, sample)
        if number % EPOCH_SAMPLES == 0:
            for unseen in self.unseen.values():
                found += unseen.turn(number, at, position)
            if self.repeats is not None:
                found += self.repeats.turn(number, at, position)
        return self._findings(found) if found else ()

    def _fresh(self, at: int, position: int, sample: Sample) -> list[Transition]:
        """A sample whose id was not there before."""
        found: list[Transition] = []
        number = self.number
        if self.volume is not None:
            self.volume.add(at, position)
        if self.by_id is not None:
            self.by_id.sample(at, position)
        for index, unseen in self.unseen.items():
            found += unseen.update(number, at, position, sample.x[index])
        if self.names:
            if not self.rows:
                self.start = Place(at, position)
            self.rows.append(sample.x)
            if len(self.rows) >= BLOCK_SAMPLES:
                found += self._block(Place(at, position))
        return found

    def arrived(self, at: int, position: int, label: LabelRecord) -> Sequence[Finding]:
        """Count it; which sample it is of is heard in `label`."""
        if self.by_id is not None:
            self.by_id.arrived(at, position)
        elif self.by_key is not None:
            self.by_key.add(at, position)
        self.label_at = position, max(at, self.clock)
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
        if self.by_id is not None:
            self.by_id.labelled(waits.at, came)
        return (
            self._findings(self.delay.label(came - waits.at, at, position)) if self.delay is not None else ()
        )

    def tick(self, at: int, position: int) -> Sequence[Finding]:
        """The clock of the stream stands at `at`."""
        if at <= self.clock:
            return ()
        self.clock = at
        found: list[Transition] = []
        for one in (self.volume, self.by_id, self.by_key):
            if one is not None:
                found += one.advance(at, position)
        return self._findings(found)

    def _block(self, end: Place) -> list[Transition]:
        """A block of rows is full: look at each input of the event itself."""
        rows, self.rows = self.rows, []
        found: list[Transition] = []
        for index, values in enumerate(zip(*rows, strict=True)):
            if index >= len(self.names):
                break
            if self.stuck:
                found += self.stuck[index].block(values, self.start, end)
            if self.told.unseen != "off" and index not in self.unseen and str in set(map(type, values)):
                share = self.share["unseen"] / len(self.names)
                self.unseen[index] = Unseen(self.names[index], share)
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

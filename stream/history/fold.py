"""One bucket: the events of its entities folded in the stream's order, and its rows answered where their places come.

Laws of this file:
- The engine is the stream's own. An entity's state begins empty, takes its events in the order of their places, and is read by
  every row at that row's place: so each value has the very bits that a single task gives.
- What is in memory is one bucket: the events of its entities that a row asks for, and its rows. A state lives while its entity is
  gone through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from penstock.features.engine.compute import CompiledView
from penstock.stream.featurize.step import TIE_BITS
from penstock.stream.history.job import Group, Job, bound_of, hash_of
from penstock.stream.history.spool import Row, Spool, read
from penstock.stream.history.spread import Share, settled

FOUND, NO_EVENT = 1, 2
"""What is known of a row in the file of standings; 0 is nothing."""


class Spreads(NamedTuple):
    """What all shares laid down: each, and how far its partition had come before it."""

    folder: Path
    rows: int
    shares: Sequence[Share]
    before: Sequence[int]


class Folding:
    """Folds buckets of one job. `answers` are files of numbers, one for each view, with a line for each row."""

    def __init__(self, job: Job, spreads: Spreads) -> None:
        self.job, self.spreads = job, spreads
        self.compiled = {number: CompiledView(job.pipeline.views[number]) for number in job.wanted}
        self.grace_ms = [source.grace_ms for source in job.pipeline.sources]

    def find(self, bucket: int) -> int:
        """Match the rows of one bucket of ids with events: each gets its event's place, and asks for that event's entities."""
        job, folder = self.job, self.spreads.folder
        waiting: dict[str, list[tuple[int | None, int]]] = {}
        for _, rows in read(folder, "ids", bucket):
            for named, at, number in rows:
                waiting.setdefault(named, []).append((at, number))
        spools = [Spool(folder, f"asks{key}", bucket) for key in range(len(job.keys))]
        standing = open_standing(folder, self.spreads.rows)
        found: dict[int, Row] = {}
        for row in self._rows("told", bucket, 0, newest=2, own=1):
            named, at, newest_at, partition, offset, *entities = row
            for wanted, number in waiting.get(named, ()):
                if wanted is not None and wanted != at:
                    continue
                place = (newest_at, partition, offset)
                if number not in found or place < found[number][1:4]:
                    found[number] = (at, *place, *entities)
        for number, (at, newest_at, partition, offset, *entities) in found.items():
            for spool, entity in zip(spools, entities, strict=True):
                ask = (entity, number, at, newest_at, partition, offset)
                spool.put(hash_of("" if entity is None else entity) % job.buckets, ask)
        for spool in spools:
            spool.flush()
        missing = [number for of_id in waiting.values() for _, number in of_id if number not in found]
        standing[missing] = NO_EVENT
        return len(found)

    def fold(self, bucket: int) -> int:
        """Answer the rows of one bucket of entities; how many values' lines were written."""
        job, written = self.job, 0
        writers = range(job.buckets if job.events else 1)
        for key in range(len(job.keys)):
            asks: dict[str | None, list[Row]] = {}
            for _, rows in read(self.spreads.folder, f"asks{key}", bucket, writers):
                for row in rows:
                    asks.setdefault(row[0], []).append(row[1:])
            if not asks:
                continue
            for number, group in enumerate(job.groups):
                if group.key == key:
                    written += self._group(number, group, bucket, asks)
        return written

    def _group(self, number: int, group: Group, bucket: int, asks: Mapping[str | None, list[Row]]) -> int:
        events: dict[str, list[Row]] = {}
        for row in self._rows(f"events{number}", bucket, group.source, newest=1, own=4):
            if row[0] in asks:
                events.setdefault(row[0], []).append(row)
        lines: list[int] = []
        values: list[list[list[float | None]]] = [[] for _ in group.views]
        for entity, of_entity in asks.items():
            lines += self._answer(group, entity, of_entity, events.pop(entity, []) if entity else [], values)
        for view, vectors in zip(group.views, values, strict=True):
            width = len(self.job.pipeline.views[view].numeric)
            if width:
                answers = open_answers(self.spreads.folder, view, self.spreads.rows, width)
                answers[lines] = np.array(vectors, dtype=np.float64)
        return len(lines)

    def _answer(
        self,
        group: Group,
        entity: str | None,
        asks: Sequence[Row],
        events: list[Row],
        values: list[list[list[float | None]]],
    ) -> list[int]:
        """The rows of one entity, in the order in which they are answered; their vectors go behind `values`."""
        job, source, fields = self.job, group.source, group.fields
        views = [self.compiled[number] for number in group.views]
        if entity is None:
            for one, into in zip(views, values, strict=True):
                into.extend([one.vector(one.new(), 0)] * len(asks))
            return [row[0] for row in asks]
        events.sort()
        states = [one.new() for one in views]
        bounds = sorted(
            (bound_of(source, row[1:], events=job.events, before=job.before), row[1], row[0]) for row in asks
        )
        place, end = 0, len(events)
        told: tuple[int, ...] | None = None
        for bound, at, _ in bounds:
            whole, limit = len(bound) > 1, bound[0]
            while place < end:
                event = events[place]
                # of a short bound the newest event time alone says which is first
                if (event[1:4] >= bound) if whole else (event[1] >= limit):
                    break
                tie = (event[2] << TIE_BITS) | event[3]
                of_event = dict(zip(fields, event[5:], strict=True))
                for one, state in zip(views, states, strict=True):
                    one.update(state, event[4], tie, of_event)
                place += 1
            if job.events and source == 0:
                if bound != told:  # two rows may be one event
                    event, told = events[place], bound
                    tie = (event[2] << TIE_BITS) | event[3]
                    of_event = dict(zip(fields, event[5:], strict=True))
                    for one, state, into in zip(views, states, values, strict=True):
                        into.append(one.update_own(state, at, tie, of_event))
                    place += 1
                else:
                    for into in values:
                        into.append(into[-1])
                continue
            for one, state, into in zip(views, states, values, strict=True):
                into.append(one.vector(state, at))
        return [number for _, _, number in bounds]

    def _rows(self, name: str, bucket: int, source: int, *, newest: int, own: int) -> Iterator[Row]:
        """What the shares of a source laid into a bucket, as their partitions have it."""
        spreads = self.spreads
        for share in spreads.shares:
            if share.source == source:
                for _, rows in read(spreads.folder, name, bucket, range(share.number, share.number + 1)):
                    before = spreads.before[share.number]
                    yield from settled(rows, before, self.grace_ms[source], newest, own)


def open_answers(folder: Path, view: int, rows: int, width: int) -> Any:
    """The values of a view for every row: a file of 64-bit floats, null as NaN, which processes share."""
    return np.memmap(
        folder / f"answers{view}", np.float64, _mode(folder / f"answers{view}"), shape=(rows, width)
    )


def open_standing(folder: Path, rows: int) -> Any:
    """What is known of every row beside its values."""
    return np.memmap(folder / "standing", np.uint8, _mode(folder / "standing"), shape=(rows,))


def make(job: Job, folder: Path, rows: int) -> None:
    """Make the files of answers, before processes share them."""
    open_standing(folder, rows)
    for number in job.wanted:
        if width := len(job.pipeline.views[number].numeric):
            open_answers(folder, number, rows, width)[:] = np.nan


def _mode(path: Path) -> Any:
    return "r+" if path.exists() else "w+"

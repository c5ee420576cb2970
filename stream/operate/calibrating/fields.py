"""The fields that labels can be told apart by: inputs and the entity, noted beside a fold, and what else the events hold.

Laws of this file:
- Only fields with few values are kept: a field is given up with the first value too many.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from penstock.stream.formats.as_json import json_of
from penstock.stream.learn.records import Pending
from penstock.stream.learn.watching.watcher import Finding, Watcher
from penstock.stream.log.protocol import Log, UnknownTopic
from penstock.stream.messages import Sample
from penstock.stream.operate.calibrating.carried import MOST_VALUES, Codes
from penstock.stream.operate.sides import Progress
from penstock.stream.source import Source

KEY = "key"
POLL_RECORDS = 5_000
_PLAIN = (bool, int, str)


class Column:
    """Values as numbers, as they come; `codes` of one that was given up say nothing."""

    def __init__(self) -> None:
        self.known: dict[Any, int] = {}
        self.codes = array("h")
        self.given_up = False

    def add(self, value: Any) -> None:
        """One more."""
        known = self.known
        code = known.get(value, -1)
        if code < 0:
            if len(known) > MOST_VALUES or (isinstance(value, float) and value % 1 != 0):
                self.given_up = True
                return
            code = known[value] = len(known)
        self.codes.append(code)

    def coded(self) -> Codes | None:
        """The values and their numbers; None where there are too many, or one."""
        if self.given_up or not 1 < len(self.known) <= MOST_VALUES:
            return None
        return Codes(list(self.known), np.array(self.codes, np.int64))


class Fields(Watcher):
    """Notes of every label the values of `inputs`, and where its sample and its event stand."""

    def __init__(self, inputs: Sequence[str]) -> None:
        self.columns = {name: Column() for name in inputs}
        self.keys = Column()
        self.samples, self.partitions, self.offsets = array("q"), array("l"), array("q")
        self.labels = array("q")

    def sample(self, at: int, position: int, sample: Sample, said: float) -> Sequence[Finding]:
        """Where a sample stands."""
        self.samples.append(position)
        self.partitions.append(sample.origin.partition)
        self.offsets.append(sample.origin.offset)
        if not self.keys.given_up:
            self.keys.add(sample.key)
        return ()

    def label(
        self, at: int, position: int, waits: Pending, y: Any, live: float, base: float
    ) -> Sequence[Finding]:
        """The sample of a label."""
        self.labels.append(waits.position)
        for name, column in self.columns.items():
            if not column.given_up:
                column.add(waits.x.get(name))
        return ()

    def coded(self) -> dict[str, Codes]:
        """The inputs and the entity, one row for each label."""
        found = {
            name: codes for name, column in self.columns.items() if (codes := column.coded()) is not None
        }
        keys = self.keys.coded()
        if keys is not None:
            found[KEY] = Codes(keys.values, keys.codes[self._rows()])
        return found

    def places(self) -> list[tuple[int, int]]:
        """The (partition, offset) of the event of each label."""
        rows = self._rows().tolist()
        return [(self.partitions[row], self.offsets[row]) for row in rows]

    def _rows(self) -> Any:
        return np.searchsorted(np.array(self.samples, np.int64), np.array(self.labels, np.int64))


def of_events(
    log: Log, source: Source, places: Sequence[tuple[int, int]], without: Sequence[str], progress: Progress
) -> dict[str, Codes]:
    """The other fields of the events at these (partition, offset), as far as the topic still holds all of them."""
    topic, as_json = source.name, json_of(source)
    try:
        partitions = range(log.partitions(topic))
        bounds = log.bounds([(topic, partition) for partition in partitions])
    except UnknownTopic:
        return {}
    wanted = {place: row for row, place in enumerate(places)}
    left = {tp: end for tp, (start, end) in bounds.items() if start < end}
    total, done, rows = sum(end - start for start, end in bounds.values()), 0, 0
    values: dict[str, list[Any]] = {}
    kinds: dict[str, set[Any]] = {}
    if not left or not places:
        return {}
    reader = log.reader({tp: bounds[tp][0] for tp in left})
    try:
        while left:
            for record in reader.poll(POLL_RECORDS, 1.0):
                done += 1
                row = wanted.get((record.partition, record.offset))
                event = None if row is None else as_json(record)
                if row is None or event is None:
                    continue
                rows += 1
                for name, value in msgspec.json.decode(event).items():
                    if (
                        name in without
                        or not isinstance(value, _PLAIN)
                        or len(kinds.get(name, ())) > MOST_VALUES
                    ):
                        continue
                    kinds.setdefault(name, set()).add(value)
                    values.setdefault(name, [None] * len(places))[row] = value
            read_to = reader.positions()
            left = {tp: end for tp, end in left.items() if read_to.get(tp, 0) < end}
            progress(f"reading the fields of {topic}", min(done, total), total)
    finally:
        reader.close()
    if rows < len(places):
        return {}
    made = {}
    for name, column in values.items():
        if len(kinds[name]) <= MOST_VALUES:
            numbers = Column()
            for value in column:
                numbers.add(value)
            codes = numbers.coded()
            if codes is not None:
                made[name] = codes
    return made

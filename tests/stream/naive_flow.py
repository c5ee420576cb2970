"""The whole of featurize done naively: every record kept, every value computed from scratch, one record at a time.

Slow and obviously right. It shares with the code only the definitions and the length of a tile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from math import isclose, isfinite
from typing import Any, NamedTuple
from urllib.parse import quote

from penstock.stream.definitions import Pipeline, Source
from penstock.stream.log.protocol import TP, Log, Record
from penstock.stream.messages import LabelRecord, Origin, Sample, decode_entry
from tests.naive_features import NaiveView


def everything(log: Log, topic: str) -> list[Record]:
    """Every record of a topic, partition by partition."""
    tps = [(topic, partition) for partition in range(log.partitions(topic))]
    return sorted((r for records in by_partition(log, tps).values() for r in records), key=lambda r: r[1:3])


def by_partition(log: Log, tps: Sequence[TP]) -> dict[TP, list[Record]]:
    """Every record of each partition."""
    bounds = log.bounds(tps)
    reader = log.reader({tp: low for tp, (low, _) in bounds.items()})
    found: dict[TP, list[Record]] = {tp: [] for tp in tps}
    wanted = sum(high - low for low, high in bounds.values())
    while wanted > 0:
        records = reader.poll(10_000, 5.0)
        assert records, "the log gave less than its bounds say"
        wanted -= len(records)
        for record in records:
            found[(record.topic, record.partition)].append(record)
    reader.close()
    return found


class Expected(NamedTuple):
    """What one valid record gives."""

    at: int
    id: str
    source: Source
    place: tuple[str, int, int]
    event: dict[str, Any]


class Wanted(NamedTuple):
    """What a record of one source must have, told once for all its records: the fields that are numbers or null, those that
    name an entity, and those that a model is given.
    """

    source: Source
    numbers: tuple[str, ...]
    keys: tuple[str, ...]
    inputs: tuple[str, ...]
    labels: bool
    predicts: bool


class NaiveFlow:
    """Samples, labels, dead letters and views of a pipeline over the records of its sources.

    `samples` are (topic, partition, offset) → (id, at, vector); `labels` → (id, at, y); `dead` the places of dead letters.
    """

    def __init__(self, pipeline: Pipeline, log: Log) -> None:
        self.pipeline = pipeline
        self.samples: dict[tuple[str, int, int], tuple[str, int, list[Any]]] = {}
        self.labels: dict[tuple[str, int, int], tuple[str, int, bool]] = {}
        self.dead: set[tuple[str, int, int]] = set()
        self.views: dict[tuple[str, str], NaiveView] = {}
        partitions = log.partitions(pipeline.predict.name)
        self._wanted = {source.name: wanted_of(pipeline, source) for source in pipeline.sources}
        tps = [(source.name, partition) for source in pipeline.sources for partition in range(partitions)]
        queues = [self._checked(records) for records in by_partition(log, tps).values()]
        for expected in merged(queues):
            self._step(expected)

    def _checked(self, records: Sequence[Record]) -> list[tuple[int, Expected | None]]:
        """(time to merge by, what it gives) of one partition's records; the dead ones keep their place."""
        newest = -1
        checked: list[tuple[int, Expected | None]] = []
        for record in records:
            wanted = self._wanted[record.topic]
            source = wanted.source
            place = (record.topic, record.partition, record.offset)
            event = valid(self.pipeline, wanted, record, newest)
            if event is None:
                self.dead.add(place)
                checked.append((newest, None))
                continue
            at = time_of(event[source.time])
            newest = max(newest, at)
            checked.append((at, Expected(at, str(event[source.id]), source, place, event)))
        return checked

    def _step(self, expected: Expected) -> None:
        at, event_id, source, place, event = expected
        label, predicts, labels = (
            self.pipeline.label,
            self._wanted[source.name].predicts,
            self._wanted[source.name].labels,
        )
        vector: list[Any] = [event[name] for name in self.pipeline.inputs] if predicts else []
        for view in self.pipeline.views:
            own = view.source.name == source.name
            if not own and not predicts:
                continue
            parts = [event.get(name) for name in view.key_fields]
            if None in parts:
                vector += NaiveView(view).values(0)
                continue
            naive = self.views.setdefault((view.name, entity(parts)), NaiveView(view))
            vector += naive.update_own(at, (place[1] << 48) | place[2], event) if own else naive.values(at)
        if predicts:
            self.samples[place] = (event_id, at, vector)
        if labels:
            outcome = label.of(event)
            if outcome is not None:
                self.labels[place] = (event_id, at, outcome == 1)

    def documents(self) -> dict[tuple[str, str], NaiveView]:
        """The views that have events: those that have a public document."""
        return {key: view for key, view in self.views.items() if view.events}

    def wrong_documents(self, read: Callable[[str], bytes | None]) -> list[str]:
        """What differs between the public documents that `read` gives by key and the values at their own moment."""
        wrong = []
        for (name, entity_name), view in self.documents().items():
            key = f"features:{self.pipeline.name}:{name}:{entity_name}"
            document = read(key)
            if document is None:
                wrong.append(f"{key} is missing")
                continue
            found = json.loads(document)
            wanted = dict(zip(view.view.features, view.values(found["at"]), strict=True))
            if found["values"].keys() != wanted.keys() or not alike(
                [*found["values"].values()], [*wanted.values()]
            ):
                wrong.append(f"{key} is {found['values']}, not {wanted}")
        return wrong

    def wrong_samples(self, log: Log, topic: str) -> list[str]:
        """What is wrong with a samples topic: every sample and label once, as expected; a repeat of a crash says the same."""
        names = {log.topic_id(source.name): source.name for source in self.pipeline.sources}
        samples, labels, wrong = dict(self.samples), dict(self.labels), []
        said: dict[tuple[int, Origin], Sample | LabelRecord] = {}
        newest: dict[tuple[int, str, int], tuple[int, int]] = {}
        for record in everything(log, topic):
            entry = decode_entry(record.value or b"")
            if not isinstance(entry, Sample | LabelRecord):
                continue
            origin = entry.origin
            place = (names[origin.topic_id], origin.partition, origin.offset)
            first = said.setdefault((record.partition, origin), entry)
            if first is not entry:
                if first != entry:
                    wrong.append(f"{place} gave {first} and, repeated, {entry}")
                continue
            of, here = (record.partition, origin.topic_id, origin.partition), (origin.offset, origin.sub)
            if newest.get(of, (-1, 0)) >= here:
                wrong.append(f"{place} gave {entry} behind what came later, where no reader takes it")
                continue
            newest[of] = here
            if isinstance(entry, Sample):
                wanted = samples.pop(place, ("none", -1, []))
                right = wanted[:2] == (entry.id, entry.at) and alike(wanted[2], entry.x)
            else:
                right = labels.pop(place, None) == (entry.id, entry.at, entry.y)
            if not right:
                wrong.append(f"{place} gave {entry}")
        return wrong + [
            f"{place} gave no {what}"
            for what, left in (("sample", samples), ("label", labels))
            for place in left
        ]

    def joined(self) -> int:
        """How many samples a label joins that has their id and comes within the wait, by event time."""
        wait_ms = self.pipeline.label_rule.wait_ms
        sampled = {event_id: at for event_id, at, _ in self.samples.values()}
        labelled = {
            one for one, at, _ in self.labels.values() if one in sampled and at - sampled[one] <= wait_ms
        }
        return len(labelled)

    def wrong_dead_letters(self, log: Log, topic: str) -> set[tuple[str, int, int]]:
        """Places of records that should have become dead letters and did not, and of dead letters that should be none."""
        return self.dead ^ {dead_place(record) for record in everything(log, topic)}


def alike(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Equal, but for the rounding of sums in another order."""
    numbers = (int, float)
    return len(one) == len(other) and all(
        isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
        if isinstance(a, numbers) and isinstance(b, numbers)
        else a == b
        for a, b in zip(one, other, strict=True)
    )


def dead_place(record: Record) -> tuple[str, int, int]:
    """Where a dead letter came from, by its headers."""
    headers = dict(record.headers)
    partition, offset = int(headers["penstock-partition"]), int(headers["penstock-offset"])
    return headers["penstock-topic"].decode(), partition, offset


def entity(parts: Sequence[Any]) -> str:
    """An entity's name."""
    return "|".join(quote(str(part), safe="") for part in parts)


def merged(queues: list[list[tuple[int, Expected | None]]]) -> Iterator[Expected]:
    """Again and again the earliest first record of any queue; of equal ones that of the first queue."""
    places = [0] * len(queues)
    while True:
        heads = [
            (queue[place][0], n)
            for n, (queue, place) in enumerate(zip(queues, places, strict=True))
            if place < len(queue)
        ]
        if not heads:
            return
        _, n = min(heads)
        expected = queues[n][places[n]][1]
        places[n] += 1
        if expected is not None:
            yield expected


def time_of(value: Any) -> int:
    """Event time in ms."""
    if isinstance(value, str):
        return round(datetime.fromisoformat(value).timestamp() * 1000)
    return round(value)


def wanted_of(pipeline: Pipeline, source: Source) -> Wanted:
    """What the definition asks of a source's records."""
    predicts = source == pipeline.predict
    of_views = [name for view in pipeline.views if view.source.name == source.name for name in view.fields]
    keys = [*source.key_fields]
    for view in pipeline.views:
        if view.source.name == source.name or predicts:
            keys += view.key_fields
    return Wanted(
        source,
        tuple(dict.fromkeys(of_views)),
        tuple(dict.fromkeys(keys)),
        tuple(pipeline.inputs) if predicts else (),
        source == pipeline.label.source,
        predicts,
    )


def valid(pipeline: Pipeline, wanted: Wanted, record: Record, newest: int) -> dict[str, Any] | None:
    """The record's event, or None if it belongs with the dead letters."""
    source = wanted.source
    try:
        event = json.loads(record.value or b"", parse_constant=lambda _: 1 / 0)
        assert isinstance(event, dict)
        assert type(event[source.id]) in (str, int)
        assert all(_is_number(event[name]) for name in wanted.numbers)
        for name in wanted.keys:
            assert event[name] is None or (type(event[name]) in (str, int) and len(str(event[name])) <= 512)
        assert all(
            event[n] is None or type(event[n]) in (str, bool) or _is_number(event[n]) for n in wanted.inputs
        )
        assert type(event[source.time]) in (int, float, str)
        at = time_of(event[source.time])
        assert 0 <= at < 253_402_300_800_000
        assert newest - source.grace_ms <= at <= record.timestamp_ms + source.ahead_ms
        if wanted.labels:
            outcome = pipeline.label.of(event)
            assert outcome is None or (type(outcome) in (bool, int, float) and outcome in (0, 1))
    except Exception:
        return None
    return event


def _is_number(value: Any) -> bool:
    return value is None or (type(value) in (bool, int, float) and isfinite(value) and abs(value) <= 1e75)

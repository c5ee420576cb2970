"""Ranges of topics as tables: samples as they were logged, or events of the predicted source, with what was published of each.

Laws of this file:
- A range is of event times, or of offsets of a topic that has one partition. It is fixed when the table is made, whatever is
  appended later, and its rows come in the same order every time: partition after partition, by offset.
- A repeat of a sample is no row, as it is no prediction.
- Nothing is committed and no group is joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import Rejected, event_time
from penstock.stream.files.reading import BATCH_ROWS, Batch, Kinds
from penstock.stream.formats.as_json import json_of
from penstock.stream.learn.entries import entries
from penstock.stream.learn.learner import Seen
from penstock.stream.log.protocol import Log, Record, UnknownTopic
from penstock.stream.messages import LabelRecord, Recipe, Sample
from penstock.stream.operate.moments import span_of
from penstock.stream.operate.training_set import Span
from penstock.stream.prediction import Prediction, decode_prediction
from penstock.stream.score.refusal import CannotScore
from penstock.stream.score.rows import AT, ID, X

POLL_RECORDS = 10_000
PUBLISHED, PUBLISHED_VERSION = "published", "published_version"


class Range(NamedTuple):
    """Event times, and offsets [first, stop); None is open."""

    span: Span
    first: int | None = None
    stop: int | None = None

    @property
    def by_offset(self) -> bool:
        """Whether an end is an offset."""
        return self.first is not None or self.stop is not None

    def within(self, low: int, high: int) -> range:
        """The offsets of the range among those that a partition holds."""
        first = low if self.first is None else max(low, self.first)
        return range(first, high if self.stop is None else min(high, self.stop))


def range_of(start: str | None, stop: str | None) -> Range:
    """The range between two ends: event times (ms or RFC 3339), or offsets as `@N`. Raises `CannotScore`.

    >>> range_of("@10", None)
    Range(span=Span(start=None, stop=None), first=10, stop=None)
    """
    offsets: list[int | None] = []
    for end, option in ((start, "--from"), (stop, "--to")):
        if end is None or not end.startswith("@"):
            offsets.append(None)
        elif end[1:].isdigit():
            offsets.append(int(end[1:]))
        else:
            raise CannotScore(f"{option} {end}: an offset is written as @59010")
    first, last = offsets
    if first is not None and last is not None and first >= last:
        raise CannotScore(f"nothing lies between {start} and {stop}: the first must be lower")
    times = [None if end is None or end.startswith("@") else end for end in (start, stop)]
    return Range(span_of(times[0], times[1], CannotScore), first, last)


def records_within(log: Log, topic: str, partition: int, within: range) -> Iterator[Record]:
    """The records of a part of a partition, in order."""
    if not within:
        return
    reader = log.reader({(topic, partition): within.start})
    try:
        position = within.start
        while position < within.stop:
            for record in reader.poll(POLL_RECORDS, 1.0):
                if record.offset >= within.stop:
                    return
                yield record
            position = max(position, reader.positions().get((topic, partition), position))
    finally:
        reader.close()


def _bounds(log: Log, topic: str) -> list[tuple[int, int]]:
    """Of each partition. Raises `CannotScore` for a topic that is not there."""
    try:
        tps = [(topic, partition) for partition in range(log.partitions(topic))]
    except UnknownTopic as error:
        raise CannotScore(f"--topic: {error}") from None
    found = log.bounds(tps)
    return [found[tp] for tp in tps]


class Published:
    """What the predictions topic says of a span's events, by their id and time: the newest, where one was written twice.

    `positions` are those of their samples, if that is known.
    """

    def __init__(self, log: Log, topic: str, span: Span, positions: range | None = None) -> None:
        self.of: dict[tuple[str, int], tuple[Any, str]] = {}
        versions: dict[str, str] = {}
        try:
            bounds = [log.bounds([(topic, n)])[(topic, n)] for n in range(log.partitions(topic))]
        except UnknownTopic:
            bounds = []
        for partition, (low, high) in enumerate(bounds):
            for record in records_within(log, topic, partition, range(low, high)):
                said = _decoded(record.value)
                if said is None or not span.holds(said.at):
                    continue
                if positions is None or said.position in positions:
                    version = said.model.version
                    self.of[said.id, said.at] = said.prediction, versions.setdefault(version, version)

    def columns(self, rows: Sequence[tuple[str, int] | None]) -> dict[str, list[Any]]:
        """The two columns for these (id, time)."""
        found = [(None, None) if row is None else self.of.get(row, (None, None)) for row in rows]
        return {PUBLISHED: [one[0] for one in found], PUBLISHED_VERSION: [one[1] for one in found]}


def _decoded(value: bytes | None) -> Prediction | None:
    try:
        return decode_prediction(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _kind(pipeline: Pipeline) -> type:
    return str if pipeline.kind == "multiclass" else float


class Samples:
    """A range of the samples log. Columns are the event's id, key and time, and the sample's position."""

    form = "rows"
    schema = None
    count: int | None = None
    kinds: Kinds = {ID: {str}, "key": {str}, AT: {int}, "position": {int}}  # noqa: RUF012

    def __init__(self, pipeline: Pipeline, log: Log, topics: tuple[str, str], of: Range) -> None:
        self.pipeline, self.log, self.of = pipeline, log, of
        self.topic = topics[0]
        ((self.low, high),) = _bounds(log, self.topic)
        self.within = of.within(self.low, high)
        self.columns = list(self.kinds)
        self.beside: Mapping[str, type] = {PUBLISHED: _kind(pipeline), PUBLISHED_VERSION: str}
        self.published = Published(log, topics[1], of.span, self.within)

    def batches(self, wanted: Sequence[str]) -> Iterator[Batch]:
        """See `Table`; a row has its vector as `x`."""
        rows: list[dict[str, Any]] = []
        batch = Batch(rows, [], {})
        for position, sample, digest in self._samples():
            if digest != self.pipeline.digest:
                batch.bad[len(rows)] = (
                    f"the sample was written under definition {digest}, and the file is {self.pipeline.digest}: its inputs differ"
                )
            rows.append({ID: sample.id, AT: sample.at, X: sample.x})
            batch.raw.append({ID: sample.id, "key": sample.key, AT: sample.at, "position": position})
            if len(rows) == BATCH_ROWS:
                yield self._whole(batch)
                rows = []
                batch = Batch(rows, [], {})
        if rows:
            yield self._whole(batch)

    def _whole(self, batch: Batch) -> Batch:
        return batch._replace(beside=self.published.columns([(row[ID], row[AT]) for row in batch.rows]))

    def _samples(self) -> Iterator[tuple[int, Sample, str]]:
        """Samples of the range, with their positions and the digests of their definitions."""
        seen, recipe, span = Seen(), self.pipeline.digest, self.of.span
        for position, entry in entries(self.log, self.topic, self.low, self.within.stop):
            if isinstance(entry, Recipe):
                recipe = entry.digest
            elif isinstance(entry, LabelRecord):
                seen.is_repeat(entry.origin)
            elif isinstance(entry, Sample) and not seen.is_repeat(entry.origin):
                if position >= self.within.start and span.holds(entry.at):
                    yield position, entry, entry.recipe or recipe


class EventRows:
    """A range of the predicted source's topic: rows are its events as they stand."""

    form = "jsonl"
    schema = None

    def __init__(self, pipeline: Pipeline, log: Log, predictions: str, of: Range) -> None:
        self.log, self.of, self.source = log, of, pipeline.predict
        self.json_of = json_of(pipeline.predict)
        bounds = _bounds(log, self.source.name)
        if of.by_offset and len(bounds) > 1:
            raise CannotScore(
                f"{self.source.name} has {len(bounds)} partitions, each with its own offsets: give event times to --from and --to"
            )
        self.within = [of.within(low, high) for low, high in bounds]
        self.beside: Mapping[str, type] = {
            "partition": int, "offset": int, PUBLISHED: _kind(pipeline), PUBLISHED_VERSION: str,
        }  # fmt: skip
        self.kinds: dict[str, set[type]] = {}
        self.count: int | None = 0
        for _, event in self._events():
            self.count += 1
            for name, value in (event or {}).items():
                self.kinds.setdefault(name, set()).add(type(value))
        self.columns = list(self.kinds)
        self.published = Published(log, predictions, of.span)

    def _events(self) -> Iterator[tuple[Record, dict[str, Any] | None]]:
        """Records of the range with what they hold; None for what is no JSON object."""
        span = self.of.span
        timed = span.start is not None or span.stop is not None
        for partition, within in enumerate(self.within):
            for stored in records_within(self.log, self.source.name, partition, within):
                record = stored._replace(value=self.json_of(stored))
                event = _object(record.value)
                at = self._at(event)
                if (at is not None and span.holds(at)) or (at is None and not timed):
                    yield record, event

    def _at(self, event: dict[str, Any] | None) -> int | None:
        at = None if event is None else event.get(self.source.time)
        if not isinstance(at, int | float | str):
            return None
        try:
            return event_time(at, self.source.time)
        except Rejected:
            return None

    def batches(self, wanted: Sequence[str]) -> Iterator[Batch]:
        """See `Table`."""
        rows: list[tuple[Record, dict[str, Any] | None]] = []
        for one in self._events():
            rows.append(one)
            if len(rows) == BATCH_ROWS:
                yield self._batch(rows, wanted)
                rows = []
        if rows:
            yield self._batch(rows, wanted)

    def _batch(self, rows: Sequence[tuple[Record, dict[str, Any] | None]], wanted: Sequence[str]) -> Batch:
        bad = {
            place: "the record is no JSON object" for place, (_, event) in enumerate(rows) if event is None
        }
        named = [self._named(event) for _, event in rows]
        beside = {
            "partition": [record.partition for record, _ in rows],
            "offset": [record.offset for record, _ in rows],
            **self.published.columns(named),
        }
        read = [{name: event[name] for name in wanted if name in event} if event else {} for _, event in rows]
        raw = [
            b"{}" if event is None else msgspec.json.format(record.value or b"", indent=-1)
            for record, event in rows
        ]
        return Batch(read, raw, bad, beside)

    def _named(self, event: dict[str, Any] | None) -> tuple[str, int] | None:
        at = self._at(event)
        return None if event is None or at is None else (str(event.get(self.source.id)), at)


def _object(value: bytes | None) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None

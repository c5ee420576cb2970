"""The events of one piece of a source, checked as featurize checks them, each into the buckets of its entities.

Laws of this file:
- What featurize would bury is left out and counted: the decoder and the label's rule are its own.
- A piece does not know what came before it in its partition. It says how far in event time it came; whoever reads its rows takes
  the newest time before it into account (`settled`). What is late within the piece is late within the partition, too.
- An event whose entity no row asks for is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from penstock.features.redis.keys import entity_of
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import END_OF_TIME_MS, Event, Rejected, SourceDecoder, field_types
from penstock.stream.featurize.labels import label_of
from penstock.stream.files.events import Piece, Rows, pieces
from penstock.stream.files.reading import CannotUse
from penstock.stream.history.asks import SEEN
from penstock.stream.history.job import Job, hash_of
from penstock.stream.history.spool import Row, Spool
from penstock.stream.log.protocol import Log, Record, UnknownTopic
from penstock.stream.score.topic_rows import records_within

FILE_BITS = 32
"""An event's offset is its row in its piece, behind the number of the piece, so that pieces need not know of one another."""
MOST_REASONS = 20
OTHERS = "other reasons"


class Share(NamedTuple):
    """What one writer spreads: a piece of a file, or a range of a topic's partition.

    `number` is the writer's, `turn` the place among its partition's pieces.
    """

    number: int
    source: int
    partition: int
    turn: int
    piece: Piece | None = None
    within: range = range(0)


class Spread(NamedTuple):
    """What became of a share: how many rows it had, its newest event time (-1: none), and why rows were left out."""

    number: int
    rows: int
    newest_at: int
    left_out: dict[str, int]


def checker(pipeline: Pipeline, source: int) -> Callable[[Event], object]:
    """What raises for an event that featurize would bury for its label."""
    declared = pipeline.sources[source]
    if pipeline.label.source != declared or not pipeline.labelled:
        return lambda event: None
    outcome, kind = pipeline.label.of, pipeline.target_kind
    return lambda event: label_of(outcome(event), kind)


def records_of(job: Job, share: Share, log: Log | None) -> Iterator[Record]:
    """The records of a share, as its topic has or would have them."""
    source = job.pipeline.sources[share.source]
    if share.piece is None:
        assert log is not None, "a share of a topic is read from the log"
        yield from records_within(log, source.name, share.partition, share.within)
        return
    whole = job.pipeline.label.source == source and job.pipeline.label.reads_any_field
    rows = Rows(field_types(job.pipeline, source), source.time, every_column=whole)
    offset = share.turn << FILE_BITS
    for values in rows.values(share.piece):
        for value in values:
            yield Record(source.name, share.partition, offset, END_OF_TIME_MS, None, value, ())
            offset += 1


class Spreading:
    """Spreads the events of shares of one job into a folder. `seen` says of each key which entities are asked for."""

    def __init__(
        self, job: Job, folder: Path, seen: Sequence[bytearray] | None, log: Log | None = None
    ) -> None:
        self.job, self.folder, self.seen, self.log = job, folder, seen, log

    def spread(self, share: Share) -> Spread:
        """Spread one share."""
        job, pipeline = self.job, self.job.pipeline
        source = pipeline.sources[share.source]
        decode, check = SourceDecoder(pipeline, source).decode, checker(pipeline, share.source)
        into = Into(job, share, self.folder, self.seen)
        unordered = job.unordered and share.piece is not None
        newest_at, rows = -1, 0
        left_out: Counter[str] = Counter()
        for record in records_of(job, share, self.log):
            rows += 1
            try:
                event, at = decode(record, -1 if unordered else newest_at)
                newest_at = max(newest_at, at)  # as in featurize, of one with a bad label, too
                check(event)
            # whatever a record provokes is that record's
            except Exception as error:
                why = str(error) if type(error) is Rejected else f"{type(error).__name__}: {error}"
                left_out[why if why in left_out or len(left_out) < MOST_REASONS else OTHERS] += 1
                continue
            into.take(event, at, at if unordered else newest_at, record.offset)
        into.close()
        return Spread(share.number, rows, -1 if unordered else newest_at, dict(left_out))


class Into:
    """Takes the events of one share into the buckets of every group that its source feeds, and of their ids if rows are events.

    A row of a group is (entity, newest event time, partition, offset, event time, fields…); of ids (id, event time, newest event
    time, partition, offset, the entity of each key…).
    """

    def __init__(self, job: Job, share: Share, folder: Path, seen: Sequence[bytearray] | None) -> None:
        self.partition, self.buckets, self.keys = share.partition, job.buckets, job.keys
        self.groups: list[tuple[tuple[str, ...], tuple[str, ...], bytearray | None, Spool]] = []
        for number, group in enumerate(job.groups):
            if group.source == share.source:
                asked = None if seen is None or not seen else seen[group.key]
                spool = Spool(folder, f"events{number}", share.number)
                self.groups.append((job.keys[group.key], group.fields, asked, spool))
        told = job.events and share.source == 0
        self.told = Spool(folder, "told", share.number) if told else None
        self.id = job.pipeline.predict.id

    def take(self, event: Event, at: int, newest_at: int, offset: int) -> None:
        """One event."""
        partition, buckets = self.partition, self.buckets
        for key, fields, asked, spool in self.groups:
            entity = entity_of(event, key)
            if entity is None:
                continue
            hashed = hash_of(entity)
            if asked is None or asked[hashed & SEEN]:
                row = (entity, newest_at, partition, offset, at, *[event[name] for name in fields])
                spool.put(hashed % buckets, row)
        if self.told is not None:
            named = str(event[self.id])
            entities = [entity_of(event, key) for key in self.keys]
            self.told.put(hash_of(named) % buckets, (named, at, newest_at, partition, offset, *entities))

    def close(self) -> None:
        """Write what is held."""
        for *_, spool in self.groups:
            spool.flush()
        if self.told is not None:
            self.told.flush()


def before_each(shares: Sequence[Share], spreads: Sequence[Spread]) -> list[int]:
    """By the number of each share, the newest event time of what came before it in its partition; -1: of nothing."""
    newest = {one.number: one.newest_at for one in spreads}
    reached: dict[tuple[int, int], int] = {}
    found = [-1] * len(shares)
    for share in sorted(shares, key=lambda one: (one.source, one.partition, one.turn)):
        head = share.source, share.partition
        found[share.number] = reached.get(head, -1)
        reached[head] = max(found[share.number], newest[share.number])
    return found


def settled(rows: list[Row], reached: int, grace_ms: int, newest: int, own: int) -> list[Row]:
    """Some rows of a piece, with their places in the whole partition, of which what came before reached this event time.

    Those that are late now are left out. `newest` and `own` are where a row has its partition's newest time, and its event's.
    """
    if rows[0][newest] >= reached:  # which only grows within a piece
        return rows
    return [
        (*row[:newest], max(row[newest], reached), *row[newest + 1 :])
        for row in rows
        if row[own] >= reached - grace_ms
    ]


def shares_of(job: Job, log: Log | None) -> list[Share]:
    """Every piece of every file, or every partition of every topic, that the job reads. Raises `CannotUse`."""
    found: list[Share] = []
    for source in job.sources:
        name = job.pipeline.sources[source].name
        if job.files:
            if name not in job.files:
                raise CannotUse(
                    f"no files are given for {name}: add --source {name}=FILES, or leave views of it out"
                )
            for partition, files in enumerate(job.files[name]):
                for turn, piece in enumerate(chain.from_iterable(map(pieces, files))):
                    found.append(Share(len(found), source, partition, turn, piece))
            continue
        if log is None:
            raise CannotUse("nothing says where events come from: give --source TOPIC=FILES")
        try:
            tps = [(name, partition) for partition in range(log.partitions(name))]
        except UnknownTopic as error:
            raise CannotUse(str(error)) from None
        for (_, partition), (low, high) in log.bounds(tps).items():
            found.append(Share(len(found), source, partition, 0, None, range(low, high)))
    return found

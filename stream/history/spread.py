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
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from penstock.features.redis.keys import entity_of
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import (
    END_OF_TIME_MS,
    LATE,
    Event,
    Item,
    Rejected,
    SourceDecoder,
    field_types,
)
from penstock.stream.featurize.labels import label_of
from penstock.stream.files.events import Piece, Rows, pieces
from penstock.stream.files.reading import BATCH_ROWS, CannotUse
from penstock.stream.formats.reading import reader_of
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


def checker(pipeline: Pipeline, source: int) -> Callable[[Event], str | None]:
    """What says why featurize would bury an event for its label; None of one that it takes."""
    declared = pipeline.sources[source]
    if pipeline.label.source != declared or not pipeline.labelled:
        return lambda event: None
    outcome, kind = pipeline.label.of, pipeline.target_kind

    def why(event: Event) -> str | None:
        try:
            label_of(outcome(event), kind)
        except Rejected as error:
            return str(error)
        # whatever a user's function makes of a record is that record's
        except Exception as error:
            return f"the outcome raised {type(error).__name__}: {error}"
        return None

    return why


def records_of(job: Job, share: Share, log: Log | None) -> Iterator[list[Record]]:
    """The records of a share, as its topic has or would have them, some thousands at a time."""
    source = job.pipeline.sources[share.source]
    if share.piece is None:
        assert log is not None, "a share of a topic is read from the log"
        records = records_within(log, source.name, share.partition, share.within)
        while batch := list(islice(records, BATCH_ROWS)):
            yield batch
        return
    whole = job.pipeline.label.source == source and job.pipeline.label.reads_any_field
    rows = Rows(field_types(job.pipeline, source), source.time, every_column=whole)
    offset = share.turn << FILE_BITS
    for values in rows.values(share.piece):
        yield [
            Record(source.name, share.partition, offset + n, END_OF_TIME_MS, None, value, ())
            for n, value in enumerate(values)
        ]
        offset += len(values)


class Spreading:
    """Spreads the events of shares of one job into a folder. `seen` says of each key which entities are asked for."""

    def __init__(
        self, job: Job, folder: Path, seen: Sequence[bytearray] | None, log: Log | None = None
    ) -> None:
        self.job, self.folder, self.seen, self.log = job, folder, seen, log

    def spread(self, share: Share) -> Spread:
        """Spread one share."""
        job, source = self.job, self.job.pipeline.sources[share.source]
        of_topic = share.piece is None
        decoder = SourceDecoder(
            job.pipeline, source, reader_of(source) if of_topic else None, rows=not of_topic
        )
        check, into = checker(job.pipeline, share.source), Into(job, share, self.folder, self.seen)
        unordered = job.unordered and share.piece is not None
        newest_at, rows = -1, 0
        left_out: Counter[str] = Counter()
        for records in records_of(job, share, self.log):
            rows += len(records)
            if unordered:
                items = [decoder.item(record, -1) for record in records]
            else:
                items = decoder.items(records, newest_at)
                newest_at = items[-1].newest_at
            for item in items:
                why = item.reject if item.event is None else check(item.event)
                if why is not None:
                    if LATE in why:  # which names the times of each
                        why = f"it is more than {source.grace} behind the newest of its partition"
                    left_out[why if why in left_out or len(left_out) < MOST_REASONS else OTHERS] += 1
                elif item.event is not None:
                    into.take(item, item.at if unordered else item.newest_at)
        into.close()
        return Spread(share.number, rows, newest_at, dict(left_out))


class Into:
    """Takes the events of one share into the buckets of every group that its source feeds, and of their ids if rows are events.

    A row of a group is (entity, newest event time, partition, offset, event time, fields…); of ids (id, event time, newest event
    time, partition, offset, the entity of each key…).
    """

    def __init__(self, job: Job, share: Share, folder: Path, seen: Sequence[bytearray] | None) -> None:
        self.buckets, self.keys = job.buckets, job.keys
        self.groups: list[tuple[tuple[str, ...], tuple[str, ...], bytearray | None, Spool]] = []
        for number, group in enumerate(job.groups):
            if group.source == share.source:
                asked = None if seen is None or not seen else seen[group.key]
                spool = Spool(folder, f"events{number}", share.number)
                self.groups.append((job.keys[group.key], group.fields, asked, spool))
        told = job.events and share.source == 0
        self.told = Spool(folder, "told", share.number) if told else None

    def take(self, item: Item, newest_at: int) -> None:
        """One event, and the newest event time of its partition including it."""
        _, _, partition, offset, _, named, event, *_ = item
        assert event is not None
        at, buckets = item.at, self.buckets
        for key, fields, asked, spool in self.groups:
            entity = entity_of(event, key)
            if entity is None:
                continue
            hashed = hash_of(entity)
            if asked is None or asked[hashed & SEEN]:
                row = (entity, newest_at, partition, offset, at, *[event[name] for name in fields])
                spool.put(hashed % buckets, row)
        if self.told is not None:
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

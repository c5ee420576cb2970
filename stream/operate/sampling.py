"""The newest records of a source, judged as featurize would: are they what the definition expects of their producers?

Laws of this file:
- `judge` is pure and uses the decoder itself; it reads no state, so a label that comes too late is not seen here.
- Nothing is joined or committed: whoever looks changes nothing.
- Records are read by the client that featurize reads them by: what it makes of one that others cannot give is what is judged.
"""

from __future__ import annotations

import re
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from penstock.features.redis.keys import record_key
from penstock.stream.definitions import Pipeline, Source
from penstock.stream.featurize.decode import Rejected, SourceDecoder
from penstock.stream.featurize.labels import label_of
from penstock.stream.featurize.units_of_time import other_unit
from penstock.stream.formats.reading import reader_of
from penstock.stream.formats.wire import schema_id_of
from penstock.stream.log.protocol import Log, LogUnavailable, Record, partition_for

STALLED_S = 30.0
POLL_S = 0.2
POLL_RECORDS = 1_000
_NUMBERS = re.compile(r"-?\d+(\.\d+)?")


@dataclass
class Judged:
    """What the newest records of a topic are like. Counts are of `records`; times are event times in ms.

    `dead` counts those that would be dead letters by reason (numbers left out), `examples` has one reason and place of each
    kind. `other_key` are usable records whose own key is not the text of the declared field, `other_partition` those that lie
    elsewhere than that field's murmur2, `by_crc32` as many of them as lie where librdkafka's default puts their own key.
    `units` counts event times that look like another unit, `ignored` records that say nothing, such as tombstones,
    `schemas` records by the id of their schema.
    """

    topic: str
    partitions: int
    records: int = 0
    dead: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    keyless: int = 0
    other_key: int = 0
    other_partition: int = 0
    by_crc32: int = 0
    ignored: int = 0
    schemas: Counter[int] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)
    out_of_order: int = 0
    first_at: int | None = None
    last_at: int | None = None

    @property
    def wrong(self) -> bool:
        """Whether a producer should change something."""
        return bool(self.dead or self.other_key or self.other_partition or self.units)


def judge(pipeline: Pipeline, source: Source, records: Iterable[Record], partitions: int) -> Judged:
    """Judge records, given in offset order within each of the topic's `partitions`."""
    found = Judged(source.name, partitions)
    by_partition: dict[int, list[Record]] = {}
    for record in records:
        by_partition.setdefault(record.partition, []).append(record)
    decoder = SourceDecoder(pipeline, source, reader_of(source))
    for of_one in by_partition.values():
        for item in decoder.items(of_one, -1):
            found.records += 1
            if source.by_id and (number := schema_id_of(item.record.value or item.record.key)) is not None:
                found.schemas[number] += 1
            reason = item.reject if item.event is None else _label_fails(pipeline, source, item.event)
            found.ignored += item.event is None and reason is None
            if reason is not None:
                kind = _NUMBERS.sub("n", reason)[:120]
                found.dead[kind] += 1
                where = f"{source.name}[{item.partition}]@{item.offset}: {reason}"
                found.examples.setdefault(kind, where)
            if item.event is not None:
                _place(found, source, item.event, item.record)
                unit = other_unit(item.at)
                found.units.update([unit] if unit else [])
                found.first_at = item.at if found.first_at is None else min(found.first_at, item.at)
                found.last_at = item.at if found.last_at is None else max(found.last_at, item.at)
    found.out_of_order = decoder.out_of_order
    return found


def _label_fails(pipeline: Pipeline, source: Source, event: Mapping[str, object]) -> str | None:
    """Why the label's function cannot be asked; None if it can, or has no say here."""
    if source != pipeline.label.source:
        return None
    try:
        label_of(pipeline.label.of(event), pipeline.target_kind)
    except Rejected as error:
        return str(error)
    except Exception as error:  # a user's function over a user's data
        return f"the outcome raised {type(error).__name__}: {error}"
    return None


def _place(found: Judged, source: Source, event: Mapping[str, object], record: Record) -> None:
    """Compare a record's key and partition with what its declared key says; a null key says nothing."""
    key = record_key(event, source.key_fields)
    if key is None:
        return
    found.keyless += record.key is None
    found.other_key += record.key != key.encode()
    if partition_for(key.encode(), found.partitions) != record.partition:
        found.other_partition += 1
        if record.key is not None and zlib.crc32(record.key) % found.partitions == record.partition:
            found.by_crc32 += 1


def newest(log: Log, topic: str, most: int) -> tuple[list[Record], int]:
    """About the newest `most` records of a topic, as many of each partition, and its number of partitions.

    Raises:
        UnknownTopic: the topic is not there.
        LogUnavailable: nothing came for `STALLED_S`, such as behind a transaction that nobody ends.

    """
    partitions = log.partitions(topic)
    share = -(-most // partitions)
    bounds = log.bounds((topic, partition) for partition in range(partitions))
    left = {tp: high for tp, (low, high) in bounds.items() if low < high}
    reader = log.reader({tp: max(bounds[tp][0], high - share) for tp, high in left.items()})
    found: list[Record] = []
    heard_s = time.monotonic()
    try:
        while left:
            polled = reader.poll(POLL_RECORDS, POLL_S)
            found += [one for one in polled if one.offset < bounds[topic, one.partition][1]]
            if polled:
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > STALLED_S:
                raise LogUnavailable(
                    f"nothing of {topic} came for {STALLED_S:g} s: does the broker still run, and is every transaction ended?"
                )
            read_to = reader.positions()
            left = {tp: end for tp, end in left.items() if read_to.get(tp, 0) < end}
    finally:
        reader.close()
    return found, partitions

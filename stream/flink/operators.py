"""The operators as Flink runs them: keyed state and timers around `reading`, `shard` and `joining`.

Laws of this file:
- What an operator must not forget lies in Flink's keyed state before it gives anything on; what is in memory beside it is made
  anew from there.
- Redis is written while the keyed state is: values, so that writing them again after a crash changes nothing.
- Timers lie on a grid of the wall clock, so that there is never more than one under way for a key.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, OutputTag
from pyflink.datastream.state import ListStateDescriptor, MapStateDescriptor, ValueStateDescriptor

from penstock.features.redis.store import connect
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.flink.joining import Joining
from penstock.stream.flink.order import Head
from penstock.stream.flink.reading import Read, Reading, Told
from penstock.stream.flink.saving import save
from penstock.stream.flink.settings import JobSettings
from penstock.stream.flink.shard import Shard
from penstock.stream.flink.wire import encode
from penstock.stream.formats.reading import reader_of
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import TP, Out, Record

LOOK_EVERY_MS = 200
TICK_EVERY_MS = 1_000
BATCH_RECORDS = 500
BATCH_BYTES = 1_000_000

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
HEADERS = Types.MAP(Types.STRING(), BYTES)
#: Of states: PyFlink 2.3 converts arrays of bytes in them item by item, and fails where there is none.
KEPT = Types.PICKLED_BYTE_ARRAY()
MESSAGE = Types.TUPLE([Types.INT(), BYTES])
OUT = Types.ROW_NAMED(["topic", "key", "value", "headers"], [Types.STRING(), BYTES, BYTES, HEADERS])
TO_SAMPLES = OutputTag("samples", MESSAGE)


@lru_cache
def pipeline_of(path: str, source: bytes) -> Pipeline:
    """The definition that was submitted: from its own file where that is the same here, else from a copy."""
    here = Path(path)
    if not here.is_file() or here.read_bytes() != source:
        here = Path(tempfile.mkdtemp(prefix="penstock-")) / here.name  # nobody else's: what lies there is run
        here.write_bytes(source)
    return load(here)


def after(every_ms: int) -> int:
    """The next moment of the grid."""
    return (int(time.time() * 1000) // every_ms + 1) * every_ms


class StateMap:
    """A map of the keyed state as `shard.Kept`."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def get(self, key: str) -> bytes | None:
        found: bytes | None = self.state.get(key)
        return found

    def put(self, key: str, value: bytes) -> None:
        self.state.put(key, value)

    def remove(self, key: str) -> None:
        self.state.remove(key)

    def items(self) -> list[tuple[str, bytes]]:
        return list(self.state.items())


def state_map(context: Any, name: str) -> StateMap:
    """The operator's map of this name."""
    return StateMap(context.get_map_state(MapStateDescriptor(name, Types.STRING(), KEPT)))


class ReadOperator(KeyedProcessFunction):
    """Keyed by source partition: records in, messages to shards and to the samples out, batch by batch.

    A record that was taken and not yet said lies in the keyed state: batches cost a crossing into Python each, not records.
    """

    def __init__(self, settings: JobSettings) -> None:
        self.settings = settings

    def open(self, runtime_context: Any) -> None:
        given = self.settings
        self.pipeline = pipeline_of(given.path, given.source)
        self.index_of = {source.name: n for n, source in enumerate(self.pipeline.sources)}
        readers = [reader_of(source) for source in self.pipeline.sources]
        self.reading = Reading(self.pipeline, given.topic_ids, given.shards, given.prefix, readers)
        self.kept = runtime_context.get_state(ValueStateDescriptor("read", KEPT))
        self.taken = runtime_context.get_list_state(ListStateDescriptor("taken", KEPT))
        self.batches: dict[Head, Batch] = {}
        self.log: KafkaLog | None = None

    def _batch(self, head: Head) -> Batch:
        if head not in self.batches:
            stored = self.kept.value()
            read = Read() if stored is None else msgspec.msgpack.decode(stored, type=Read)
            taken = self.taken.get()
            records = [decode_record(one) for one in taken or ()]
            self.batches[head] = Batch(read, records, sum(len(record.value or b"") for record in records))
        return self.batches[head]

    def process_element(self, value: Any, ctx: Any) -> Iterator[Any]:
        key, record_value, topic, partition, offset, timestamp_ms, headers = value
        head = self.index_of[topic], partition
        if offset < 0:  # that there is this partition
            ctx.timer_service().register_processing_time_timer(after(LOOK_EVERY_MS))
            return
        batch = self._batch(head)
        of_record = tuple(sorted(headers.items())) if headers else ()
        record = Record(topic, partition, offset, timestamp_ms, key, record_value, of_record)
        self.taken.add(encode(record))
        batch.records.append(record)
        batch.size_bytes += len(record_value or b"")
        if len(batch.records) >= BATCH_RECORDS or batch.size_bytes >= BATCH_BYTES:
            yield from self._say(head, batch)

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        topic, _, number = ctx.get_current_key().rpartition("/")
        head = self.index_of[topic], int(number)
        ctx.timer_service().register_processing_time_timer(after(LOOK_EVERY_MS))
        batch = self._batch(head)
        came, batch.came = batch.came, False
        if batch.records:
            yield from self._say(head, batch)
        elif not came:
            told = self.reading.look(head, batch.read, lambda: self._bounds((topic, head[1])))
            if told is not None:
                self.kept.update(encode(batch.read))
                yield from messages(told)

    def _say(self, head: Head, batch: Batch) -> Iterator[Any]:
        told = self.reading.batch(head, batch.read, batch.records)
        batch.records, batch.size_bytes, batch.came = [], 0, True
        self.taken.clear()
        self.kept.update(encode(batch.read))
        yield from messages(told)

    def _bounds(self, tp: TP) -> tuple[int, int]:
        if self.log is None:
            self.log = KafkaLog(self.settings.bootstrap, dict(self.settings.kafka))
        return self.log.bounds([tp])[tp]

    def close(self) -> None:
        if self.log is not None:
            self.log.close()


@dataclass
class Batch:
    """What was taken of a partition and not yet said; `came` whether anything was since the last look."""

    read: Read
    records: list[Record]
    size_bytes: int
    came: bool = False


decode_record = msgspec.msgpack.Decoder(Record).decode


def messages(told: Told) -> Iterator[Any]:
    """A batch on its ways."""
    for shard, message in enumerate(told.to_shards):
        yield shard, encode(message)
    yield TO_SAMPLES, (0, encode(told.to_samples))


class ShardOperator(KeyedProcessFunction):
    """Keyed by shard: events in the one order through the engine, states and documents to Redis, parts of vectors out."""

    def __init__(self, settings: JobSettings) -> None:
        self.settings = settings

    def open(self, runtime_context: Any) -> None:
        given = self.settings
        self.pipeline = pipeline_of(given.path, given.source)
        self.maps = [state_map(runtime_context, name) for name in ("waiting", "states", "rest")]
        self.shards: dict[int, Shard] = {}
        self.redis: Any = connect(given.redis_url)

    def process_element(self, value: Any, ctx: Any) -> Iterator[Any]:
        number, said = value
        shard = self.shards.get(number)
        if shard is None:
            heads = list(self.settings.heads)
            waiting, states, rest = self.maps
            shard = self.shards[number] = Shard(
                self.pipeline, number, heads, waiting, states, rest, self.settings.prefix
            )
        parts, writes = shard.take(bytes(said), int(time.time() * 1000))
        save(self.redis, writes)
        for one in parts:
            yield 0, encode(one)

    def close(self) -> None:
        self.redis.close()


class SamplesOperator(KeyedProcessFunction):
    """One for all: parts and announcements in, what is appended to the topics out, in the one order."""

    def __init__(self, settings: JobSettings) -> None:
        self.settings = settings

    def open(self, runtime_context: Any) -> None:
        given = self.settings
        self.pipeline = pipeline_of(given.path, given.source)
        self.maps = [state_map(runtime_context, name) for name in ("waiting", "parts", "rest")]
        self.joining: Joining | None = None

    def _joining(self) -> Joining:
        if self.joining is None:  # the keyed state can be read while there is a key
            given = self.settings
            waiting, parts, rest = self.maps
            self.joining = Joining(
                self.pipeline, given.topic_ids, list(given.heads), waiting, parts, rest, given.prefix
            )
        return self.joining

    def process_element(self, value: Any, ctx: Any) -> Iterator[Any]:
        if self.joining is None:
            ctx.timer_service().register_processing_time_timer(after(TICK_EVERY_MS))
        yield from map(row, self._joining().take(bytes(value[1]), int(time.time() * 1000)))

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        ctx.timer_service().register_processing_time_timer(after(TICK_EVERY_MS))
        yield from map(row, self._joining().tick(int(time.time() * 1000)))


def row(out: Out) -> Row:
    """A record to append, as the sink takes it."""
    return Row(out.topic, out.key, out.value, dict(out.headers))

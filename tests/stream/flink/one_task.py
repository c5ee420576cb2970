"""What a single featurize worker gives of a stream, to hold a Flink job's topics and Redis against."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.features.redis.store import MemoryServer, MemoryStateStore
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Log, Out, Record
from penstock.stream.messages import Recipe, Tick, decode_entry
from tests.stream.generated import MINUTE, SENT, parcel_events
from tests.stream.naive_flow import everything

PARTITIONS = 3


class SameIds(MemoryLog):
    """A log whose topics have the ids that it is given, or always the same."""

    def __init__(self, ids: dict[str, str] | None = None) -> None:
        super().__init__()
        self.ids = ids or {}

    def topic_id(self, topic: str) -> str:
        return self.ids.get(topic, f"id of {topic}")


def empty(pipeline: Pipeline, ids: dict[str, str] | None = None, partitions: int = PARTITIONS) -> SameIds:
    """A log with every topic of a pipeline."""
    log = SameIds(ids)
    for source in pipeline.sources:
        log.create(source.name, partitions)
    for topic in topology.owned(pipeline.name):
        log.create(topic.name, topic.partitions)
    return log


def log_of(pipeline: Pipeline, records: Sequence[Out]) -> SameIds:
    """A log with these records."""
    log = empty(pipeline)
    log.append(records)
    return log


def copied(log: Log, pipeline: Pipeline) -> SameIds:
    """The sources as another log has them, record for record."""
    names = [source.name for source in pipeline.sources]
    copy = empty(pipeline, {name: log.topic_id(name) for name in names}, log.partitions(names[0]))
    for name in names:
        copy.append([Out(r.topic, r.key, r.value, r.headers, r.partition) for r in everything(log, name)])
    return copy


def untidy(number: int, seed: int) -> list[Out]:
    """A stream out of order, with equal times, null keys, late records and such as cannot be used at all."""
    chance = random.Random(seed)
    records: list[Out] = []
    for topic, key, event in parcel_events(number, seed):
        made: dict[str, Any] = dict(event)
        time = "sent_at" if topic == SENT.name else "done_at"
        made[time] -= made[time] % (10 * MINUTE) if chance.random() < 0.3 else 0
        made[time] -= chance.choice((0, 0, 0, 0, MINUTE, 1_000 * MINUTE))
        if chance.random() < 0.05:
            made[chance.choice(("depot", "street"))] = None
        value = json.dumps(made).encode() if chance.random() < 0.95 else b"{"
        records.append(Out(topic, key.encode(), value))
    return records


def committed(log: Log, topic: str) -> list[Record]:
    """What can be read of a topic now: no more than transactions have committed, and less where the broker is slow."""
    tps = [(topic, partition) for partition in range(log.partitions(topic))]
    bounds = log.bounds(tps)
    reader, found = log.reader({tp: low for tp, (low, _) in bounds.items()}), []
    while any(reader.positions()[tp] < high for tp, (_, high) in bounds.items()):
        records = reader.poll(10_000, 0.5)
        found += records
        if not records:  # held back by an open transaction, or not there in time
            break
    reader.close()
    return sorted(found, key=lambda record: (record.partition, record.offset))


def told(log: Log, pipeline: Pipeline) -> dict[str, list[Any]]:
    """What stands in the topics but for clocks; a tick that says nothing new is one of the wall clock."""
    found: dict[str, list[Any]] = {}
    for name in (
        topology.samples(pipeline.name),
        topology.dead_letters(pipeline.name),
        topology.CONTROL_ALERTS,
    ):
        found[name] = rows = []
        times: dict[str, int] = {}
        for record in committed(log, name):
            value: Any = record.value
            if name == topology.samples(pipeline.name):
                value = decode_entry(value)
                if isinstance(value, Recipe):
                    continue
                if isinstance(value, Tick) and value.look is None:
                    if value.times == times or max(value.times.values()) < 0:
                        continue
                    times, value = value.times, msgspec.structs.replace(value, wall_ms=0, idle=[])
            rows.append((record.key, value, tuple(sorted(record.headers))))
    return found


def by_one_task(pipeline: Pipeline, log: SameIds) -> tuple[dict[str, list[Any]], dict[str, bytes]]:
    """What stands in the topics and in Redis after a single worker has read the log."""
    server = MemoryServer()
    worker = FeaturizeWorker(
        pipeline, log, lambda task: MemoryStateStore(server, pipeline.name, task), lambda: 0, instance_id="0"
    )
    quiet = 0
    while quiet < 20:
        quiet = 0 if worker.process_batch(0.0) else quiet + 1
    return told(log, pipeline), dict(server.data)

"""The operators of a Flink job without Flink: whatever comes when, the samples log is the one that a single task appends."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest

from penstock.features.units import Write
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.flink.joining import Joining
from penstock.stream.flink.order import Head
from penstock.stream.flink.reading import Read, Reading, Told
from penstock.stream.flink.shard import Shard
from penstock.stream.flink.waiting import InMemory
from penstock.stream.flink.wire import encode
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import TP, Record
from penstock.stream.messages import Tick, decode_entry
from tests.stream.flink.one_task import PARTITIONS, by_one_task, log_of, told, untidy
from tests.stream.generated import parcels
from tests.stream.naive_flow import everything


class Job:
    """The operators, with a way between any two that keeps its order, and nothing else in order."""

    def __init__(self, pipeline: Pipeline, log: MemoryLog, shards: int, seed: int) -> None:
        self.pipeline, self.log, self.shards, self.chance = pipeline, log, shards, random.Random(seed)
        self.topic_ids = {source.name: log.topic_id(source.name) for source in pipeline.sources}
        self.heads: list[Head] = [(s, n) for s in range(len(pipeline.sources)) for n in range(PARTITIONS)]
        self.reads = {head: Read() for head in self.heads}
        self.unread: dict[Head, deque[Record]] = {head: deque() for head in self.heads}
        for head in self.heads:
            for record in everything(log, self.tp(head)[0]):
                if record.partition == head[1]:
                    self.unread[head].append(record)
        self.kept = [tuple(InMemory() for _ in range(3)) for _ in range(shards + 1)]
        self.ways: dict[tuple[Any, int], deque[bytes]] = {}
        self.writes: list[Write] = []
        self.start()

    def tp(self, head: Head) -> TP:
        return self.pipeline.sources[head[0]].name, head[1]

    def start(self) -> None:
        """Every operator anew, from what is kept."""
        self.reading = Reading(self.pipeline, self.topic_ids, self.shards)
        self.workers = [Shard(self.pipeline, n, self.heads, *self.kept[n]) for n in range(self.shards)]
        self.joining = Joining(self.pipeline, self.topic_ids, self.heads, *self.kept[-1])

    def say(self, told: Told | None, head: Head) -> None:
        if told is not None:
            for shard, message in enumerate(told.to_shards):
                self.ways.setdefault((head, shard), deque()).append(encode(message))
            self.ways.setdefault((head, -1), deque()).append(encode(told.to_samples))

    def deliver(self, way: tuple[Any, int]) -> None:
        said, to = self.ways[way].popleft(), way[1]
        if not self.ways[way]:
            del self.ways[way]
        if to == -1:
            self.log.append(self.joining.take(said, 0))
            return
        parts, writes = self.workers[to].take(said, 0)
        self.writes += writes
        for one in parts:
            self.ways.setdefault((to, -1), deque()).append(encode(one))

    def turn(self) -> None:
        """Anything that can happen next."""
        act = self.chance.random()
        if act < 0.02:
            self.start()
        elif act < 0.6 and self.ways:
            self.deliver(self.chance.choice(list(self.ways)))
        else:
            head = self.chance.choice(self.heads)
            if self.unread[head] and self.chance.random() < 0.8:
                number = min(len(self.unread[head]), self.chance.randrange(1, 30))
                records = [self.unread[head].popleft() for _ in range(number)]
                self.say(self.reading.batch(head, self.reads[head], records), head)
            else:
                bounds = lambda: self.log.bounds([self.tp(head)])[self.tp(head)]  # noqa: E731
                self.say(self.reading.look(head, self.reads[head], bounds), head)

    def run(self) -> None:
        while (
            any(self.unread.values()) or self.ways or not all(read.told_end for read in self.reads.values())
        ):
            self.turn()


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_when_the_topics_and_features_are_those_of_one_task(seed: int, shards: int) -> None:
    pipeline, records = parcels(), untidy(400, seed)
    expected, stored = by_one_task(pipeline, log_of(pipeline, records))
    assert len(expected[topology.samples(pipeline.name)]) > 500
    assert len(expected[topology.dead_letters(pipeline.name)]) > 10
    job = Job(pipeline, log_of(pipeline, records), shards, seed)
    job.run()
    found = told(job.log, pipeline)
    for topic, rows in expected.items():
        assert found[topic] == rows, topic
    states = {write.state_key: write.state for write in job.writes}
    assert states == {key: value for key, value in stored.items() if ":state:" in key}
    assert all(write.public_key in stored for write in job.writes)
    assert not any(kept for kept in (*job.kept[-1][:2], *(one[0] for one in job.kept[:-1])))


def test_partitions_that_bring_nothing_are_named_after_a_restart_too() -> None:
    job = Job(parcels(), log_of(parcels(), untidy(50, 1)), shards=2, seed=1)
    job.run()
    job.start()
    named = [decode_entry(job.joining.tick(wall_ms)[0].value or b"") for wall_ms in (1_000, 5_000, 9_000)]
    every = sorted("/".join(map(str, job.tp(head))) for head in job.heads)
    assert [tick.idle for tick in named if isinstance(tick, Tick)] == [[], [], every]

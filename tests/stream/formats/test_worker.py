"""The featurize worker over topics that are not JSON: the same features and samples, and what it does without its registry."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from penstock.features.redis.memory import MemoryServer, MemoryStateStore
from penstock.stream import topology
from penstock.stream.definitions import Source
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.formats.schemas import Schemas
from penstock.stream.formats.unread import RegistryUnavailable
from penstock.stream.formats.wire import framed
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import LabelRecord, Sample, decode_entry
from penstock.stream.process.health_page import Health
from penstock.stream.roles import metrics
from penstock.stream.roles.metrics import FeaturizeReport
from tests.stream.formats.paid import (
    AVRO_2,
    START_MS,
    TOPIC,
    Known,
    as_avro,
    as_json,
    as_protobuf,
    pipeline,
    source,
)

Write = Callable[[dict[str, Any]], bytes]


def events(count: int = 600) -> list[dict[str, Any]]:
    chance = random.Random(7)
    return [
        {
            "id": f"p{n}",
            "at": START_MS + n * 1_000,
            "card": f"c{chance.randrange(9)}",
            "amount": None if n % 11 == 0 else round(chance.lognormvariate(3, 1), 2),
            "online": chance.random() < 0.5,
            "fraud": chance.random() < 0.1,
        }
        for n in range(count)
    ]


class Flow:
    """A featurize worker on a log in memory; its clock goes on by a second a turn."""

    def __init__(self, of: Source) -> None:
        self.pipeline, self.known = pipeline(of), Known()
        self.log, self.wall = MemoryLog(lambda: START_MS + 10_000_000), START_MS
        self.log.create(TOPIC, 1)
        for topic in topology.owned("paid"):
            self.log.create(topic.name, topic.partitions)
        self.server = MemoryServer()
        self.schemas = Schemas(self.known)
        self.health = Health("featurize")
        self.worker = FeaturizeWorker(
            self.pipeline,
            self.log,
            self.store,
            self.now,
            schemas=self.schemas,
            health=FeaturizeReport(self.health),
        )

    def store(self, task: str) -> MemoryStateStore:
        return MemoryStateStore(self.server, "paid", task)

    def now(self) -> int:
        self.wall += 1_000
        return self.wall

    def publish(self, *values: bytes | None) -> None:
        self.log.append([Out(TOPIC, b"c", value, (), 0) for value in values])

    def settle(self, turns: int = 60) -> None:
        for _ in range(turns):
            self.worker.process_batch(0.0)

    def read(self, topic: str) -> list[Any]:
        reader = self.log.reader({(topic, 0): 0})
        found: list[Any] = []
        while batch := reader.poll(10_000, 0.0):
            found += batch
        return found

    def samples(self) -> list[Any]:
        entries = [decode_entry(one.value) for one in self.read(topology.samples("paid"))]
        return [
            (one.id, one.at, one.x) if isinstance(one, Sample) else (one.id, one.at, one.y)
            for one in entries
            if isinstance(one, Sample | LabelRecord)
        ]

    def dead(self) -> list[str]:
        letters = self.read(topology.dead_letters("paid"))
        return [dict(one.headers)["penstock-reason"].decode() for one in letters]


def run(form: str, *writes: Write) -> Flow:
    """Everything that is published, by these writers in turn."""
    flow, said = Flow(source(form)), events()
    flow.publish(*(writes[n * len(writes) // len(said)](event) for n, event in enumerate(said)))
    flow.settle()
    return flow


def test_a_schema_that_changes_in_mid_topic_changes_no_sample() -> None:
    newer = lambda event: as_avro({**event, "shop": "s"}, AVRO_2)  # noqa: E731
    usual = run("json", as_json)
    assert len(usual.samples()) == 1_200 and usual.dead() == []
    for flow in (run("avro", as_avro, newer, as_avro), run("protobuf", as_protobuf)):
        assert flow.samples() == usual.samples()
        assert flow.dead() == []
        documents = {
            key: value.split(b'"written"')[0]
            for key, value in flow.server.data.items()
            if key.startswith("features:paid:")
        }
        assert documents == {
            key: value.split(b'"written"')[0]
            for key, value in usual.server.data.items()
            if key.startswith("features:paid:")
        }
        assert len(flow.known.asked) == len(set(flow.known.asked)) <= 2


def test_what_cannot_be_read_is_a_dead_letter_with_its_schema_and_stops_nothing() -> None:
    flow, said = Flow(source("avro")), events(3)
    flow.publish(
        as_avro(said[0]), framed(99, b"x"), as_avro(said[1])[:-1], as_json(said[1]), None, as_avro(said[2])
    )
    flow.settle()
    assert [one[0] for one in flow.samples()] == ["p0", "p0", "p2", "p2"]
    dead = flow.dead()
    assert [
        any(word in one for one in dead)
        for word in ("no schema 99", "under schema 1", "plain JSON", "tombstone")
    ] == [True] * 4
    assert len(dead) == 4


def test_without_its_registry_a_worker_waits_says_so_and_loses_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "LOOK_EVERY_S", -1.0)
    flow, said = Flow(source("avro")), events(200)
    flow.publish(*map(as_avro, said[:100]))
    flow.known.away = RegistryUnavailable("the schema registry at http://x does not answer: start it")
    flow.settle(80)
    assert flow.samples() == [] and flow.dead() == []
    status, _, page = flow.health.status("/readyz")
    assert (
        status == 503 and b"not in touch with the schema registry" in page and b"Kafka and Redis" not in page
    )
    told = [
        one for one in caplog.messages if "the schema registry at http://x does not answer: start it" in one
    ]
    assert 2 <= len(told) <= 12 and len(flow.known.asked) == len(told)
    flow.known.away = None
    flow.settle(80)
    assert [one[0] for one in flow.samples()[::2]] == [one["id"] for one in said[:100]] and flow.dead() == []
    assert flow.health.status("/readyz")[0] == 200
    flow.known.away = RegistryUnavailable("away again, and every schema is known")
    flow.publish(*map(as_avro, said[100:]))
    flow.settle()
    assert len(flow.samples()) == 400 and flow.dead() == []


def test_a_record_that_says_nothing_moves_the_position_and_gives_nothing() -> None:
    flow = Flow(source("avro", nulls="ignore"))
    flow.publish(None, as_avro(events(1)[0]), None)
    flow.settle()
    assert len(flow.samples()) == 2 and flow.dead() == []
    assert flow.worker.committed[TOPIC, 0] == 3

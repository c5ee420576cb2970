"""A flow in memory with the serve role beside it, for the tests of this folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count as numbers
from types import SimpleNamespace
from typing import Any

from penstock.features.read.client import FeatureReader
from penstock.features.redis.store import MemoryServer
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.messages import Sample, decode_entry
from penstock.stream.prediction import Prediction, decode_prediction
from penstock.stream.roles.in_memory import SECRET, MemoryFlow
from penstock.stream.serve.replicas import KeptVersions, Replicas
from penstock.stream.serve.served import ServedPipeline
from tests.stream.naive_flow import everything


class Keys:
    """A `MemoryServer` as a Redis client; `away` is what it raises instead of answering."""

    def __init__(self, server: MemoryServer) -> None:
        self.server = server
        self.away: Exception | None = None
        self.calls = 0
        self.connection_pool = SimpleNamespace(connection_kwargs={"host": "memory", "port": 0})

    def mget(self, keys: Sequence[str], /) -> Any:
        self.calls += 1
        if self.away is not None:
            raise self.away
        return self.server.mget(keys)

    def set(self, name: str, value: bytes, /, *, px: int) -> Any:
        if self.away is not None:
            raise self.away
        self.server.put(name, value)


def flow_of(pipeline: Pipeline, partitions: int = 2) -> MemoryFlow:
    """A flow whose clock moves with every look at it."""
    wall = numbers(1_700_000_000_000 + 90 * 86_400_000, 10)
    return MemoryFlow(pipeline, partitions=partitions, clock=lambda: next(wall))


def served_of(flow: MemoryFlow, partitions: int = 2, **more: Any) -> tuple[ServedPipeline, Keys]:
    """The pipeline of a flow as it is served."""
    keys, pipeline = Keys(flow.server), flow.pipeline
    tasks = [str(number) for number in range(partitions)] if pipeline.partitioned else ["all"]
    reader = FeatureReader(keys, pipeline.name, pipeline.views, tasks=tasks)
    replicas = Replicas(keys, pipeline, pipeline.name, SECRET)
    return ServedPipeline(pipeline, reader, replicas.newest, KeptVersions(flow.models), **more), keys


def samples_of(flow: MemoryFlow) -> list[Sample]:
    """The samples in the log."""
    found = [
        decode_entry(record.value or b"")
        for record in everything(flow.log, topology.samples(flow.pipeline.name))
    ]
    return [entry for entry in found if isinstance(entry, Sample)]


def predictions_of(flow: MemoryFlow) -> list[Prediction]:
    """The predictions that were published."""
    topic = topology.predictions(flow.pipeline.name)
    return [decode_prediction(record.value or b"") for record in everything(flow.log, topic)]


def as_asked(flow: MemoryFlow, event: dict[str, Any]) -> bytes:
    """An event as somebody asks about it: without its own label."""
    hidden = set(flow.pipeline.label.fields) if flow.pipeline.label.source == flow.pipeline.predict else set()
    return json.dumps({name: value for name, value in event.items() if name not in hidden}).encode()

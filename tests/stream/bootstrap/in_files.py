"""Streams in files and in topics, and a bootstrap of one and the flow over the other, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any

import fsspec
import msgspec

from penstock.features.redis.keys import record_key
from penstock.stream import topology
from penstock.stream.bootstrap.handover import check_new, starts_of
from penstock.stream.bootstrap.kept import Kept, Place
from penstock.stream.bootstrap.looking import looked_at, sources_of
from penstock.stream.bootstrap.plan import Plan, until_of
from penstock.stream.bootstrap.run import Bootstrap, tasks_of
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.snapshot import models_of
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out, partition_for
from penstock.stream.messages import LabelRecord, Sample, Tick, decode_entry
from penstock.stream.models.digest import digest
from penstock.stream.roles.in_memory import MemoryFlow

Event = tuple[str, str, dict[str, Any]]
_numbers = count()


def quiet(what: str, done: int, total: int) -> None:
    """Nobody looks on."""


def at_of(pipeline: Pipeline, event: Event) -> int:
    """An event's time."""
    source = next(one for one in pipeline.sources if one.name == event[0])
    return int(event[2][source.time])


def published(pipeline: Pipeline, events: Iterable[Event], partitions: int) -> list[Out]:
    """The records of events as a producer with Kafka's hash appends them."""
    fields = {source.name: source.key_fields for source in pipeline.sources}
    found = []
    for topic, _, event in events:
        key = record_key(event, fields[topic])
        partition = 0 if key is None else partition_for(key.encode(), partitions)
        found.append(
            Out(topic, None if key is None else key.encode(), json.dumps(event).encode(), (), partition)
        )
    return found


def written(pipeline: Pipeline, events: Sequence[Event], files: int = 2) -> list[str]:
    """The `--source` options of files with these events: each source's in its order, cut into some files."""
    folder = f"memory://bootstrap-{next(_numbers)}"
    options = []
    for source in pipeline.sources:
        of_source = [event for topic, _, event in events if topic == source.name]
        size = max(1, -(-len(of_source) // files))
        for number in range(files):
            name = f"{folder}/{source.name}/{number:03}.jsonl"
            with fsspec.open(name, "wb") as file:
                lines = (json.dumps(event) for event in of_source[number * size : (number + 1) * size])
                file.write("\n".join(lines).encode())
        options.append(f"{source.name}={folder}/{source.name}/*.jsonl")
    return options


def flow_of(pipeline: Pipeline, partitions: int, log: MemoryLog | None = None) -> MemoryFlow:
    """The flow with a wall clock that stands still: then there is no tick but those of event time."""
    return MemoryFlow(pipeline, partitions=partitions, clock=lambda: 0, log=log)


def plan_of(
    flow: MemoryFlow,
    options: Sequence[str],
    until_ms: int | None = None,
    offsets: dict[str, int] | None = None,
) -> Plan:
    """The plan of a bootstrap of this flow."""
    pipeline = flow.pipeline
    sources = sources_of(pipeline, options)
    partitions = flow.log.partitions(pipeline.predict.name)
    end = -1 if until_ms is None else until_ms
    given = Plan(
        pipeline=pipeline.name,
        recipe=pipeline.digest,
        partitions=partitions,
        asked="" if until_ms is None else str(until_ms),
        until_ms=end,
        offsets=offsets or {},
        sources=[looked_at(pipeline, one, end, quiet) for one in sources],
    )
    if until_ms is None and not offsets:
        end = until_of(given.sources)
        sources = [looked_at(pipeline, one, end, quiet) for one in sources]
        given = msgspec.structs.replace(given, until_ms=end, sources=sources)
    return given


def opened(flow: MemoryFlow, plan: Plan, wall_ms: Callable[[], int] = lambda: 0) -> Bootstrap:
    """A run of this bootstrap: a new one, or one that goes on."""
    tasks = list(tasks_of(flow.pipeline, plan.partitions))
    kept = Kept(flow.store, flow.deployed, plan, tasks)
    place = kept.load()
    if place is None:
        check_new(flow.pipeline, flow.log, flow.store("all"), tasks, plan, "")
        starts_of(flow.pipeline, flow.log, plan, partial=False)
        place = Place(plan=plan, began_ms=2_000_000_000_000, samples=[0] * flow.pipeline.shards)
        kept.begin(place)
    return Bootstrap(flow.pipeline, flow.log, kept, place, wall_ms)


def bootstrapped(flow: MemoryFlow, plan: Plan) -> Bootstrap:
    """The whole of it, but for learning, which the flow does later: it reads the samples log in any case."""
    run = opened(flow, plan)
    run.read()
    run.give()
    return run


def entries_of(flow: MemoryFlow, shard: int = 0) -> list[Any]:
    """The samples log without what differs: where in which log an event stood."""
    found = []
    records = flow.log.part((topology.samples(flow.pipeline.name), shard)).records
    for record in records:
        entry = decode_entry(record.value or b"")
        if isinstance(entry, Sample | LabelRecord):
            place = msgspec.structs.replace(entry.origin, topic_id="", offset=0)
            entry = msgspec.structs.replace(entry, origin=place)
        elif isinstance(entry, Tick) and entry.look is not None:
            entry = (entry.look.at, entry.look.fields)
        found.append(entry)
    return found


def states_of(flow: MemoryFlow) -> dict[str, bytes]:
    """Every entity's state."""
    tasks = tasks_of(flow.pipeline, flow.log.partitions(flow.pipeline.predict.name))
    begins = tuple(f"penstock:{flow.pipeline.name}:{task}:state:" for task in tasks)
    return {key: value for key, value in flow.server.data.items() if key.startswith(begins)}


def learned(flow: MemoryFlow) -> dict[str, Any]:
    """What the live fold is: every model's digest, the weights, and the chain of all that was ever predicted."""
    fold = flow.learn.fold
    assert fold is not None
    models = {name: digest(one.model) for name, one in models_of(fold).items()}
    return {
        "models": models,
        "weights": list(fold.experts.weights().values()),
        "chain": fold.chain,
        "learned": fold.counts.learned,
        "joined": fold.counts.joined,
        "waiting": sorted(fold.join.pending),
        "position": fold.position,
    }

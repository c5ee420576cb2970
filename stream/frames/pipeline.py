"""One pipeline, running somewhere or in this process, and what is known of it as frames.

Laws of this file:
- Reading only: no group is joined, nothing is appended or committed, and whatever runs does not notice.
- The same methods for both: what works on a slice in memory works on the pipeline that runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from penstock.features.read.client import Entity, FeatureReader, MomentPassed
from penstock.features.redis.keys import entity_key, public_key, record_key
from penstock.features.redis.keyspace import Keyspace, MemoryKeyspace, RedisKeyspace
from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.formats.plain import plain_json
from penstock.stream.frames import reading
from penstock.stream.frames.table import Kind, chosen, from_rows, table, to_rows
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Log, Out
from penstock.stream.operate.history import By
from penstock.stream.operate.moments import Moment, span_of
from penstock.stream.operate.stored_features import tasks_of
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start as start_of
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.roles.what_if import WhatIf, what_if
from penstock.stream.shards import check_one, log_of, of_shard

MOST_ENTITIES = 10_000
#: Columns of a frame of features before the features; one of such a name is called `<view>.<name>`.
OF_ENTITY = ("entity", "at", "status")
WALL_MS = 1_700_000_000_000
Events = Iterable[tuple[Any, ...]] | Mapping[str, Any]


class Frames:
    """A pipeline and where it is. `connect` and `in_memory` make one; use it in a `with` block, or `close` it.

    Every method gives a frame of the kind that was chosen then: pandas, polars or Arrow. Times are event times, in UTC.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        log: Log,
        keyspace: Keyspace,
        reader: FeatureReader,
        kind: Kind,
        prefix: str = "",
    ) -> None:
        self.pipeline, self.log, self.kind, self.prefix = pipeline, log, kind, prefix
        self.keyspace, self.reader = keyspace, reader
        self.closing = ExitStack()

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the servers, or of the flow in memory."""
        self.closing.close()

    def frame(self, rows: Any) -> Any:
        """Rows (dicts) or columns as a frame of the chosen kind: `flights.frame(result.rows)` of a what-if."""
        columns = rows if isinstance(rows, Mapping) else from_rows(to_rows(rows))
        return table(columns, self.kind, ("at",))

    def features(
        self,
        view: str,
        entities: Iterable[Entity] | None = None,
        at: Moment | None = None,
        most: int = MOST_ENTITIES,
    ) -> Any:
        """The features of entities of a view, a row each: what a reader would be served at event time `at`.

        Without `at` each is as of its own newest event. Without `entities` all that are served, at most `most` of them. `status`
        is "present", or "missing" of an entity that nothing came of. Raises `KeyError` for a view that the definition has not,
        `MomentPassed` for a moment before what is stored.
        """
        if view not in {one.name for one in self.pipeline.views}:
            raise KeyError(f"{view!r}: the views are {', '.join(one.name for one in self.pipeline.views)}")
        moment = span_of(at, None).start
        wanted = self.entities(view, most) if entities is None else list(entities)
        keys = [entity_key(one if isinstance(one, tuple) else (one,)) for one in wanted]
        compiled = self.reader.compiled(view)
        columns = [*OF_ENTITY, *(f"{view}.{one}" if one in OF_ENTITY else one for one in compiled.names)]
        rows = []
        for name, state in zip(keys, self.reader.states([(view, key) for key in keys]), strict=True):
            there = state is not None and state.newest >= 0
            at_ms = None if state is None else state.newest if moment is None else moment
            if state is not None and moment is not None and moment < state.newest:
                raise MomentPassed(
                    f"{view} {name} is stored as of {state.newest} ms, which is after {moment} ms"
                )
            found = compiled.new() if state is None else state
            values = zip(columns[3:], compiled.values(found, at_ms or 0), strict=True)
            of_row = (name, at_ms, "present" if there else "missing")
            rows.append({**dict(zip(OF_ENTITY, of_row, strict=True)), **dict(values)})
        return table(from_rows(rows) if rows else {name: [] for name in columns}, self.kind, ("at",))

    def entities(self, view: str, most: int = MOST_ENTITIES) -> list[Entity]:
        """The entities of a view that are served, in the order of their names; at most `most`, whichever come first."""
        # features are the pipeline's, whichever shard learns from them
        name = topology.whole(self.pipeline.name)
        begin, found = public_key(topology.deployed(name, self.prefix), view, ""), set[str]()
        for keys in self.keyspace.scan(begin):
            found.update(key.removeprefix(begin) for key in keys)
            if len(found) >= most:
                break
        named = (tuple(map(unquote, name.split("|"))) for name in sorted(found)[:most])
        return [parts if len(parts) > 1 else parts[0] for parts in named]

    def training_set(
        self, start: Moment | None = None, stop: Moment | None = None, *, labelled: bool = False
    ) -> Any:
        """Samples of event times [start, stop) as they were served, with the label each got: what `penstock export` writes.

        With `labelled` only those that have one.
        """
        span = span_of(start, stop)
        made = reading.training_set(self.pipeline, self.log, self.prefix, span, labelled=labelled)
        return table(made, self.kind, ("at", "label_at"))

    def predictions(
        self, start: Moment | None = None, stop: Moment | None = None, *, labels: bool = False
    ) -> Any:
        """What was published of events in [start, stop): prediction, leading version and its weight; with `labels` what came."""
        made = reading.predictions(self.pipeline, self.log, self.prefix, span_of(start, stop), labels=labels)
        return table(made, self.kind, ("at", "label_at"))

    def history(self, start: Moment | None = None, stop: Moment | None = None, by: By = "labels") -> Any:
        """How it did: losses, weights and rates, a row for each block of labels, or with `by="hour"` for each hour."""
        return table(
            reading.history(self.pipeline, self.log, self.prefix, span_of(start, stop), by),
            self.kind,
            ("at",),
        )

    def episodes(self) -> Any:
        """Every episode that fired: what it was about, since when, found when, over when, and what it cost."""
        return table(
            reading.episodes(self.pipeline, self.log, self.prefix), self.kind, ("since", "found", "over")
        )

    def what_if(self, changed: str | Path | Pipeline, **how: Any) -> WhatIf:
        """What another definition would have predicted of this history: see `penstock.what_if`, which takes the same arguments.

        `frame(result.rows)` and `frame(result.labels())` make frames of what it gives.
        """
        return what_if(changed, log=self.log, settings=Settings(prefix=self.prefix), **how)


def connect(
    definition: str | Path | Pipeline,
    *,
    bootstrap: str | None = None,
    redis_url: str | None = None,
    prefix: str | None = None,
    shard: int | None = None,
    frames: Kind | None = None,
) -> Frames:
    """A pipeline that runs. Addresses that are not given are those of the environment, as for every command.

    Args:
        definition: the definition that runs: a file, or a `Pipeline`.
        bootstrap: Kafka's address; by default `KAFKA_BOOTSTRAP_SERVERS`.
        redis_url: Redis' address; by default `REDIS_URL`.
        prefix: of a shared cluster; by default `PENSTOCK_PREFIX`.
        shard: which one, of a pipeline that learns in shards.
        frames: pandas, polars or arrow; by default the first of them that is installed.

    Raises:
        DefinitionError: the definition is wrong, or learns in shards and none is named.
        LogUnavailable, StoreUnavailable: Kafka or Redis does not answer.
        ImportError: there is nothing to make frames with; the message says what to install.

    """
    kind = chosen(frames)
    pipeline = _loaded(definition)
    given: dict[str, Any] = {"bootstrap": bootstrap, "redis_url": redis_url, "prefix": prefix}
    settings = dataclasses.replace(
        Settings.from_env(), **{name: value for name, value in given.items() if value is not None}
    )
    one = _one(pipeline, shard)
    client = start_of.open_redis(settings)
    opened = start_of.open_log(settings)
    reader = FeatureReader(
        client,
        pipeline.name,
        pipeline.views,
        prefix=settings.prefix,
        tasks=tasks_of(pipeline, client, settings.prefix),
    )
    found = Frames(
        one, log_of(opened, one, settings.prefix), RedisKeyspace(client), reader, kind, settings.prefix
    )
    found.closing.callback(client.close)
    found.closing.callback(opened.close)
    return found


def in_memory(
    definition: str | Path | Pipeline,
    events: Events,
    *,
    shard: int | None = None,
    guard: bool = True,
    frames: Kind | None = None,
) -> Frames:
    """A pipeline in this process, after it has read these events: no server, and the same figures every time.

    Args:
        definition: a file, or a `Pipeline`.
        events: `(topic, key, fields, ...)` tuples in the order of their topics, as `penstock.examples.flights_data.events` gives
            them; or rows by topic, `{"cards.payments": frame}`, where rows are a frame or a list of dicts, and the declared
            field is the key. Between topics they are put in order by their event time. Whatever format a topic has, these are
            the fields of its events.
        shard: which one, of a pipeline that learns in shards.
        guard: as the learn role runs.
        frames: pandas, polars or arrow; by default the first of them that is installed.

    Raises:
        DefinitionError: the definition is wrong, or a topic is none of its sources.
        ImportError: there is nothing to make frames with; the message says what to install.

    """
    kind = chosen(frames)
    pipeline = plain_json(_loaded(definition))  # events are given as rows
    wall = count(WALL_MS, 10)
    log = MemoryLog()
    flow = MemoryFlow(pipeline, partitions=1, log=log, guard=guard, clock=lambda: next(wall))
    flow.feed(_outs(pipeline, events))
    flow.settle()
    tasks = ("0",) if pipeline.partitioned else ("all",)
    reader = FeatureReader(flow.server, pipeline.name, pipeline.views, tasks=tasks)
    one = _one(pipeline, shard)
    found = Frames(one, log_of(log, one), MemoryKeyspace(flow.server), reader, kind)
    found.closing.callback(flow.close)
    return found


def _loaded(definition: str | Path | Pipeline) -> Pipeline:
    return definition if isinstance(definition, Pipeline) else load(definition)


def _one(pipeline: Pipeline, shard: int | None) -> Pipeline:
    if shard is None:
        check_one(pipeline, "without `shard=`, frames are of")
        return pipeline
    return of_shard(pipeline, shard)


def _outs(pipeline: Pipeline, events: Events) -> list[Out]:
    """The records of events, however they are given. Raises `DefinitionError` for a topic that is no source."""
    sources = {source.name: source for source in pipeline.sources}
    given: Iterable[tuple[Any, ...]]
    if isinstance(events, Mapping):
        given = (
            (topic, record_key(row, sources[topic].key_fields) if topic in sources else None, row)
            for topic, rows in events.items()
            for row in map(_plain, to_rows(rows))
        )
    else:
        given = events
    made, encode = [], msgspec.json.Encoder().encode
    for topic, key, fields, *_ in given:
        if topic not in sources:
            raise DefinitionError(
                f"{topic!r} is no source of {pipeline.name!r}; its sources: {', '.join(sources)}"
            )
        made.append(Out(topic, None if key is None else str(key).encode(), encode(fields), (), 0))
    return made


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a frame as JSON has it: numpy's numbers as Python's, moments as milliseconds since the epoch."""
    found = {}
    for name, given in row.items():
        value = given.item() if hasattr(given, "item") else given
        found[name] = round(value.timestamp() * 1000) if hasattr(value, "timestamp") else value
    return found

"""A slice of the real records built in memory, as a backfill would build them, to see what one takes.

Laws of this file:
- Reading only: topics are read without a group, and state lies in this process's memory.
- It is `backfill.build.Rebuild` that runs, over the newest records, in two stretches.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from penstock.features.engine.compute import CompiledView
from penstock.features.redis.keys import public_key, state_key
from penstock.features.redis.memory import MemoryServer, MemoryStateStore
from penstock.features.units import Unit
from penstock.stream.backfill.build import Rebuild
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.merge import Head
from penstock.stream.featurize.position import HeadPosition, Position, named
from penstock.stream.learn.entries import entries
from penstock.stream.learn.fold import Fold
from penstock.stream.log.protocol import Log
from penstock.stream.messages import Sample
from penstock.stream.operate.sampling import Judged, judge, newest
from penstock.stream.plan.cost import Folded, Tried
from penstock.stream.plan.entities import entities_in_all
from penstock.stream.sizing.constants import LEARN_CLIENTS_US

TRIED_RECORDS = 20_000
JUDGED_RECORDS = 2_000
FOLDED_ENTRIES = 20_000
FOLDED_S = 3.0
SAY_ENTRIES = 256
TASK = "trial"

Ranges = Mapping[Head, tuple[int, int]]
"""From which offset up to which, by head."""


class _Counting(MemoryStateStore):
    """Counts the states that are saved, and remembers whose since `touched` was emptied."""

    saved = 0

    def __init__(self, server: MemoryServer, pipeline: str, task: str) -> None:
        super().__init__(server, pipeline, task)
        self.touched: set[str] = set()

    def save(self, units: Sequence[Unit]) -> None:
        super().save(units)
        for unit in units:
            self.saved += len(unit.writes)
            self.touched.update(write.state_key for write in unit.writes)


def tried(pipeline: Pipeline, log: Log, views: Collection[int], ranges: Ranges) -> Tried:
    """Build these views (by place) from about the newest `TRIED_RECORDS` of the ranges."""
    fed = {pipeline.views[number].source.name for number in views}
    heads = [head for head in ranges if pipeline.sources[head[0]].name in fed]
    if not heads or not views:
        return Tried()
    share = -(-TRIED_RECORDS // len(heads))
    first = {head: max(ranges[head][0], ranges[head][1] - share) for head in heads}
    half = {head: (first[head] + ranges[head][1]) // 2 for head in heads}
    last = {head: ranges[head][1] for head in heads}
    server = MemoryServer()
    store = _Counting(server, pipeline.name, TASK)
    _begin(pipeline, log, store, first)
    build = Rebuild(pipeline, log, store, TASK, heads, views)
    began_s = time.process_time()
    seen = []
    for target in (half, last):
        store.touched.clear()
        build.advance(target, lambda: 0, lambda records: None)
        seen.append(set(store.touched))
    took_s = time.process_time() - began_s
    number = sum(last[head] - first[head] for head in heads)
    dead = Counter(build.task.featurize.counts.dead_letters)
    whole = all(first[head] == ranges[head][0] for head in heads)
    every = sum(stop - start for start, stop in ranges.values())
    per_view = _per_view(pipeline, server, views, seen, build.task.featurize.now_at, every, whole=whole)
    return Tried(number, took_s, store.saved, *per_view, dict(dead))


def _begin(pipeline: Pipeline, log: Log, store: MemoryStateStore, first: Mapping[Head, int]) -> None:
    """Let the build go on from these offsets, as if it had come so far."""
    topic_ids = [log.topic_id(source.name) for source in pipeline.sources]
    places = {head: HeadPosition(offset) for head, offset in first.items()}
    store.acquire()
    store.start(Position(pipeline.digest, named(places, pipeline.sources, topic_ids)).encode())


def _per_view(
    pipeline: Pipeline,
    server: MemoryServer,
    views: Collection[int],
    seen: Sequence[set[str]],
    now_at: int,
    most: int,
    *,
    whole: bool,
) -> tuple[dict[str, float], dict[str, float], dict[str, int]]:
    """Bytes of a state and of a document with the names of their keys, and the number of entities, by view."""
    states: dict[str, float] = {}
    documents: dict[str, float] = {}
    entities: dict[str, int] = {}
    for number in views:
        view = pipeline.views[number]
        compiled, prefix = CompiledView(view), state_key(pipeline.name, TASK, view.name, view.version, "")
        found = {
            key.removeprefix(prefix): value for key, value in server.data.items() if key.startswith(prefix)
        }
        if not found:
            continue
        # The task of a pipeline has a name as short as the trial's.
        states[view.name] = sum(len(prefix) + len(name) + len(value) for name, value in found.items()) / len(
            found
        )
        sizes = [
            len(public_key(pipeline.name, view.name, name))
            + len(compiled.document(compiled.decode(value), now_at, now_at))
            for name, value in found.items()
        ]
        documents[view.name] = sum(sizes) / len(sizes)
        halves = [{key for key in of if key.startswith(prefix)} for of in seen]
        entities[view.name] = len(found) if whole else entities_in_all(halves[0], halves[1], most)
    return states, documents, entities


def folded(pipeline: Pipeline, log: Log, topic: str) -> Folded:
    """What learn would fold again, and what an entry takes of the first `FOLDED_ENTRIES`, or as many as `FOLDED_S` allow."""
    start, stop = log.bounds([(topic, 0)])[(topic, 0)]
    fold, done, samples = Fold(pipeline), 0, 0
    read = list(_first(log, topic, start, stop))
    began_s = time.process_time()
    for position, entry in read:
        fold.step(position, entry)
        samples += isinstance(entry, Sample)
        done += 1
        if done % SAY_ENTRIES == 0:
            _forget(fold)
            if time.process_time() - began_s > FOLDED_S:
                break
    took_s = time.process_time() - began_s
    each_us = (1e6 * took_s + LEARN_CLIENTS_US * samples) / done if done else 0.0
    return Folded(stop - start, each_us)


def _first(log: Log, topic: str, start: int, stop: int) -> list[tuple[int, Any]]:
    return list(entries(log, topic, start, min(stop, start + FOLDED_ENTRIES)))


def _forget(fold: Fold) -> None:
    """What a worker would have written."""
    fold.outputs.predictions.clear()
    fold.outputs.live.clear()
    fold.outputs.history.clear()


def judged(pipeline: Pipeline, log: Log, topic: str) -> Judged:
    """The newest records of one of the pipeline's topics, judged as featurize would."""
    source = next(source for source in pipeline.sources if source.name == topic)
    return judge(pipeline, source, *newest(log, topic, JUDGED_RECORDS))

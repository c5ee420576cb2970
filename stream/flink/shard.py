"""The second operator: the views of one shard's entities, stepped in the one order.

Laws of this file:
- An entity of a view lives in one shard, and its events and reads are taken in the order a single task would take them: its
  values are the same to the bit.
- States lie in the keyed state as the bytes that Redis has. What is in memory beside them says the same, so it may be dropped
  between two calls.
- Every event was checked where it was read, so a view takes it. One that raises all the same ends the job, with its place: which
  other shards have taken it nobody knows, so it cannot be left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from penstock.features.engine.compute import CompiledView
from penstock.features.redis.keys import public_key, state_key
from penstock.features.units import Write
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.flink.order import Head, Place
from penstock.stream.flink.waiting import Kept, Waiting
from penstock.stream.flink.wire import Fed, Parts, decode_to_shard

MOST_PARTS = 1_000
KEPT_STATES = 100_000


class Shard:
    """One shard: `take` what it is told; what stands behind the line is stepped, and gives parts of vectors and writes.

    `waiting` keeps what is not yet behind the line, `states` the views' states by number and entity, `rest` how far each
    partition is.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        number: int,
        heads: Iterable[Head],
        waiting: Kept,
        states: Kept,
        rest: Kept,
        prefix: str = "",
    ) -> None:
        self.pipeline, self.number, self.stored = pipeline, number, states
        self.deployed = topology.deployed(pipeline.name, prefix)
        self.compiled = [CompiledView(view) for view in pipeline.views]
        names = [source.name for source in pipeline.sources]
        self.source_of = [names.index(view.source.name) for view in pipeline.views]
        self.predicted = pipeline.sources.index(pipeline.predict)
        self.states: list[dict[str, Any]] = [{} for _ in self.compiled]
        self.now_at = 0
        self.waiting: Waiting[Fed] = Waiting(heads, waiting, rest)
        for _, said in waiting.items():
            self.waiting.again(decode_to_shard(said).items)

    def take(self, said: bytes, written_ms: int) -> tuple[list[Parts], list[Write]]:
        """One batch: the parts that can be told now, and what is to be written to Redis."""
        message = decode_to_shard(said)
        waiting = self.waiting
        waiting.add(message.head, message.newest_at, message.at_end, message.items, said)
        dirty: list[set[str]] = [set() for _ in self.compiled]
        told: list[tuple[Place, list[tuple[int, list[Any]]]]] = []
        while (fed := waiting.next()) is not None:
            found = self._one(fed, dirty)
            if found:
                told.append((fed.place, found))
            waiting.pop()
        writes = self._write(dirty, written_ms)
        waiting.keep()
        parts = [Parts(self.number, told[n : n + MOST_PARTS]) for n in range(0, len(told), MOST_PARTS)]
        return parts, writes

    def _one(self, fed: Fed, dirty: list[set[str]]) -> list[tuple[int, list[Any]]]:
        """Step one event: its values by view, where it is sampled."""
        source, at = fed.place[1], fed.at
        predicts = source == self.predicted
        self.now_at = max(self.now_at, at)
        found: list[tuple[int, list[Any]]] = []
        for number, entity in fed.views:
            compiled, state = self.compiled[number], self._state(number, entity)
            if source != self.source_of[number]:
                found.append((number, compiled.vector(state, at)))
                continue
            dirty[number].add(entity)
            if predicts:
                found.append((number, compiled.update_own(state, at, fed.tie, fed.event)))
            else:
                compiled.update(state, at, fed.tie, fed.event)
        return found

    def _state(self, number: int, entity: str) -> Any:
        states = self.states[number]
        state = states.get(entity)
        if state is None:
            stored, compiled = self.stored.get(f"{number}:{entity}"), self.compiled[number]
            state = states[entity] = compiled.new() if stored is None else compiled.decode(stored)
        return state

    def _write(self, dirty: list[set[str]], written_ms: int) -> list[Write]:
        """Keep the states that changed; what is to be written to Redis of them."""
        writes: list[Write] = []
        for number, entities in enumerate(dirty):
            if not entities:
                continue
            compiled, view, states = self.compiled[number], self.pipeline.views[number], self.states[number]
            stored = state_key(self.deployed, "all", view.name, view.version, "")
            public = public_key(self.deployed, view.name, "")
            ordered = sorted(entities)
            written = compiled.writes(states, ordered, stored, public, self.now_at, written_ms, view.ttl_ms)
            for entity, write in zip(ordered, written, strict=True):
                self.stored.put(f"{number}:{entity}", write.state)
            writes += written
            if len(states) > KEPT_STATES:
                states.clear()
        return writes

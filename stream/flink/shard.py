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
from heapq import heappop, heappush
from typing import Any, Protocol

from penstock.features.engine.compute import CompiledView
from penstock.features.redis.keys import public_key, state_key
from penstock.features.units import Write
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.flink.order import Head, Line, Place
from penstock.stream.flink.wire import Fed, Moved, Parts, decode_to_shard

MOST_PARTS = 500
KEPT_STATES = 100_000


class Kept(Protocol):
    """A map in the keyed state: bytes by text."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, value: bytes) -> None: ...

    def remove(self, key: str) -> None: ...

    def items(self) -> Iterable[tuple[str, bytes]]: ...


def named(place: Place) -> str:
    """An item's name in a map of the keyed state."""
    return f"{place[1]}/{place[2]}/{place[3]}"


class Shard:
    """One shard: `take` what it is told; what stands behind the line is stepped, and gives parts of vectors and writes.

    `waiting` holds what is not yet behind the line, `states` the views' states by number and entity, `heard` how far each
    partition is.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        heads: list[Head],
        waiting: Kept,
        states: Kept,
        heard: Kept,
        prefix: str = "",
    ) -> None:
        self.pipeline, self.waiting, self.stored, self.heard = pipeline, waiting, states, heard
        self.deployed = topology.deployed(pipeline.name, prefix)
        self.compiled = [CompiledView(view) for view in pipeline.views]
        sources = pipeline.sources
        self.source_of = [[s.name for s in sources].index(view.source.name) for view in pipeline.views]
        self.predicted = sources.index(pipeline.predict)
        self.states: list[dict[str, Any]] = [{} for _ in self.compiled]
        self.now_at = 0
        self.line = Line(heads)
        self.queue: list[tuple[Place, bytes]] = []
        for _, said in heard.items():
            self._hear(said)
        for _, said in waiting.items():
            fed = decode_to_shard(said)
            assert isinstance(fed, Fed)
            heappush(self.queue, (fed.place, said))

    def _hear(self, said: bytes) -> None:
        moved = decode_to_shard(said)
        assert isinstance(moved, Moved)
        self.line.hear(moved.head, moved.newest_at, moved.at_end)

    def take(self, said: bytes, written_ms: int) -> tuple[list[Parts], list[Write]]:
        """One message: the parts that can be told now, and what is to be written to Redis."""
        message = decode_to_shard(said)
        if isinstance(message, Fed):
            heappush(self.queue, (message.place, said))
            self.waiting.put(named(message.place), said)
            return [], []
        self.heard.put(f"{message.head[0]}/{message.head[1]}", said)
        self.line.hear(message.head, message.newest_at, message.at_end)
        return self._step(written_ms)

    def _step(self, written_ms: int) -> tuple[list[Parts], list[Write]]:
        """Step what stands behind the line, in order."""
        ready: list[Fed] = []
        while self.queue and self.line.passed(self.queue[0][0]):
            fed = decode_to_shard(heappop(self.queue)[1])
            assert isinstance(fed, Fed)
            ready.append(fed)
        if not ready:
            return [], []
        dirty: list[set[str]] = [set() for _ in self.compiled]
        found = [(fed.place, self._one(fed, dirty)) for fed in ready]
        writes = self._write(dirty, written_ms)
        for fed in ready:
            self.waiting.remove(named(fed.place))
        told = [(place, parts) for place, parts in found if place[1] == self.predicted]
        return [Parts(told[n : n + MOST_PARTS]) for n in range(0, len(told), MOST_PARTS)], writes

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
        if entity not in states:
            stored = self.stored.get(f"{number}:{entity}")
            compiled = self.compiled[number]
            states[entity] = compiled.new() if stored is None else compiled.decode(stored)
        return states[entity]

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


class InMemory(dict[str, bytes]):
    """A map of the keyed state where there is no Flink."""

    put = dict.__setitem__
    remove = dict.__delitem__

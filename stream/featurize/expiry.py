"""Deletes private state by event time, once no window and no late event can see it: Redis holds who is active, not who ever was.

Laws of this file:
- What goes says no more than the state of an entity never seen, now and for every event that may still come: its newest event
  lies further back than the view's windows reach from the oldest event time that the view's source or the predicted one may still
  bring, in every partition. So values do not depend on when, or whether, it was deleted. A partition without any event may
  bring any time: then nothing goes.
- A deletion stands in a unit, like every write: atomic with the position, and fenced.
- Entities of a view with a feature of all time are kept for ever; a time to live never touches private state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from penstock.features.redis.keys import state_key, states_prefix
from penstock.features.redis.keyspace import Keyspace
from penstock.features.redis.store import UNIT_KEYS, Write
from penstock.stream.featurize.step import Featurize, FeaturizeUnit

LOOK_EVERY_MS = 1_000


class _Head(msgspec.Struct, array_like=True):
    """How every encoded state begins."""

    mark: int
    newest: int


_head = msgspec.msgpack.Decoder(_Head).decode


class Expiry:
    """Walks one task's stored states, a batch a second, and adds the deletion of expired ones to a unit.

    `deleted` counts them by view.
    """

    def __init__(self, featurize: Featurize, keyspace: Keyspace) -> None:
        self.featurize, self.keyspace = featurize, keyspace
        name, task = featurize.deployed, featurize.task
        self.silent_ms = {
            number: view.silence_ms
            for number, view in enumerate(featurize.pipeline.views)
            if view.silence_ms is not None
        }
        self.numbers = {
            state_key(
                name,
                task,
                featurize.pipeline.views[number].name,
                featurize.pipeline.views[number].version,
                "",
            ): number
            for number in self.silent_ms
        }
        self.prefix = states_prefix(name, task)
        self.batches: Iterator[list[str]] = iter(())
        self.looked_ms = 0
        self.deleted: Counter[str] = Counter()

    def added_to(self, unit: FeaturizeUnit, wall_ms: int) -> FeaturizeUnit:
        """The unit, the last that was closed, with the deletions of what a look at the next batch found."""
        if not self.silent_ms or wall_ms - self.looked_ms < LOOK_EVERY_MS or unit.unit.base == unit.unit.new:
            return unit
        self.looked_ms = wall_ms
        batch = next(self.batches, None)
        if batch is None:
            self.batches = self.keyspace.scan(self.prefix)
            batch = next(self.batches, [])
        writes = self._expired(batch)
        if not writes:
            return unit
        return unit._replace(unit=unit.unit._replace(writes=[*unit.unit.writes, *writes]))

    def _expired(self, keys: list[str]) -> list[Write]:
        """The deletions of those of these states that can say nothing any more, here and in memory."""
        featurize, found = self.featurize, []
        named = [(key, *self._entity_of(key)) for key in keys]
        known = [(key, number, entity) for key, number, entity in named if number >= 0]
        floors = {number: self._floor_ms(number) - silent for number, silent in self.silent_ms.items()}
        for (key, number, entity), stored in zip(
            known, self.keyspace.read([key for key, _, _ in known]), strict=True
        ):
            state = featurize.states[number].get(entity)
            if state is not None:  # what is in memory may be newer than what is stored
                newest = featurize.compiled[number].newest_ms(state)
            else:
                newest = None if stored is None else _head(stored).newest
            if newest is not None and newest < floors[number]:
                featurize.states[number].pop(entity, None)
                featurize.large[number].pop(entity, None)
                found.append(Write(key, b"", "", b"", 0))
                self.deleted[featurize.pipeline.views[number].name] += 1
                if len(found) * 2 == UNIT_KEYS:
                    break
        return found

    def _entity_of(self, key: str) -> tuple[int, str]:
        """(view, entity) of a state key; view -1 for one that is kept for ever."""
        prefix, _, entity = key.rpartition(":")
        return self.numbers.get(f"{prefix}:", -1), entity

    def _floor_ms(self, number: int) -> int:
        """The oldest event time that may still update or read a view."""
        featurize = self.featurize
        names = {featurize.pipeline.views[number].source.name, featurize.pipeline.predict.name}
        return min(
            -1 if place.newest_at < 0 else place.newest_at - featurize.sources[index].grace_ms
            for (index, _), place in featurize.positions.items()
            if featurize.sources[index].name in names
        )

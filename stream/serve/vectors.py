"""An event that somebody asks about → the vector that its sample would carry.

Laws of this file:
- The same vector: an event that is asked about and then published gives this vector in its sample, to the bit, when no other
  event came between. What is read before an event's own update is read so here, and what after, after it (`featurize.step`).
- The same rules: what would be a dead letter is refused with the same words. Two are left out: nobody asks for the label, and
  whether an event is late depends on its partition.
- The states that it is given are spent: an event is folded into the caller's own copy and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from penstock.features.engine.compute import CompiledView, State
from penstock.features.redis.keys import entity_of
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import Rejected, SourceDecoder
from penstock.stream.log.protocol import Record

LATEST_TIE = 2**63 - 1
"""Of two events at the same time the one that is not published yet will be the later one."""


class Asked(NamedTuple):
    """One event: its id, its event time (ms), and the entity of each view, None where a part of the key is null."""

    id: str
    at: int
    event: Mapping[str, Any]
    entities: list[str | None]


class Seen(NamedTuple):
    """What was found for one event: how old the newest event of each view's entity is (ms), and which inputs lack a value.

    `ages` has no entry for an entity that nothing is stored of; its features are `missing`. `null` are other inputs without a
    value. `degraded` says that features could not be read.
    """

    ages: dict[str, int]
    missing: list[str]
    null: list[str]
    degraded: bool = False


class Decoded(NamedTuple):
    """The events of a request that can be asked about, by place why others cannot, and the states that must be read."""

    asked: list[Asked]
    failed: dict[int, str]
    wanted: list[tuple[str, str]]


class Vectors:
    """The vectors of one pipeline; `compiled` gives what evaluates the states of a view: an engine takes its own alone."""

    def __init__(self, pipeline: Pipeline, compiled: Callable[[str], CompiledView]) -> None:
        self.pipeline = pipeline
        self.decoder = SourceDecoder(pipeline, pipeline.predict, asked=True)
        self.topic = pipeline.predict.name
        self.views = [
            (view.name, compiled(view.name), view.key_fields, view.source.name == pipeline.predict.name)
            for view in pipeline.views
        ]
        self.empty = [one.vector(one.new(), 0) for _, one, _, _ in self.views]
        self.named = [[f"{name}.{one}" for one in view.numeric] for name, view, _, _ in self.views]

    def asked(self, value: bytes, wall_ms: int) -> Asked:
        """One event as its topic would take it now. Raises `Rejected` with the reason."""
        event, at = self.decoder.decode(Record(self.topic, 0, 0, wall_ms, None, value, ()), -1)
        entities = [entity_of(event, key) for _, _, key, _ in self.views]
        return Asked(str(event[self.pipeline.predict.id]), at, event, entities)

    def decoded(self, events: Sequence[bytes], wall_ms: int) -> Decoded:
        """Events as their topic would take them now, and what must be read for them."""
        failed: dict[int, str] = {}
        asked = []
        for number, event in enumerate(events):
            try:
                asked.append(self.asked(event, wall_ms))
            except Rejected as error:
                failed[number] = str(error)
            # As in featurize: whatever an event provokes is that event's.
            except Exception as error:
                failed[number] = f"{type(error).__name__}: {error}"
        return Decoded(asked, failed, self.wanted(asked))

    def key_of(self, asked: Asked) -> str | None:
        """Its key, as its sample and its prediction would have it; None without one."""
        parts, event = self.pipeline.predict.key_fields, asked.event
        key = event[parts[0]] if len(parts) == 1 else entity_of(event, parts)
        return None if key is None else str(key)

    def wanted(self, asked: Sequence[Asked]) -> list[tuple[str, str]]:
        """The (view, entity) states that these events need, in order; an entity stands as often as it is needed."""
        return [
            (view[0], entity)
            for one in asked
            for view, entity in zip(self.views, one.entities, strict=True)
            if entity is not None
        ]

    def vectors(self, asked: Sequence[Asked], states: Sequence[State | None]) -> list[tuple[list[Any], Seen]]:
        """The vector of each event, from the states that `wanted` named, and what was found."""
        given = iter(states)
        return [
            self._vector(one, [None if entity is None else next(given) for entity in one.entities])
            for one in asked
        ]

    def _vector(self, asked: Asked, states: Sequence[State | None]) -> tuple[list[Any], Seen]:
        event, at = asked.event, asked.at
        vector: list[Any] = [event[name] for name in self.pipeline.inputs]
        seen = Seen({}, [], [name for name in self.pipeline.inputs if event[name] is None])
        for place, ((name, compiled, _, own), state) in enumerate(zip(self.views, states, strict=True)):
            if state is None:
                seen.missing.extend(self.named[place])
            else:
                seen.ages[name] = at - state.newest
            if asked.entities[place] is None:
                values = self.empty[place]
            elif own:
                values = compiled.update_own(state or compiled.new(), at, LATEST_TIE, event)
            else:
                values = compiled.vector(state or compiled.new(), at)
            if state is not None and None in values:
                named = zip(self.named[place], values, strict=True)
                seen.null.extend(one for one, value in named if value is None)
            vector += values
        return vector, seen

    def without(self, asked: Asked) -> tuple[list[Any], Seen]:
        """The vector of an event whose features cannot be read: they are null, but for those that a null key has anyway."""
        vector: list[Any] = [asked.event[name] for name in self.pipeline.inputs]
        null = [name for name in self.pipeline.inputs if asked.event[name] is None]
        missing: list[str] = []
        for named, empty, entity in zip(self.named, self.empty, asked.entities, strict=True):
            missing.extend(named)
            vector += empty if entity is None else [None] * len(named)
        return vector, Seen({}, missing, null, any(one is not None for one in asked.entities))

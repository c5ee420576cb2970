"""Events → features and samples: the first pure step.

Laws of this file:
- A sample carries the vector as of its event time, read from the same state that is served: no training-serving skew.
- On the event's own source what came before it (`first`, `last`, `last_n`, `since_last`) is read before the update, everything
  else after it.
- Every item ends as one sample, one label, both, neither (it only fed a view), or one dead letter: counted, never dropped.
- Positions move with state: a unit names the positions it starts and ends at, and everything that belongs between them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from penstock.features.engine.compute import CompiledView
from penstock.features.redis.keys import entity_of, public_key, state_key
from penstock.features.units import UNIT_BYTES, UNIT_KEYS, Unit, Write
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.compiled import stepper_of
from penstock.stream.featurize.counts import Counts
from penstock.stream.featurize.dead_letters import dead_letter, kind_of
from penstock.stream.featurize.dead_share import DeadShare
from penstock.stream.featurize.decode import BEFORE, LATE, Event, Item, Rejected
from penstock.stream.featurize.labels import label_of
from penstock.stream.featurize.looks import Fields, look_at
from penstock.stream.featurize.merge import Head
from penstock.stream.featurize.position import HeadPosition, Position, named
from penstock.stream.featurize.source_plan import SourcePlan
from penstock.stream.log.protocol import Out
from penstock.stream.look import LOOK_EVERY
from penstock.stream.messages import LabelRecord, Origin, Sample, encode_entry
from penstock.stream.shards import Shards
from penstock.stream.targets import Target

# Entities up to this size need no counting of bytes: as many as a unit's keys allow are no more than its bytes allow.
SMALL_BYTES = UNIT_BYTES * 2 // UNIT_KEYS
TIE_BITS = 48
KEPT_STATES = 200_000  # a task's, in memory


class FeaturizeUnit(NamedTuple):
    """One atomic stretch of work: once what its items gave is appended, save `unit`, then commit `positions`."""

    unit: Unit
    positions: dict[Head, int]


class Featurize:
    """The state of one task and its step.

    `topic_ids` maps each source topic to the broker's id for it: topics are deleted and recreated, and an offset means
    something only within one incarnation. With `building`, only these views (by place) are updated and nothing is public.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        topic_ids: Mapping[str, str],
        task: str,
        prefix: str = "",
        building: Collection[int] | None = None,
    ) -> None:
        self.pipeline, self.task = pipeline, task
        self.sources, self.deployed = pipeline.sources, topology.deployed(pipeline.name, prefix)
        self.target_kind, self.label_key = pipeline.target_kind, pipeline.label.key_fields
        self.carried, self.building = pipeline.carried, building
        self.topic_ids = [topic_ids[source.name] for source in self.sources]
        self.compiled = [CompiledView(view) for view in pipeline.views]
        self.ttls_ms = [view.ttl_ms for view in pipeline.views]
        self.empty = [compiled.vector(compiled.new(), 0) for compiled in self.compiled]
        self.plans = [self._plan(index) for index in range(len(self.sources))]
        self.samples_topic = topology.samples(pipeline.name, prefix)
        self.shards = Shards(pipeline) if pipeline.shards > 1 else None
        self.dead_letters_topic = topology.dead_letters(pipeline.name, prefix)
        self.dead_share = DeadShare(pipeline.name, self.topic_ids, prefix)
        self.states: list[dict[str, Any]] = [{} for _ in self.compiled]
        self.dirty: list[set[str]] = [set() for _ in self.compiled]
        # those in memory that nothing is stored of
        self.unseen: list[set[str]] = [set() for _ in self.compiled]
        # What was written of an entity at last, state and document in bytes, where it is not small.
        self.large: list[dict[str, int]] = [{} for _ in self.compiled]
        self.positions: dict[Head, HeadPosition] = {}
        self.outs: list[Out] = []
        self.counts = Counts()
        self.looks = LOOK_EVERY - 1 if building is None and pipeline.asked_quality.schema != "off" else -1
        self.fields_of: Sequence[Fields] = ()
        self.recipe = self.digest = pipeline.digest
        self.base, self.since = b"", -1
        self.now_at = self.dirty_count = self.dirty_bytes = self.out_bytes = 0
        self.stepper = stepper_of(self, LOOK_EVERY) if type(self) is Featurize else None

    def _plan(self, index: int) -> SourcePlan:
        source = self.sources[index]
        building = self.building
        predicts = source == self.pipeline.predict and building is None
        used = [
            (number, view)
            for number, view in enumerate(self.pipeline.views)
            if (predicts or view.source.name == source.name) and (building is None or number in building)
        ]
        keys = list(dict.fromkeys(view.key_fields for _, view in used))
        views = [
            (number, self.compiled[number], keys.index(view.key_fields), view.source.name == source.name)
            for number, view in used
        ]
        labels = self.pipeline.label.source == source and building is None
        outcome = self.pipeline.label.of if labels else None
        return SourcePlan(source.key_fields, keys, views, predicts, outcome)

    # -- positions ---------------------------------------------------------------------------------------------------------

    def start(
        self, positions: Mapping[Head, HeadPosition], recipe: str, dead: Mapping[str, list[Any]] | None = None
    ) -> None:
        """Begin at these positions under this recipe with no state in memory; states come through `missing` and `put`.

        `dead` is what the position document says of sources with dead letters.
        """
        self.recipe = recipe
        self.dead_share.start(dead or {})
        self.positions = {
            head: HeadPosition(place.offset, place.newest_at) for head, place in positions.items()
        }
        self.base = self.position()
        self.now_at = max([0, *(place.newest_at for place in positions.values())])

    def position(self) -> bytes:
        """The canonical position document: what a unit's compare-and-set compares."""
        positions = named(self.positions, self.sources, self.topic_ids)
        return Position(self.recipe, positions, None, self.dead_share.stored(), self.since).encode()

    def places_in(self, position: Position) -> dict[Head, HeadPosition]:
        """The positions a stored position names; raises `TopicRecreated` when a topic is another one by now."""
        return position.at(self.sources, self.topic_ids)

    # -- state -------------------------------------------------------------------------------------------------------------

    def entities(self, item: Item) -> list[str | None]:
        """The item's entity under each key of its source's plan; None where a part of the key is null."""
        event = item.event
        return [] if event is None else [entity_of(event, key) for key in self.plans[item.source].keys]

    def missing(self, items: Sequence[Item], entities: Sequence[list[str | None]]) -> list[tuple[int, str]]:
        """The (view, entity) states these items need that are not in memory: load them first, then `put`."""
        wanted: dict[tuple[int, str], None] = {}
        for item, keys in zip(items, entities, strict=True):
            if keys:
                for number, _, place, _ in self.plans[item.source].views:
                    entity = keys[place]
                    if entity is not None and entity not in self.states[number]:
                        wanted[(number, entity)] = None
        return list(wanted)

    def stored_key(self, number: int, entity: str) -> str:
        """Where the state of one entity of view `number` is stored."""
        view = self.pipeline.views[number]
        return state_key(self.deployed, self.task, view.name, view.version, entity)

    def put(self, number: int, entity: str, stored: bytes | None) -> None:
        """Take one loaded state into memory; None is an entity never seen."""
        compiled = self.compiled[number]
        if stored is None:
            self.unseen[number].add(entity)
        elif len(stored) > SMALL_BYTES:
            self.large[number][entity] = len(stored)
        self.states[number][entity] = compiled.new() if stored is None else compiled.decode(stored)

    def forget(self, most: int) -> None:
        """Keep at most about `most` states in memory. Only between units, when all of them are stored."""
        for states, unseen, large in zip(self.states, self.unseen, self.large, strict=True):
            if len(states) > most:
                for entity in list(islice(states, len(states) - most)):
                    del states[entity]
                    unseen.discard(entity)
                    large.pop(entity, None)

    # -- the step ----------------------------------------------------------------------------------------------------------

    def step(self, item: Item, entities: Sequence[str | None]) -> None:
        """One item: update the views it feeds, append its sample, label or dead letter, and move its partition's place."""
        place = self.positions[(item.source, item.partition)]
        place.offset = item.offset + 1
        place.newest_at = item.newest_at
        self.counts.items += 1
        if (event := item.event) is None:
            if item.reject is not None and item.reject != BEFORE:
                self._bury(item, item.reject)
            return
        plan = self.plans[item.source]
        y: Target | None = None
        if plan.outcome is not None:
            try:
                y = label_of(plan.outcome(event), self.target_kind)
            except Rejected as error:
                self._bury(item, str(error))
                return
            # a user's function over a user's data: the record is at fault, the worker goes on
            except Exception as error:
                self._bury(item, f"the outcome raised {type(error).__name__}: {error}")
                return
        shard = 0 if self.shards is None else self.shards.of(item.source, event)
        at = item.at
        if at > self.now_at:
            self.now_at = at
        vector = self._update(plan, item, event, at, entities)
        if plan.predicts:
            origin = Origin(self.topic_ids[item.source], item.partition, item.offset, 0)
            parts = plan.key_fields
            key = event[parts[0]] if len(parts) == 1 else entity_of(event, parts)
            of_label = entity_of(event, self.label_key) if self.label_key else None
            key = "" if key is None else str(key)
            segments = [event[name] for name in self.carried] if self.carried else None
            sample = Sample(origin, item.id, key, at, vector, self.digest, of_label, segments)
            self._emit(encode_entry(sample), shard)
            self.counts.samples += 1
        if y is not None:
            self._label(item, event, y, shard)
        if item.offset % LOOK_EVERY == self.looks and (look := look_at(item, self.topic_ids, self.fields_of)):
            self._emit(look, shard)
        if self.dead_share.windows:
            self._tell(self.dead_share.take(item, None))

    def _label(self, item: Item, event: Event, y: Target, shard: int | None) -> None:
        """The record of a label; where labels are joined by key and this event's is null, it is nobody's, and there is none."""
        key = entity_of(event, self.label_key) if self.label_key else None
        if self.label_key and key is None:
            return
        origin = Origin(self.topic_ids[item.source], item.partition, item.offset, 1)
        self._emit(encode_entry(LabelRecord(origin, item.id, item.at, y, key)), shard)
        self.counts.labels += 1

    def _update(
        self, plan: SourcePlan, item: Item, event: Event, at: int, entities: Sequence[str | None]
    ) -> list[Any]:
        """Update this source's views; the sample's vector when the source is the predicted one, otherwise an empty list."""
        predicts = plan.predicts
        vector: list[Any] = [event[name] for name in self.pipeline.inputs] if predicts else []
        tie = (item.partition << TIE_BITS) | item.offset
        for number, compiled, place, own in plan.views:
            entity = entities[place]
            if entity is None:
                if predicts:
                    self.counts.defaults[number] += 1
                    vector += self.empty[number]
                continue
            states = self.states[number]
            if own:
                if predicts:
                    vector += compiled.update_own(states[entity], at, tie, event)
                else:
                    compiled.update(states[entity], at, tie, event)
                dirty = self.dirty[number]
                if entity not in dirty:
                    dirty.add(entity)
                    self.dirty_count += 1
                    self.dirty_bytes += self.large[number].get(entity, 0)
            else:
                state = states[entity]
                if state.newest < 0:
                    self.counts.defaults[number] += 1
                vector += compiled.vector(state, at)
        return vector

    def _emit(self, entry: bytes, shard: int | None) -> None:
        for place in range(self.pipeline.shards) if shard is None else (shard,):
            self.outs.append(Out(self.samples_topic, None, entry, (), place))
        self.out_bytes += len(entry)

    def _bury(self, item: Item, reason: str) -> None:
        if item.event is None and LATE in reason:
            self.counts.late[self.sources[item.source].name] += 1
        self.outs.append(dead_letter(item, reason, self.dead_letters_topic, self.topic_ids[item.source]))
        self.counts.bury(kind_of(reason))
        if self.building is None:
            self._tell(self.dead_share.take(item, reason))

    def _tell(self, event: Out | None) -> None:
        if event is not None:
            self.outs.append(event)

    # -- units -------------------------------------------------------------------------------------------------------------

    @property
    def unit_is_full(self) -> bool:
        """Whether the open unit touches as many keys (each entity has two), or bytes, as one Redis script should."""
        return (
            self.dirty_count * 2 >= UNIT_KEYS
            or self.dirty_bytes >= UNIT_BYTES
            or self.out_bytes >= UNIT_BYTES * 8
        )

    def close_unit(self, written_ms: int) -> FeaturizeUnit:
        """End the open unit: its state writes and its base and new positions. Whoever steps takes `outs` as they come."""
        writes: list[Write] = []
        for number, dirty in enumerate(self.dirty):
            compiled, view, states = self.compiled[number], self.pipeline.views[number], self.states[number]
            public = "" if self.building is not None else public_key(self.deployed, view.name, "")
            stored = self.stored_key(number, "")
            ttl_ms = self.ttls_ms[number]
            written = compiled.writes(states, dirty, stored, public, self.now_at, written_ms, ttl_ms)
            large = self.large[number]
            for entity, write in zip(dirty, written, strict=True):
                size = len(write.state) + len(write.document)
                if size > SMALL_BYTES:
                    large[entity] = size
                elif entity in large:
                    del large[entity]
            writes += written
            first = dirty & self.unseen[number]
            self.unseen[number] -= first
            self.counts.entities[number] += len(first)
            dirty.clear()
        positions = {head: place.offset for head, place in self.positions.items()}
        base, self.base = self.base, self.position()
        self.dirty_count = self.dirty_bytes = self.out_bytes = 0
        return FeaturizeUnit(Unit(base, self.base, writes), positions)

"""One featurize task: its state, its merge and its store.

Laws of this file:
- The position comes from Redis, where it lies with the state, never from the group. The group's offset says only which outputs
  exist: below it nothing is emitted again when state is rebuilt.
- Only the opening of a lineage is appended or saved here: `order` steps tasks, and the worker writes what comes of it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence

import msgspec

from penstock.features.redis.keys import definition_key, live_key, position_key
from penstock.features.redis.keyspace import Keyspace
from penstock.features.redis.store import StateLost, StateStore, Unit, Write
from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.featurize.after_files import FILES_RUN, check_not_from_files, items_since
from penstock.stream.featurize.decode import BEFORE, Item, SourceDecoder
from penstock.stream.featurize.deleted import warn_of_deleted
from penstock.stream.featurize.merge import Head, Merge
from penstock.stream.featurize.partitions import PartitionsChanged
from penstock.stream.featurize.position import HeadPosition, Position, decode_definition, decode_position
from penstock.stream.featurize.source_topics import source_partitions
from penstock.stream.featurize.step import Featurize
from penstock.stream.formats.reading import reader_of
from penstock.stream.formats.schemas import Schemas
from penstock.stream.log.protocol import TP, Log, Record
from penstock.stream.messages import encode_entry
from penstock.stream.recipes import (
    DefinitionChanged,
    changes,
    check_sharded_alike,
    definition_document,
    live_document,
    recipe_of,
)
from penstock.stream.shards import check_partitions, to_every_shard
from penstock.stream.topology import CONTROL_ALERTS, dead_letters, deployed

logger = logging.getLogger("penstock.featurize")

IDLE_AFTER_MS = 5_000


class _Live(msgspec.Struct):
    views: dict[str, str]
    recipe: str


_live = msgspec.json.Decoder(_Live).decode


def opening(pipeline: Pipeline, task: str, prefix: str = "", partitions: int = 0) -> Write:
    """The write that makes a task's state, and what readers are served, that of this definition and of so many partitions."""
    name = deployed(pipeline.name, prefix)
    document = definition_document(pipeline, partitions)
    return Write(definition_key(name, task), document, live_key(name), live_document(pipeline), 0)


def check_definition(pipeline: Pipeline, position: Position, said: bytes | None) -> None:
    """Refuse state that was written under a definition that featurized otherwise (`said`), or that is being changed.

    Raises `DefinitionChanged` or `DefinitionError`, and `StateLost` when nothing is said.
    """
    if position.change is not None and position.change.run.startswith(FILES_RUN):
        raise DefinitionError(
            f"the history of {pipeline.name!r} is being read from files: end that first, with the same `penstock bootstrap FILE` "
            "as it was begun with (it goes on from where it was), or start over with `penstock reset FILE`"
        )
    if position.change is not None:
        raise DefinitionError(
            f"a change of {pipeline.name!r} to recipe {position.change.recipe} is under way: finish it with "
            f"`penstock backfill FILE`, or give it the former definition ({position.recipe}) to call it off"
        )
    if position.recipe not in ("", pipeline.digest):
        if said is None:
            raise StateLost(f"{pipeline.name}: the definition that its state was written under is gone")
        check_sharded_alike(decode_definition(said), pipeline)
        found = changes(decode_definition(said), pipeline)
        if found.views or found.others:
            raise DefinitionChanged(pipeline.name, found)


def check_stored(pipeline: Pipeline, keyspace: Keyspace, tasks: Sequence[str], prefix: str = "") -> None:
    """The same for every task, owning none: before a worker with another definition takes a running one's place."""
    name = deployed(pipeline.name, prefix)
    positions = keyspace.read([position_key(name, task) for task in tasks])
    said = keyspace.read([definition_key(name, task) for task in tasks])
    for position, definition in zip(positions, said, strict=True):
        if position is not None and definition is not None:
            check_definition(pipeline, decode_position(position), definition)
            before = decode_definition(definition).get("partitions", 0)
            if pipeline.partitioned and before not in (0, len(tasks)):
                raise PartitionsChanged(before, len(tasks))


def checked_partitions(pipeline: Pipeline, log: Log, prefix: str = "") -> int:
    """How many partitions each source has. A topic that is missing is told now, and not when the first record of it comes."""
    partitions = source_partitions(pipeline, log)
    for topic in (dead_letters(pipeline.name, prefix), prefix + CONTROL_ALERTS):
        log.partitions(topic)
    check_partitions(pipeline, log, prefix)
    return partitions


class Task:
    """One group of co-partitioned inputs: its state, its merge and its store."""

    def __init__(
        self,
        pipeline: Pipeline,
        log: Log,
        store: StateStore,
        name: str,
        heads: Sequence[Head],
        prefix: str,
        building: Collection[int] | None = None,
        schemas: Schemas | None = None,
    ) -> None:
        self.pipeline, self.log, self.store, self.heads = pipeline, log, store, list(heads)
        self.prefix = prefix
        self.sources = pipeline.sources
        topic_ids = {source.name: log.topic_id(source.name) for source in self.sources}
        self.featurize = Featurize(pipeline, topic_ids, name, prefix, building)
        self.decoders = [SourceDecoder(pipeline, one, reader_of(one, schemas)) for one in self.sources]
        self.featurize.fields_of = [decoder.fields for decoder in self.decoders]
        self.merge = Merge(self.heads)
        self.newest: dict[Head, int] = {}
        self.emitted_below: dict[Head, int] = {}
        self.rebuilding_from: dict[Head, int] | None = None
        self.seen_wall_ms: dict[Head, int] = {}
        self.began_wall_ms = 0  # when the first record of any partition came
        self.checked_ms = 0

    def tp(self, head: Head) -> TP:
        """The topic and partition of a head."""
        return self.sources[head[0]].name, head[1]

    def named(self, head: Head) -> str:
        """A head as ticks name it: "topic/0"."""
        return f"{self.sources[head[0]].name}/{head[1]}"

    def take_up(self, group: str) -> dict[TP, int]:
        """Become the owner: the positions to read from, with state and counters set to match.

        Raises `DefinitionChanged` when the state was written under a definition that featurized otherwise.
        """
        try:
            stored = self.store.acquire()
        except StateLost as error:  # half of what belongs together is gone: the other half is worth nothing
            logger.warning("%s; clearing the rest and rebuilding from Kafka", error)
            self.store.clear()
            stored = None
        tps = [self.tp(head) for head in self.heads]
        committed = self.log.committed(group, tps)
        bounds = self.log.bounds(tps)
        if stored is None:
            self._check_served()
            check_not_from_files(self.pipeline, self.log, self.featurize.samples_topic)
            positions = {head: HeadPosition(bounds[self.tp(head)][0]) for head in self.heads}
            warn_of_deleted(bounds, committed)
            self.featurize.start(positions, "")
            self.store.start(self.featurize.base)
        else:
            position = decode_position(stored)
            said = self.store.load([definition_key(self.featurize.deployed, self.featurize.task)])[0]
            check_definition(self.pipeline, position, said)
            positions = self.featurize.places_in(position)
            if set(positions) != set(self.heads):
                raise PartitionsChanged(len(positions), len(self.heads))
            self.featurize.since = position.since
            self.featurize.start(positions, position.recipe, position.dead)
        self._open_lineage()
        self.newest = {head: place.newest_at for head, place in positions.items()}
        self.emitted_below = {head: committed.get(self.tp(head), 0) for head in self.heads}
        behind = {
            head: place.offset for head, place in positions.items() if place.offset < self.emitted_below[head]
        }
        if behind:
            self.rebuilding_from = behind
            lost = {self.tp(head): self.emitted_below[head] - offset for head, offset in behind.items()}
            logger.warning(
                "Redis is behind what was emitted (lost or restored): rebuilding state from Kafka, records: %s",
                lost,
            )
        return {self.tp(head): place.offset for head, place in positions.items()}

    def take_up_building(self) -> None:
        """Begin, or go on, to build state beside a task's: nothing is said to anybody."""
        stored = self.store.acquire()
        if stored is None:
            bounds = self.log.bounds([self.tp(head) for head in self.heads])
            positions = {head: HeadPosition(bounds[self.tp(head)][0]) for head in self.heads}
            self.featurize.start(positions, self.pipeline.digest)
            self.store.start(self.featurize.base)
        else:
            positions = self.featurize.places_in(decode_position(stored))
            self.featurize.start(positions, self.pipeline.digest)
        self.newest = {head: place.newest_at for head, place in positions.items()}

    def _check_served(self) -> None:
        """Refuse to begin a task under another definition than the one that the pipeline serves."""
        name, served = self.pipeline.name, self.store.load([live_key(self.featurize.deployed)])[0]
        if served is not None and _live(served).views != {
            view.name: view.version for view in self.pipeline.views
        }:
            raise DefinitionError(
                f"{name!r} serves recipe {_live(served).recipe} and this task of it has no state yet: begin it with that "
                f"definition, or `penstock reset FILE` starts over with this one ({self.pipeline.digest})"
            )

    def _open_lineage(self) -> None:
        """Where the recipe is another than the state's, say so in the samples log first and then with the state."""
        featurize, pipeline = self.featurize, self.pipeline
        bounds = self.log.bounds([(featurize.samples_topic, shard) for shard in range(pipeline.shards)])
        if featurize.recipe == pipeline.digest and all(end > 0 for _, end in bounds.values()):
            return
        self.log.append(to_every_shard(pipeline, encode_entry(recipe_of(pipeline)), self.prefix))
        if featurize.recipe != pipeline.digest:
            base, featurize.recipe = featurize.base, pipeline.digest
            featurize.base = featurize.position()
            partitions = self.log.partitions(pipeline.predict.name)
            write = opening(pipeline, featurize.task, self.prefix, partitions)
            self.store.save([Unit(base, featurize.base, [write])])

    def enqueue(self, records: Iterable[Record], wall_ms: int) -> None:
        """Decode records into the merge."""
        index_of = {source.name: index for index, source in enumerate(self.sources)}
        grouped: dict[Head, list[Record]] = {}
        for record in records:
            grouped.setdefault((index_of[record.topic], record.partition), []).append(record)
        for head, of_head in grouped.items():
            items = self._items(head, of_head)
            self.newest[head] = items[-1].newest_at
            self.merge.enqueue(head, items)
            self.seen_wall_ms[head] = wall_ms
            self.began_wall_ms = self.began_wall_ms or wall_ms

    def _items(self, head: Head, records: Sequence[Record]) -> list[Item]:
        """The items of one partition's records, without those that files had already."""
        decoder, newest_at, since = self.decoders[head[0]], self.newest[head], self.featurize.since
        # Later, whatever is that old is late in any case.
        if newest_at > since + decoder.grace_ms or since <= 0:
            return decoder.items(records, newest_at)
        items = items_since(decoder, records, newest_at, since)
        skipped = sum(item.reject == BEFORE for item in items)
        self.featurize.counts.before[self.sources[head[0]].name] += skipped
        return items

    @property
    def reached(self) -> int:
        """The newest event time stepped so far, in ms; -1 before the first event."""
        return max((place.newest_at for place in self.featurize.positions.values()), default=-1)

    @property
    def kept(self) -> int:
        """How many states of one view are in memory, of that which has the most."""
        return max(map(len, self.featurize.states), default=0)

    def idle(self, at_end: Collection[Head], wall_ms: int) -> list[str]:
        """Names ("topic/0") of its source partitions that are at their end and have brought nothing for some seconds."""
        return [
            self.named(head)
            for head in self.heads
            if head in at_end and wall_ms - self.seen_wall_ms.get(head, 0) > IDLE_AFTER_MS
        ]

    def load(self, missing: Sequence[tuple[int, str]]) -> None:
        """Bring these (view, entity) states into memory."""
        featurize = self.featurize
        if missing:
            stored = self.store.load([featurize.stored_key(number, entity) for number, entity in missing])
            # A lost state reads like an entity never seen, and another owner's like a later one: the samples made of them
            # would be appended before `save` finds out.
            self.store.alive()
            for (number, entity), state in zip(missing, stored, strict=True):
                featurize.put(number, entity, state)

    def is_known(self, item: Item) -> bool:
        """Whether what an item gives was emitted before the state that is being rebuilt was lost."""
        return item.offset < self.emitted_below[(item.source, item.partition)]

    def end_rebuild(self) -> None:
        """Let outputs go on, once all of them are new."""
        positions = self.featurize.positions
        if self.rebuilding_from is not None and all(
            place.offset >= self.emitted_below[head] for head, place in positions.items()
        ):
            self.rebuilding_from = None
            logger.warning("state is rebuilt; outputs go on")

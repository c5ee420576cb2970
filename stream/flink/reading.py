"""The first operator: the records of a partition → what each gives, and what the views of which shard are fed.

Laws of this file:
- A partition's items, its newest event time among them, are a function of its log alone, so each is read by itself.
- What an item gives besides features is made by `Featurize.step`, the same code that a single task runs.
- A partition is at its end when nothing came of it for one look and the broker holds no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import Event, Item, SourceDecoder
from penstock.stream.featurize.position import HeadPosition
from penstock.stream.featurize.source_plan import SourcePlan
from penstock.stream.featurize.step import TIE_BITS, Featurize
from penstock.stream.flink.order import Head
from penstock.stream.flink.wire import Announced, Fed, ToSamples, ToShard
from penstock.stream.formats.unread import EventReader
from penstock.stream.log.protocol import Out, Record

PATIENCE_LOOKS = 150
"""So many looks without a record, and what the broker holds behind the last one is none (a transaction's end, say)."""


class Read(msgspec.Struct, array_like=True):
    """How far a partition is read: kept with a checkpoint. `told_end` is whether the others were told that it is at its end."""

    next_offset: int = -1
    newest_at: int = -1
    told_end: bool = False
    silent_looks: int = 0


class Told(NamedTuple):
    """One batch: a message to every shard, by its number, and one to the samples."""

    to_shards: list[ToShard]
    to_samples: ToSamples


class Outputs(Featurize):
    """`Featurize` without its views: a sample's vector holds the event's own inputs only."""

    def _update(
        self, plan: SourcePlan, item: Item, event: Event, at: int, entities: Sequence[str | None]
    ) -> list[Any]:
        return [event[name] for name in self.pipeline.inputs] if plan.predicts else []

    def _tell(self, event: Out | None) -> None:
        """The share of dead letters is judged where all partitions meet."""


class Reading:
    """Reads the partitions it is given records of. What it knows of each is in the `Read` that comes with every call.

    `readers` are those of the sources, None for one in plain JSON.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        topic_ids: Mapping[str, str],
        shards: int,
        prefix: str = "",
        readers: Sequence[EventReader | None] = (),
    ) -> None:
        self.pipeline, self.shards = pipeline, shards
        self.outputs = Outputs(pipeline, topic_ids, "all", prefix)
        readers = readers or [None] * len(pipeline.sources)
        given = zip(pipeline.sources, readers, strict=True)
        self.decoders = [SourceDecoder(pipeline, source, reader) for source, reader in given]
        self.outputs.fields_of = [decoder.fields for decoder in self.decoders]
        views = pipeline.views
        self.salts = ["|".join(view.key_fields).encode() + b"=" for view in views]
        self.fields = [
            sorted({name for number, _, _, own in plan.views if own for name in views[number].field_types})
            for plan in self.outputs.plans
        ]

    def batch(self, head: Head, read: Read, records: Sequence[Record]) -> Told:
        """What the next records of a partition say; `read` moves on."""
        items = self.decoders[head[0]].items(records, read.newest_at)
        of_shards: list[list[Fed]] = [[] for _ in range(self.shards)]
        announced = [self._one(head, item, of_shards) for item in items]
        read.next_offset, read.newest_at = items[-1].offset + 1, items[-1].newest_at
        read.silent_looks = 0
        return self._told(head, read, False, of_shards, announced)

    def look(self, head: Head, read: Read, bounds: Callable[[], tuple[int, int]]) -> Told | None:
        """Where nothing came since the last look: is the partition at its end? `bounds` asks the broker for start and end."""
        if read.told_end:
            return None
        read.silent_looks += 1
        start, end = bounds()
        patient = read.silent_looks < PATIENCE_LOOKS or read.next_offset < 0
        if end > max(read.next_offset, start) and patient:
            return None
        return self._told(head, read, True, [[] for _ in range(self.shards)], [])

    def _told(
        self, head: Head, read: Read, at_end: bool, of_shards: list[list[Fed]], announced: list[Announced]
    ) -> Told:
        read.told_end = at_end
        to_shards = [ToShard(head, read.newest_at, at_end, fed) for fed in of_shards]
        return Told(to_shards, ToSamples(head, read.newest_at, at_end, announced))

    def _one(self, head: Head, item: Item, of_shards: list[list[Fed]]) -> Announced:
        """What one item gives; what it feeds is added to the shards'."""
        outputs, plan = self.outputs, self.outputs.plans[head[0]]
        place = (item.newest_at, head[0], head[1], item.offset)
        outs = self._outputs(head, item)
        entries = [out.value or b"" for out in outs if out.topic == outputs.samples_topic]
        recorded_ms = item.record.timestamp_ms
        for out in outs:
            if out.topic == outputs.dead_letters_topic:
                reason = (dict(out.headers)["penstock-reason"] or b"").decode()
                letter = out.topic, out.key, out.value, out.headers
                return Announced(place, item.at, recorded_ms, entries, False, 0, reason, letter)
        if item.event is None:  # a record that says nothing
            return Announced(place, item.at, recorded_ms, entries, False, 0)
        fed = self._fed(plan, item)
        event = {name: item.event[name] for name in self.fields[head[0]]}
        tie = (item.partition << TIE_BITS) | item.offset
        for shard, views in fed.items():
            of_shards[shard].append(Fed(place, item.at, tie, event, views))
        return Announced(
            place, item.at, recorded_ms, entries, plan.predicts, len(fed) if plan.predicts else 0
        )

    def _outputs(self, head: Head, item: Item) -> list[Out]:
        """What `Featurize.step` gives of an item; whatever a record provokes, it becomes a dead letter."""
        outputs = self.outputs
        outputs.positions[head] = HeadPosition(item.offset, item.newest_at)
        try:
            outputs.step(item, ())
        except Exception as error:
            outputs.outs = []
            outputs.step(item._replace(event=None, reject=f"{type(error).__name__}: {error}"), ())
        outs, outputs.outs, outputs.out_bytes = outputs.outs, [], 0
        return outs

    def _fed(self, plan: SourcePlan, item: Item) -> dict[int, list[tuple[int, str]]]:
        """By shard, the views that an event updates or is read from, with its entity in each; none where that is null."""
        entities = self.outputs.entities(item)
        fed: dict[int, list[tuple[int, str]]] = {}
        for number, _, key, _ in plan.views:
            entity = entities[key]
            if entity is not None:
                fed.setdefault(self.shard_of(number, entity), []).append((number, entity))
        return fed

    def shard_of(self, number: int, entity: str) -> int:
        """The shard that keeps an entity of a view; views of one key have theirs together."""
        return crc32(self.salts[number] + entity.encode(errors="surrogatepass")) % self.shards

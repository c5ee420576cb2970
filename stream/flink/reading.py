"""The first operator: the records of a partition → what each gives, and what the views of which shard are fed.

Laws of this file:
- A partition's items, its newest event time among them, are a function of its log alone, so each is read by itself.
- What an item gives besides features is made by `Featurize.step`, the same code that a single task runs.
- A partition is at its end when nothing came of it for one look and the broker holds no more; that is taken back before the next
  record goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zlib import crc32

import msgspec

from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import Event, Item, SourceDecoder
from penstock.stream.featurize.position import HeadPosition
from penstock.stream.featurize.step import TIE_BITS, Featurize, SourcePlan
from penstock.stream.flink.order import Head
from penstock.stream.flink.wire import Announced, Fed, Moved, ToSamples, ToShard, letter_of
from penstock.stream.log.protocol import Out, Record

MOVE_EVERY = 500
"""After so many records of a partition the shards are told how far it is, if no look comes before."""
PATIENCE_LOOKS = 150
"""So many looks without a record, and what the broker holds behind the last one is none (a transaction's end, say)."""


class Read(msgspec.Struct, array_like=True):
    """How far a partition is read: kept with a checkpoint. `told_at` and `told_end` are what the shards know."""

    next_offset: int = -1
    newest_at: int = -1
    told_at: int = -1
    told_end: bool = False
    since_told: int = 0
    looked_offset: int = -1
    silent_looks: int = 0


class Outputs(Featurize):
    """`Featurize` without its views: a sample's vector holds the event's own inputs only."""

    def _update(
        self, plan: SourcePlan, item: Item, event: Event, at: int, entities: Sequence[str | None]
    ) -> list[Any]:
        return [event[name] for name in self.pipeline.inputs] if plan.predicts else []

    def _tell(self, event: Out | None) -> None:
        """The share of dead letters is judged where all partitions meet."""


class Reading:
    """Reads the partitions it is given records of. What it knows of each is in the `Read` that comes with every call."""

    def __init__(
        self, pipeline: Pipeline, topic_ids: Mapping[str, str], shards: int, prefix: str = ""
    ) -> None:
        self.pipeline, self.shards = pipeline, shards
        self.outputs = Outputs(pipeline, topic_ids, "all", prefix)
        self.decoders = [SourceDecoder(pipeline, source) for source in pipeline.sources]
        self.fields = [
            sorted(
                {
                    name
                    for number, _, _, own in plan.views
                    if own
                    for name in pipeline.views[number].field_types
                }
            )
            for plan in self.outputs.plans
        ]

    def record(
        self, head: Head, read: Read, record: Record
    ) -> tuple[list[tuple[int, ToShard]], list[ToSamples]]:
        """What one record says to the shards, by number, and to the samples; `read` moves on."""
        to_shards: list[tuple[int, ToShard]] = []
        to_samples: list[ToSamples] = []
        if read.told_end:
            self._tell(head, read, False, to_shards, to_samples)
        (item,) = self.decoders[head[0]].items([record], read.newest_at)
        read.next_offset, read.newest_at = record.offset + 1, item.newest_at
        read.since_told += 1
        read.silent_looks = 0
        place = (item.newest_at, head[0], head[1], record.offset)
        outputs, outs = self.outputs, self._outputs(head, item)
        buried = next((out for out in outs if out.topic == outputs.dead_letters_topic), None)
        entries = [out.value or b"" for out in outs if out.topic == outputs.samples_topic]
        plan = outputs.plans[head[0]]
        fed: dict[int, list[tuple[int, str]]] = {}
        if buried is None and item.event is not None:
            fed = self._fed(plan, item)
            event = {name: item.event[name] for name in self.fields[head[0]]}
            tie = (item.partition << TIE_BITS) | item.offset
            to_shards += [(shard, Fed(place, item.at, tie, event, views)) for shard, views in fed.items()]
        sampled = plan.predicts and buried is None
        reason = None if buried is None else dict(buried.headers)["penstock-reason"] or b""
        to_samples.append(
            Announced(
                place,
                item.at,
                record.timestamp_ms,
                entries,
                sampled,
                len(fed) if sampled else 0,
                None if reason is None else reason.decode(),
                None if buried is None else letter_of(buried),
            )
        )
        if read.since_told >= MOVE_EVERY:
            self._tell(head, read, False, to_shards, to_samples)
        return to_shards, to_samples

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
        of_key = "|".join(self.pipeline.views[number].key_fields)
        return crc32(f"{of_key}={entity}".encode(errors="surrogatepass")) % self.shards

    def look(
        self, head: Head, read: Read, bounds: Callable[[], tuple[int, int]]
    ) -> tuple[list[tuple[int, ToShard]], list[ToSamples]]:
        """Say how far a partition is, now and then. `bounds` asks the broker for its start and end, where nothing came."""
        to_shards: list[tuple[int, ToShard]] = []
        to_samples: list[ToSamples] = []
        at_end = read.told_end
        if read.next_offset == read.looked_offset and not at_end:
            read.silent_looks += 1
            start, end = bounds()
            behind = end - max(read.next_offset, start)
            at_end = behind <= 0 or (read.silent_looks >= PATIENCE_LOOKS and read.next_offset >= 0)
        read.looked_offset = read.next_offset
        if at_end != read.told_end or read.newest_at > read.told_at:
            self._tell(head, read, at_end, to_shards, to_samples)
        return to_shards, to_samples

    def _tell(
        self,
        head: Head,
        read: Read,
        at_end: bool,
        to_shards: list[tuple[int, ToShard]],
        to_samples: list[ToSamples],
    ) -> None:
        moved = Moved(head, read.newest_at, at_end)
        to_shards += [(shard, moved) for shard in range(self.shards)]
        to_samples.append(moved)
        read.told_at, read.told_end, read.since_told = read.newest_at, at_end, 0

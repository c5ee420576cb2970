"""The last operator: parts of vectors become samples, and everything goes to its topic in the one order.

Laws of this file:
- Outputs stand in the order in which a single task would append them: an item waits until everything before it was heard of, and
  for every part of its own vector.
- Ticks lie where the event time of the items passes a line, whatever came when; those of the wall clock say who is idle.
- What most of a source being dead letters means is judged here, where all partitions meet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heappop, heappush
from typing import Any

import msgspec

from penstock.features.engine.compute import CompiledView
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.dead_share import DeadShare
from penstock.stream.featurize.decode import Item
from penstock.stream.featurize.ticks import Line as TickLine
from penstock.stream.featurize.ticks import Ticks
from penstock.stream.flink.order import Head, Line, Place
from penstock.stream.flink.shard import Kept, named
from penstock.stream.flink.wire import Announced, Moved, Parts, decode_to_samples, encode
from penstock.stream.log.protocol import Out, Record
from penstock.stream.messages import Sample, decode_entry, encode_entry

IDLE_AFTER_MS = 5_000


class Story(msgspec.Struct, array_like=True):
    """What the order of the items has said so far: the line of the ticks, and each source's share of dead letters."""

    line: tuple[int, int]
    dead: dict[str, list[Any]]


class Joining:
    """Joins and orders: `take` what is said, and append the outputs it gives.

    `waiting` holds announced items, `parts` what came of their vectors, `rest` how far each partition is and the `Story`.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        topic_ids: Mapping[str, str],
        heads: list[Head],
        waiting: Kept,
        parts: Kept,
        rest: Kept,
        prefix: str = "",
    ) -> None:
        self.pipeline, self.waiting, self.parts, self.rest = pipeline, waiting, parts, rest
        self.sources = pipeline.sources
        self.samples_topic = topology.samples(pipeline.name, prefix)
        compiled = [CompiledView(view) for view in pipeline.views]
        self.empty = [one.vector(one.new(), 0) for one in compiled]
        self.dead_share = DeadShare(pipeline.name, [topic_ids[s.name] for s in self.sources], prefix)
        self.ticks = Ticks(pipeline, len(heads))
        self.ticks.add([self._name(head) for head in heads], -1)
        self.line = Line(heads)
        self.ended_ms: dict[Head, int] = {}
        self.queue: list[tuple[Place, Announced]] = []
        self.found: dict[str, list[list[tuple[int, list[Any]]]]] = {}
        self._restore()

    def _restore(self) -> None:
        for name, said in self.rest.items():
            if name == "story":
                story = msgspec.msgpack.decode(said, type=Story)
                self.ticks.line = TickLine(*story.line)
                self.dead_share.start(story.dead)
            else:
                moved = decode_to_samples(said)
                assert isinstance(moved, Moved)
                self.line.hear(moved.head, moved.newest_at, moved.at_end)
        for _, said in self.waiting.items():
            item = decode_to_samples(said)
            assert isinstance(item, Announced)
            heappush(self.queue, (item.place, item))
        for name, said in self.parts.items():
            self.found[name] = msgspec.msgpack.decode(said)

    def _name(self, head: Head) -> str:
        return f"{self.sources[head[0]].name}/{head[1]}"

    def take(self, said: bytes, wall_ms: int) -> list[Out]:
        """One message: the outputs that can be appended now."""
        message = decode_to_samples(said)
        if isinstance(message, Announced):
            heappush(self.queue, (message.place, message))
            self.waiting.put(named(message.place), said)
            return []
        if isinstance(message, Parts):
            for place, parts in message.parts:
                name = named(place)
                found = self.found.setdefault(name, [])
                found.append(parts)
                self.parts.put(name, msgspec.msgpack.encode(found))
        else:
            self.line.hear(message.head, message.newest_at, message.at_end)
            self.rest.put(self._name(message.head), said)
            if not message.at_end:
                self.ended_ms.pop(message.head, None)
            else:
                self.ended_ms.setdefault(message.head, wall_ms)
        return self._join(wall_ms)

    def _join(self, wall_ms: int) -> list[Out]:
        """Whatever is complete and has nothing before it, in order."""
        outs: list[Out] = []
        before = self.ticks.line, self.dead_share.stored()
        while self.queue and self.line.passed(self.queue[0][0]):
            item = self.queue[0][1]
            name = named(item.place)
            parts = self.found.get(name, [])
            if len(parts) < item.parts:
                break
            heappop(self.queue)
            self.waiting.remove(name)
            if self.found.pop(name, None) is not None:
                self.parts.remove(name)
            outs += self._outputs(item, parts, wall_ms)
        if (self.ticks.line, self.dead_share.stored()) != before:
            story = Story((self.ticks.line.at, self.ticks.line.next_at), self.dead_share.stored())
            self.rest.put("story", encode(story))
        return outs

    def _outputs(
        self, item: Announced, parts: Iterable[list[tuple[int, list[Any]]]], wall_ms: int
    ) -> list[Out]:
        outs: list[Out] = []
        if item.at >= self.ticks.line.next_at:
            outs.append(self._sample_log(encode_entry(self.ticks.reach(item.at, wall_ms))))
        entries = item.entries
        if item.sampled:
            sample = decode_entry(entries[0])
            assert isinstance(sample, Sample)
            values = dict(pair for of_shard in parts for pair in of_shard)
            x = list(sample.x)
            for number, empty in enumerate(self.empty):
                x += values.get(number, empty)
            entries = [encode_entry(msgspec.structs.replace(sample, x=x)), *entries[1:]]
        outs += map(self._sample_log, entries)
        if item.letter is not None:
            topic, key, value, headers = item.letter
            outs.append(Out(topic, key, value, headers, 0))
        if item.reason is not None or self.dead_share.windows:
            told = self.dead_share.take(self._light(item), item.reason)
            if told is not None:
                outs.append(told)
        return outs

    def _sample_log(self, entry: bytes) -> Out:
        return Out(self.samples_topic, None, entry, (), 0)

    def _light(self, item: Announced) -> Item:
        """As much of an item as the share of dead letters asks of it."""
        _, source, partition, offset = item.place
        topic = self.sources[source].name
        record = Record(topic, partition, offset, item.recorded_ms, None, None, ())
        return Item(item.at, source, partition, offset, item.place[0], "", None, item.reason, record)

    def tick(self, wall_ms: int) -> list[Out]:
        """The tick of the wall clock, when a second of it has passed."""
        idle = [self._name(head) for head, since in self.ended_ms.items() if wall_ms - since > IDLE_AFTER_MS]
        tick = self.ticks.after(wall_ms, idle)
        return [] if tick is None else [self._sample_log(encode_entry(tick))]

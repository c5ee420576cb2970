"""The last operator: parts of vectors become samples, and everything goes to its topic in the one order.

Laws of this file:
- Outputs stand in the order in which a single task would append them: an item waits until everything before it was heard of, and
  for every part of its own vector.
- Ticks lie where the event time of the items passes a line, whatever came when; those of the wall clock say who is idle.
- What most of a source being dead letters means is judged here, where all partitions meet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from penstock.features.engine.compute import CompiledView
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.dead_share import DeadShare
from penstock.stream.featurize.decode import Item
from penstock.stream.featurize.ticks import Line as TickLine
from penstock.stream.featurize.ticks import Ticks
from penstock.stream.flink.order import Head, Place
from penstock.stream.flink.waiting import Kept, Waiting
from penstock.stream.flink.wire import Announced, Parts, decode_to_samples, encode
from penstock.stream.log.protocol import Out, Record
from penstock.stream.messages import Sample, decode_entry, encode_entry

IDLE_AFTER_MS = 5_000
STORY = "story"
Values = list[tuple[int, list[Any]]]


class Story(msgspec.Struct, array_like=True):
    """What the order of the items has said so far: the line of the ticks, and each source's share of dead letters."""

    line: tuple[int, int]
    dead: dict[str, list[Any]]


class Joining:
    """Joins and orders: `take` what is said, and append the outputs it gives.

    `waiting` keeps announced items, `parts` what came of their vectors, `rest` how far each partition is and the `Story`.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        topic_ids: Mapping[str, str],
        heads: Iterable[Head],
        waiting: Kept,
        parts: Kept,
        rest: Kept,
        prefix: str = "",
    ) -> None:
        self.pipeline, self.parts, self.rest = pipeline, parts, rest
        self.sources = pipeline.sources
        self.samples_topic = topology.samples(pipeline.name, prefix)
        compiled = [CompiledView(view) for view in pipeline.views]
        self.empty = [one.vector(one.new(), 0) for one in compiled]
        self.dead_share = DeadShare(pipeline.name, [topic_ids[s.name] for s in self.sources], prefix)
        self.waiting: Waiting[Announced] = Waiting(heads, waiting, rest)
        self.ticks = Ticks(pipeline, len(self.waiting.heard))
        self.ticks.add([self._name(head) for head in self.waiting.heard], -1)
        self.ended_ms: dict[Head, int] = {}
        self.found: dict[Place, list[tuple[str, Values]]] = {}
        self.left: dict[str, int] = {}
        story = rest.get(STORY)
        if story is not None:
            said = msgspec.msgpack.decode(story, type=Story)
            self.ticks.line = TickLine(*said.line)
            self.dead_share.start(said.dead)
        for _, batch in waiting.items():
            items = decode_to_samples(batch)
            assert not isinstance(items, Parts)
            self.waiting.again(items.items)
        for name, batch in parts.items():
            of_shard = decode_to_samples(batch)
            assert isinstance(of_shard, Parts)
            self._find(name, [one for one in of_shard.parts if not self._is_done(one[0])])

    def _name(self, head: Head) -> str:
        return f"{self.sources[head[0]].name}/{head[1]}"

    def _is_done(self, place: Place) -> bool:
        return place[3] <= self.waiting.heard[place[1:3]].done

    def _find(self, name: str, parts: list[tuple[Place, Values]]) -> None:
        """Note which items a message has parts of."""
        self.left[name] = len(parts)
        for place, values in parts:
            self.found.setdefault(place, []).append((name, values))

    def take(self, said: bytes, wall_ms: int) -> list[Out]:
        """One message: the outputs that can be appended now."""
        message = decode_to_samples(said)
        if isinstance(message, Parts):
            _, source, partition, offset = message.parts[0][0]
            name = f"{message.shard}:{source}/{partition}/{offset}"
            self.parts.put(name, said)
            self._find(name, message.parts)
        else:
            self.waiting.add(message.head, message.newest_at, message.at_end, message.items, said)
        return self._join(wall_ms)

    def _join(self, wall_ms: int) -> list[Out]:
        """Whatever is complete and has nothing before it, in order."""
        outs: list[Out] = []
        before = self._story()
        while (item := self.waiting.next()) is not None:
            parts = self.found.get(item.place, [])
            if len(parts) < item.parts:
                break
            self.waiting.pop()
            for name, _ in self.found.pop(item.place, []):
                self.left[name] -= 1
                if not self.left[name]:
                    del self.left[name]
                    self.parts.remove(name)
            outs += self._outputs(item, [values for _, values in parts], wall_ms)
        if (story := self._story()) != before:
            self.rest.put(STORY, story)
        self.waiting.keep()
        return outs

    def _story(self) -> bytes:
        line = self.ticks.line
        return encode(Story((line.at, line.next_at), self.dead_share.stored()))

    def _outputs(self, item: Announced, parts: Iterable[Values], wall_ms: int) -> list[Out]:
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
        ended = [head for head, heard in self.waiting.heard.items() if heard.at_end]
        self.ended_ms = {head: self.ended_ms.get(head, wall_ms) for head in ended}
        idle = [self._name(head) for head, since in self.ended_ms.items() if wall_ms - since > IDLE_AFTER_MS]
        tick = self.ticks.after(wall_ms, idle)
        return [] if tick is None else [self._sample_log(encode_entry(tick))]

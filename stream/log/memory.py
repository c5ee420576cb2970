"""The log in this process's memory: for tests without sleeping, and for machines without a broker.

Laws that hold here:

- The same contract as Kafka (`tests/contract/test_log.py` runs on both), in one process, behind one lock.
- Nothing outlives the process.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from threading import Condition, RLock

from penstock.stream.log.memory_members import Group, MemoryMember, MemoryReader
from penstock.stream.log.protocol import (
    MAX_RECORD_BYTES,
    TP,
    Out,
    Record,
    RecordTooLarge,
    UnknownTopic,
    partition_for,
    record_bytes,
)


class Partition:
    """The records of one partition from offset `start` on."""

    __slots__ = ("records", "start")

    def __init__(self) -> None:
        self.start = 0
        self.records: list[Record] = []

    @property
    def end(self) -> int:
        return self.start + len(self.records)


class MemoryLog:
    """Topics in memory. `clock` gives the seconds since the epoch that stamp records."""

    def __init__(
        self, clock: Callable[[], float] = time.time, *, max_record_bytes: int = MAX_RECORD_BYTES
    ) -> None:
        self._clock = clock
        self._max_record_bytes = max_record_bytes
        self._cluster_id = str(uuid.uuid4())
        self._topics: dict[str, tuple[str, list[Partition]]] = {}
        self._groups: dict[str, Group] = {}
        self._keyless = count()
        self.changed = Condition(RLock())

    def create(self, topic: str, partitions: int = 1) -> None:
        """Create a topic; ValueError if it exists or has no partition."""
        with self.changed:
            if topic in self._topics:
                raise ValueError(f"topic {topic!r} exists")
            if partitions < 1:
                raise ValueError(f"topic {topic!r} needs at least one partition, not {partitions}")
            self._topics[topic] = (str(uuid.uuid4()), [Partition() for _ in range(partitions)])

    def delete(self, topic: str) -> None:
        """Delete a topic with its records and the groups' offsets of it."""
        with self.changed:
            self.parts(topic)
            del self._topics[topic]
            for group in self._groups.values():
                group.offsets = {tp: at for tp, at in group.offsets.items() if tp[0] != topic}

    def trim(self, topic: str, partition: int, before: int) -> None:
        """Delete the records below offset `before`, as retention does; not beyond the end."""
        with self.changed:
            part = self.part((topic, partition))
            drop = min(before, part.end) - part.start
            if drop > 0:
                del part.records[:drop]
                part.start += drop

    def topics(self) -> dict[str, int]:
        """Every topic and its number of partitions."""
        with self.changed:
            return {topic: len(parts) for topic, (_, parts) in self._topics.items()}

    def cluster_id(self) -> str:
        return self._cluster_id

    def partitions(self, topic: str) -> int:
        with self.changed:
            return len(self.parts(topic))

    def topic_id(self, topic: str) -> str:
        with self.changed:
            self.parts(topic)
            return self._topics[topic][0]

    def bounds(self, tps: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        with self.changed:
            return {tp: (part.start, part.end) for tp in tps for part in [self.part(tp)]}

    def first_at(self, tps: Iterable[TP], timestamp_ms: int) -> dict[TP, int]:
        with self.changed:
            found = {
                tp: next((r.offset for r in self.part(tp).records if r.timestamp_ms >= timestamp_ms), -1)
                for tp in tps
            }
        return {tp: offset for tp, offset in found.items() if offset >= 0}

    def committed(self, group: str, tps: Iterable[TP]) -> dict[TP, int]:
        with self.changed:
            offsets = self._groups[group].offsets if group in self._groups else {}
            return {tp: offsets[tp] for tp in tps if tp in offsets}

    def append(self, outs: Sequence[Out]) -> None:
        with self.changed:
            targets = [self._target(out, index) for index, out in enumerate(outs)]
            now_ms = int(self._clock() * 1000)
            for out, (partition, part) in zip(outs, targets, strict=True):
                part.records.append(
                    Record(out.topic, partition, part.end, now_ms, out.key, out.value, tuple(out.headers))
                )
            self.changed.notify_all()

    def reader(self, positions: Mapping[TP, int]) -> MemoryReader:
        with self.changed:
            for tp in positions:
                self.part(tp)
        return MemoryReader(self, positions)

    def member(
        self,
        group: str,
        topics: Sequence[str],
        *,
        instance_id: str | None = None,
        lease: bool = False,
        before_revoke: Callable[[], None] | None = None,
    ) -> MemoryMember:
        with self.changed:
            counts = {topic: len(self.parts(topic)) for topic in topics}
            if lease and list(counts.values()) != [1]:
                raise ValueError(f"a lease is one topic with one partition, not {counts}")
            joined = self._groups.setdefault(group, Group())
            member = MemoryMember(self, joined, tuple(topics), instance_id, lease, before_revoke)
            joined.join(member)
            self.changed.notify_all()
            return member

    def expel(self, member: MemoryMember) -> None:
        """Throw a member out of its group, as Kafka does when a session times out; it learns in its next `poll`."""
        with self.changed:
            member.group.leave(member)
            self.changed.notify_all()

    def close(self) -> None:
        """Nothing to release; the records stay readable."""

    def parts(self, topic: str) -> list[Partition]:
        """The partitions themselves, for this log's readers; under the lock."""
        if topic not in self._topics:
            raise UnknownTopic(topic)
        return self._topics[topic][1]

    def part(self, tp: TP) -> Partition:
        """One partition itself, for this log's readers; under the lock."""
        parts = self.parts(tp[0])
        if not 0 <= tp[1] < len(parts):
            raise UnknownTopic(*tp)
        return parts[tp[1]]

    def _target(self, out: Out, index: int) -> tuple[int, Partition]:
        size = record_bytes(out)
        if size > self._max_record_bytes:
            raise RecordTooLarge(out, index, size, self._max_record_bytes)
        partition = out.partition
        if partition is None:
            parts = len(self.parts(out.topic))
            partition = next(self._keyless) % parts if out.key is None else partition_for(out.key, parts)
        return partition, self.part((out.topic, partition))

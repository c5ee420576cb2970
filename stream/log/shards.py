"""The log as one shard sees it: there topics that are shared out to shards have one partition, number 0, the shard's own.

Laws of this file:
- Whoever folds, replays or retrains reads this log as it would a pipeline's that has one shard, and knows of no other.
- Every other topic is as it is. Records keep the partition that they were read from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from penstock.stream.log.protocol import TP, Log, Member, Out, Reader, Record, UnknownTopic


class ShardReader:
    """Reads partitions of a `ShardLog`."""

    def __init__(self, log: ShardLog, reader: Reader) -> None:
        self.log, self.reader = log, reader

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """See `Reader.poll`."""
        return self.reader.poll(max_records, timeout_s)

    def positions(self) -> dict[TP, int]:
        """See `Reader.positions`."""
        return {self.log.seen(tp): at for tp, at in self.reader.positions().items()}

    def high_watermarks(self) -> dict[TP, int]:
        """See `Reader.high_watermarks`."""
        return {self.log.seen(tp): end for tp, end in self.reader.high_watermarks().items()}

    def pause(self, tps: Collection[TP]) -> None:
        """See `Reader.pause`."""
        self.reader.pause([self.log.real(tp) for tp in tps])

    def close(self) -> None:
        """See `Reader.close`."""
        self.reader.close()


class ShardLog:
    """A `Log` in which each of `topics` is its partition `shard` alone.

    `member` gives whoever reads that partition of the first of them as a member of a group.
    """

    def __init__(
        self, log: Log, topics: Sequence[str], shard: int, member: Callable[[], Member] | None = None
    ) -> None:
        self.log, self.topics, self.shard, self._member = log, tuple(topics), shard, member

    def real(self, tp: TP) -> TP:
        """The partition behind one of this log. Raises `UnknownTopic` for a second one of a topic that is shared out."""
        if tp[0] not in self.topics:
            return tp
        if tp[1] != 0:
            raise UnknownTopic(*tp)
        return (tp[0], self.shard)

    def seen(self, tp: TP) -> TP:
        """What a partition is here."""
        return (tp[0], 0) if tp[0] in self.topics else tp

    def cluster_id(self) -> str:
        """See `Log.cluster_id`."""
        return self.log.cluster_id()

    def partitions(self, topic: str) -> int:
        """See `Log.partitions`."""
        found = self.log.partitions(topic)
        if topic not in self.topics:
            return found
        if self.shard >= found:
            raise UnknownTopic(topic, self.shard)
        return 1

    def topic_id(self, topic: str) -> str:
        """See `Log.topic_id`. Each shard's samples are a log of their own, and so have an id of their own."""
        found = self.log.topic_id(topic)
        return f"{found}/{self.shard}" if topic in self.topics else found

    def bounds(self, tps: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """See `Log.bounds`."""
        return {self.seen(tp): found for tp, found in self.log.bounds([self.real(tp) for tp in tps]).items()}

    def first_at(self, tps: Iterable[TP], timestamp_ms: int) -> dict[TP, int]:
        """See `Log.first_at`."""
        found = self.log.first_at([self.real(tp) for tp in tps], timestamp_ms)
        return {self.seen(tp): at for tp, at in found.items()}

    def committed(self, group: str, tps: Iterable[TP]) -> dict[TP, int]:
        """See `Log.committed`."""
        found = self.log.committed(group, [self.real(tp) for tp in tps])
        return {self.seen(tp): at for tp, at in found.items()}

    def append(self, outs: Sequence[Out]) -> None:
        """See `Log.append`."""
        topics, shard = self.topics, self.shard
        self.log.append([out._replace(partition=shard) if out.topic in topics else out for out in outs])

    def reader(self, positions: Mapping[TP, int]) -> ShardReader:
        """See `Log.reader`."""
        return ShardReader(self, self.log.reader({self.real(tp): at for tp, at in positions.items()}))

    def member(
        self,
        group: str,
        topics: Sequence[str],
        *,
        instance_id: str | None = None,
        lease: bool = False,
        before_revoke: Callable[[], None] | None = None,
    ) -> Member:
        """The member that was given: who joins a group for several shards hands each its part. ValueError without one."""
        if self._member is None or list(topics) != [self.topics[0]]:
            raise ValueError(f"shard {self.shard} of {self.topics[0]} joins no group by itself")
        return self._member()

    def close(self) -> None:
        """Nothing: whoever opened the log beneath closes it."""

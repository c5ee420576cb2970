"""The log as one shard sees it: there the samples log has one partition, number 0, which is the shard's own.

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
    """A `Log` of which `topic` is its partition `shard` alone. `member` is whoever reads that one as a member of a group."""

    def __init__(self, log: Log, topic: str, shard: int, member: Callable[[], Member] | None = None) -> None:
        self.log, self.topic, self.shard, self._member = log, topic, shard, member

    def real(self, tp: TP) -> TP:
        """The partition behind one of this log. Raises `UnknownTopic` for a second one of the samples log."""
        if tp[0] != self.topic:
            return tp
        if tp[1] != 0:
            raise UnknownTopic(*tp)
        return (self.topic, self.shard)

    def seen(self, tp: TP) -> TP:
        """What a partition is here."""
        return (self.topic, 0) if tp[0] == self.topic else tp

    def cluster_id(self) -> str:
        """See `Log.cluster_id`."""
        return self.log.cluster_id()

    def partitions(self, topic: str) -> int:
        """See `Log.partitions`."""
        found = self.log.partitions(topic)
        if topic != self.topic:
            return found
        if self.shard >= found:
            raise UnknownTopic(topic, self.shard)
        return 1

    def topic_id(self, topic: str) -> str:
        """See `Log.topic_id`. Each shard's samples are a log of their own, and so have an id of their own."""
        found = self.log.topic_id(topic)
        return f"{found}/{self.shard}" if topic == self.topic else found

    def bounds(self, tps: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """See `Log.bounds`."""
        return {self.seen(tp): found for tp, found in self.log.bounds([self.real(tp) for tp in tps]).items()}

    def committed(self, group: str, tps: Iterable[TP]) -> dict[TP, int]:
        """See `Log.committed`."""
        found = self.log.committed(group, [self.real(tp) for tp in tps])
        return {self.seen(tp): at for tp, at in found.items()}

    def append(self, outs: Sequence[Out]) -> None:
        """See `Log.append`."""
        topic, shard = self.topic, self.shard
        self.log.append([out._replace(partition=shard) if out.topic == topic else out for out in outs])

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
        if self._member is None or list(topics) != [self.topic]:
            raise ValueError(f"shard {self.shard} of {self.topic} joins no group by itself")
        return self._member()

    def close(self) -> None:
        """Nothing: whoever opened the log beneath closes it."""

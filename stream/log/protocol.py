"""The log: what Penstock needs from Kafka, and nothing else.

Laws that hold here, for every implementation (`KafkaLog`, `MemoryLog`):

- Within a partition, records are read in the order of their offsets, each exactly once per position.
- `append` returns only when every record is acknowledged. If it raises `AppendFailed`, any subset may stand in the log.
- A position is the offset of the *next* record. Nothing is ever skipped silently: a position outside what the log still
  holds raises `OffsetLost`.
- A member of a group reads nothing of a partition before `start_at` says where, and nothing after losing it.
- Keyed records go to partition `partition_for(key, n)`, the same on every implementation and as Kafka's Java client.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from penstock.features import partitions as _partitions

#: A topic and one of its partitions.
TP = tuple[str, int]

#: A header may be null, as Kafka has it.
Headers = tuple[tuple[str, bytes | None], ...]

#: Kafka's own default for one record batch is 1,048,588 bytes; this leaves room for the batch's framing.
MAX_RECORD_BYTES = 1_000_000

#: Where a keyed record goes.
murmur2, partition_for = _partitions.murmur2, _partitions.partition_for

_RECORD_OVERHEAD_BYTES = 32  # varint lengths and deltas of one record in Kafka's format v2, rounded up
_HEADER_OVERHEAD_BYTES = 10


class Record(NamedTuple):
    """One record read from the log. `value` is None for a tombstone."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Packed(bytes):
    """What a reader gives as the value of records that it cannot unpack: a sentence, which is no message of any topic."""


class Out(NamedTuple):
    """One record to append. Without `partition`, the key decides; without a key either, any partition."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


class Assignment(NamedTuple):
    """What changed since the last `take_assignment`: first drop `revoked`, then take up `assigned`.

    A partition may stand in both (it went away and came back). Both empty: the member has joined and holds nothing, a
    spare. `lost` says that the group had already given the revoked partitions to others when this member learnt of it:
    it may have worked on them as a zombie, and must not commit.
    """

    assigned: tuple[TP, ...]
    revoked: tuple[TP, ...]
    lost: bool


class AssignmentChanges:
    """Collects a group's assignments and revocations between two `take`s. Both implementations keep one per member."""

    def __init__(self) -> None:
        self.held: tuple[TP, ...] = ()
        self._told: tuple[TP, ...] = ()
        self._revoked: dict[TP, None] = {}
        self._lost = False
        self._changed = False

    @property
    def pending(self) -> bool:
        """Whether `take` would give something."""
        return self._changed

    def assign(self, tps: Iterable[TP]) -> None:
        """The group gave these partitions, and only these."""
        self.held = tuple(sorted(tps))
        self._changed = True

    def revoke(self, *, lost: bool) -> None:
        """The group took everything back."""
        self._revoked.update(dict.fromkeys(self._told))
        self._told, self.held = (), ()
        self._lost = self._lost or lost
        self._changed = True

    def take(self) -> Assignment | None:
        """The sum of what happened since the last call; partitions that came and went unseen are not mentioned."""
        if not self._changed:
            return None
        change = Assignment(self.held, tuple(self._revoked), self._lost)
        self._told, self._revoked, self._lost, self._changed = self.held, {}, False, False
        return change


class LogError(Exception):
    """Anything the log refuses or cannot do. The text says what, where, and what to do."""


class LogUnavailable(LogError):
    """The broker did not answer in time, or refused the connection."""


class UnknownTopic(LogError):
    """The topic, or this partition of it, does not exist."""

    def __init__(self, topic: str, partition: int | None = None) -> None:
        self.topic, self.partition = topic, partition
        what = f"topic {topic!r}" if partition is None else f"partition {partition} of topic {topic!r}"
        super().__init__(
            f"{what} does not exist: create it with `penstock topics FILE` or ask whoever owns the cluster"
        )


class RecordTooLarge(LogError):
    """A record exceeds what its topic takes; nothing of the batch was sent. `index` is its place in the batch."""

    def __init__(self, out: Out, index: int, size_bytes: int, limit_bytes: int) -> None:
        self.out, self.index, self.size_bytes, self.limit_bytes = out, index, size_bytes, limit_bytes
        key = "without a key" if out.key is None else f"with key {out.key[:80]!r}"
        super().__init__(
            f"record {index} for topic {out.topic!r} {key} has {size_bytes} bytes, the topic takes {limit_bytes}: "
            "send it smaller or raise the topic's max.message.bytes and this client's limit"
        )


class AppendFailed(LogError):
    """Some records of a batch were not acknowledged. Each of them may or may not stand in the log."""

    def __init__(self, failed: int, total: int, reason: str) -> None:
        self.failed, self.total, self.reason = failed, total, reason
        super().__init__(f"{failed} of {total} records were not acknowledged: {reason}")


class OffsetLost(LogError):
    """A position is outside [`start`, `end`]: the records were deleted, or the topic is another one now."""

    def __init__(self, tp: TP, wanted: int, start: int, end: int) -> None:
        self.tp, self.wanted, self.start, self.end = tp, wanted, start, end
        where = f"{tp[0]}[{tp[1]}]"
        if wanted < start:
            what = f"offsets {wanted} to {start - 1} of {where} are gone (the log starts at {start})"
            why = "retention deleted them before they were read"
        else:
            what = f"offset {wanted} of {where} is beyond the log's end ({end})"
            why = "the topic was recreated or truncated"
        super().__init__(f"{what}: {why}")


class Fenced(LogError):
    """The group no longer counts this member as the owner: stop, drop all state, start over."""


class CommitFailed(LogError):
    """The group's offsets could not be stored; the member may still hold its partitions."""


class Reader(Protocol):
    """Reads partitions from given positions. Not thread-safe: one thread polls."""

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """Up to `max_records` next records, waiting at most `timeout_s` for the first.

        Raises `OffsetLost`, `UnknownTopic` for a topic deleted meanwhile, and as a member `Fenced`.
        """

    def positions(self) -> dict[TP, int]:
        """The offset of the next record `poll` would give, per partition being read."""

    def high_watermarks(self) -> dict[TP, int]:
        """The end offsets as of the last fetch, per partition; a partition never fetched is absent."""

    def pause(self, tps: Collection[TP]) -> None:
        """Read exactly these partitions no further until another call leaves them out; the others go on.

        What was fetched of them is fetched again later, so pause rarely. A new start reads all again.
        """

    def close(self) -> None:
        """Stop reading and, as a member, leave the group. Closing twice is harmless."""


class Member(Reader, Protocol):
    """A reader whose partitions a consumer group hands out.

    Changes arrive during `poll`, as a value: after each `poll` ask `take_assignment`; when it gives one, load what
    belongs to `assigned` and call `start_at`. Until then `poll` reads nothing of them.
    """

    def take_assignment(self) -> Assignment | None:
        """What changed since the last call, or None."""

    def start_at(self, positions: Mapping[TP, int]) -> None:
        """Read the assigned partitions from here. Every key must be assigned (any partition, if this is a lease).

        Replaces all positions, so name every partition to be read. ValueError for a partition not held.
        """

    def commit(self, positions: Mapping[TP, int]) -> None:
        """Store positions as the group's offsets and wait for the answer, in the thread that polls (RuntimeError in another).

        Raises `Fenced` for a partition this member does not read (any more), `CommitFailed` if the broker does not answer.
        """


class Log(Protocol):
    """Topics of ordered partitions. Thread-safe."""

    def cluster_id(self) -> str:
        """Identifies the cluster, whatever its addresses; empty where a broker does not say."""

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has; raises `UnknownTopic`."""

    def topic_id(self, topic: str) -> str:
        """Identifies this very topic: another one after delete and recreate; raises `UnknownTopic`."""

    def bounds(self, tps: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """(start, end) of each partition, asked of the broker now; raises `UnknownTopic`."""

    def first_at(self, tps: Iterable[TP], timestamp_ms: int) -> dict[TP, int]:
        """The offset of each partition's first record whose timestamp is not older; partitions without one are absent."""

    def committed(self, group: str, tps: Iterable[TP]) -> dict[TP, int]:
        """The group's committed positions; partitions without one are absent."""

    def append(self, outs: Sequence[Out]) -> None:
        """Append all records and wait for every acknowledgement.

        Records of one call and one partition keep their order. Raises `RecordTooLarge` and `UnknownTopic` before
        anything is sent, `AppendFailed` after.
        """

    def reader(self, positions: Mapping[TP, int]) -> Reader:
        """A reader without a group, starting at these positions; raises `UnknownTopic`."""

    def member(
        self,
        group: str,
        topics: Sequence[str],
        *,
        instance_id: str | None = None,
        lease: bool = False,
        before_revoke: Callable[[], None] | None = None,
    ) -> Member:
        """Join a group that shares the partitions of `topics` by ranges.

        `before_revoke` is called within `poll` before partitions go to others, to finish what is under way; not when lost.
        `instance_id` is a static membership: a restart under the same id takes over at once, and an older member with
        it is `Fenced`. With `lease`, `topics` is one topic with one partition, which is never read: who holds it may
        `start_at` and `commit` any partitions at all, and reads them until the lease goes.
        """

    def close(self) -> None:
        """Release connections. Readers and members are closed by whoever opened them, first."""


def record_bytes(out: Out) -> int:
    """An upper bound of what a record takes in a batch, uncompressed, in bytes."""
    size = _RECORD_OVERHEAD_BYTES
    if out.key is not None:
        size += len(out.key)
    if out.value is not None:
        size += len(out.value)
    for name, value in out.headers:
        size += _HEADER_OVERHEAD_BYTES + 4 * len(name) + (0 if value is None else len(value))
    return size

"""Readers, members and groups of the in-memory log.

Laws that hold here:

- Groups rebalance as Kafka's do with the range assignor: every living member gives up all its partitions in its own
  `poll` before anyone gets new ones. A member that never polls holds the others up; `MemoryLog.expel` throws it out.
- Unlike Kafka, a static member that closes leaves at once, since nothing can restart it under its id after the process.
- Everything runs under the log's lock (`MemoryLog.changed`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Condition
from typing import Protocol

from penstock.stream.log.protocol import TP, Assignment, AssignmentChanges, Fenced, OffsetLost, Record


class HeldPartition(Protocol):
    """The records of one partition from offset `start` to before `end`."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def records(self) -> list[Record]: ...


class HeldTopics(Protocol):
    """What readers and members need of the log that made them, under its lock `changed`."""

    @property
    def changed(self) -> Condition: ...
    def part(self, tp: TP) -> HeldPartition: ...
    def parts(self, topic: str) -> Sequence[HeldPartition]: ...


class MemoryReader:
    """Reads given partitions of a `MemoryLog`."""

    def __init__(self, log: HeldTopics, positions: Mapping[TP, int]) -> None:
        self._log = log
        self._positions = dict(positions)
        self._paused: frozenset[TP] = frozenset()
        self._turn = 0

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        with self._log.changed:
            records = self._ready(max_records)
            if not records and timeout_s > 0:
                self._log.changed.wait_for(lambda: self._woken() or self._has_more(), timeout_s)
                records = self._ready(max_records)
            return records

    def positions(self) -> dict[TP, int]:
        return dict(self._positions)

    def high_watermarks(self) -> dict[TP, int]:
        with self._log.changed:
            return {tp: self._log.part(tp).end for tp in self._positions}

    def pause(self, tps: Collection[TP]) -> None:
        self._paused = frozenset(tps)

    def close(self) -> None:
        self._positions = {}

    def _woken(self) -> bool:
        return False

    def _has_more(self) -> bool:
        return any(
            self._log.part(tp).end != at for tp, at in self._positions.items() if tp not in self._paused
        )

    def _ready(self, max_records: int) -> list[Record]:
        """Partitions take turns at being first, so that none starves behind a busy one."""
        tps = [tp for tp in self._positions if tp not in self._paused]
        if not tps:
            return []
        self._turn = (self._turn + 1) % len(tps)
        records: list[Record] = []
        for tp in tps[self._turn :] + tps[: self._turn]:
            at, part = self._positions[tp], self._log.part(tp)
            if not part.start <= at <= part.end:
                raise OffsetLost(tp, at, part.start, part.end)
            first = at - part.start
            chunk = part.records[first : first + max_records - len(records)]
            records += chunk
            self._positions[tp] = at + len(chunk)
        return records


class MemoryMember(MemoryReader):
    """A member of a group on a `MemoryLog`."""

    def __init__(
        self,
        log: HeldTopics,
        group: Group,
        topics: tuple[str, ...],
        instance_id: str | None,
        lease: bool,
        before_revoke: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(log, {})
        self._before_revoke = before_revoke
        self._asked_back = self._finished = False
        self._thread = threading.get_ident()
        self.group = group
        self.topics = topics
        self.instance_id = instance_id
        self.generation = 0
        self.fenced = False
        self._lease = lease
        self._changes = AssignmentChanges()
        self._closed = False

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        self._thread = threading.get_ident()
        records = super().poll(max_records, timeout_s)
        if self._asked_back and self._before_revoke is not None:
            self._before_revoke()  # not under the log's lock: another thread may have to append
            self._finished = True
            records = super().poll(max_records, 0.0)
            self._asked_back = self._finished = False
        return records

    def take_assignment(self) -> Assignment | None:
        return self._changes.take()

    def start_at(self, positions: Mapping[TP, int]) -> None:
        with self._log.changed:
            for tp in positions:
                self._log.part(tp)
                if not self._changes.held or (not self._lease and tp not in self._changes.held):
                    raise ValueError(f"{tp[0]}[{tp[1]}] is not assigned to this member")
            self._positions = dict(positions)

    def commit(self, positions: Mapping[TP, int]) -> None:
        if threading.get_ident() != self._thread:
            raise RuntimeError("a member commits from the thread that polls it")
        with self._log.changed:
            if self not in self.group.members or not self._positions.keys() >= positions.keys():
                raise Fenced("these partitions are not being read by this member any more")
            self.group.offsets.update(positions)

    def close(self) -> None:
        with self._log.changed:
            self._closed = True
            self.group.leave(self)
            self._positions = {}
            self._log.changed.notify_all()

    def _woken(self) -> bool:
        group = self.group
        if self._changes.pending or self.fenced or self not in group.members:
            return True
        return self.generation != group.generation and group.wants(self)

    def _ready(self, max_records: int) -> list[Record]:
        if self._closed:
            return []
        self._follow()
        return [] if self._asked_back and not self._finished else super()._ready(max_records)

    def _follow(self) -> None:
        """Take part in the group's rebalance, as far as it has come."""
        group = self.group
        if self.fenced:
            self._positions = {}
            raise Fenced(f"another member joined as {self.instance_id!r}")
        expelled = self not in group.members
        if self.generation == group.generation and not expelled:
            return
        if self._before_revoke is not None and self._changes.held and not expelled and not self._finished:
            self._asked_back = True
            return
        if self.generation >= 0:  # -1: has given up everything, waits for the others
            self._positions = {}
            if self._changes.held or expelled:
                self._changes.revoke(lost=expelled)
            self.generation = -1
        if expelled:  # as Kafka's clients do after a session timeout: join again, as a new member
            group.join(self)
        group.give_up(self, {topic: len(self._log.parts(topic)) for topic in group.topics()})
        if self in group.assignments:
            self.generation = group.generation
            self._changes.assign(group.assignments[self])
        self._log.changed.notify_all()


class Group:
    """Who is in a group, who has what, and the committed offsets. Used under the log's lock."""

    def __init__(self) -> None:
        self.generation = 0
        self.offsets: dict[TP, int] = {}
        self.members: list[MemoryMember] = []
        self.assignments: dict[MemoryMember, list[TP]] = {}
        self._waiting: set[MemoryMember] = set()

    def topics(self) -> list[str]:
        return sorted({topic for member in self.members for topic in member.topics})

    def wants(self, member: MemoryMember) -> bool:
        """Whether the rebalance goes on when `member` polls."""
        return bool(self.assignments) or member not in self._waiting

    def join(self, member: MemoryMember) -> None:
        if member.instance_id is not None:
            for older in [m for m in self.members if m.instance_id == member.instance_id]:
                older.fenced = True
                self.members.remove(older)
        self.members.append(member)
        self._rebalance()

    def leave(self, member: MemoryMember) -> None:
        if member in self.members:
            self.members.remove(member)
            self._rebalance()

    def give_up(self, member: MemoryMember, partitions: Mapping[str, int]) -> None:
        """`member` has let go of everything; when all have, share out anew."""
        self._waiting.add(member)
        if self.assignments or not self._waiting.issuperset(self.members):
            return
        self.assignments = {m: [] for m in self.members}
        for topic, parts in partitions.items():
            takers = [m for m in self.members if topic in m.topics]
            each, more = divmod(parts, len(takers))
            first = 0
            for place, taker in enumerate(takers):
                last = first + each + (place < more)
                self.assignments[taker] += [(topic, p) for p in range(first, last)]
                first = last

    def _rebalance(self) -> None:
        self.generation += 1
        self.assignments = {}
        self._waiting = set()

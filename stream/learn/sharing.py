"""Learning in shards, in one worker: one member of the group reads, and a `LearnWorker` of its own folds each shard.

Laws of this file:
- A shard is folded, written and kept by its own `LearnWorker`, which knows of no other: it reads a log with one partition, and
  its member is a part of the one that really joined. Whatever one of them drops or loads anew, the others go on.
- Kafka's group shares the shards among workers. Which worker has one moves no result: its position and state lie in its own keys.
- One thread polls, and commits for all shards at once, at the end of a turn; so it does where a part begins to read elsewhere.
- What was read for a shard that is busy waits here, at most about `MOST_WAITING` records; then that shard is read no further.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.learn import worker as one_shard
from penstock.stream.learn.worker import LearnWorker
from penstock.stream.log.protocol import (
    TP,
    Assignment,
    CommitFailed,
    Fenced,
    Log,
    LogUnavailable,
    Record,
)
from penstock.stream.log.shards import ShardLog
from penstock.stream.shards import check_partitions

logger = logging.getLogger("penstock.learn")

MOST_WAITING = 15_000
#: A commit that failed is made again after so long, if no later one was made meanwhile: it may take seconds to fail.
COMMIT_AGAIN_S = 1.0


class Part:
    """One shard's part of a member: a `Member` of the shard's log, whose samples log is partition 0 of `topic`."""

    def __init__(self, topic: str, shard: int) -> None:
        self.here, self.there = (topic, 0), (topic, shard)
        self.waiting: list[Record] = []
        self.change: Assignment | None = None
        self.held = False
        self.start: int | None = None
        self.note: int | None = None
        self.at: int | None = None
        self.end: int | None = None

    def tell(self, *, held: bool, lost: bool) -> None:
        """The group shared out anew: this shard came, or stays away. What was read for it is of the time before."""
        before = ((self.here,) if self.held else ()) or (self.change.revoked if self.change else ())
        self.change = Assignment((self.here,) if held else (), before, lost)
        self.held, self.waiting, self.start, self.note = held, [], None, None
        self.at = self.end = None

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        """See `Reader.poll`; nothing is waited for."""
        records, self.waiting = self.waiting[:max_records], self.waiting[max_records:]
        return records

    def take_assignment(self) -> Assignment | None:
        """See `Member.take_assignment`."""
        change, self.change = self.change, None
        return change

    def start_at(self, positions: Mapping[TP, int]) -> None:
        """See `Member.start_at`: from the next poll on."""
        if positions and not self.held:
            raise ValueError(f"{self.there[0]}[{self.there[1]}] is not assigned to this member")
        self.start, self.waiting = positions.get(self.here), []

    def commit(self, positions: Mapping[TP, int]) -> None:
        """See `Member.commit`: at the end of this turn. Raises `Fenced` where the shard is not held any more."""
        if not self.held:
            raise Fenced(f"{self.there[0]}[{self.there[1]}] is not being read by this member any more")
        self.note = positions[self.here]

    def positions(self) -> dict[TP, int]:
        """See `Reader.positions`."""
        return {} if self.at is None else {self.here: self.at - len(self.waiting)}

    def high_watermarks(self) -> dict[TP, int]:
        """See `Reader.high_watermarks`."""
        return {} if self.end is None else {self.here: self.end}

    def pause(self, tps: Collection[TP]) -> None:
        """Nothing: whoever polls for all pauses."""

    def close(self) -> None:
        """Nothing: whoever joined leaves."""


class ShardsHealth(Protocol):
    """What the worker tells its metrics page, once a turn."""

    def batch(self, worker: LearnShards) -> None:
        """Called after every turn of the loop."""


class LearnShards:
    """The folds of those shards of a pipeline that the group gives this worker. It turns and closes as a `LearnWorker` does.

    `make` makes the worker of one shard, over the shard's own log, when the shard first comes.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        log: Log,
        make: Callable[[int, ShardLog], LearnWorker],
        *,
        prefix: str = "",
        instance_id: str | None = None,
        health: ShardsHealth | None = None,
    ) -> None:
        check_partitions(pipeline, log, prefix)
        self.pipeline, self.log, self.make, self.health = pipeline, log, make, health
        self.topics = topology.shared_out(pipeline.name, prefix)
        self.topic = self.topics[0]
        self.parts = [Part(self.topic, shard) for shard in range(pipeline.shards)]
        self.workers: dict[int, LearnWorker] = {}
        self.paused: set[TP] = set()
        self.failed: dict[TP, int] = {}
        self.failed_s = 0.0
        group = topology.consumer_group(pipeline.name, "learn", prefix)
        self.member = log.member(group, [self.topic], instance_id=instance_id, before_revoke=self._settle)

    @property
    def held(self) -> list[int]:
        """The shards that this worker has."""
        return [shard for shard, part in enumerate(self.parts) if part.held]

    @property
    def assigned(self) -> bool:
        """Whether this worker has any shard; one without is a spare."""
        return any(part.held for part in self.parts)

    def process_batch(self, timeout_s: float) -> int:
        """Poll once, turn every shard that is here, and commit; how many records were folded and shards opened."""
        self._poll(timeout_s)
        done = opened = 0
        for shard, worker in self.workers.items():
            part = self.parts[shard]
            opens = part.held and (part.change is not None or worker.fold is None)
            # one a turn: it takes a while, and a member that does not poll is put out of its group
            if opens and opened:
                continue
            if part.held or part.change is not None:
                done += worker.process_batch(0.0)
            opened += opens and worker.fold is not None
        self._start()
        self._commit()
        if self.health is not None:
            self.health.batch(self)
        return done + opened

    def _poll(self, timeout_s: float) -> None:
        """Read for every shard, and hear what the group says."""
        busy = any(
            worker.untold
            or worker.unfolded
            or worker.preparing is not None
            or self.parts[shard].waiting
            or (self.parts[shard].held and self.parts[shard].change is not None)
            for shard, worker in self.workers.items()
        )
        self._bound()
        records = self.member.poll(
            one_shard.BATCH_RECORDS * max(len(self.held), 1), 0.0 if busy else timeout_s
        )
        change = self.member.take_assignment()
        if change is not None:
            self._share(change)
            return
        parts = self.parts
        for record in records:
            part = parts[record.partition]
            # Else it is of where the shard was: `_start` could not yet have it read elsewhere.
            if part.start is None:
                part.waiting.append(record)
        ends = self.member.high_watermarks()
        for tp, at in self.member.positions().items():
            parts[tp[1]].at, parts[tp[1]].end = at, ends.get(tp)

    def _share(self, change: Assignment) -> None:
        """Tell every shard whether it is here, and make workers of those that are here for the first time."""
        self.paused, self.failed = set(), {}
        held = {partition for _, partition in change.assigned}
        for shard, part in enumerate(self.parts):
            if shard in held or part.held or part.change is not None:
                part.tell(held=shard in held, lost=change.lost)
            if shard in held and shard not in self.workers:
                log = ShardLog(self.log, self.topics, shard, lambda part=part: part)  # type: ignore[misc]
                self.workers[shard] = self.make(shard, log)
        # of the time of this loop, which all of them share
        for worker in self.workers.values():
            worker.spacing = one_shard.SNAPSHOT_SPACING * max(len(held), 1)

    def _start(self) -> None:
        """Read from where shards say that they begin; the others go on where they are."""
        starts = {part.there: part.start for part in self.parts if part.start is not None}
        if not starts:
            return
        try:
            self.member.start_at({**self.member.positions(), **starts})
        except LogUnavailable as error:
            logger.warning("%s; again soon", error)
            return
        self.paused = set()
        for part in self.parts:
            part.start = None

    def _commit(self) -> None:
        """Note with the group what shards wrote. It is safe, whatever comes of it; the next note says more."""
        notes = {part.there: part.note for part in self.parts if part.note is not None}
        for part in self.parts:
            part.note = None
        if notes or (self.failed and time.monotonic() - self.failed_s >= COMMIT_AGAIN_S):
            notes, self.failed = {**self.failed, **notes}, {}
            try:
                self.member.commit(notes)
            except Fenced as error:
                logger.warning("%s", error)
            except CommitFailed as error:
                logger.warning("%s", error)
                self.failed, self.failed_s = notes, time.monotonic()

    def _bound(self) -> None:
        """Read no further for shards that have much to do, until they have half of it done."""
        paused = {
            part.there
            for part in self.parts
            if len(part.waiting) > (MOST_WAITING // 2 if part.there in self.paused else MOST_WAITING)
        }
        if paused != self.paused:
            self.member.pause(paused)
            self.paused = paused

    def _settle(self) -> None:
        """Wait for what the shards are writing, before they go to others."""
        for worker in self.workers.values():
            worker.settle()

    def close(self) -> None:
        """Take a last snapshot of every shard that is here, and leave the group."""
        for worker in self.workers.values():
            worker.close()
        self._commit()
        self.member.close()

"""The shell around `featurize`: owns tasks, polls, steps, writes in the one safe order.

Laws of this file:
- What a batch gave is written in the one safe order (`writing`), batch after batch, while the next ones are polled and stepped:
  one may be produced meanwhile, and one before it saved. What was stepped ahead of a write that failed is forgotten with
  everything else. Partitions are handed over, and states let go of, only when everything is written.
- The position comes from Redis, where it lies with the state, never from the group. The group's offset says only which outputs
  exist: below it nothing is emitted again when state is rebuilt.
- While catching up, featurize stays at most about `lead_records` ahead of a learn role that moves (`lead`).
- All tasks are stepped in one order, that of event time (`order`); a task at the end of its partitions is not waited for, but for
  a moment where event time runs fast (`pace`), and what another task's earlier events must go before waits in memory, at most
  about `MOST_BUFFERED` records a partition. Only a task whose state is being rebuilt runs apart, until it emits again.
- Workers that share the partitions keep abreast in event time (`abreast`); what is ahead waits in memory as well.
- A source topic that has more partitions by now, or is another one, ends a worker, which would not begin so (`source_topics`).
- After any error that leaves the outcome open, memory is dropped and everything is loaded anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from penstock.features.redis.keyspace import Keyspace
from penstock.features.redis.store import StateStore
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.abreast import skew_of
from penstock.stream.featurize.backpressure import Backpressure
from penstock.stream.featurize.expiry import Expiry
from penstock.stream.featurize.merge import Head
from penstock.stream.featurize.order import Stepped, Together, step_alone
from penstock.stream.featurize.partitions import tasks_of
from penstock.stream.featurize.source_topics import Look, SourceTopics, at_end, at_once
from penstock.stream.featurize.step import KEPT_STATES
from penstock.stream.featurize.task import Task, check_stored, checked_partitions
from penstock.stream.featurize.watermark import Watermark
from penstock.stream.featurize.writing import OPEN, Batch, Readable, Writing
from penstock.stream.formats.schemas import Schemas
from penstock.stream.log.protocol import TP, Fenced, Log, LogUnavailable, OffsetLost, Record, UnknownTopic
from penstock.stream.process.write_behind import Writer, WriteThrough

logger = logging.getLogger("penstock.featurize")

BATCH_RECORDS = 1_000
HELD_S = 0.005


class FeaturizeHealth(Readable, Protocol):
    """What the worker tells its metrics page, once a batch; `readable` comes from whatever thread writes."""

    def batch(self, worker: FeaturizeWorker) -> None:
        """Called after every turn of the loop."""


class FeaturizeWorker:
    """One slot of the featurize role. `turn` runs the loop once; `close` leaves the group at once.

    With a `keyspace`, states that can say nothing any more are looked for, and deleted, while events come. `writer` says whether
    a batch is written before the next one is polled (so it is without) or beside it. `patience_ms` is how long a partition at its
    end is waited for while history is read, `skew_ms` how far this worker may then be ahead of others in event time (None: as
    `skew_of` the label's wait; 0: it waits for none). `look` says whether source topics are looked at in the loop or beside it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        log: Log,
        store_of: Callable[[str], StateStore],
        wall_ms: Callable[[], int],
        *,
        prefix: str = "",
        instance_id: str | None = None,
        lead_records: int | None = None,
        health: FeaturizeHealth | None = None,
        keyspace: Keyspace | None = None,
        writer: Writer | None = None,
        patience_ms: int = 0,
        skew_ms: int | None = None,
        schemas: Schemas | None = None,
        look: Callable[[Look], None] = at_once,
    ) -> None:
        self.pipeline, self.log, self.store_of, self.schemas = pipeline, log, store_of, schemas
        self.wall_ms, self.prefix, self.patience_ms = wall_ms, prefix, patience_ms
        self.health, self.keyspace, self.writer = health, keyspace, writer or WriteThrough()
        skew_ms = skew_of(pipeline.label.wait_ms) if skew_ms is None else skew_ms
        self.watermark = Watermark(keyspace, topology.deployed(pipeline.name, prefix), skew_ms)
        self.expiries: dict[str, Expiry] = {}
        self.tasks: dict[str, Task] = {}
        self.task_of: dict[TP, Task] = {}
        deployed = topology.deployed(pipeline.name, prefix)
        self.group = f"{deployed}.featurize"
        self.samples_topic = topology.samples(pipeline.name, prefix)
        self.dead_letters_topic = topology.dead_letters(pipeline.name, prefix)
        self.backpressure: Backpressure | None = None
        if lead_records is not None:
            learn, first = f"{deployed}.learn", (self.samples_topic, 0)
            self.backpressure = Backpressure(log, learn, first, lead_records, wall_ms, pipeline.shards)
        self.partitions = checked_partitions(pipeline, log, prefix)
        self.topics = SourceTopics(pipeline, log, self.partitions, look)
        self._forget()
        self.assigned: tuple[TP, ...] = ()
        self.paused: set[TP] = set()
        self.retry_at_ms = 0
        if keyspace is not None:  # before joining: a static member takes the place of one that runs well
            tasks = map(str, range(self.partitions)) if pipeline.partitioned else ["all"]
            check_stored(pipeline, keyspace, list(tasks), prefix)
        lease = not pipeline.partitioned
        leased = self.samples_topic if pipeline.shards == 1 else self.dead_letters_topic
        self.member = log.member(
            self.group,
            [leased] if lease else [source.name for source in pipeline.sources],
            instance_id=instance_id,
            lease=lease,
            before_revoke=self._settle,
        )
        self.writing = Writing(log, self.member, self.writer, wall_ms, health)

    # -- the loop ----------------------------------------------------------------------------------------------------------

    def process_batch(self, timeout_s: float) -> int:
        """Poll once, step what came and hand it over to be written; how many source records were stepped."""
        try:
            return self._turn(timeout_s)
        except (OffsetLost, UnknownTopic):
            self.topics.look()  # a topic that was made anew: that says more
            raise

    def _turn(self, timeout_s: float) -> int:
        held_s = HELD_S if self.watermark.held else timeout_s
        records = self.member.poll(BATCH_RECORDS, min(timeout_s, held_s))
        change = self.member.take_assignment()
        wall_ms = self.wall_ms()
        self.topics.look_again(wall_ms)
        stepped = 0
        try:
            if change is not None:
                self.assigned = change.assigned
                self._settle()
            if change is not None or (self.retry_at_ms and wall_ms >= self.retry_at_ms):
                self._take_up(wall_ms)
                records = []
            stepped = self._work(records, wall_ms)
            if not records:
                self.writer.finish()
                self.writing.commit(wall_ms)
            if stepped and self.backpressure is not None:
                self.backpressure.wait()
        except OPEN as error:
            self._drop(error, wall_ms)
        except Fenced as error:  # the next poll says what this member holds now
            logger.warning("%s", error)
        if self.health is not None:
            self.health.batch(self)
        return stepped

    def _drop(self, error: Exception, wall_ms: int) -> None:
        """The outcome of a write is open, or another owner took over: forget everything and load anew."""
        logger.warning("%s: %s; dropping memory and loading anew", type(error).__name__, error)
        self._settle()
        self._forget()
        self.retry_at_ms = wall_ms + getattr(error, "retry_ms", 500)
        # what was saved before: a rebuild need not emit it again
        with suppress(LogUnavailable):
            self.writing.commit(wall_ms)
        if self.assigned:
            self.member.start_at({})

    def _settle(self) -> None:
        """Wait for what is being written. Whether it was is asked of the store, by whoever owns the task next."""
        try:
            self.writer.finish()
        except OPEN as error:
            logger.warning("%s: %s; its batch is not written", type(error).__name__, error)

    def _forget(self) -> None:
        """Drop every task and all that was read for it."""
        self.tasks.clear()
        self.expiries.clear()
        self.task_of.clear()
        partitions = len(self.pipeline.sources) * self.partitions
        self.together = Together(self.pipeline, partitions, self.patience_ms)

    def _take_up(self, wall_ms: int) -> None:
        """Make the tasks of what this member holds now, each at the position its own state names."""
        self._forget()
        self.writing.start()
        self.retry_at_ms, self.paused = 0, set()
        self.member.pause(())
        positions: dict[TP, int] = {}
        sources = range(len(self.pipeline.sources))
        groups: dict[str, list[Head]] = {}
        if self.pipeline.partitioned:
            for partition in tasks_of(self.assigned, self.partitions):
                groups[str(partition)] = [(source, partition) for source in sources]
        elif self.assigned:
            groups["all"] = [(source, n) for source in sources for n in range(self.partitions)]
        for name, heads in groups.items():
            task = Task(
                self.pipeline, self.log, self.store_of(name), name, heads, self.prefix, schemas=self.schemas
            )
            positions.update(task.take_up(self.group))
            # What is saved was appended: a commit that a former owner, or this one, could not make is made now.
            for head, place in task.featurize.positions.items():
                if place.newest_at >= 0 and place.offset > task.emitted_below[head]:
                    self.writing.written[task.tp(head)] = place.offset
            self.tasks[name] = task
            if self.keyspace is not None:
                self.expiries[name] = Expiry(task.featurize, self.keyspace)
            self.task_of.update({task.tp(head): task for head in heads})
        if self.backpressure is not None:
            self.backpressure.start()
        if self.pipeline.partitioned:
            self.watermark.start(self.tasks, self.partitions, wall_ms)
        if self.assigned:
            self.member.start_at(positions)
        # behind it, since what it writes may have a commit made, and who reads nothing may make none
        self._write(self.together.hold(self.tasks.values(), wall_ms), [], wall_ms)

    def _work(self, records: list[Record], wall_ms: int) -> int:
        if not self.tasks:
            return 0
        if len(self.tasks) == 1:
            next(iter(self.tasks.values())).enqueue(records, wall_ms)
        else:
            by_task: dict[str, list[Record]] = {}
            for record in records:
                name = self.task_of[(record.topic, record.partition)].featurize.task
                by_task.setdefault(name, []).append(record)
            for name, of_task in by_task.items():
                self.tasks[name].enqueue(of_task, wall_ms)
        for task in self.tasks.values():
            if task.rebuilding_from is None and task not in self.together.tasks:
                self.together.add(task)
        self._bound_buffers()
        heads = {task.tp(head): head for task in self.tasks.values() for head in task.heads}
        ends = at_end(self.member, self.log, heads, idle=not records)
        stepped = 0
        finish = self.writer.finish
        for task in self.tasks.values():
            if task.rebuilding_from is not None:
                done = step_alone(task, ends, wall_ms, BATCH_RECORDS, finish)
                self._write(done, [], wall_ms)
                stepped += len(done.items)
        limit = self.watermark.limit(self.together, ends, bool(records), wall_ms)
        if self.together.tasks:
            done = self.together.step(ends, wall_ms, BATCH_RECORDS, finish, limit)
            # How long records took is asked of those that are new, not of what is read again after a loss.
            new = [] if self.health is None else [item.record.timestamp_ms for item in done.items]
            self._write(done, new, wall_ms)
            stepped += len(done.items)
            self.watermark.stepped += len(done.items)
        for task in self.tasks.values():  # one without work notices a loss, or another owner, by itself
            if wall_ms - task.checked_ms >= 1_000:
                task.checked_ms = wall_ms
                task.store.alive()
        return stepped

    def _bound_buffers(self) -> None:
        """Read no further where much waits for another partition's event time to come."""
        heads = {head: task.tp(head) for task in self.tasks.values() for head in task.heads}
        before = [head for head, tp in heads.items() if tp in self.paused]
        merges = {id(task.merge): task.merge for task in self.tasks.values()}.values()
        paused = {heads[head] for merge in merges for head in merge.full(before)}
        if paused != self.paused:
            self.member.pause(paused)
            self.paused = paused

    @property
    def committed(self) -> dict[TP, int]:
        """What the group was told last, by partition."""
        return self.writing.committed

    def _write(self, done: Stepped, timestamps_ms: list[int], wall_ms: int) -> None:
        """Hand a batch over to be written, once the one before is."""
        if not done.outs and not done.units:
            return
        for task, units in done.units.items():
            if (expiry := self.expiries.get(task.featurize.task)) is not None:
                units[-1] = expiry.added_to(units[-1], wall_ms)
            task.checked_ms = wall_ms
        if self.backpressure is not None:
            self.backpressure.appended(done.outs)
        batch = Batch(done.outs, done.units, timestamps_ms)
        self.writing.hand_over(batch, wall_ms)
        for task in done.units:
            if task.kept > KEPT_STATES:
                self.writer.finish()  # a state is let go of only when it can be loaded again
                task.featurize.forget(KEPT_STATES * 3 // 4)

    def close(self) -> None:
        """Write what was stepped, and leave the group."""
        self._settle()
        self.watermark.close()
        with suppress(LogUnavailable):
            self.writing.commit(self.wall_ms())
        self.member.close()
        self.writer.close()

"""The shell around the fold: reads the samples log, writes predictions, control events and versions, keeps snapshots.

Laws of this file:
- Order of every batch: store new versions → produce and wait → commit, now and then, and when nothing comes: featurize waits for
  it. A batch is written while the next one is folded; what was folded ahead of a write that failed is forgotten with the rest.
- Snapshots follow at intervals, when all outputs are written, each a compare-and-set on the one before, so a stalled worker that
  wakes cannot overwrite its successor's.
- On a restart the log is folded from the snapshot's position; outputs below the group's committed offset exist and are not
  written again.
- A request goes out at the record that made it, not at the end of its batch; while catching up, the fold then gives its decision
  `decision_wait_s` to come back. This moves no result: what is decided stands in the log at whatever record it stands.
- A retrain runs in a process of its own; its product enters through the log. What a command needs from the log is read a slice
  a turn, while its record waits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from typing import Any

from penstock.features.redis.store import StateStore
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.entries import entry_of
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.jobs import Jobs
from penstock.stream.learn.published import published
from penstock.stream.learn.records import Replay
from penstock.stream.learn.replay import fresh, preparation
from penstock.stream.learn.replica_snapshot import ReplicaWriter
from penstock.stream.learn.retrain import Retrainer
from penstock.stream.learn.runs import Runs, asks
from penstock.stream.learn.snapshot import take
from penstock.stream.learn.stored_snapshot import StoredSnapshot
from penstock.stream.learn.stored_versions import StoredVersions
from penstock.stream.learn.taking_up import acquired, note_recipe, note_unknown, restored
from penstock.stream.learn.turn_parts import LearnHealth, TurnParts
from penstock.stream.learn.writing import OPEN, Writing
from penstock.stream.log.protocol import Fenced, Log, Out, Record
from penstock.stream.messages import Command, Entry, Recipe, encode_entry, encode_json
from penstock.stream.models.publisher import Publisher
from penstock.stream.models.store import ModelStore
from penstock.stream.models.version import Secret
from penstock.stream.process.write_behind import Writer, WriteThrough

logger = logging.getLogger("penstock.learn")

GONE = "records 0 to %d of %s are gone: the model starts after them"
BATCH_RECORDS = 1_500
SNAPSHOT_EVERY_MS = 10_000
SNAPSHOT_SPACING = 10  # a snapshot of a large model takes seconds: at most a tenth of the time goes into them


class LearnWorker:
    """The one live fold of a pipeline. `turn` runs the loop once; `close` takes a last snapshot and leaves the group.

    `writer` says whether what a batch gave is written before the next one is polled (so it is without) or beside it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        log: Log,
        store: StateStore,
        models: ModelStore,
        retrainer: Retrainer,
        secret: Secret,
        wall_ms: Callable[[], int],
        *,
        prefix: str = "",
        instance_id: str | None = None,
        guard: bool = True,
        decision_wait_s: float = 0.0,
        health: LearnHealth | None = None,
        publisher: Publisher | None = None,
        writer: Writer | None = None,
    ) -> None:
        self.writer = writer or WriteThrough()
        self.pipeline, self.log, self.store = pipeline, log, store
        self.models, self.retrainer, self.versions = models, retrainer, StoredVersions(models)
        self.secret, self.wall_ms, self.prefix = secret, wall_ms, prefix
        self.guard, self.health, self.publisher = guard, health, publisher
        self.decision_wait_s = decision_wait_s
        self.unfolded: list[Record] = []
        self.preparing: Generator[int, None, Any] | None = None
        self.topic = topology.samples(pipeline.name, prefix)
        self.predictions_topic = topology.predictions(pipeline.name, prefix)
        self.deployed = topology.deployed(pipeline.name, prefix)
        self.group = topology.consumer_group(pipeline.name, "learn", prefix)
        self.tp = (self.topic, 0)
        self.fold: Fold | None = None
        self.stored, self.emitted_below, self.unannounced = b"", 0, False
        self.snapshot_ms, self.snapshot_wait_ms, self.spacing = 0, SNAPSHOT_EVERY_MS, SNAPSHOT_SPACING
        self.jobs = Jobs()
        self.unreadable, self.retry_at_ms, self.parts = 0, 0, TurnParts(time.perf_counter)
        self.snapshot = StoredSnapshot(store, self.deployed, secret)
        self.saved_at: int | None = None
        self.replicas: ReplicaWriter | None = None
        log.partitions(self.topic)
        group, topics, settle = self.group, [self.topic], self.settle
        self.member = log.member(group, topics, instance_id=instance_id, before_revoke=settle)
        self.writing = Writing(log, self.member, self.writer, self.tp)
        self.assigned = self.untold = False

    # -- the loop ----------------------------------------------------------------------------------------------------------

    def process_batch(self, timeout_s: float) -> int:
        """Poll once, fold what came and write what follows; how many records were folded."""
        if self.preparing or self.unfolded:  # a member that does not poll would be put out of its group
            self.unfolded += self.member.poll(1, 0.0)
        # featurize waits for the commit of what was folded
        most, wait_s = self.parts.due(BATCH_RECORDS), 0.0 if self.untold else timeout_s
        records, self.unfolded = self.unfolded or self.member.poll(most, wait_s), []
        change = self.member.take_assignment()
        now = self.wall_ms()
        if change is not None:
            self.assigned = bool(change.assigned)
            self._drop()
        records, folded = ([] if self.fold is None else records), 0
        try:
            if self.assigned and self.fold is None and now >= self.retry_at_ms:
                self._take_up(now)
            elif self.fold is not None:
                folded = self._fold(self.fold, records, now)
                if not folded and (self.untold or self.writing.failed_ms is not None):
                    self._tell(now)
                if now - self.snapshot_ms >= self.snapshot_wait_ms:
                    self.parts.start()
                    self._snapshot(self.fold)
                    self.parts.ends("snapshot")
                if self.replicas is not None and self.fold.position >= self.emitted_below:
                    self.stored = self.replicas.write(self.stored, self.fold, now)
        except OPEN as error:
            logger.warning("%s: %s; loading the last snapshot", type(error).__name__, error)
            self._drop()
            self.retry_at_ms = now + 500
        except Fenced as error:
            logger.warning("%s", error)
        except BaseException:
            self.fold = None  # what it said is not written: whoever closes takes no snapshot of it
            raise
        if self.health is not None:
            self.health.batch(self)
        return folded

    def settle(self) -> None:
        """Wait for what is being written. Whether it was is asked of the group, by whoever owns the task next."""
        try:
            self.writer.finish()
        except OPEN as error:
            logger.warning("%s: %s; its batch is not written", type(error).__name__, error)

    def _tell(self, now: int) -> None:
        """Commit what was folded: nothing comes that would have it done."""
        self.writer.finish()
        self.parts.ends("write")
        self.writing.commit(now)
        self.parts.ends("commit")
        self.untold = False

    def _drop(self) -> None:
        """Forget the fold and what was read for it."""
        self.settle()
        self.writing.start()
        self.untold = False
        self.fold, self.unfolded, self.preparing = None, [], None

    def _take_up(self, now: int) -> None:
        """Become the owner: the last snapshot, or a fold from the log's start."""
        stored = acquired(self.store)
        self.emitted_below = self.log.committed(self.group, [self.tp]).get(self.tp, 0)
        fold: Fold | None = None
        self.snapshot = StoredSnapshot(self.store, self.deployed, self.secret)
        self.saved_at = None
        if stored is None:
            self.stored = b"start"
            self.store.start(self.stored)
        else:
            self.stored = stored
            fold = restored(self.snapshot, self.pipeline, self.log, self.topic, guard=self.guard)
            self.saved_at = None if fold is None else fold.position
        self.unannounced = False
        if fold is None:
            fold = fresh(self.pipeline, self.log, self.topic, guard=self.guard)
            self.unannounced = fold.position < self.emitted_below
            if fold.position > 0:
                logger.warning(GONE, fold.position - 1, self.topic)
        self.fold, self.runs, self.snapshot_ms = fold, Runs(fold), now
        topic_id = self.log.topic_id(self.topic)
        self.replicas = ReplicaWriter(self.store, self.deployed, self.secret, self.wall_ms, topic_id)
        self.versions.taken_up(fold)
        self.jobs.running.clear()
        self.member.start_at({self.tp: fold.position})

    def _fold(self, fold: Fold, records: list[Record], now: int) -> int:
        """Fold records up to the first that makes a request; the rest is left for the next turn."""
        asked, read = False, 0
        self.parts.start()
        decoded, offsets = [entry_of(record.value) for record in records], [one.offset for one in records]
        self.parts.ends("decode")
        number = 0
        while number < len(records) and not asked and not self.parts.late(number):
            begun, number = number, self.runs.run(decoded, offsets, number)
            if number == begun:
                read = self._step(fold, records[number], decoded[number])
                if read:
                    break
                number += 1
            if fold.drift.requests and offsets[number - 1] >= self.emitted_below:
                asked = asks(fold.drift.requests)
        records, self.unfolded = records[:number], records[number:]
        self.parts.ends("fold", len(records))
        if records or self.unannounced:
            self._write(fold, records[-1].offset + 1 if records else fold.position, now)
        if asked:
            self.writer.finish()
        if asked and self.unfolded and self.decision_wait_s:
            time.sleep(self.decision_wait_s)
        for adopt in self.jobs.given_up(self.retrainer):
            self.log.append([Out(self.topic, self.pipeline.name.encode(), encode_entry(adopt), (), 0)])
        if fold.position >= self.emitted_below:
            self.jobs.start(fold.open_jobs, self.retrainer)
        return len(records) + read

    def _step(self, fold: Fold, record: Record, entry: Entry | None) -> int:
        """Fold one record; how many were read to prepare that, where it is not ready yet and nothing was folded."""
        if entry is None:
            self.unreadable = note_unknown(self.unreadable, record.offset, self.topic)
            return 0
        prepared = None
        if type(entry) is Command and (need := fold.needs(entry)) is not None:
            self.versions.put(fold)  # it may name one made in this batch
            read, prepared = self._prepare(fold, record, entry, need)
            if read:
                return read
        fold.step(record.offset, entry, prepared)
        if type(entry) is Recipe:
            note_recipe(fold, entry, self.emitted_below)
        return 0

    def _prepare(self, fold: Fold, record: Record, command: Command, need: Replay) -> tuple[int, Any]:
        """Work a slice of what a command needs off: (records read, None) while there is more, then (0, the model)."""
        if self.preparing is None:
            given = (self.log, self.topic, self.models, record.offset)
            self.preparing = preparation(fold, *given, command, need)
        try:
            return next(self.preparing), None
        except StopIteration as done:
            self.preparing = None
            return 0, done.value

    def _write(self, fold: Fold, position: int, now: int) -> None:
        """Store versions, and hand outputs and the commit over to be written, once those of the batch before are."""
        outputs, below = fold.outputs, self.emitted_below
        self.versions.put(fold)
        # A fold made anew may have another model than the one it last published: say which, once it has caught up.
        if self.unannounced and position >= below and not outputs.live:
            outputs.live.append(fold.live_model())
        self.unannounced = self.unannounced and position < below
        outs = published(fold, below, self.predictions_topic, self.prefix)
        told = position if position > below else None
        self.untold = self.untold or told is not None
        self.writing.hand_over(outs, told, now)
        outputs.predictions.clear()
        outputs.live.clear()
        outputs.history.clear()
        fold.drift.requests.clear()
        self.parts.ends("write")

    def _snapshot(self, fold: Fold) -> None:
        """Replace the stored snapshot, if it is still the one this worker wrote or found."""
        now = self.wall_ms()
        self.writer.finish()  # whoever goes on from it does not make again what is not written yet
        if self.saved_at == fold.position:
            self.store.alive()
            self.snapshot_ms, self.snapshot_wait_ms = now, SNAPSHOT_EVERY_MS
            return
        live = fold.document()
        document = encode_json(live)
        taken = take(fold, self.log.topic_id(self.topic))
        self.stored = self.snapshot.save(self.stored, taken, document)
        self.saved_at = fold.position
        stored = self.versions.covered(fold, caught_up=fold.position >= self.emitted_below)
        if self.publisher is not None:
            self.publisher.tell(live, stored)
        self.snapshot_ms = self.wall_ms()
        self.snapshot_wait_ms = max(SNAPSHOT_EVERY_MS, self.spacing * (self.snapshot_ms - now))

    def close(self) -> None:
        """Take a last snapshot and leave the group."""
        if self.fold is not None and self.assigned:
            try:
                self._snapshot(self.fold)
                self.writing.commit(self.wall_ms())
            except OPEN as error:
                logger.warning("no last snapshot: %s", error)
        self.member.close()
        self.writer.close()

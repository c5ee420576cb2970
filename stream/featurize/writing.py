"""What becomes of a batch that was stepped: its outputs, then its state, then, now and then, the group's note of it.

Laws of this file:
- Order of every batch: produce and wait for the acknowledgements → the state script of each unit, task by task → commit. A crash
  between any two leaves at worst a repeat that every reader recognises.
- Batches are produced in order and their states saved in order. One may be produced while the state of the one before is saved: a
  crash then repeats the outputs of both.
- Everything is encoded before it comes here: the loop may step the next batch on the same states while one is written.
- Commits are made by the thread that polls, never by the writer's. A commit waits in the client for a poll to end, and a poll in
  which partitions are asked back waits for the writer: neither would ever end.
- Nobody waits for a commit, so one is made for several batches. One that failed is made again, even if nothing comes any more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from penstock.features.redis.store import Fenced as StoreFenced
from penstock.features.redis.store import StateLost, StoreUnavailable
from penstock.stream.featurize.step import FeaturizeUnit
from penstock.stream.featurize.task import Task
from penstock.stream.log.protocol import (
    TP,
    AppendFailed,
    CommitFailed,
    Fenced,
    Log,
    LogUnavailable,
    Member,
    Out,
)
from penstock.stream.process.write_behind import Writer

logger = logging.getLogger("penstock.featurize")

#: After these the outcome of a write is open, or the task is another's.
OPEN = (StoreFenced, StateLost, StoreUnavailable, AppendFailed, LogUnavailable)
COMMIT_EVERY_MS = 100
#: A commit that failed is made again after so long, if no later one was made meanwhile: it may take seconds to fail.
COMMIT_AGAIN_MS = 1_000


class Readable(Protocol):
    """Whom it concerns that features can be read."""

    def readable(self, timestamps_ms: list[int], wall_ms: int) -> None:
        """Called when the features of a batch can be read: its records' own Kafka timestamps, and the time."""


class Batch(NamedTuple):
    """What a batch gave. `timestamps_ms` are Kafka's of those of its records whose features nobody could read yet."""

    outs: Sequence[Out]
    units: dict[Task, list[FeaturizeUnit]]
    timestamps_ms: list[int]


class Writing:
    """Writes batches in order. `committed` is what the group was told, `written` what it may be told."""

    def __init__(
        self, log: Log, member: Member, writer: Writer, wall_ms: Callable[[], int], told: Readable | None
    ) -> None:
        self.log, self.member, self.writer, self.wall_ms, self.told = log, member, writer, wall_ms, told
        self.committed: dict[TP, int] = {}
        self.written: dict[TP, int] = {}
        self.tried: dict[TP, int] = {}
        self.committed_ms = 0
        self.failed_ms: int | None = None

    def start(self) -> None:
        """Other partitions are held now, or the same anew. Nothing may be under way."""
        self.written, self.tried, self.failed_ms = {}, {}, None

    def hand_over(self, batch: Batch, wall_ms: int) -> None:
        """Have a batch written behind those before. Where the last commit is some time ago, make one meanwhile."""
        self.writer.run(partial(self._produce, batch), partial(self._save, batch))
        if wall_ms - self.committed_ms >= COMMIT_EVERY_MS:
            self.commit(wall_ms)

    def commit(self, wall_ms: int) -> None:
        """Note with the group which outputs exist. State and outputs are safe, whatever comes of it."""
        written, self.committed_ms = self.written, wall_ms
        if self.failed_ms is not None and abs(wall_ms - self.failed_ms) >= COMMIT_AGAIN_MS:
            self.tried, self.failed_ms = self.committed, None
        if due := {tp: at for tp, at in written.items() if self.tried.get(tp) != at}:
            self.tried = written
            try:
                self.member.commit(due)
            except (Fenced, CommitFailed) as error:
                logger.warning("%s", error)
                self.failed_ms = wall_ms if isinstance(error, CommitFailed) else None  # else it is another's
                return
            self.committed = {**self.committed, **due}

    def _produce(self, batch: Batch) -> None:
        """Append the outputs."""
        # Several tasks' outputs go out at once: look first whether each still owns its state.
        if len(batch.units) > 1:
            for task in batch.units:
                task.store.alive()
        if batch.outs:
            self.log.append(batch.outs)

    def _save(self, batch: Batch) -> None:
        """Save each task's units."""
        for task, units in batch.units.items():
            task.store.save([unit.unit for unit in units])
            behind = task.emitted_below
            positions = units[-1].positions.items()
            new = {task.tp(head): at for head, at in positions if at >= behind[head]}
            self.written = {**self.written, **new}  # another one: a commit may be reading the former
        if self.told is not None and batch.timestamps_ms:
            self.told.readable(batch.timestamps_ms, self.wall_ms())

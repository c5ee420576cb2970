"""What becomes of a batch that was folded: its outputs, then, now and then, the group's note of it.

Laws of this file:
- Produce and wait for the acknowledgements → commit.
- Everything is encoded before it comes here: the loop may fold the next batch while one is written.
- Commits are made by the thread that polls, never by the writer's: `featurize.writing` says why.
- Commits are made for several batches; one that failed is made again, even if nothing comes any more. Featurize stays so many
  records ahead of the committed position, so they may not be rare.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from penstock.features.redis.store import Fenced as StoreFenced
from penstock.features.redis.store import StateLost, StoreUnavailable
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

logger = logging.getLogger("penstock.learn")

#: After these the outcome of a write is open, or the task is another's. `OSError`: the folder of versions is full, or away.
OPEN = (StoreFenced, StateLost, StoreUnavailable, AppendFailed, LogUnavailable, OSError)
COMMIT_EVERY_MS = 50
#: A commit that failed is made again after so long, if no later one was made meanwhile: it may take seconds to fail.
COMMIT_AGAIN_MS = 1_000


class Writing:
    """Writes batches in order. `written` is the position up to which outputs exist; None where nobody knows."""

    def __init__(self, log: Log, member: Member, writer: Writer, tp: TP) -> None:
        self.log, self.member, self.writer, self.tp = log, member, writer, tp
        self.written: int | None = None
        self.tried: int | None = None
        self.committed_ms = 0
        self.failed_ms: int | None = None

    def start(self) -> None:
        """The fold is another, or taken up anew. Nothing may be under way."""
        self.written = self.tried = self.failed_ms = None

    def hand_over(self, outs: Sequence[Out], position: int | None, wall_ms: int) -> None:
        """Have outputs written once those before are; `position` may be committed then, where there is one.

        Where the last commit is some time ago, make one meanwhile.
        """
        self.writer.run(partial(self._write, outs, position))
        if wall_ms - self.committed_ms >= COMMIT_EVERY_MS:
            self.commit(wall_ms)

    def commit(self, wall_ms: int) -> None:
        """Note with the group which outputs exist. They are safe, whatever comes of it; the next note says more."""
        written, self.committed_ms = self.written, wall_ms
        if self.failed_ms is not None and abs(wall_ms - self.failed_ms) >= COMMIT_AGAIN_MS:
            self.tried, self.failed_ms = None, None
        if written is not None and written != self.tried:
            self.tried = written
            try:
                self.member.commit({self.tp: written})
            except (Fenced, CommitFailed) as error:
                logger.warning("%s", error)
                self.failed_ms = wall_ms if isinstance(error, CommitFailed) else None  # else it is another's

    def _write(self, outs: Sequence[Out], position: int | None) -> None:
        if outs:
            self.log.append(outs)
        if position is not None:
            self.written = position

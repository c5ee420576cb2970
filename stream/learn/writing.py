"""What becomes of a batch that was folded: its outputs, then, now and then, the group's note of it.

Laws of this file:
- Produce and wait for the acknowledgements → commit.
- Everything is encoded before it comes here: the loop may fold the next batch meanwhile. Whoever calls is the only one for as
  long as that takes.
- Commits are made for several batches. Featurize stays so many records ahead of the committed position, so they may not be rare.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

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

logger = logging.getLogger("penstock.learn")

#: After these the outcome of a write is open, or the task is another's.
OPEN = (StoreFenced, StateLost, StoreUnavailable, AppendFailed, LogUnavailable)
COMMIT_EVERY_MS = 50


class Writing:
    """Writes batches in order. `uncommitted` is the position that the group was not told yet; None when it knows."""

    def __init__(self, log: Log, member: Member, tp: TP) -> None:
        self.log, self.member, self.tp = log, member, tp
        self.uncommitted: int | None = None
        self.committed_ms = 0

    def write(self, outs: Sequence[Out], position: int | None, wall_ms: int) -> None:
        """Outputs; then the commit of `position`, where there is one and the last one is some time ago."""
        if outs:
            self.log.append(outs)
        if position is not None:
            self.uncommitted = position
        if wall_ms - self.committed_ms >= COMMIT_EVERY_MS:
            self.commit(wall_ms)

    def commit(self, wall_ms: int) -> None:
        """Note with the group which outputs exist. They are safe, whatever comes of it; the next note says more."""
        position, self.committed_ms = self.uncommitted, wall_ms
        if position is not None:
            self.uncommitted = None
            try:
                self.member.commit({self.tp: position})
            except (Fenced, CommitFailed) as error:
                logger.warning("%s", error)

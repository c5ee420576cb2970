"""Workers that share a pipeline's partitions keep abreast in event time while they catch up: how far each may go on.

Laws of this file:
- Every worker says, of each task it has, the event time that its next output will not be older than, whether there is more to
  read, and how much it has stepped. Nobody steps what is more than the skew behind (later than) the least of these.
- The worker whose next event is the oldest of all is never held back, so somebody always goes on.
- Nobody waits for a task that is at its end, nor for one of which nothing was heard for `GONE_MS`, nor for one that says that
  there is more and has stepped nothing for `STUCK_MS`. What was said before this worker began is not believed: its owner may be
  gone.
- One at its end may be about to have more where history is published while it is read: when this worker has something to step
  after a moment without, what others said before is not enough. They are asked again, half a second of patience later.
- Whose next event is about as old as the wall clock says is live, and held back by nobody.
- Times of other machines' clocks are compared with nothing: how long ago something was heard is told by this worker's own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from penstock.stream.featurize.pace import ALL, PATIENCE_MS

logger = logging.getLogger("penstock.featurize")

GONE_MS = 10_000
STUCK_MS = 30_000
LONG_MS = 10_000
NEW_AFTER_MS = 1_000
SKEW_PER_WAIT = 10
LEAST_SKEW_MS = 1_000


class Said(msgspec.Struct, array_like=True, frozen=True):
    """What the owner of a task says. `number` differs each time; `at` is an event time in ms, -1 before the first event."""

    number: int
    at: int
    more: bool
    stepped: int


class Heard(NamedTuple):
    """What was heard of a task, and since when, by this worker's clock: `moved_ms` since it stepped something."""

    said: bytes | None
    what: Said
    heard_ms: int
    moved_ms: int


UNKNOWN = Said(0, -1, True, 0)
encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Said).decode


def skew_of(wait_ms: int) -> int:
    """The skew for labels that may take `wait_ms`, in ms: a tenth of it, at least a second."""
    return max(wait_ms // SKEW_PER_WAIT, LEAST_SKEW_MS)


class Abreast:
    """What one worker knows of the others' tasks. `skew_ms` is how far in event time it may be ahead of the slowest."""

    def __init__(self, skew_ms: int) -> None:
        self.skew_ms = skew_ms
        self.others: dict[str, Heard] = {}
        self.waits_since_ms = self.told_ms = 0
        self.busy_ms = self.settled_ms = -1
        self._stuck: set[str] = set()

    def start(self, others: Iterable[str], said: Mapping[str, bytes], wall_ms: int) -> None:
        """Begin among these tasks of others; `said` is what stands of them, which is not believed until it changes."""
        self.others = {name: Heard(said.get(name), UNKNOWN, wall_ms, wall_ms) for name in others}
        self.waits_since_ms, self.busy_ms = 0, -1
        self._stuck.clear()

    def hear(self, said: Mapping[str, bytes], wall_ms: int) -> None:
        """Take what the others say now."""
        words: dict[bytes, Said] = {}  # a worker says the same of all its tasks
        for name, heard in self.others.items():
            word = said.get(name)
            if word is None or word == heard.said:
                continue
            what = words.get(word) or words.setdefault(word, decode(word))
            still = heard.what.more and what.stepped == heard.what.stepped
            self.others[name] = Heard(word, what, wall_ms, heard.moved_ms if still else wall_ms)

    def slowest(self, wall_ms: int) -> tuple[int, str] | None:
        """The event time and name of the task that is waited for; None where nobody need be."""
        for name, (_, what, heard_ms, moved_ms) in sorted(
            self.others.items(), key=lambda one: one[1].what.at
        ):
            if wall_ms - heard_ms > GONE_MS or not (what.more or heard_ms < self.settled_ms):
                continue
            # One that is further is not asked whether it is stuck: it may be waiting, too.
            if not self._is_stuck(name, wall_ms - moved_ms):
                return what.at, name
        return None

    def limit(self, next_at: int | None, wall_ms: int) -> int:
        """The event time in ms behind which nothing is to be stepped yet, by a worker whose next event is at `next_at`.

        Example:
            >>> one = Abreast(1_000)
            >>> one.start(["7"], {}, wall_ms=90_000_000)
            >>> one.hear({"7": encode(Said(1, 50_000, True, 12))}, wall_ms=90_000_000)
            >>> one.limit(60_000, wall_ms=90_000_000)
            51000

        """
        if next_at is None:
            return ALL
        if self.busy_ms < 0 or wall_ms - self.busy_ms > NEW_AFTER_MS:
            self.settled_ms = wall_ms + PATIENCE_MS
        self.busy_ms = wall_ms
        slowest = None if next_at >= wall_ms - self.skew_ms else self.slowest(wall_ms)
        if slowest is None:
            self.waits_since_ms = 0
            return ALL
        at, name = slowest
        if next_at <= at + self.skew_ms:
            self.waits_since_ms = 0
        else:
            self._waits(next_at - at, name, wall_ms)
        return at + self.skew_ms

    def _waits(self, ahead_ms: int, name: str, wall_ms: int) -> None:
        """Say so where it takes long."""
        self.waits_since_ms = self.waits_since_ms or wall_ms
        waited_ms = wall_ms - self.waits_since_ms
        if waited_ms >= LONG_MS and wall_ms - self.told_ms >= LONG_MS:
            self.told_ms = wall_ms
            logger.warning(
                "%.0f s of event time ahead of partition %s, which another worker reads: waiting for it, %.0f s so far",
                *(ahead_ms / 1_000, name, waited_ms / 1_000),
            )

    def _is_stuck(self, name: str, still_ms: int) -> bool:
        if still_ms <= STUCK_MS:
            self._stuck.discard(name)
            return False
        if name not in self._stuck:
            self._stuck.add(name)
            logger.warning(
                "partition %s, which another worker reads, has not moved for %.0f s: it is not waited for until it does",
                *(name, still_ms / 1_000),
            )
        return True

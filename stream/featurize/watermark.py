"""The low watermark that the workers of a pipeline share: what each says of its tasks, in a small hash beside their state.

Laws of this file:
- It costs one round trip to the store every `EVERY_MS` while there is work, and nothing per event; where one worker has every
  task, one at its start. Where few events span much event time it is one a batch: who is held back asks often, and who has gone
  on by half the skew says so at once, so that nobody waits for news.
- A store that does not answer holds nobody back: whoever writes to it finds out what became of it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from penstock.features.redis.keys import reached_key
from penstock.features.redis.keyspace import Keyspace
from penstock.features.redis.store import StoreUnavailable
from penstock.stream.featurize.abreast import Abreast, Said, encode
from penstock.stream.featurize.merge import Head
from penstock.stream.featurize.pace import ALL

if TYPE_CHECKING:
    from penstock.stream.featurize.order import Together

logger = logging.getLogger("penstock.featurize")

EVERY_MS = 100
SOON_MS = 5
IDLE_EVERY_MS = 300
NEW_MS = 2_000  # others that begin as well believe what changes: it is to change soon
KEPT_MS = 60_000


class Watermark:
    """What one worker says and hears. Without a `keyspace`, or with a skew of 0, it does neither.

    `held` is whether it has something to step that must wait for others: who polls then should not wait long.
    """

    def __init__(self, keyspace: Keyspace | None, deployed: str, skew_ms: int) -> None:
        self.keyspace = keyspace if skew_ms else None
        self.key, self.abreast = reached_key(deployed), Abreast(skew_ms)
        self.own: list[str] = []
        self.heard: dict[str, bytes] = {}
        self.began_ms = self.said_ms = self.said_at = self.number = self.stepped = 0
        self.held = self.deaf = False

    def start(self, own: Collection[str], tasks: int, wall_ms: int) -> None:
        """Begin with these of the tasks "0", "1" and so on."""
        self.own, self.said_ms, self.began_ms, self.held = list(own), 0, wall_ms, False
        if self.keyspace is not None:
            # Said where nobody listens, too: a right that is missing is found at the start.
            said = self._exchange(self._words(-1, more=True, stepped=0)) if own else {}
            others = [str(number) for number in range(tasks) if str(number) not in own] if own else []
            self.abreast.start(others, said, wall_ms)

    def limit(self, together: Together, at_end: set[Head], busy: bool, wall_ms: int) -> int:
        """How far event time may go on. `busy` is whether anything came."""
        if not self.abreast.others:
            return ALL
        merge = together.merge
        next_at = merge.next_at(at_end)
        idle = not busy and not len(merge) and wall_ms - self.began_ms > NEW_MS
        every_ms = IDLE_EVERY_MS if idle else EVERY_MS
        if self.held or (next_at or 0) - self.said_at >= self.abreast.skew_ms // 2:
            every_ms = SOON_MS
        if wall_ms - self.said_ms >= every_ms:
            self.said_ms, self.said_at = wall_ms, next_at or 0
            self._say(together, next_at, together.has_more(at_end, wall_ms))
            self.abreast.hear(self.heard, wall_ms)
        limit = self.abreast.limit(next_at, wall_ms)
        self.held = next_at is not None and next_at > limit
        return limit

    def _say(self, together: Together, next_at: int | None, more: bool) -> None:
        reached = max((task.reached for task in together.tasks), default=-1)
        words = self._words(reached if next_at is None else next_at, more=more, stepped=self.stepped)
        there = {task.featurize.task for task in together.tasks}
        if any(name not in there for name in self.own):  # what is being rebuilt says nothing new
            words = {**self._words(-1, more=False, stepped=0), **{name: words[name] for name in there}}
        self.heard = self._exchange(words)

    def _words(self, at: int, *, more: bool, stepped: int) -> dict[str, bytes]:
        """The same word about each own task."""
        self.number += 1
        return dict.fromkeys(self.own, encode(Said(self.number, at, more, stepped)))

    def close(self) -> None:
        """Say that nobody need wait for these tasks."""
        if self.abreast.others:
            self._exchange(self._words(ALL, more=False, stepped=0))

    def _exchange(self, said: dict[str, bytes]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        if self.keyspace is not None:
            try:
                found = self.keyspace.exchange(self.key, said, KEPT_MS)
                self.deaf = False
            except StoreUnavailable as error:
                if not self.deaf:
                    logger.warning("workers do not hear of each other, so none waits for another: %s", error)
                self.deaf = True
        return found

"""A group member that takes its slot back when it is fenced; any member, and any reader, whose client hears nothing any more.

Laws that hold here, beside those of `kafka_members`:

- A broker that dies may come back with this process's slot given to a join of its own that nobody heard the answer of. Nobody
  lives behind that membership, so whoever is fenced joins again, and holds nothing until the group says so.
- It does so once in `ALONE_S`. Two processes of one slot fence each other again and again; who is fenced again so soon ends. What
  either of them still writes is refused, or recognised, by what lies in Redis, as of any two owners.
- A client may be deaf for good: librdkafka forgets its only broker when that says, just back, that there is none (issue 5301).
  Where nothing comes for `SILENT_S`, or a commit is unheard, and nobody answers but to a client made anew, another takes its
  place; and also where a second commit in a row is unheard. Nobody waits for the deaf one to end.
- While the broker is away, it is asked for all of a process at once: whoever polls waits for the question.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer

from penstock.stream.log.kafka_answers import hears
from penstock.stream.log.kafka_commits import Unheard
from penstock.stream.log.kafka_members import KafkaMember, KafkaReader, leave
from penstock.stream.log.protocol import TP, Fenced, Record

logger = logging.getLogger("penstock.kafka")

ALONE_S = 15.0
SILENT_S = 30.0
ASK_S = 10.0
DEAF = "nobody answers this client, and others are answered"


class Anew:
    """Whether a broker answers a client that is made anew. For `ASK_S` after it did not, nobody is asked again."""

    def __init__(self, make: Callable[[], Consumer]) -> None:
        self._make = make
        self._silent_s = -ASK_S

    @property
    def was_silent(self) -> bool:
        """Whether nobody answered a moment ago."""
        return time.monotonic() - self._silent_s < ASK_S

    def is_answered(self, topic: str) -> bool:
        """Ask, unless nobody answered a moment ago."""
        if self.was_silent:
            return False
        client = self._make()
        try:
            answered = hears(client, topic)
        finally:
            client.close()
        if not answered:
            self._silent_s = time.monotonic()
        return answered

    def but_not(self, consumer: Consumer, topic: str) -> bool:
        """Whether nobody answers this client, and somebody does answer one made anew.

        It is asked once more behind that: a broker may have come back in between.
        """
        return not (
            self.was_silent or hears(consumer, topic) or not self.is_answered(topic) or hears(consumer, topic)
        )


def away(former: Consumer) -> None:
    """Close a client whose place another has taken. Nobody waits for it: who hears nothing may never come to its end."""
    threading.Thread(target=leave, args=(former,), name="leave", daemon=True).start()


class RenewedReader(KafkaReader):
    """A reader that goes on with another client. `make` makes one, `anew` says whether it would be answered."""

    def __init__(self, make: Callable[[], Consumer], positions: Mapping[TP, int], anew: Anew) -> None:
        super().__init__(make(), positions)
        self._make, self._anew = make, anew
        self._came_s = time.monotonic()

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        records = super().poll(max_records, timeout_s)
        now_s = time.monotonic()
        if records:
            self._came_s = now_s
        elif self._positions and now_s - self._came_s >= SILENT_S:
            self._came_s = now_s
            if self._anew.but_not(self._consumer, next(iter(self._positions))[0]):
                logger.warning("%s; it reads on through another", DEAF)
                former, self._consumer = self._consumer, self._make()
                away(former)
                paused, self._paused = self._paused, set()
                self._assign(self._positions)
                self.pause(paused)
        return records


class RejoiningMember(KafkaMember):
    """A member that goes on with another client.

    `make` makes another consumer like the first, `anew` says whether one is answered, and `static` that it has a slot, which it
    takes back when it is fenced.
    """

    def __init__(
        self,
        consumer: Consumer,
        topics: Sequence[str],
        make: Callable[[], Consumer],
        anew: Anew,
        *,
        static: bool,
        **more: Any,
    ) -> None:
        super().__init__(consumer, topics, **more)
        self._make, self._anew, self._static = make, anew, static
        self._rejoined_s = -ALONE_S
        self._heard_s = time.monotonic()
        self._unheard = False  # the commit before

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        try:
            records = super().poll(max_records, timeout_s)
            now_s = time.monotonic()
            if records:
                self._heard_s = now_s
            elif now_s - self._heard_s >= SILENT_S:
                self._heard_s = now_s
                if self._is_deaf():
                    logger.warning("%s; another joins in its place", DEAF)
                    self._rejoin()
            return records
        except Fenced as error:
            now_s = time.monotonic()
            if not self._static:
                raise
            if now_s - self._rejoined_s < ALONE_S:
                raise Fenced(
                    f"{error}: another process runs under this slot; stop one, or give each its own --slot"
                ) from error
            logger.warning("%s; joining again", error)
            self._rejoined_s = now_s
            self._rejoin()
            return []

    def commit(self, positions: Mapping[TP, int]) -> None:
        try:
            super().commit(positions)
            self._unheard = False
        except Unheard as error:
            if self._unheard or self._is_deaf():
                logger.warning("%s; another client joins in its place", error)
                self._rejoin()
            else:
                self._unheard = True
            raise

    def _is_deaf(self) -> bool:
        return self._anew.but_not(self._consumer, self._topics[0])

    def _rejoin(self) -> None:
        """Begin anew as a member that holds nothing."""
        # In this order: what a client that was replaced is told, in the thread that closes it, is no news of this member.
        former, self._consumer = self._consumer, self._make()
        away(former)
        self._positions, self._paused, self._failure = {}, set(), None
        self._heard_s, self._unheard = time.monotonic(), False
        self._revocations += 1
        self._changes.revoke(lost=True)
        self._subscribe()

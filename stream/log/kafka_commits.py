"""Commits that come to an end.

librdkafka's own may wait for an answer that never comes, without a limit and deaf to signals: after two hours of faults, one did
(librdkafka 2.16.0).

Laws of this file:
- Whoever commits waits for it, and does nothing else meanwhile: only beside one that was given up may another be under way.
- One that was given up may still be stored later: whoever goes on from it reads some records again, as after one that failed.
- Not for a commit while a rebalance is told, of which librdkafka hears from no other thread.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from queue import Empty, SimpleQueue

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from penstock.stream.log.protocol import TP, CommitFailed, Fenced, LogError
from penstock.stream.log.refused import not_allowed

#: librdkafka gives a broker 10 s for an answer (`socket.timeout.ms`), and looks for the coordinator before.
COMMIT_S = 15.0
FENCED = (
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError._FENCED,
    KafkaError._FATAL,
)


class Unheard(CommitFailed):
    """Nobody answered whether the offsets are committed. The client may never hear anything again."""


Answer = list[TopicPartition] | BaseException


def commit(consumer: Consumer, positions: Mapping[TP, int], timeout_s: float | None = COMMIT_S) -> None:
    """Commit these positions. Raises `Fenced`, and `CommitFailed`: `Unheard` after `timeout_s` without an answer (None: wait)."""
    offsets = [TopicPartition(*tp, at) for tp, at in positions.items()]
    heard: SimpleQueue[Answer] = SimpleQueue()

    def ask() -> None:
        try:
            heard.put(consumer.commit(offsets=offsets, asynchronous=False) or [])
        except BaseException as error:
            heard.put(error)

    if timeout_s is None:
        ask()
    else:
        # no pool of threads: its end would be waited for
        threading.Thread(target=ask, name="commit", daemon=True).start()
    try:
        answer = heard.get(timeout=timeout_s)
    except Empty:
        raise Unheard(f"offsets were not committed: nothing was heard of it for {timeout_s:g} s") from None
    if isinstance(answer, KafkaException):
        raise _said(answer.args[0]) from answer
    if isinstance(answer, BaseException):
        raise answer
    for one in answer:
        if one.error is not None:
            raise _said(one.error)


def _said(error: KafkaError) -> LogError:
    if error.fatal() or error.code() in FENCED:
        return Fenced(f"the group refused the commit: {error.str()}")
    if refused := not_allowed(error, "to commit its offsets"):
        return refused
    return CommitFailed(f"offsets were not committed: {error.str()}")

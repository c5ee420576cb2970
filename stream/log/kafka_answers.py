"""Answers that come, or are given up.

Once behind a broker that had stood still (librdkafka 2.16.0), `list_topics` with a limit of 3 s had not come back after three
minutes, and a commit before it was unheard. It seems that librdkafka's own thread hung, which keeps such limits.

Laws of this file:
- Nobody waits longer than was said, whatever librdkafka does; what was asked is left to a thread that ends with the process.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException

_T = TypeVar("_T")

HEARS_S = 3.0
#: librdkafka keeps a limit by itself where it can.
LATE_S = 5.0


def answer_of(asked: Future[_T], timeout_s: float) -> _T:
    """What an admin client was answered. Raises `KafkaException`: of a timeout, too, where it keeps none."""
    try:
        return asked.result(timeout_s + LATE_S)
    except TimeoutError:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "nothing was heard of it")) from None


def hears(consumer: Consumer, topic: str) -> bool:
    """Whether a broker answers a client. Not its coordinator: that may answer nobody while the group's members are waited for."""
    heard: SimpleQueue[bool] = SimpleQueue()

    def ask() -> None:
        try:
            consumer.list_topics(topic, timeout=HEARS_S)
            heard.put(True)
        except KafkaException:
            heard.put(False)

    threading.Thread(target=ask, name="hears", daemon=True).start()
    try:
        return heard.get(timeout=HEARS_S + LATE_S)
    except Empty:
        return False

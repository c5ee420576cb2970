"""Asks how far groups are, by consumers that join none of them.

Laws of this file:
- A consumer is kept, because making one costs as much as a hundred answers. One that was refused is not: it says only once why.
- Whoever lacks a right is told so: librdkafka lets the question run out of time, and gives the reason to who polls.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from penstock.stream.log.kafka_appender import logger
from penstock.stream.log.refused import not_allowed

#: So many errors may stand before the one that says why.
_MOST_ERRORS = 100


class KafkaGroups:
    """The committed offsets of groups. Thread-safe: one question at a time."""

    def __init__(self, settings: Mapping[str, Any], timeout_s: float) -> None:
        self._settings, self._timeout_s = settings, timeout_s
        self._asking = threading.Lock()
        self._consumers: dict[str, Consumer] = {}

    def committed(self, group: str, wanted: Sequence[TopicPartition]) -> list[TopicPartition]:
        """What the group committed; raises `KafkaException`, with the reason where the user may not ask."""
        # A consumer that only asks: it does not join. AdminClient.list_consumer_group_offsets can crash the process.
        with self._asking:
            consumer = self._consumers.get(group)
            if consumer is None:
                consumer = Consumer({**self._settings, "group.id": group}, logger=logger)
                self._consumers[group] = consumer
            try:
                return consumer.committed(list(wanted), timeout=self._timeout_s)
            except KafkaException:
                for _ in range(_MOST_ERRORS):
                    said = consumer.poll(0)
                    why = None if said is None else said.error()
                    if why is None:
                        raise
                    if not_allowed(why, ""):
                        self._consumers.pop(group).close()
                        raise KafkaException(why) from None
                raise

    def close(self) -> None:
        """Close every consumer."""
        with self._asking:
            while self._consumers:
                self._consumers.popitem()[1].close()

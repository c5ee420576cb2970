"""Publishes records with kafka-python, as an outside producer would: every record acknowledged by all replicas, or an error.

Laws of this file:
- Keyed records go where every client with Kafka's default partitioner (murmur2) puts them.
- What is counted as published was acknowledged; the first failure ends the call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError
from kafka.partitioner.default import murmur2

from penstock.stream.log.admin import existing
from penstock.stream.log.kafka_python import client, unavailable
from penstock.stream.log.protocol import AppendFailed, UnknownTopic
from penstock.stream.process.settings import Settings

PROGRESS_S = 2.0
STRIDE = 512  # records between two looks at the clock
FLUSH_S = 120.0


class Published(NamedTuple):
    """How many records were acknowledged, in how many seconds of wall time."""

    records: int
    seconds: float


def publish(
    records: Iterable[tuple[str, bytes | None, bytes | None]],
    settings: Settings,
    *,
    per_s: float | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Published:
    """Append `(topic, key, value)` records in order, at most `per_s` a second (None: as fast as the broker takes them).

    Raises:
        LogUnavailable: the broker does not answer.
        UnknownTopic: a topic does not exist; it is not created.
        AppendFailed: a record was not acknowledged; some before it may not be either.

    """
    failures: list[BaseException] = []
    tuned: dict[str, Any] = {
        "linger_ms": 50,
        "batch_size": 512 * 1024,
        "max_block_ms": int(settings.connect_timeout_s * 1000),
    }
    with client(KafkaProducer, settings, **tuned) as producer:
        started = said_s = time.monotonic()
        count = 0
        partition_of = _partitioner(settings)
        send, failed = producer.send, failures.append
        for topic, key, value in records:
            send(topic, value=value, key=key, partition=partition_of(topic, key)).add_errback(failed)
            count += 1
            if count % STRIDE == 0 or per_s is not None:
                now_s = time.monotonic()
                if failures:
                    break
                if now_s - said_s >= PROGRESS_S:
                    said_s = now_s
                    progress(f"{count:,} records, {count / (now_s - started):,.0f}/s")
                if per_s is not None and count > per_s * (now_s - started):
                    time.sleep(count / per_s - (now_s - started))
        try:
            producer.flush(timeout=FLUSH_S)
        except KafkaError as error:
            failures.append(error)
    if failures:
        if "Timeout" in type(failures[0]).__name__:
            raise unavailable(settings, failures[0])  # type: ignore[arg-type]
        raise AppendFailed(len(failures), count, f"{type(failures[0]).__name__}: {failures[0]}")
    return Published(count, time.monotonic() - started)


def _partitioner(settings: Settings) -> Callable[[str, bytes | None], int | None]:
    """Kafka's default partitioner with a memory, for keys come again and the hash is in Python. No key: any partition."""
    counts: dict[str, int] = {}

    @lru_cache(maxsize=262_144)
    def hashed(key: bytes) -> int:
        return int(murmur2(key)) & 0x7FFFFFFF

    def partition_of(topic: str, key: bytes | None) -> int | None:
        partitions = counts.get(topic)
        if partitions is None:
            with client(KafkaAdminClient, settings) as admin:
                counts.update(existing(admin, [topic]))
            if topic not in counts:
                raise UnknownTopic(topic)
            partitions = counts[topic]
        return None if key is None else hashed(key) % partitions

    return partition_of

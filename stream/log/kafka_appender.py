"""The appending half of the log on Kafka.

Laws that hold here:

- The producer is idempotent, waits for all replicas, and gives up no record by itself (`message.timeout.ms=0`): `append`
  decides. When it gives up, the producer with whatever it still holds is thrown away, and the next `append` has a new one.
- Keys are placed by `murmur2_random`, as Kafka's Java client and kafka-python do, and as librdkafka does not by default.
- Sizes are checked before anything is sent, against what the topic takes.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from penstock.stream.log.protocol import AppendFailed, LogError, Out, RecordTooLarge, record_bytes
from penstock.stream.log.refused import not_allowed


class TriedAgain(logging.Filter):
    """Leaves out what librdkafka does again by itself, such as asking for an id: what fails in the end `append` tells."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written."""
        return not record.getMessage().endswith(": retrying")


logger = logging.getLogger("penstock.kafka")
logger.addFilter(TriedAgain())

#: What a batch of one record takes beside the record.
BATCH_OVERHEAD_BYTES = 128
_LINGER_MS = 5
_CONNECT_S = 1.0


class KafkaAppender:
    """Produces batches and waits for them. Thread-safe: one batch at a time.

    `limit_of` tells how many bytes a record of a topic may have; it is asked once a topic.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        limit_of: Callable[[str], int],
        *,
        timeout_s: float,
        max_record_bytes: int,
        on_wait: Callable[[int, float], None] | None,
        last_error: Callable[[], str],
        refused: Callable[[float], LogError | None],
    ) -> None:
        self._settings = settings
        self._limit_of = limit_of
        self._timeout_s = timeout_s
        self._max_record_bytes = max_record_bytes
        self._on_wait = on_wait
        self._last_error = last_error
        self._refused = refused
        self._producer: Producer | None = None
        self._appending = Lock()
        self._limits: dict[str, int] = {}
        self._batch_bytes = max_record_bytes

    def append(self, outs: Sequence[Out]) -> None:
        """See `Log.append`."""
        if not outs:
            return
        errors: list[tuple[KafkaError | None, str]] = []

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            errors.append((error, message.topic() or ""))

        with self._appending:
            self._check_sizes(outs)
            producer = self._producer or self._new_producer(outs[0].topic)
            started = time.monotonic()
            try:
                self._produce(producer, outs, on_delivery, started)
                unacked = self._flush(producer, started)
            except (KafkaException, SystemError) as ended:
                self._abandon(producer)
                raise _ended(ended, len(outs)) from ended
            except BaseException:  # an unfinished batch must not be sent behind the caller's back later
                self._abandon(producer)
                raise
            if unacked:
                self._abandon(producer)
                reason = f"no acknowledgement within {self._timeout_s:g} s. {self._last_error()}".rstrip()
                raise AppendFailed(unacked, len(outs), reason)
            if errors:
                self._abandon(producer)
                error, topic = errors[0]
                if error is not None and (refused := not_allowed(error, f"to write to {topic}")):
                    raise refused
                raise AppendFailed(len(errors), len(outs), error.str() if error else "unknown")

    def close(self) -> None:
        """Let go of the producer; nothing is pending between two appends."""
        with self._appending:
            self._producer = None

    def _new_producer(self, topic: str) -> Producer:
        producer = self._producer = Producer(
            {
                "enable.idempotence": True,
                "acks": "all",
                "message.timeout.ms": 0,
                "partitioner": "murmur2_random",
                "linger.ms": _LINGER_MS,
                # Every client can read it; for lz4 and zstd, aiokafka and kafka-python need further libraries.
                # PENSTOCK_KAFKA_COMPRESSION_TYPE sets another.
                "compression.type": "none",
                "batch.size": self._batch_bytes,
                "batch.num.messages": 100_000,
                "message.max.bytes": self._max_record_bytes + BATCH_OVERHEAD_BYTES,
                "queue.buffering.max.messages": 1_000_000,
                "queue.buffering.max.kbytes": 262_144,
                "delivery.report.only.error": True,  # else a Message object is made for every record
                **self._settings,
            },
            logger=logger,
        )
        # It asks for its id, without which it sends nothing, as soon as it is made. Without a connection it asks again half a
        # second later; so make one. A broker that is away is waited for by whoever appends.
        with contextlib.suppress(KafkaException):
            producer.list_topics(topic, timeout=_CONNECT_S)
        return producer

    def _produce(
        self,
        producer: Producer,
        outs: Sequence[Out],
        on_delivery: Callable[[KafkaError | None, Message], None],
        started: float,
    ) -> None:
        produce = producer.produce
        for topic, key, value, headers, partition in outs:
            where = -1 if partition is None else partition
            while True:
                try:
                    if headers:
                        produce(topic, value, key, where, on_delivery=on_delivery, headers=list(headers))
                    else:
                        produce(topic, value, key, where, on_delivery=on_delivery)
                    break
                except BufferError:
                    if time.monotonic() - started > self._timeout_s:
                        raise AppendFailed(len(producer), len(outs), "the send queue stayed full") from None
                    producer.poll(0.05)
                except KafkaException as error:
                    raise AppendFailed(len(outs), len(outs), str(error)) from error

    def _flush(self, producer: Producer, started: float) -> int:
        unacked = producer.flush(1.0)
        while unacked:
            waited_s = time.monotonic() - started
            if refused := self._refused(started):
                raise refused
            if self._on_wait is not None:
                self._on_wait(unacked, waited_s)
            if waited_s >= self._timeout_s:
                break
            unacked = producer.flush(min(1.0, self._timeout_s - waited_s))
        return unacked

    def _abandon(self, producer: Producer) -> None:
        self._producer = None
        producer.purge()
        producer.poll(0)

    def _check_sizes(self, outs: Sequence[Out]) -> None:
        limits = self._limits
        for index, out in enumerate(outs):
            limit = limits.get(out.topic)
            if limit is None:
                limit = limits[out.topic] = self._limit_of(out.topic)
            size = record_bytes(out)
            if size > limit:
                raise RecordTooLarge(out, index, size, limit)
        smallest = min(limits.values())
        if smallest < self._batch_bytes:  # batches of several records must fit that topic too
            self._batch_bytes, self._producer = smallest, None


def _ended(error: KafkaException | SystemError, records: int) -> BaseException:
    """What to raise where the producer ended: it raises its fatal error wherever it is polled, if need be within a callback."""
    fatal = error if isinstance(error, KafkaException) else error.__cause__
    if not isinstance(fatal, KafkaException):
        return error
    cause: KafkaError = fatal.args[0]
    # Who may write to no topic at all is refused the producer's own id, as if it were a right on the cluster.
    return not_allowed(cause, "to write to any topic") or AppendFailed(records, records, cause.str())

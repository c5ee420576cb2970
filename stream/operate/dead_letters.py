"""Dead letters as an operator meets them: read one by one from their topic, and sent back where they came from.

Laws of this file:
- Reading ends where the topic ended when it began, however fast new letters come.
- What is sent back is what was read at first: the same bytes, key, headers and partition. A letter that was cut
  when it was buried is not sent, and neither is a record that no Penstock wrote.
- Nothing is remembered: whoever sends twice has sent twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from penstock.stream import topology
from penstock.stream.featurize.dead_letters import MOST_BURIED_BYTES
from penstock.stream.featurize.decode import MAX_KEY_CHARACTERS
from penstock.stream.log.admin import existing
from penstock.stream.log.kafka_python import client, read_positions
from penstock.stream.log.protocol import AppendFailed, LogUnavailable, UnknownTopic
from penstock.stream.process.settings import Settings

OWN_HEADERS = "penstock-"
MOST_DIGITS = 19  # of an offset
STALLED_S = 30.0
FLUSH_S = 120.0
POLL_MS = 200
STRIDE = 512  # records between two looks at what failed


class Letter(NamedTuple):
    """One dead letter.

    `offset` is its place in the dead-letters topic; `topic`, `partition` and `of` (an offset) that of the record
    it was. `topic` is empty for a record that carries no such note. `headers` are the record's own.
    """

    offset: int
    timestamp_ms: int
    id: str
    reason: str
    topic: str
    partition: int
    of: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]

    @property
    def whole(self) -> bool:
        """Whether these are all the bytes there were; in doubt not."""
        cut_value = self.value is not None and len(self.value) >= MOST_BURIED_BYTES
        cut_key = self.key is not None and len(self.key) == MAX_KEY_CHARACTERS and not self.headers
        return not cut_value and not cut_key

    @property
    def sendable(self) -> bool:
        """Whether it can be sent back."""
        return bool(self.topic) and self.whole


def letter_of(record: Any) -> Letter:
    """The letter of a record that kafka-python consumed."""
    return letter(record.offset, record.timestamp, record.key, record.value, record.headers)


def letter(
    offset: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    all_headers: Iterable[tuple[str, bytes | None]],
) -> Letter:
    """The letter of a record. Notes stand after the record's own headers, so the last of a name counts."""
    headers = [(name, one or b"") for name, one in all_headers]
    notes = {name: one.decode(errors="replace") for name, one in headers if name.startswith(OWN_HEADERS)}
    partition, of = (notes.get(OWN_HEADERS + name, "") for name in ("partition", "offset"))
    known = all(one.isdecimal() and len(one) <= MOST_DIGITS for one in (partition, of))
    return Letter(
        offset=offset,
        timestamp_ms=timestamp_ms,
        id=notes.get(OWN_HEADERS + "id", ""),
        reason=notes.get(OWN_HEADERS + "reason", ""),
        topic=notes.get(OWN_HEADERS + "topic", "") if known else "",
        partition=int(partition) if known else 0,
        of=int(of) if known else 0,
        key=key,
        value=value,
        headers=[(name, one) for name, one in headers if not name.startswith(OWN_HEADERS)],
    )


def letters(
    consumer: KafkaConsumer, pipeline: str, prefix: str = "", *, since: int = 0, until: int | None = None
) -> Iterator[Letter]:
    """The dead letters at offsets [`since`, `until`), to the topic's end of now without `until`.

    Raises:
        UnknownTopic: the pipeline has no such topic.
        LogUnavailable: nothing came for `STALLED_S`.

    """
    topic = topology.dead_letters(pipeline, prefix)
    read_positions(consumer, [topic], from_start=True)
    tp = TopicPartition(topic, 0)
    end: int = consumer.end_offsets([tp])[tp]
    end = end if until is None else min(until, end)
    consumer.seek(tp, max(since, consumer.position(tp)))
    heard_s = time.monotonic()
    while consumer.position(tp) < end:
        found = consumer.poll(timeout_ms=POLL_MS).get(tp, [])
        if found:
            heard_s = time.monotonic()
        elif time.monotonic() - heard_s > STALLED_S:
            raise LogUnavailable(f"nothing of {topic} came for {STALLED_S:g} s: does the broker still run?")
        for record in found:
            if record.offset < end:
                yield letter_of(record)


def to_send(found: Iterable[Letter]) -> Iterator[Letter]:
    """Those that can be sent back, each once: a letter that a crash wrote again has the id of the one before."""
    sent: set[str] = set()
    for one in found:
        if one.sendable and one.id not in sent:
            if one.id:
                sent.add(one.id)
            yield one


def send_back(found: Iterable[Letter], settings: Settings) -> int:
    """Send letters back to the partitions they came from, in order; how many were acknowledged.

    Raises:
        UnknownTopic: a topic is no longer there; letters before the one that needs it were sent.
        AppendFailed: a record was not acknowledged; some before it may not be either.

    """
    failures: list[BaseException] = []
    counts: dict[str, int] = {}
    count = 0
    tuned: dict[str, Any] = {"linger_ms": 20, "max_block_ms": int(settings.connect_timeout_s * 1000)}
    with client(KafkaAdminClient, settings) as admin, client(KafkaProducer, settings, **tuned) as producer:
        for letter in found:
            if letter.topic not in counts:
                counts.update(existing(admin, [letter.topic]))
            if letter.topic not in counts:
                producer.flush(timeout=FLUSH_S)
                raise UnknownTopic(letter.topic)
            # A topic made anew with fewer partitions: the key decides, as it would for a new record.
            partition = letter.partition if letter.partition < counts[letter.topic] else None
            sent = producer.send(
                letter.topic,
                value=letter.value,
                key=letter.key,
                headers=letter.headers,
                partition=partition,
            )
            sent.add_errback(failures.append)
            count += 1
            if failures and count % STRIDE == 0:
                break
        try:
            producer.flush(timeout=FLUSH_S)
        except KafkaError as error:
            failures.append(error)
    if failures:
        raise AppendFailed(len(failures), count, f"{type(failures[0]).__name__}: {failures[0]}")
    return count

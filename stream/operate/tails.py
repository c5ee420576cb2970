"""The ends of Penstock's own topics, by the client of commands that hold one already.

Laws of this file:
- Nothing is joined or committed: whoever looks changes nothing.
- Only what Penstock itself wrote is read so. Sources are read by featurize's client (`sampling`), which unpacks every packing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from kafka import KafkaConsumer, TopicPartition

from penstock.stream.log.protocol import LogUnavailable, Record, UnknownTopic

STALLED_S = 30.0
POLL_MS = 200


def newest(
    consumer: KafkaConsumer, topic: str, most: int, *, headers: bool = False
) -> tuple[list[Record], int]:
    """About the newest `most` records of a topic, as many of each partition, and its number of partitions.

    Their headers are left out unless they are asked for.

    Raises:
        UnknownTopic: the topic is not there.
        LogUnavailable: nothing came for `STALLED_S`.

    """
    partitions = consumer.partitions_for_topic(topic)
    if not partitions:
        raise UnknownTopic(topic)
    tps = [TopicPartition(topic, partition) for partition in sorted(partitions)]
    consumer.assign(tps)
    low, high = consumer.beginning_offsets(tps), consumer.end_offsets(tps)
    share = -(-most // len(tps))
    for tp in tps:
        consumer.seek(tp, max(low[tp], high[tp] - share))
    return _read(consumer, tps, high, headers=headers), len(tps)


def oldest(consumer: KafkaConsumer, topic: str) -> list[Record]:
    """The first record that is left of each partition of a topic. Raises as `newest` does."""
    partitions = consumer.partitions_for_topic(topic)
    if not partitions:
        raise UnknownTopic(topic)
    tps = [TopicPartition(topic, partition) for partition in sorted(partitions)]
    consumer.assign(tps)
    low, high = consumer.beginning_offsets(tps), consumer.end_offsets(tps)
    for tp in tps:
        consumer.seek(tp, low[tp])
    return _read(consumer, tps, {tp: min(low[tp] + 1, high[tp]) for tp in tps}, headers=False)


def _read(
    consumer: KafkaConsumer,
    tps: Sequence[TopicPartition],
    ends: Mapping[TopicPartition, int],
    *,
    headers: bool,
) -> list[Record]:
    """Everything up to these ends."""
    found: list[Record] = []
    heard_s = time.monotonic()
    while any(consumer.position(tp) < ends[tp] for tp in tps):
        polled = consumer.poll(timeout_ms=POLL_MS)
        if polled:
            heard_s = time.monotonic()
        elif time.monotonic() - heard_s > STALLED_S:
            raise LogUnavailable(
                f"nothing of {tps[0].topic} came for {STALLED_S:g} s: does the broker still run?"
            )
        for tp, records in polled.items():
            found += [
                Record(
                    r.topic,
                    r.partition,
                    r.offset,
                    r.timestamp,
                    r.key,
                    r.value,
                    tuple(r.headers) if headers else (),
                )
                for r in records
                if r.offset < ends[tp]
            ]
    return found

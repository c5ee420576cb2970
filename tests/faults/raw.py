"""Topics as any Kafka client finds them: read with kafka-python, so that nothing of what is tested stands between.

Laws of this file:
- It stands where the naive flow wants a log to read from, and where the checker wants records.
- What is read ends where the topic ended when reading began; a reader that gets nothing for a long time says so.
"""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from penstock.stream.log.protocol import TP, Record
from tests.patience import PATIENCE_S


class RawTopics:
    """Reads whole topics, and asks for what they are."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._ids: dict[str, str] = {}
        self._whole: dict[str, list[list[Record]]] = {}

    def _consumer(self) -> KafkaConsumer:
        return KafkaConsumer(
            bootstrap_servers=self.bootstrap,
            enable_auto_commit=False,
            isolation_level="read_committed",  # a Flink job writes in transactions
            check_crcs=False,
            max_poll_records=10_000,
            fetch_max_bytes=50_000_000,
            max_partition_fetch_bytes=20_000_000,
        )

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has."""
        consumer = self._consumer()
        try:
            return len(consumer.partitions_for_topic(topic) or ())
        finally:
            consumer.close()

    def topic_id(self, topic: str) -> str:
        """The broker's id of a topic, as librdkafka writes it."""
        if topic not in self._ids:
            admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
            try:
                found: Any = admin.describe_topics([topic])[0]["topic_id"]
            finally:
                admin.close()
            whole = uuid.UUID(str(found)).bytes
            self._ids[topic] = base64.b64encode(whole).decode().rstrip("=")
        return self._ids[topic]

    def bounds(self, tps: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """(start, end) of each partition."""
        wanted = [TopicPartition(*tp) for tp in tps]
        consumer = self._consumer()
        try:
            starts, ends = consumer.beginning_offsets(wanted), consumer.end_offsets(wanted)
        finally:
            consumer.close()
        return {(tp.topic, tp.partition): (starts[tp], ends[tp]) for tp in wanted}

    def reader(self, positions: Mapping[TP, int]) -> RawReader:
        """A reader of partitions from these offsets on."""
        return RawReader(self._consumer(), positions)

    def whole(self, topic: str) -> list[list[Record]]:
        """Every record of every partition, partition by partition. A topic is read once: ask when nothing writes any more."""
        if topic not in self._whole:
            self._whole[topic] = self._read_whole(topic)
        return self._whole[topic]

    def _read_whole(self, topic: str) -> list[list[Record]]:
        tps = [(topic, partition) for partition in range(self.partitions(topic))]
        found: dict[TP, list[Record]] = {tp: [] for tp in tps}
        bounds = self.bounds(tps)
        left = {tp for tp, (low, high) in bounds.items() if low < high}
        reader = self.reader({tp: low for tp, (low, _) in bounds.items()})
        deadline = time.monotonic() + PATIENCE_S
        while left:
            assert time.monotonic() < deadline, f"{topic} was not read to its end"
            for record in reader.poll(10_000, 1.0):
                tp = (record.topic, record.partition)
                if record.offset < bounds[tp][1]:
                    found[tp].append(record)
            # an offset may be that of nothing that is read, such as a record that compaction took
            left = {tp for tp in left if reader.position(tp) < bounds[tp][1]}
        reader.close()
        return [found[tp] for tp in tps]


class RawReader:
    """What the naive flow polls."""

    def __init__(self, consumer: KafkaConsumer, positions: Mapping[TP, int]) -> None:
        self._consumer = consumer
        consumer.assign([TopicPartition(*tp) for tp in positions])
        for tp, at in positions.items():
            consumer.seek(TopicPartition(*tp), at)

    def poll(self, most: int, timeout_s: float) -> list[Record]:
        """The next records, waited for at most so long."""
        found = self._consumer.poll(timeout_ms=round(timeout_s * 1_000), max_records=most)
        return [
            Record(
                one.topic, one.partition, one.offset, one.timestamp, one.key, one.value, tuple(one.headers)
            )
            for records in found.values()
            for one in records
        ]

    def position(self, tp: TP) -> int:
        """The offset that is read next."""
        return int(self._consumer.position(TopicPartition(*tp)))

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

"""Readers and group members on Kafka.

Laws that hold here:

- librdkafka is told where to start by `assign` alone; it never seeks, resets or commits by itself.
- In `on_assign` the consumer is given an empty assignment: it stays in the group and reads nothing until `start_at`.
- What a poll fetched before a revocation is dropped with it: the next owner reads it again.
- A record with a header whose name is no UTF-8, which the client cannot give, is read without any of its headers.
- An error is raised after the records fetched with it were returned, and by every `poll` until `start_at` or a revocation.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import methodcaller
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from penstock.stream.log.kafka_commits import COMMIT_S, FENCED, commit
from penstock.stream.log.kafka_passing import PASSING
from penstock.stream.log.protocol import (
    TP,
    Assignment,
    AssignmentChanges,
    Fenced,
    LogError,
    OffsetLost,
    Record,
    UnknownTopic,
)
from penstock.stream.log.refused import not_allowed

_UNKNOWN = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
#: librdkafka goes on by itself after these; the loss of a session arrives as a revocation.
_PASSING = (
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._MAX_POLL_EXCEEDED,
    *PASSING,
)
#: A rebalance is noticed within this time, however long `poll` may wait.
_SLICE_S = 0.05
#: So many records that were fetched and not asked for yet may stand before a rebalance.
_MOST_LEFT = 10_000
_BOUNDS_TIMEOUT_S = 10.0
#: `message.headers()`, called so that its error is noticed here: where the interpreter calls it often by itself, it looks
#: for none, and whatever is done next fails.
_headers = methodcaller("headers")


def leave(consumer: Consumer) -> None:
    """Close a client for good."""
    # A rebalance that is told to a consumer while it closes waits for ever within librdkafka: hear of it before.
    try:
        for _ in range(_MOST_LEFT):
            if consumer.poll(0) is None:
                break
    finally:
        consumer.close()


class KafkaReader:
    """Reads given partitions. Made by `KafkaLog.reader`."""

    def __init__(self, consumer: Consumer, positions: Mapping[TP, int]) -> None:
        self._consumer = consumer
        self._positions: dict[TP, int] = {}
        self._heard: set[TP] = set()  # of these something came since reading began where it began
        self._paused: set[TP] = set()
        self._changes = AssignmentChanges()
        self._revocations = 0
        self._failure: LogError | None = None
        self._closed = False
        if positions:
            self._assign(positions)

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        if self._closed:
            return []
        consume, before = self._consumer.consume, self._revocations
        records = self._records(consume(max_records, 0))
        if not records:
            deadline = time.monotonic() + timeout_s
            # consume(n, t) would wait the whole t unless n records came
            while not records and self._failure is None and not self._changes.pending:
                left_s = deadline - time.monotonic()
                first = self._consumer.poll(min(max(left_s, 0.0), _SLICE_S))
                if first is not None:
                    more = consume(max_records - 1, 0) if max_records > 1 else []
                    records = self._records([first, *more])
                elif left_s <= 0:
                    break
        if self._revocations != before:
            return []
        if not records and self._failure is not None:
            raise self._failure
        return records

    def positions(self) -> dict[TP, int]:
        return dict(self._positions)

    def high_watermarks(self) -> dict[TP, int]:
        ends = {}
        # librdkafka keeps the end of a partition from when it was read before: others have appended since.
        for tp in self._positions.keys() & self._heard:
            bounds = self._consumer.get_watermark_offsets(TopicPartition(*tp), cached=True)
            if bounds is not None and bounds[1] >= 0:
                ends[tp] = bounds[1]
        return ends

    def pause(self, tps: Collection[TP]) -> None:
        held = set(tps) & self._positions.keys()
        if fresh := held - self._paused:
            self._consumer.pause([TopicPartition(*tp) for tp in fresh])
        if done := (self._paused - held) & self._positions.keys():
            self._consumer.resume([TopicPartition(*tp) for tp in done])
        # What is paused and not assigned any more is still paused, and would be when it is assigned again.
        self._paused = (self._paused - done) | held

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._positions = {}
            leave(self._consumer)

    def _assign(self, positions: Mapping[TP, int]) -> None:
        # Fetching waits up to a second for the leaders of topics that this client has never heard of.
        for topic in {topic for topic, _ in positions}:
            # a broker that is away: reading says so, and waits for it
            with contextlib.suppress(KafkaException):
                self._consumer.list_topics(topic, timeout=_BOUNDS_TIMEOUT_S)
        self._consumer.assign([TopicPartition(*tp, at) for tp, at in positions.items()])
        if still := self._paused & positions.keys():
            self._consumer.resume([TopicPartition(*tp) for tp in still])
            self._paused -= still
        self._positions, self._heard = dict(positions), set()
        # librdkafka tells once that a member is fenced: whoever forgets it reads nothing, and hears of nothing
        if not isinstance(self._failure, Fenced):
            self._failure = None

    def _records(self, messages: list[Any]) -> list[Record]:
        """Convert; this loop is what reading costs. Positions are written when the partition changes, not per record."""
        records: list[Record] = []
        add, new, positions, heard = records.append, tuple.__new__, self._positions, self._heard
        topic, partition, offset = "", -1, -1
        for message in messages:
            if message.error() is not None:
                if offset >= 0:
                    positions[topic, partition] = offset + 1
                    heard.add((topic, partition))
                    offset = -1
                self._take_error(message)
                continue
            here, p = message.topic(), message.partition()
            if p != partition or here != topic:
                if offset >= 0:
                    positions[topic, partition] = offset + 1
                    heard.add((topic, partition))
                topic, partition = here, p
            offset = message.offset()
            try:
                headers = _headers(message)
            # What it gives when it is asked again must not be touched.
            except (SystemError, UnicodeDecodeError):
                headers = None
            fields = (
                topic,
                p,
                offset,
                message.timestamp()[1],
                message.key(),
                message.value(),
                tuple(headers) if headers else (),
            )
            add(new(Record, fields))
        if offset >= 0:
            positions[topic, partition] = offset + 1
            heard.add((topic, partition))
        return records

    def _take_error(self, message: Message) -> None:
        error, topic, partition = message.error(), message.topic(), message.partition()
        assert error is not None
        code = error.code()
        tp = (topic or "", partition if partition is not None else -1)
        if code == KafkaError._PARTITION_EOF:
            if tp in self._positions:
                self._positions[tp] = max(self._positions[tp], message.offset() or 0)
                self._heard.add(tp)
        elif code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            if tp in self._positions and self._failure is None:
                self._failure = self._lost(tp)
        elif error.fatal() or code in FENCED:
            self._failure = Fenced(error.str())
        elif refused := not_allowed(error, f"to read {topic or 'in its group'}"):
            self._failure = self._failure or refused
        elif code in _UNKNOWN and topic:
            self._failure = self._failure or UnknownTopic(topic)
        elif code == KafkaError.INCONSISTENT_GROUP_PROTOCOL:
            self._failure = LogError(
                "another kind of client is in this group, or was some seconds ago: stop it, or wait until its session is over"
            )
        elif code not in _PASSING and not error.retriable():
            self._failure = self._failure or LogError(f"{topic or 'Kafka'}: {error.str()}")

    def _lost(self, tp: TP) -> LogError:
        try:
            bounds = self._consumer.get_watermark_offsets(TopicPartition(*tp), timeout=_BOUNDS_TIMEOUT_S)
        except KafkaException as error:
            return LogError(f"offset {self._positions[tp]} of {tp[0]}[{tp[1]}] is not there: {error}")
        start, end = bounds or (-1, -1)
        return OffsetLost(tp, self._positions[tp], start, end)


class KafkaMember(KafkaReader):
    """A member of a consumer group. Made by `KafkaLog.member`."""

    def __init__(
        self,
        consumer: Consumer,
        topics: Sequence[str],
        *,
        lease: bool,
        check: Callable[[Iterable[TP]], None],
        before_revoke: Callable[[], None] | None,
    ) -> None:
        super().__init__(consumer, {})
        self._lease = lease
        self._check = check
        self._before_revoke, self._is_told = before_revoke, False
        self._thread, self._topics = threading.get_ident(), list(topics)
        self._subscribe()

    def _subscribe(self) -> None:
        told = {"on_assign": self._on_assign, "on_revoke": self._on_revoke, "on_lost": self._on_lost}
        self._consumer.subscribe(self._topics, **told)

    def poll(self, max_records: int, timeout_s: float) -> list[Record]:
        self._thread = threading.get_ident()
        return super().poll(max_records, timeout_s)

    def take_assignment(self) -> Assignment | None:
        return self._changes.take()

    def start_at(self, positions: Mapping[TP, int]) -> None:
        for topic, partition in positions:
            if not self._changes.held or (not self._lease and (topic, partition) not in self._changes.held):
                raise ValueError(f"{topic}[{partition}] is not assigned to this member")
        self._check(positions)
        self._assign(positions)

    def commit(self, positions: Mapping[TP, int]) -> None:
        if not positions:
            return
        if threading.get_ident() != self._thread:
            raise RuntimeError("a member commits from the thread that polls it")
        if self._closed or not self._positions.keys() >= positions.keys():
            raise Fenced("these partitions are not being read by this member any more")
        commit(self._consumer, positions, None if self._is_told else COMMIT_S)

    def _on_assign(self, consumer: Consumer, tps: list[TopicPartition]) -> None:
        consumer.assign([])
        if consumer is not self._consumer:  # another has taken its place
            return
        self._changes.assign((tp.topic, tp.partition) for tp in tps)

    def _on_revoke(self, consumer: Consumer, _: list[TopicPartition]) -> None:
        if consumer is not self._consumer:
            consumer.unassign()
            return
        if self._before_revoke is not None and not self._closed:  # who closes has finished
            self._is_told = True
            try:
                self._before_revoke()
            finally:
                self._is_told = False
        self._give_up(consumer, lost=False)

    def _on_lost(self, consumer: Consumer, _: list[TopicPartition]) -> None:
        if consumer is not self._consumer:
            consumer.unassign()
            return
        self._give_up(consumer, lost=True)

    def _give_up(self, consumer: Consumer, *, lost: bool) -> None:
        consumer.unassign()
        self._positions = {}
        if not isinstance(self._failure, Fenced):
            self._failure = None
        self._revocations += 1
        self._changes.revoke(lost=lost)

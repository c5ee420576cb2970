"""The log on Kafka, through librdkafka (`confluent-kafka`).

Laws that hold here, beside those of `stream/log/protocol.py`:

- Everything is asked of the broker, nothing is cached except a topic's size limit.
- No topic is created here, nor by asking for one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import ConfigResource, OffsetSpec, TopicDescription

from penstock.stream.log.kafka_answers import answer_of
from penstock.stream.log.kafka_appender import BATCH_OVERHEAD_BYTES, KafkaAppender, logger
from penstock.stream.log.kafka_groups import KafkaGroups
from penstock.stream.log.kafka_members import KafkaMember, KafkaReader
from penstock.stream.log.kafka_passing import ELECTING, PASSING
from penstock.stream.log.kafka_rejoining import Anew, RejoiningMember, RenewedReader
from penstock.stream.log.not_allowed import NotAllowed
from penstock.stream.log.protocol import (
    MAX_RECORD_BYTES,
    TP,
    LogError,
    Out,
    UnknownTopic,
)
from penstock.stream.log.refused import admin_of, is_unknown_user, not_allowed, not_answered, not_now
from penstock.stream.topology import reader_groups

_UNKNOWN = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
_UNREACHABLE = (
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._WAIT_COORD,
    *PASSING,
)
#: What this client knows of the leader is old, and stays so until it asks for the topic itself.
_OLD_LEADER = (KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH)
#: The partition is between two leaders, or so new that not every part of the broker knows its first.
_ELECTING = (KafkaError._NOENT, *ELECTING)
_ELECTION_PAUSE_S = 0.02
RENEW_S = 30.0  # a client that is younger is asked again


class KafkaLog:
    """A Kafka cluster as a `Log`.

    `settings` go to every client under librdkafka's own names (`security.protocol`, `sasl.mechanism`, …) and win over what
    is set here; `client_id` also begins the group names of readers that belong to none. `append` waits at most
    `append_timeout_s`; while it waits longer than a second, `on_wait(unacked, waited_s)` is called every second, from the
    thread that appends. With `rejoins`, who reads goes on with another client (`kafka_rejoining`).
    """

    def __init__(
        self,
        bootstrap: str,
        settings: Mapping[str, str] | None = None,
        *,
        client_id: str = "penstock",
        session_timeout_ms: int = 6_000,
        append_timeout_s: float = 120.0,
        request_timeout_s: float = 10.0,
        max_record_bytes: int = MAX_RECORD_BYTES,
        on_wait: Callable[[int, float], None] | None = None,
        rejoins: bool = False,
    ) -> None:
        self.bootstrap = bootstrap
        self._session_timeout_ms = session_timeout_ms
        self._timeout_s = request_timeout_s
        self._max_record_bytes, self._rejoins = max_record_bytes, rejoins
        self._last_error = ""
        self._refused: tuple[float, KafkaError] | None = None
        self._settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "client.id": client_id,
            "reconnect.backoff.max.ms": 1_000,  # a broker that comes back is found within a second
            "error_cb": self._note_error,
            **(settings or {}),
        }
        self._admin = admin_of(self._settings)
        self._anew, self._made_s = Anew(partial(self._consumer, {"group.id": "anew"})), time.monotonic()
        self._groups = KafkaGroups(self._settings, request_timeout_s)
        self._appender = KafkaAppender(
            self._settings,
            self._limit_of,
            timeout_s=append_timeout_s,
            max_record_bytes=max_record_bytes,
            on_wait=on_wait,
            last_error=lambda: self._last_error,
            refused=self._refused_since,
        )

    def cluster_id(self) -> str:
        self._hear()
        try:
            asked = self._admin.describe_cluster(request_timeout=self._timeout_s)
            found = answer_of(asked, self._timeout_s).cluster_id
        except KafkaException as error:
            raise self._error(error, "its cluster id") from error
        return str(found or "")

    def partitions(self, topic: str) -> int:
        return len(self._describe([topic])[topic].partitions)

    def topic_id(self, topic: str) -> str:
        return str(self._describe([topic])[topic].topic_id)

    def bounds(self, tps: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        if not (wanted := list(dict.fromkeys(tps))):
            return {}
        starts = self._offsets(wanted, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        ends = self._offsets(wanted, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return {tp: (starts[tp], ends[tp]) for tp in wanted}

    def first_at(self, tps: Iterable[TP], timestamp_ms: int) -> dict[TP, int]:
        found = self._offsets(list(tps), OffsetSpec.for_timestamp(timestamp_ms))
        return {tp: offset for tp, offset in found.items() if offset >= 0}

    def committed(self, group: str, tps: Iterable[TP]) -> dict[TP, int]:
        if not (wanted := [TopicPartition(*tp) for tp in tps]):
            return {}
        try:
            answers = self._groups.committed(group, wanted)
        except KafkaException as error:
            raise self._error(error, f"the offsets of group {group!r}") from error
        for answer in answers:
            if answer.error is not None:
                raise self._error(
                    KafkaException(answer.error), f"the offsets of group {group!r}", answer.topic
                )
        return {(a.topic, a.partition): a.offset for a in answers if a.offset >= 0}

    def append(self, outs: Sequence[Out]) -> None:
        self._appender.append(outs)

    def reader(self, positions: Mapping[TP, int]) -> KafkaReader:
        self._check_partitions(positions)
        group = {"group.id": reader_groups(self._settings["client.id"]) + uuid4().hex}
        if self._rejoins:
            return RenewedReader(partial(self._consumer, group), positions, self._anew)
        return KafkaReader(self._consumer(group), positions)

    def member(
        self,
        group: str,
        topics: Sequence[str],
        *,
        instance_id: str | None = None,
        lease: bool = False,
        before_revoke: Callable[[], None] | None = None,
    ) -> KafkaMember:
        counts = {topic: len(found.partitions) for topic, found in self._describe(topics).items()}
        if lease and list(counts.values()) != [1]:
            raise ValueError(f"a lease is one topic with one partition, not {counts}")
        settings: dict[str, Any] = {
            "group.id": group,
            "partition.assignment.strategy": "range",
            "session.timeout.ms": self._session_timeout_ms,
            # How soon members learn of a rebalance; Kafka wants at most a third of the session.
            "heartbeat.interval.ms": min(500, self._session_timeout_ms // 3),
        }
        settings |= {} if instance_id is None else {"group.instance.id": instance_id}
        consumer, check = self._consumer(settings), self._check_partitions
        more: dict[str, Any] = {"lease": lease, "check": check, "before_revoke": before_revoke}
        if self._rejoins:
            more |= {"anew": self._anew, "static": instance_id is not None}
            return RejoiningMember(consumer, topics, partial(self._consumer, settings), **more)
        return KafkaMember(consumer, topics, **more)

    def close(self) -> None:
        self._appender.close()
        self._groups.close()

    def _note_error(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not self._last_error:  # which does not say why
            self._last_error = f"Last error: {error.str()}"
        if is_unknown_user(error):
            self._refused = (time.monotonic(), error)

    def _hear(self) -> None:
        """Let the client that asks tell its errors, which it does only here: before it is asked, those of earlier times."""
        self._admin.poll(0)

    def _renew(self) -> None:
        """Ask through another client from now on: this one may be deaf, as a member's may (`kafka_rejoining`)."""
        if time.monotonic() - self._made_s >= RENEW_S:
            held = [self._admin]
            self._admin, self._made_s = admin_of(self._settings), time.monotonic()
            # whoever drops the last hold of it waits for its end
            threading.Thread(target=held.clear, name="leave", daemon=True).start()

    def _refused_since(self, monotonic_s: float) -> NotAllowed | None:
        """What to raise if the broker has said since then that it does not know this user."""
        if self._refused is None or self._refused[0] < monotonic_s:
            return None
        return not_allowed(self._refused[1], "")

    def _consumer(self, settings: dict[str, Any]) -> Consumer:
        return Consumer(
            {
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                # Tells where a partition ends behind transaction markers and compacted records.
                "enable.partition.eof": True,
                "check.crcs": True,
                "queued.min.messages": 200_000,
                "queued.max.messages.kbytes": 131_072,
                "max.partition.fetch.bytes": 4 << 20,
                "fetch.max.bytes": 32 << 20,
                # The default waits a whole second before it refills a queue that was full once.
                "fetch.queue.backoff.ms": 5,
                "fetch.error.backoff.ms": 100,
                "socket.timeout.ms": 10_000,  # bounds a commit
                **self._settings,
                **settings,
            },
            logger=logger,
        )

    def _limit_of(self, topic: str) -> int:
        """What a record of this topic may take. Asked once; a topic that takes less makes all batches smaller."""
        self._describe([topic])
        limit = self._max_record_bytes
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        try:
            asked = self._admin.describe_configs([resource], request_timeout=self._timeout_s)
            found = int(answer_of(asked[resource], self._timeout_s)["max.message.bytes"].value)
            limit = min(limit, found - BATCH_OVERHEAD_BYTES)
        except KafkaException as error:  # not everyone may read a topic's configuration
            logger.info("max.message.bytes of topic %s is unknown: %s", topic, error)
        return limit

    def _check_partitions(self, tps: Iterable[TP]) -> None:
        wanted = list(tps)
        found = self._describe({topic for topic, _ in wanted})
        for topic, partition in wanted:
            if not 0 <= partition < len(found[topic].partitions):
                raise UnknownTopic(topic, partition)

    def _describe(self, topics: Iterable[str]) -> dict[str, TopicDescription]:
        if not (names := sorted(topics)):
            return {}
        self._hear()
        asked = self._admin.describe_topics(TopicCollection(names), request_timeout=self._timeout_s)
        found = {}
        for topic, answer in asked.items():
            try:
                found[topic] = answer_of(answer, self._timeout_s)
            except KafkaException as error:
                raise self._error(error, f"topic {topic!r}", topic) from error
        return found

    def _offsets(self, tps: list[TP], spec: OffsetSpec) -> dict[TP, int]:
        deadline, found = time.monotonic() + self._timeout_s, dict[TP, int]()
        while len(found) < len(tps):
            wanted = {TopicPartition(*tp): spec for tp in tps if tp not in found}
            for tp, answer in self._admin.list_offsets(wanted, request_timeout=self._timeout_s).items():
                try:
                    found[tp.topic, tp.partition] = int(answer_of(answer, self._timeout_s).offset)
                except KafkaException as error:
                    code = error.args[0].code()
                    if code == KafkaError._NOENT:  # no leader, perhaps since there is no topic
                        self._check_partitions(tps)
                    if code not in _ELECTING or time.monotonic() >= deadline:
                        what = f"the offsets of {tp.topic}[{tp.partition}]"
                        raise self._error(error, what, tp.topic, tp.partition) from error
                    with suppress(KafkaException):  # of a broker that is away the next question tells
                        if code in _OLD_LEADER:
                            self._admin.list_topics(tp.topic, timeout=self._timeout_s)
                    time.sleep(_ELECTION_PAUSE_S)
        return found

    def _error(
        self, error: KafkaException, asked: str, topic: str | None = None, partition: int | None = None
    ) -> LogError:
        cause: KafkaError = error.args[0]
        if topic is not None and cause.code() in _UNKNOWN:
            return UnknownTopic(topic, partition)
        if refused := not_allowed(cause, asked):
            return refused
        if cause.code() in ELECTING:
            return not_now(self.bootstrap, asked, cause.str())
        if cause.code() in _UNREACHABLE:
            self._hear()
            if refused := self._refused_since(time.monotonic() - self._timeout_s):
                return refused
            self._renew()
            return not_answered(self.bootstrap, asked, f"{cause.str()}. {self._last_error}")
        return LogError(f"Kafka at {self.bootstrap} refused to answer about {asked}: {cause.str()}")

"""kafka-python clients for everything off the hot path: topics, the operators' commands, publishing files.

A second client beside the data plane's, so that what it writes and reads is the wire contract and not one
library's habit.

Laws of this file:
- Settings come in librdkafka's names and are translated; one that has no counterpart here is refused by name.
- A broker that does not answer is `LogUnavailable` within `connect_timeout_s`, with its address and what to
  do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import (
    AuthorizationError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    SaslAuthenticationFailedError,
)

from penstock.stream.log.advice import advice, unknown_user
from penstock.stream.log.kafka_batches import Partition
from penstock.stream.log.not_allowed import NotAllowed
from penstock.stream.log.protocol import LogError, LogUnavailable, UnknownTopic
from penstock.stream.process.settings import SettingError, Settings

NAMES = {
    "security.protocol": "security_protocol",
    "sasl.mechanism": "sasl_mechanism",
    "sasl.mechanisms": "sasl_mechanism",
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
    "sasl.kerberos.service.name": "sasl_kerberos_service_name",
    "ssl.ca.location": "ssl_cafile",
    "ssl.certificate.location": "ssl_certfile",
    "ssl.key.location": "ssl_keyfile",
    "ssl.key.password": "ssl_password",
    "ssl.crl.location": "ssl_crlfile",
    "ssl.cipher.suites": "ssl_ciphers",
    "client.id": "client_id",
}
_ABSENT = (KafkaConnectionError, KafkaTimeoutError)
Client = TypeVar("Client", KafkaAdminClient, KafkaConsumer, KafkaProducer)


def options(settings: Settings) -> dict[str, Any]:
    """The settings as kafka-python's keyword arguments; raises `SettingError` for one it has no word for."""
    found: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap.split(","),
        "client_id": settings.client_id,
        "reconnect_backoff_max_ms": 1_000,  # kafka-python's own 30 s would be how late a broker that is back is found
    }
    for name, value in settings.kafka.items():
        if name == "ssl.endpoint.identification.algorithm":
            found["ssl_check_hostname"] = value.lower() == "https"
        elif name in NAMES:
            found[NAMES[name]] = value
        else:
            variable = "PENSTOCK_KAFKA_" + name.upper().replace(".", "_")
            raise SettingError(
                f"{variable}: this command has no such setting; it knows {', '.join(sorted(NAMES))}"
            )
    timeout_ms = int(settings.connect_timeout_s * 1000)
    return {**found, "bootstrap_timeout_ms": timeout_ms, "request_timeout_ms": max(timeout_ms, 5_000)}


class _Heard(logging.Handler):
    """Keeps what kafka-python last said of a connection: the error that it raises later says only that time is up."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep why a connection failed."""
        said = record.getMessage()
        if "failed:" in said and "KafkaTimeoutError" not in said and not unknown_user(self.last):
            self.last = said.partition("failed:")[2].strip()[:500]


@contextmanager
def _listening() -> Iterator[_Heard]:
    """What kafka-python says meanwhile, which nobody else hears."""
    log, heard = logging.getLogger("kafka"), _Heard()
    told = log.propagate
    log.addHandler(heard)
    log.setLevel(logging.WARNING)
    log.propagate = False
    try:
        yield heard
    finally:
        log.removeHandler(heard)
        log.setLevel(logging.CRITICAL)
        log.propagate = told


def unavailable(settings: Settings, error: Exception, why: str = "") -> LogError:
    """The one line for a broker that is not there, or does not let us in."""
    where = f"Kafka at {settings.bootstrap}"
    if unknown_user(why):
        return NotAllowed(f"{where} does not know this user ({why}): {advice(why)}")
    return LogUnavailable(f"{where} does not answer ({why or type(error).__name__}): {advice(why)}")


@contextmanager
def client(kind: Callable[..., Client], settings: Settings, **more: Any) -> Iterator[Client]:
    """Open a client and close it after the block; kafka-python's own errors inside it become `LogError`s."""
    opened: Client | None = None
    heard = _Heard()
    try:
        with _listening() as heard:
            opened = kind(**{**options(settings), **more})
            if isinstance(opened, KafkaConsumer):
                opened._fetcher.PartitionRecords = Partition  # no record stops it
            yield opened
    except _ABSENT as error:
        raise unavailable(settings, error, heard.last) from error
    except (AuthorizationError, SaslAuthenticationFailedError) as error:
        raise NotAllowed(
            f"Kafka at {settings.bootstrap} refuses this user ({type(error).__name__}: {error}): give it the right, "
            "`penstock acls FILE` prints what each role needs; or check PENSTOCK_KAFKA_SASL_USERNAME and _PASSWORD"
        ) from error
    except KafkaError as error:
        raise LogError(f"Kafka at {settings.bootstrap} refused: {type(error).__name__}: {error}") from error
    finally:
        if opened is not None:
            opened.close()


def read_positions(
    consumer: KafkaConsumer, topics: list[str], *, from_start: bool
) -> dict[TopicPartition, int]:
    """Assign every partition of `topics` at its start or its end; the positions. Raises `UnknownTopic`."""
    partitions: list[TopicPartition] = []
    for topic in topics:
        found = consumer.partitions_for_topic(topic)
        if not found:
            raise UnknownTopic(topic)
        partitions += [TopicPartition(topic, partition) for partition in sorted(found)]
    consumer.assign(partitions)
    offsets = consumer.beginning_offsets(partitions) if from_start else consumer.end_offsets(partitions)
    for partition, offset in offsets.items():
        consumer.seek(partition, offset)
    return dict(offsets)


class Found(NamedTuple):
    """A record of a topic with one partition."""

    topic: str
    offset: int
    value: bytes | None


def read_after(
    settings: Settings, read_topics: list[str], positions: dict[str, int]
) -> tuple[list[Found], dict[str, int]]:
    """Every record of these one-partition topics from `positions` to the end, and where reading began.

    A position past the end is one of a topic that was deleted and made anew: it is read from its start.
    """
    found: list[Found] = []
    with client(
        KafkaConsumer, settings, enable_auto_commit=False, allow_auto_create_topics=False
    ) as consumer:
        partitions = [TopicPartition(topic, 0) for topic in read_topics]
        consumer.assign(partitions)
        low, high = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        starts: dict[str, int] = {}
        for partition in partitions:
            position = positions.get(partition.topic, 0)
            starts[partition.topic] = (
                low[partition] if position > high[partition] else max(position, low[partition])
            )
            consumer.seek(partition, starts[partition.topic])
        left = {partition for partition in partitions if starts[partition.topic] < high[partition]}
        while left:
            for records in consumer.poll(timeout_ms=200).values():
                found += [Found(record.topic, record.offset, record.value) for record in records]
            left = {partition for partition in left if consumer.position(partition) < high[partition]}
    return found, starts

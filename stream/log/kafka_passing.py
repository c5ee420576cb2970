"""Which of a broker's answers pass by themselves: those that Kafka's protocol calls retriable.

librdkafka says so of none of its errors outside of transactions (`KafkaError.retriable`), so the codes stand here
(https://kafka.apache.org/protocol#protocol_error_codes). Not among them: a topic that is unknown, which a role says at once, and
a message that is corrupt.
"""

from __future__ import annotations

from confluent_kafka import KafkaError

#: A partition is between two leaders, its new one does not know its end yet, or the disk of its old one is full.
ELECTING = frozenset(
    {
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.LISTENER_NOT_FOUND,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
    }
)
PASSING = ELECTING | {
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_CONTROLLER,
    KafkaError.FETCH_SESSION_ID_NOT_FOUND,
    KafkaError.INVALID_FETCH_SESSION_EPOCH,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    KafkaError.THROTTLING_QUOTA_EXCEEDED,
    KafkaError.REBOOTSTRAP_REQUIRED,
}

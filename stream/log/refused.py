"""Which errors of librdkafka say that the user may not, or a setting is none: those that no waiting mends.

Laws of this file:
- A sentence says what was refused, in the broker's words, and what to do: what a role needs is what `penstock acls` prints.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from penstock.stream.log.advice import advice
from penstock.stream.log.not_allowed import NotAllowed
from penstock.stream.log.protocol import LogUnavailable
from penstock.stream.process.settings import SettingError

_LACKS_A_RIGHT = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
)
_UNKNOWN_USER = (
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
)
GIVE_IT = "give it the right; `penstock acls FILE` prints what each role needs"


def is_unknown_user(error: KafkaError) -> bool:
    """Whether the broker does not know who asks."""
    return error.code() in _UNKNOWN_USER


def not_allowed(error: KafkaError, asked: str) -> NotAllowed | None:
    """The error to raise where the user may not do what was `asked`; None where it is something else."""
    if is_unknown_user(error):
        return NotAllowed(
            f"Kafka does not know this user ({error.str()}): check PENSTOCK_KAFKA_SASL_MECHANISM, _SASL_USERNAME and "
            "_SASL_PASSWORD, or the certificate"
        )
    if error.code() in _LACKS_A_RIGHT:
        return NotAllowed(f"Kafka refuses this user {asked} ({error.str()}): {GIVE_IT}")
    return None


def not_answered(bootstrap: str, asked: str, why: str) -> LogUnavailable:
    """The error to raise where nobody answered what was `asked`, and what to do about it, by `why`."""
    why = why.rstrip(". ")
    return LogUnavailable(f"Kafka at {bootstrap} did not answer about {asked}: {why}: {advice(why)}")


def not_now(bootstrap: str, asked: str, why: str) -> LogUnavailable:
    """The error to raise where a broker cannot say now what was `asked`, by `why`: another one will, or it itself soon."""
    return LogUnavailable(
        f"Kafka at {bootstrap} cannot say {asked} now: {why}; if that does not pass, see the broker's log"
    )


def admin_of(settings: Mapping[str, Any]) -> AdminClient:
    """The client that asks. Raises `SettingError` for settings that librdkafka refuses, such as a file that is not there."""
    try:
        return AdminClient(dict(settings), logger=logging.getLogger("penstock.kafka"))
    except KafkaException as error:
        raise SettingError(f"{error.args[0].str()}: check the settings PENSTOCK_KAFKA_…") from None

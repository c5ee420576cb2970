"""What every operator of a job is told: the definition, where it reads and writes, and how far it is spread.

Laws of this file:
- It travels with the job to wherever its operators run, so it holds nothing but plain values.
- Kafka's Java client is told the settings that ours is told, in its own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.stream.flink.order import Head
from penstock.stream.process.settings import SettingError

JAAS = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}
SAME = ("security.protocol", "client.id", "ssl.endpoint.identification.algorithm")


@dataclass(frozen=True)
class JobSettings:
    """One job's settings: `source` is the definition file's text, `heads` every source partition there is.

    `shards` is how many parts the entities of the views are spread over, so the greatest parallelism of use; it cannot change
    while state is kept.
    """

    path: str
    source: bytes
    bootstrap: str
    redis_url: str = field(repr=False)
    prefix: str
    topic_ids: Mapping[str, str]
    heads: tuple[Head, ...]
    shards: int
    kafka: Mapping[str, str] = field(default_factory=dict, repr=False)


def java_properties(kafka: Mapping[str, str]) -> dict[str, str]:
    """Settings in librdkafka's names as Kafka's Java client wants them; raises `SettingError` for one it has no word for."""
    found: dict[str, str] = {}
    rest = dict(kafka)
    mechanism = rest.pop("sasl.mechanism", None) or rest.pop("sasl.mechanisms", None)
    user, password = rest.pop("sasl.username", ""), rest.pop("sasl.password", "")
    if mechanism is not None:
        if mechanism not in JAAS:
            raise SettingError(
                f"PENSTOCK_KAFKA_SASL_MECHANISM={mechanism!r}: a Flink job can use {', '.join(JAAS)} only"
            )
        found["sasl.mechanism"] = mechanism
        found["sasl.jaas.config"] = (
            f"{JAAS[mechanism]} required username={_quoted(user)} password={_quoted(password)};"
        )
    authority = rest.pop("ssl.ca.location", None)
    if authority is not None:
        found |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": authority}
    for name, value in rest.items():
        if name not in SAME:
            variable = "PENSTOCK_KAFKA_" + name.upper().replace(".", "_")
            raise SettingError(
                f"{variable}: Kafka's Java client, which a Flink job uses, has no such setting"
            )
        found[name] = value
    return found


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

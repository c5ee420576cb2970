"""Kafka as the job has it: two tables of bytes, in the words of Flink's connector.

Laws of this file:
- The sources are read in no group, from their beginning or from where a checkpoint says; nothing is committed to Kafka but
  transactions, whose ids begin as `topology` says.
- Whoever may read the one's topics and write the other's, in such transactions, has all the rights in Kafka that Flink needs.
"""

from __future__ import annotations

from penstock.stream import topology
from penstock.stream.definitions import Pipeline

TRANSACTION_TIMEOUT_MS = 600_000
FETCH_BYTES = 64 * 1024


def source_table(pipeline: Pipeline, properties: dict[str, str]) -> str:
    """Every source topic as one table of bytes."""
    options = {
        "connector": "kafka",
        "topic": ";".join(source.name for source in pipeline.sources),
        "scan.startup.mode": "earliest-offset",
        "scan.topic-partition-discovery.interval": "0",
        "key.format": "raw",
        "key.fields": "k",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        **{f"properties.{name}": value for name, value in properties.items()},
        # Fetches are emptied partition by partition: small ones keep partitions at about the same event time.
        "properties.max.partition.fetch.bytes": str(FETCH_BYTES),
        "properties.isolation.level": "read_committed",
    }
    return (
        "CREATE TEMPORARY TABLE penstock_sources (k BYTES, v BYTES, `topic` STRING METADATA VIRTUAL, "
        "`partition` INT METADATA VIRTUAL, `offset` BIGINT METADATA VIRTUAL, "
        "`at` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL, `headers` MAP<STRING, BYTES> METADATA VIRTUAL"
        f") WITH ({_options(options)})"
    )


def sink_table(pipeline: Pipeline, prefix: str, properties: dict[str, str]) -> str:
    """Every topic that the job appends to, as one table of bytes."""
    topics = (
        topology.samples(pipeline.name, prefix),
        topology.dead_letters(pipeline.name, prefix),
        prefix + topology.CONTROL_ALERTS,
    )
    options = {
        "connector": "kafka",
        "topic": ";".join(topics),
        "key.format": "raw",
        "key.fields": "key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        "sink.parallelism": "1",
        "sink.delivery-guarantee": "exactly-once",
        "sink.transactional-id-prefix": topology.flink_transactions(pipeline.name, prefix),
        **{f"properties.{name}": value for name, value in properties.items()},
        "properties.transaction.timeout.ms": str(TRANSACTION_TIMEOUT_MS),
    }
    return (
        "CREATE TEMPORARY TABLE penstock_outs (`topic` STRING METADATA, `key` BYTES, `value` BYTES, "
        f"`headers` MAP<STRING, BYTES> METADATA) WITH ({_options(options)})"
    )


def _options(options: dict[str, str]) -> str:
    return ", ".join(f"'{name}' = '{_escaped(value)}'" for name, value in options.items())


def _escaped(text: str) -> str:
    return text.replace("'", "''")

"""Which pipelines there are, asked of Kafka and of Redis, for whoever misspelled one.

Laws of this file:
- Asked only when a name was not found: walking Redis takes a moment, and is given up after `SCAN_S`.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterable
from typing import Any

import redis
from kafka import KafkaConsumer

from penstock.features.redis.keys import live_key
from penstock.features.redis.one_server import server_of
from penstock.stream import topology
from penstock.stream.log.protocol import LogError

SCAN_S = 2.0
SCAN_KEYS = 5_000


def in_kafka(consumer: KafkaConsumer, prefix: str) -> list[str]:
    """Pipelines with a samples log under this prefix."""
    end = topology.samples("", "")
    logs = [name for name in consumer.topics() if name.startswith(prefix) and name.endswith(end)]
    return sorted(name.removeprefix(prefix).removesuffix(end) for name in logs)


def in_redis(client: redis.Redis, prefix: str) -> list[str]:
    """Pipelines that serve features: those whose live key stands; all that were found within `SCAN_S`."""
    server = server_of(client)
    found: set[str] = set()
    began_s = time.monotonic()
    at: Any = 0
    while True:
        at, names = server.page(at, live_key(prefix), SCAN_KEYS)
        found |= {name.split(":")[1].removeprefix(prefix) for name in names}
        if at == 0 or time.monotonic() - began_s > SCAN_S:
            return sorted(found)


def unknown(pipeline: str, known: Iterable[str], where: str) -> str:
    """One line for a pipeline that is not there: which ones are, and which one was probably meant.

    >>> unknown("fligths", ["cards", "flights"], "on this cluster")
    "no pipeline 'fligths' on this cluster; there are: cards, flights (did you mean 'flights'?)"
    """
    names = sorted(known)
    close = difflib.get_close_matches(pipeline, names, 1)
    meant = f" (did you mean {close[0]!r}?)" if close else ""
    return f"no pipeline {pipeline!r} {where}; there are: {', '.join(names) or 'none'}{meant}"


def check_pipeline(consumer: KafkaConsumer, pipeline: str, prefix: str) -> None:
    """Refuse a pipeline, or a shard of one, that has no samples log here, and name those that have one. Raises `LogError`."""
    known, whole = in_kafka(consumer, prefix), topology.whole(pipeline)
    if pipeline.endswith(".py"):
        raise LogError(
            f"{pipeline!r} is a file, and a pipeline's name is wanted here; there are: {', '.join(sorted(known)) or 'none'}"
        )
    if whole in known and whole != pipeline:
        shards = len(consumer.partitions_for_topic(topology.samples(whole, prefix)) or ())
        if shards > 1 and pipeline in [topology.shard_name(whole, number) for number in range(shards)]:
            return
        raise LogError(
            f"{whole!r} has no shard {pipeline.partition('.')[2]!r}: "
            + (f"its shards are 0 to {shards - 1}" if shards > 1 else "it learns in one piece")
        )
    if pipeline not in known:
        raise LogError(unknown(pipeline, known, f"on this cluster under prefix {prefix!r}"))

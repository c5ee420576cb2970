"""Figures of one event and one entity, multiplied into what a deployment takes. Arithmetic alone.

Laws of this file:
- Bytes of Kafka are before replication and compression; bytes of Redis before its replicas and its append-only file.
- Everything told of memory is an upper figure: states that expired, and samples whose label came, are still counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.step import KEPT_STATES
from penstock.stream.sizing import constants as one
from penstock.stream.sizing.figures import Measured

DAY_S = 86_400
TASKS = 4
"""Of one worker where tasks are partitions: as many as `penstock topics` makes, an estimate."""
MONTH_DAYS = 30.0


class Asked(NamedTuple):
    """What is to be sized. `retention_days` is how long the samples log and the history are kept; None is for ever."""

    events_per_s: float
    entities: Mapping[str, int]
    labels_per_s: float
    retention_days: float | None


class Size(NamedTuple):
    """What it takes: cores by role, MiB by role, Kafka's bytes a day by topic, Redis' bytes, and how many workers.

    `us_per_event` is the CPU of one event in full batches, `cores` what all events need with that. A role that has little to do
    works on each event as it comes, and takes as many cores more as `at_once` says, or none where others want them.
    """

    us_per_event: dict[str, float]
    cores: dict[str, float]
    at_once: dict[str, float]
    memory_mib: dict[str, float]
    kafka_bytes_a_day: dict[str, float]
    kafka_bytes_kept: dict[str, float | None]
    redis_bytes: dict[str, float]
    workers: dict[str, int]
    shards: int
    said: list[str]


def size_of(pipeline: Pipeline, asked: Asked, found: Measured) -> Size:
    """What the deployment takes."""
    rate = asked.events_per_s
    apart = [source for source in pipeline.sources if source.name != pipeline.predict.name]
    records = 1.0 + (asked.labels_per_s / rate if apart else 0.0)
    us = {
        "featurize": records * (found.featurize_us + one.FEATURIZE_CLIENTS_US),
        "learn": found.learn_us + one.LEARN_CLIENTS_US,
        "redis": records * one.REDIS_US,
        "kafka": (records + 1.0) * one.KAFKA_US,
    }
    cores = {role: one.IDLE_CORES[role] + rate * us[role] / 1e6 for role in us}
    featurize, learn = cores["featurize"], cores["learn"]
    day = {name: bytes_ * rate * DAY_S for name, bytes_ in found.record_bytes.items()}
    return Size(
        us,
        cores,
        one.AT_ONCE_CORES,
        _memory(pipeline, asked, found),
        day,
        {name: _kept(pipeline, name, total, asked.retention_days) for name, total in day.items()},
        _redis(asked, found),
        {
            "featurize": max(math.ceil(featurize / one.FILLED), 1) if pipeline.partitioned else 1,
            "learn": 1,
            "control": 1,
        },
        max(math.ceil(learn / one.FILLED), 1),
        _said(pipeline, featurize, learn),
    )


def _kept(pipeline: Pipeline, topic: str, bytes_a_day: float, retention_days: float | None) -> float | None:
    if topic == topology.predictions(pipeline.name):
        return bytes_a_day * MONTH_DAYS
    return None if retention_days is None else bytes_a_day * retention_days


def _redis(asked: Asked, found: Measured) -> dict[str, float]:
    """Two keys an entity: the state and the public document; and learn's snapshot."""
    views = {
        view: asked.entities[view] * (bytes_ + 2 * one.REDIS_KEY_BYTES)
        for view, bytes_ in found.entity_bytes.items()
    }
    return {**views, "learn": found.kept_bytes}


def _memory(pipeline: Pipeline, asked: Asked, found: Measured) -> dict[str, float]:
    kept = KEPT_STATES * (TASKS if pipeline.partitioned else 1)
    states = sum(
        min(asked.entities[view], kept) * bytes_ * one.STATE_IN_MEMORY
        for view, bytes_ in found.state_bytes.items()
    )
    waiting = _waiting(pipeline, asked) * found.sample_bytes * one.PENDING_IN_MEMORY
    more = {"featurize": states, "learn": waiting + 2 * found.kept_bytes}
    return {
        role: base + one.CATCHING_UP_MIB.get(role, 0) + more.get(role, 0.0) / 2**20
        for role, base in one.ROLE_MIB.items()
    }


def _waiting(pipeline: Pipeline, asked: Asked) -> float:
    """Samples that wait for a label at most: those without one wait to the end, and the others until their label's event."""
    rule = pipeline.label_rule
    at_once = pipeline.label.source.name == pipeline.predict.name and not rule.keyed
    waits = asked.events_per_s - (asked.labels_per_s if at_once else 0.0)
    return waits * rule.wait_ms / 1000 if pipeline.labelled else 0.0


def _said(pipeline: Pipeline, featurize: float, learn: float) -> list[str]:
    said = []
    if featurize > one.FILLED and not pipeline.partitioned:
        said.append(
            f"featurize wants {featurize:.2f} of a core and runs as one worker: a view is keyed otherwise than "
            "its source; key them alike, or leave views out"
        )
    if learn > one.FILLED:
        said.append(
            f"learn wants {learn:.2f} of a core, and one fold has one: take a cheaper model, fewer experts, or split events "
            "into pipelines"
        )
    return said

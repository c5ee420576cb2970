"""The reference job as a Bytewax flow: Kafka in, a stateful map keyed by customer, the newest values of a batch into Redis.

Bytewax's own sliding windows are not used: they give a value when a window closes, and cut it into one window for every
step, 24 updates an event for the day. A feature is wanted at every event, and that is a stateful map.

Guarantees: without recovery none after a crash (state is gone, the topic is read from its start); with it (`--durable`)
snapshots of the states that changed go to SQLite every `SNAPSHOT_S`, and a restart goes back to one: at least once into Redis.
"""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import msgspec
import redis
from bytewax.connectors.kafka import KafkaSourceMessage
from bytewax.connectors.kafka import operators as kafka
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main
from confluent_kafka import OFFSET_BEGINNING, Producer

from benchmarks.peer_clock import Clock, contend
from benchmarks.peer_fold import DAY_SPAN, fold, new_state

BATCH_RECORDS = 1_000
EPOCH_S = 10.0  # Bytewax's default without recovery; it writes by batch, so this bounds nothing
SNAPSHOT_S = 1.0  # how much is read again after a crash: as much as the other flow's commits leave
KEPT_MERCHANTS = 64  # more than this beside those of the day, and old ones are thrown away
Keyed = tuple[str, dict[str, Any]]


def features_of(state: dict[str, Any] | None, event: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fold in one payment of a customer; the new state and what Redis gets."""
    if state is None:
        state = {**new_state(), "last_visits": {}}
    last_visits = state["last_visits"]
    merchant = event["merchant"]
    values, tile = fold(state, event, last_visits.get(merchant))
    last_visits[merchant] = tile
    if len(last_visits) > 2 * state["merchants"] + KEPT_MERCHANTS:
        state["last_visits"] = {m: t for m, t in last_visits.items() if t >= tile - DAY_SPAN}
    return state, {"values": values, "at": event["at"]}


class Newest(StatelessSinkPartition[Keyed]):
    """Sets the newest document of every customer of a batch in one round trip."""

    def __init__(self, url: str, counts: dict[str, int]) -> None:
        self.client = redis.Redis.from_url(url)
        self.encode = msgspec.json.Encoder().encode
        self.counts = counts

    def write_batch(self, items: list[Keyed]) -> None:
        """Write one batch."""
        newest = dict(items)
        pipe = self.client.pipeline(transaction=False)
        for customer, document in newest.items():
            pipe.set(f"features:{customer}", self.encode(document))
        pipe.execute()
        self.counts["writes"] += len(newest)
        self.counts["batches"] += 1


def with_event(state: dict[str, Any] | None, event: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Do as `features_of`, and keep the event beside the document, for what learns."""
    state, document = features_of(state, event)
    return state, {"document": document, "event": event}


class Learning(Newest):
    """The whole job: before the documents of a batch are set, its events are predicted, onto a topic, and learned."""

    def __init__(self, asked: argparse.Namespace, counts: dict[str, int]) -> None:
        from benchmarks.peer_model import Learner  # river: features alone do not need it

        super().__init__(asked.redis, counts)
        self.topic, self.learner = asked.predictions, Learner()
        self.producer = Producer({"bootstrap.servers": asked.bootstrap, "linger.ms": 5})

    def write_batch(self, items: list[Keyed]) -> None:
        """Write one batch."""
        for customer, both in items:
            told = self.learner.step(both["document"]["values"], both["event"])
            self.producer.produce(self.topic, self.encode(told), customer)
        super().write_batch([(customer, both["document"]) for customer, both in items])
        self.producer.flush()
        self.counts["drifts"] = self.learner.drifts


class Redis(DynamicSink[Keyed]):
    """Redis as a Bytewax sink."""

    def __init__(self, asked: argparse.Namespace, counts: dict[str, int]) -> None:
        self.asked, self.counts = asked, counts

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Newest:
        """Make the one partition of a worker."""
        if self.asked.predictions:
            return Learning(self.asked, self.counts)
        return Newest(self.asked.redis, self.counts)


def run(asked: argparse.Namespace, clock: Clock) -> dict[str, float]:
    """Run the flow to the end of the topic."""
    counts = {"writes": 0, "batches": 0}
    decode = msgspec.json.Decoder().decode

    def keyed(message: KafkaSourceMessage[bytes, bytes]) -> Keyed:
        clock.first()
        return message.key.decode(), decode(message.value)

    flow = Dataflow("bench")
    payments = kafka.input(
        "payments", flow, brokers=[asked.bootstrap], topics=[asked.topic], tail=False,
        starting_offset=OFFSET_BEGINNING, batch_size=BATCH_RECORDS,
    )  # fmt: skip
    events = op.map("decode", payments.oks, keyed)
    documents = op.stateful_map("features", events, with_event if asked.predictions else features_of)
    op.output("redis", documents, Redis(asked, counts))
    recovery, epoch_s = None, EPOCH_S
    if asked.durable:
        init_db_dir(Path(asked.scratch), 1)
        recovery, epoch_s = RecoveryConfig(asked.scratch), SNAPSHOT_S
    run_main(flow, epoch_interval=timedelta(seconds=epoch_s), recovery_config=recovery)
    return {**clock.figures(), **counts}


if __name__ == "__main__":
    contend(run, "bytewax", "confluent-kafka", "redis")

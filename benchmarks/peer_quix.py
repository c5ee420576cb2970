"""The reference job as a Quix Streams application: Kafka in, a stateful apply, the newest values of a checkpoint into Redis.

Quix's own windows are not used: each is a stream of its own, and three of them would have to be joined again for one document.
State lies in RocksDB as JSON. A customer's windows are one entry; each merchant's last visit is an entry of its own, so that
an event reads and writes little; those entries are never removed here.

Guarantees: at least once (the default). With a changelog topic (`--durable`, also the default) state survives the machine;
without it, it survives a restart of the process on the same disk.
"""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import urlsplit

import orjson
from quixstreams import Application, State
from quixstreams.sinks import SinkBatch
from quixstreams.sinks.community.redis import RedisSink

from benchmarks.peer_clock import Clock, contend
from benchmarks.peer_fold import fold, new_state

COMMIT_S = 1.0  # how old what is in Redis may be; the default is 5 s


class Newest(RedisSink):
    """Its own sink sets every record of a checkpoint in one MULTI; here the newest of every customer, in a pipeline."""

    counts: dict[str, int]

    def write(self, batch: SinkBatch) -> None:
        """Write one checkpoint's records."""
        newest = {item.key: item.value for item in batch}
        pipe = self._client.pipeline(transaction=False)
        for customer, document in newest.items():
            pipe.set(f"features:{customer}", orjson.dumps(document))
        pipe.execute()
        self.counts["writes"] += len(newest)
        self.counts["batches"] += 1


def run(asked: argparse.Namespace, clock: Clock) -> dict[str, float]:
    """Run the application over as many records as there are."""

    def features_of(event: dict[str, Any], state: State) -> dict[str, Any]:
        clock.first()
        kept = state.get("windows") or new_state()
        merchant = f"m{event['merchant']}"
        last_visit = state.get(merchant)
        values, tile = fold(kept, event, last_visit)
        state.set("windows", kept)
        if tile != last_visit:
            state.set(merchant, tile)
        document: dict[str, Any] = {"values": values, "at": event["at"]}
        if learner is not None:
            document["told"] = learner.step(values, event)
        return document

    learner = None
    if asked.predictions:
        from benchmarks.peer_model import Learner  # river: features alone do not need it

        learner = Learner()

    app = Application(
        broker_address=asked.bootstrap, consumer_group=f"{asked.prefix}quix", auto_offset_reset="earliest",
        state_dir=asked.scratch, use_changelog_topics=asked.durable, commit_interval=COMMIT_S, loglevel="WARNING",
    )  # fmt: skip
    payments = app.topic(asked.topic, key_deserializer="str", value_deserializer="json")
    server = urlsplit(asked.redis)
    sink = Newest(server.hostname, server.port, 0)
    sink.counts = {"writes": 0, "batches": 0}
    documents = app.dataframe(payments).apply(features_of, stateful=True)
    if asked.predictions:
        predictions = app.topic(asked.predictions, key_serializer="str", value_serializer="json")
        documents.apply(lambda document: document["told"]).to_topic(predictions)
        documents = documents.apply(lambda document: {"values": document["values"], "at": document["at"]})
    documents.sink(sink)
    outputs = 2 if asked.predictions else 1  # which is what it counts
    app.run(count=asked.events * outputs, collect=False)
    return {**clock.figures(), **sink.counts}


if __name__ == "__main__":
    contend(run, "quixstreams", "confluent-kafka", "redis", "rocksdict")

"""The reference job on Penstock's own featurize worker, put together as `penstock run --role featurize` does it.

Guarantees: exactly-once effect in Redis: state, document and position in one atomic script. It also does what the others
are not asked for: a sample with every event's vector goes to Kafka, acknowledged before the state is saved.
"""

from __future__ import annotations

import argparse

from benchmarks.features_job import pipeline
from benchmarks.peer_clock import Clock, contend
from penstock.features.redis.store import RedisStateStore, check_redis, connect
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.process.clock import wall_ms
from penstock.stream.process.interpreter import share_interpreter
from penstock.stream.process.write_behind import WriteBehind
from penstock.stream.roles.start import LEAD_RECORDS, POLL_S
from penstock.stream.topology import deployed


def run(asked: argparse.Namespace, clock: Clock) -> dict[str, float]:
    """Turn the worker's loop until every record is written."""
    share_interpreter()
    client = connect(asked.redis)
    check_redis(client)
    log = KafkaLog(asked.bootstrap)
    job = pipeline()
    worker = FeaturizeWorker(
        job, log, lambda task: RedisStateStore(client, deployed(job.name, asked.prefix), task), wall_ms,
        prefix=asked.prefix, lead_records=LEAD_RECORDS, writer=WriteBehind("featurize-write", steps=2),
    )  # fmt: skip
    stepped = 0
    while stepped < asked.events:
        if not stepped:
            clock.restart()  # the first turns join the group
        stepped += worker.process_batch(POLL_S)
    worker.writer.finish()
    figures = clock.figures()
    for task in worker.tasks.values():
        if task.featurize.counts.dead_letters:
            raise RuntimeError(f"the job is wrong: {task.featurize.counts.dead_letters}")
    worker.close()
    log.close()
    return figures


if __name__ == "__main__":
    contend(run, "confluent-kafka", "redis")

"""Learning in 1, 2 and 4 shards in one process: CPU an event of featurize and learn, and every model against a fold of its log.

    penstock bench shards [--events 60000] [--rounds 3] [--shards 1|2|4|8]... [--kafka] [--json [FILE]]

One row a number of shards: {"shards", "learn_cpu_us", "featurize_cpu_us", "events_per_cpu_s", "ratio", "best_ratio", "equal", …}.
The events are payments of 5,000 Pareto-distributed customers, each with its label, and the view of 13 features
(`features_job`); shards are by customer. `learn_cpu_us` is what one event costs learn: decode, predict, join, learn, watch,
encode and write. `ratio` is that of one shard divided by this (1 is flat), of medians, `best_ratio` of the cheapest rounds.
`equal` says that every shard's digest is that of a replay of its part of the samples log.

Laws of this file:
- Numbers of shards take turns in every round, in one process, over logs in memory; featurize ends before learn begins. With
  --kafka the logs are a real broker's and state is a real Valkey's; then CPU is that of this process, its Kafka client included.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from statistics import median
from typing import Any

import redis
from kafka import KafkaAdminClient

from benchmarks import features_job
from benchmarks.written import write
from penstock import Label, Pipeline
from penstock.features.redis.store import connect
from penstock.stream import topology
from penstock.stream.learn.replay import replay
from penstock.stream.log.admin import ensure
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.kafka_python import client
from penstock.stream.log.protocol import Log, Out
from penstock.stream.process.interpreter import settle_memory
from penstock.stream.process.settings import Settings
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.shards import log_of, of_shard
from penstock.stream.stack.local import local_stack

SHARDS = (1, 2, 4)
CUSTOMERS = 5_000
STEP_MS = 500
PARTITIONS = 4
MOST_IDLE_TURNS = 2_000


def events(number: int) -> Iterator[Out]:
    """Payments as their producer writes them; large ones are often fraud."""
    chance = random.Random(3)
    for event in features_job.events(number, CUSTOMERS, STEP_MS):
        event["fraud"] = chance.random() < (0.5 if event["amount"] > 60 else 0.05)
        yield Out(features_job.PAYMENTS.name, event["customer"].encode(), json.dumps(event).encode())


def pipeline_of(shards: int, name: str = "bench") -> Pipeline:
    """The reference job with labels, learned in so many shards."""
    label = Label(features_job.PAYMENTS, "fraud", wait="1h")
    return replace(
        features_job.pipeline(), name=name, label=label, shard_by="customer", shards=shards, quality=False
    )


class Servers:
    """Where flows run: in memory, or on a broker and a Valkey, under a prefix of their own each time."""

    def __init__(self, bootstrap: str = "", redis_url: str = "") -> None:
        self.settings = Settings(bootstrap=bootstrap, redis_url=redis_url)
        self.client: redis.Redis | None = connect(redis_url) if redis_url else None

    def flow(self, pipeline: Pipeline) -> MemoryFlow:
        """A flow of the roles in this process; its topics are made."""
        if not self.settings.bootstrap:
            return MemoryFlow(pipeline, partitions=PARTITIONS)
        prefix = f"{uuid.uuid4().hex[:8]}."
        source = topology.Topic(f"{prefix}payments", PARTITIONS, {}, "payments")
        renamed = replace(features_job.PAYMENTS, name=source.name)
        views = [replace(view, source=renamed) for view in pipeline.views]
        label = replace(pipeline.label, source=renamed)
        pipeline = replace(pipeline, predict=renamed, views=views, label=label)
        with client(KafkaAdminClient, self.settings) as admin:
            ensure(admin, [source, *topology.owned(pipeline.name, prefix, pipeline.shards)])
        log: Any = KafkaLog(self.settings.bootstrap)
        return MemoryFlow(pipeline, client=self.client, log=log, prefix=prefix)


def spent(turn: Callable[[], int], wanted: Callable[[], bool]) -> float:
    """CPU seconds until `wanted`, turn by turn."""
    started, idle = time.process_time(), 0
    while not wanted():
        idle = 0 if turn() else idle + 1
        assert idle < MOST_IDLE_TURNS, "nothing comes any more, and not all is done"
    return time.process_time() - started


def run(servers: Servers, shards: int, records: Sequence[Out]) -> tuple[float, float, bool]:
    """CPU seconds of featurize and of learn over the records, and whether every model is that of a replay."""
    flow = servers.flow(pipeline_of(shards))
    name, prefix, log = flow.pipeline.name, flow.prefix, flow.log
    source = flow.pipeline.predict.name
    log.append([record._replace(topic=source) for record in records])
    wait_s = 0.05 if servers.client is not None else 0.0
    made = 0

    def featurize() -> int:
        nonlocal made
        stepped = flow.featurize.process_batch(wait_s)
        made += stepped
        return stepped

    first = spent(featurize, lambda: made >= len(records))
    for _ in range(5):  # what was stepped is written, and committed
        flow.featurize.process_batch(0.0)
    tps = [(topology.samples(name, prefix), shard) for shard in range(shards)]
    ends = {tp: end for tp, (_, end) in log.bounds(tps).items()}

    def learned() -> bool:
        if shards == 1:
            folds = [flow.learn.fold]
        else:
            workers = flow.learning.workers  # type: ignore[union-attr]
            folds = [workers[shard].fold if shard in workers else None for shard in range(shards)]
        at = [0 if fold is None else fold.position for fold in folds]
        return at == list(ends.values())

    second = spent(lambda: flow.learning.process_batch(wait_s), learned)
    flow.learning.process_batch(0.0)
    equal = all(same(flow, log, shard) for shard in range(shards))
    flow.close()
    if servers.client is not None:
        log.close()
    return first, second, equal


def same(flow: MemoryFlow, log: Log, shard: int) -> bool:
    """Whether a shard's model is that of a replay of its part of the log."""
    one = of_shard(flow.pipeline, shard)
    fold = flow.learn.fold if flow.pipeline.shards == 1 else flow.shard(shard).fold
    here = log_of(log, one, flow.prefix)
    topic = topology.samples(one.name, flow.prefix)
    assert fold is not None
    return replay(one, here, topic, stop=fold.position).digest() == fold.digest()


def rows(servers: Servers, shards: Sequence[int], number: int, rounds: int) -> list[dict[str, Any]]:
    """The figures, one row a number of shards."""
    records = list(events(number))
    settle_memory()
    runs: dict[int, list[tuple[float, float, bool]]] = {one: [] for one in shards}
    for _ in range(rounds):
        for one in shards:
            runs[one].append(run(servers, one, records))
    learn = {one: [spent_s for _, spent_s, _ in found] for one, found in runs.items()}
    first = shards[0]
    return [
        {
            "shards": one,
            "events": number,
            "learn_cpu_us": round(median(learn[one]) / number * 1e6, 1),
            "featurize_cpu_us": round(median(spent_s for spent_s, _, _ in runs[one]) / number * 1e6, 1),
            "events_per_cpu_s": round(number / median(learn[one])),
            "ratio": round(median(learn[first]) / median(learn[one]), 3),
            "best_ratio": round(min(learn[first]) / min(learn[one]), 3),
            "equal": all(equal for _, _, equal in runs[one]),
        }
        for one in shards
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the process's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=60_000, help="how many payments (default 60000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is run (default 3)")
    parser.add_argument("--shards", action="append", type=int, help="only so many; may be repeated")
    parser.add_argument("--kafka", action="store_true", help="over a real broker and a real Valkey")
    parser.add_argument(
        "--json", metavar="FILE", nargs="?", const="-",
        help="write the rows as a JSON list, too; without FILE to standard output, and the table to standard error",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    with ExitStack() as closing:
        servers = Servers()
        if args.kafka:
            stack = closing.enter_context(local_stack(progress=lambda line: print(line, file=sys.stderr)))
            if stack.kafka is None:
                print("penstock: --kafka needs a broker: Java 17 and Maven, or Docker", file=sys.stderr)
                return 2
            servers = Servers(stack.kafka, stack.redis_url)
        found = rows(servers, args.shards or SHARDS, args.events, args.rounds)
    told = sys.stderr if args.json == "-" else sys.stdout
    print("shards  learn µs an event  featurize µs  events/CPU s  ratio  best  equal", file=told)
    for row in found:
        print(
            f"{row['shards']:6}  {row['learn_cpu_us']:17.1f}  {row['featurize_cpu_us']:12.1f}  {row['events_per_cpu_s']:12,}"
            f"  {row['ratio']:5.2f}  {row['best_ratio']:4.2f}  {'yes' if row['equal'] else 'NO'}",
            file=told,
        )
    write(found, args.json)
    return 0 if all(row["equal"] for row in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())

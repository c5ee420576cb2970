"""Featurize by several workers: what an event costs, the most memory that one had, and whether the values are one worker's.

    penstock bench workers [--workers 1 2 4] [--events 200000] [--entities 5000] [--partitions 4] [--json [FILE]]

The reference job (`features_job`) stands on a topic of several partitions of a Kafka that this program starts. So many processes
`penstock run --role featurize` read it to its end, into a Valkey of their own; then what lies there of every customer is compared
with what the first number of workers left, and counted are the samples. One line for each number of workers.

Laws of this file:
- CPU is of the workers' own processes, from the first sample to the last; servers apart. A start is not counted.
- What is compared is the private state: it says more than a document does, and names no time of the wall.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient

from benchmarks.features_job import PAYMENTS, payments
from benchmarks.job_pipeline import pipeline
from benchmarks.peers import PRODUCED_AT_ONCE, ROOT, machine, say
from benchmarks.written import write
from penstock.features.redis.keys import pattern, state_key
from penstock.features.redis.store import connect
from penstock.stream import topology
from penstock.stream.demo.processes import Role
from penstock.stream.log import kafka_python
from penstock.stream.log.admin import ensure
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import TP, Out
from penstock.stream.messages import Sample, decode_entry
from penstock.stream.process.settings import Settings
from penstock.stream.stack import local_stack
from penstock.stream.stack.valkey import valkey_server

LOOK_S = 0.1
READ_AT_ONCE = 10_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the process's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="how many (default 1 2 4)")
    parser.add_argument("--events", type=int, default=200_000, help="how many (default 200000)")
    parser.add_argument("--entities", type=int, default=5_000, help="how many customers (default 5000)")
    parser.add_argument("--partitions", type=int, default=4, help="of the events' topic (default 4)")
    parser.add_argument("--json", metavar="FILE", nargs="?", const="-", help="write the figures")
    args = parser.parse_args(arguments)
    told = sys.stderr if args.json == "-" else sys.stdout
    rows: list[dict[str, Any]] = []
    with local_stack(env={}, progress=say) as stack:
        if stack.kafka is None:
            sys.exit("no Kafka: " + "; ".join(stack.description))
        produce(stack.kafka, args.events, args.entities, args.partitions)
        print("workers  events/s  CPU us/event  most MB of one  samples  states", file=told)
        for workers in args.workers:
            row = one_run(stack.kafka, workers, args.events)
            row["as_the_first"] = not rows or row["states"] == rows[0]["states"]
            rows.append(row)
            print(
                f"{workers:7} {row['events_per_s']:9,.0f} {row['cpu_us_per_event']:13.1f} {row['memory_mb']:15,.0f}"
                f" {row['samples']:8,} {'as the first' if row['as_the_first'] else 'OTHERS'}",
                file=told,
                flush=True,
            )
    given = {"events": args.events, "entities": args.entities, "partitions": args.partitions}
    write({**given, "rows": rows, "machine": machine()}, args.json)
    return 0 if all(row["as_the_first"] and row["samples"] == args.events for row in rows) else 1


def produce(bootstrap: str, events: int, entities: int, partitions: int) -> None:
    """Write the events onto their topic, by customer."""
    with kafka_python.client(KafkaAdminClient, Settings(bootstrap=bootstrap)) as admin:
        ensure(admin, [topology.Topic(PAYMENTS.name, partitions, {}, "events")])
    log = KafkaLog(bootstrap)
    outs: list[Out] = []
    for number, record in enumerate(payments(events, entities), 1):
        outs.append(Out(record.topic, record.key, record.value, ()))
        if len(outs) == PRODUCED_AT_ONCE or number == events:
            log.append(outs)
            outs = []
            if number % 1_000_000 == 0:
                say(f"{number:,} events produced")
    log.close()


def one_run(bootstrap: str, workers: int, events: int) -> dict[str, Any]:
    """Run so many workers until every event has its sample; what it took, and what they left."""
    prefix = f"run{uuid.uuid4().hex[:8]}."
    with kafka_python.client(KafkaAdminClient, Settings(bootstrap=bootstrap)) as admin:
        ensure(admin, topology.owned(pipeline.name, prefix))
    server, url = valkey_server()
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "PENSTOCK_PREFIX": prefix,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap, "REDIS_URL": url, "PENSTOCK_SECRET": "of a benchmark",
    }  # fmt: skip
    samples: TP = (topology.samples(pipeline.name, prefix), 0)
    group = f"{topology.deployed(pipeline.name, prefix)}.featurize"
    log = KafkaLog(bootstrap)
    roles: list[Role] = []
    try:
        with tempfile.TemporaryDirectory(prefix="penstock-workers-") as folder:
            file = str(ROOT / "benchmarks" / "job_pipeline.py")
            for slot in range(workers):
                place = Path(folder) / str(slot)
                place.mkdir()
                roles.append(Role("featurize", file, environment, place, ("--slot", str(slot))))
            before = [0.0] * workers
            while log.bounds([samples])[samples][1] == 0:
                before = [role.cpu_s() for role in roles]
                for role in roles:
                    role.check()
                time.sleep(LOOK_S)
            began, memory_mb = time.perf_counter(), 0.0
            tps = [(PAYMENTS.name, n) for n in range(log.partitions(PAYMENTS.name))]
            ends = {tp: end for tp, (_, end) in log.bounds(tps).items()}
            while any(log.committed(group, tps).get(tp, 0) < end for tp, end in ends.items()):
                for role in roles:
                    role.check()
                time.sleep(LOOK_S)
            wall_s = time.perf_counter() - began
            cpu_s = sum(role.cpu_s() - was for role, was in zip(roles, before, strict=True))
            memory_mb = max(most_memory_mb(role.child.pid) for role in roles)
            for role in roles:
                role.stop()
        say(
            f"{workers} workers: {wall_s:,.0f} s, {cpu_s:,.0f} CPU s, {memory_mb:,} MB; counting what they left"
        )
        return {
            "workers": workers, "events_per_s": round(events / wall_s), "memory_mb": memory_mb,
            "cpu_us_per_event": round(cpu_s / events * 1e6, 2), "load": round(os.getloadavg()[0], 2),
            "samples": distinct_samples(log, samples), "states": digest_of(url, prefix),
        }  # fmt: skip
    finally:
        for role in roles:
            role.stop()
        log.close()
        server.close()


def most_memory_mb(pid: int) -> float:
    """The most resident memory that a process had (Linux), in MB."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return round(int(status["VmHWM"].split()[0]) / 1024)


def distinct_samples(log: KafkaLog, tp: TP) -> int:
    """How many events have a sample, however often it stands there."""
    end = log.bounds([tp])[tp][1]
    reader, done, found = log.reader({tp: 0}), 0, 0
    seen: dict[int, bytearray] = {}
    while done < end:
        for record in reader.poll(READ_AT_ONCE, 1.0):
            done = record.offset + 1
            entry = decode_entry(record.value or b"")
            if type(entry) is Sample:
                partition, offset = entry.origin.partition, entry.origin.offset
                if partition not in seen:
                    seen[partition] = bytearray(end)
                found += not seen[partition][offset]
                seen[partition][offset] = 1
    reader.close()
    return found


def digest_of(url: str, prefix: str) -> str:
    """A digest of the states of all customers, whichever task wrote them."""
    deployed, view = topology.deployed(pipeline.name, prefix), pipeline.views[0]
    total = 0
    first = state_key(deployed, "TASK", view.name, view.version, "")
    glob = "*".join(pattern(part).removesuffix("*") for part in first.split("TASK")) + "*"
    with connect(url) as client:
        keys = list(client.scan_iter(glob, count=READ_AT_ONCE))
        for at in range(0, len(keys), READ_AT_ONCE):
            some = keys[at : at + READ_AT_ONCE]
            values: Any = client.mget(some)
            for key, value in zip(some, values, strict=True):
                entity = key.split(b":state:", 1)[1]
                one = hashlib.sha256(entity + b"=" + value).digest()
                total = (total + int.from_bytes(one[:16], "big")) % 2**128
    return f"{total:032x}"


if __name__ == "__main__":
    raise SystemExit(main())

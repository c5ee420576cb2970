"""How long from an event's Kafka timestamp until its features can be read in Redis, at steady loads.

The reference job (`features_job.py`) on a broker and a Valkey of its own: the featurize role as a process, a producer beside
it that keeps its rate whatever comes back. What is told is the role's own metric, `penstock_event_to_readable_seconds`: every
record counts, with the moment at which its whole batch could be read.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

from confluent_kafka import Producer
from kafka import KafkaAdminClient

from benchmarks.features_job import PAYMENTS, events, pipeline
from benchmarks.written import write
from penstock.stream import topology
from penstock.stream.log import kafka_python
from penstock.stream.log.admin import ensure
from penstock.stream.process.settings import Settings, child_environment
from penstock.stream.roles import start
from penstock.stream.stack import local_stack

RATES = (1_000, 5_000, 10_000)
WARM_S = 4.0
STEP_S = 0.002
METRIC = "penstock_event_to_readable_seconds"


def buckets(port: int) -> dict[str, float]:
    """Give the cumulated counts by upper bound in seconds, as the role's page shows them now."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    rows = (line.split('"') for line in lines if line.startswith(f"{METRIC}_bucket"))
    return {row[1]: float(row[2].rpartition(" ")[2]) for row in rows}


def percentile(counts: dict[str, float], share: float) -> str:
    """Give the least bucket border that at least this share of the records lies within, in ms."""
    most = counts["+Inf"]
    found = next(limit for limit, count in counts.items() if count >= share * most)
    return found if found == "+Inf" else f"{float(found) * 1000:g}"


def keep(producer: Producer, made: Iterator[dict[str, Any]], rate: int, seconds: float) -> float:
    """Produce at a rate for so long; give the rate that was kept."""
    began = time.perf_counter()
    sent = 0
    while (passed := time.perf_counter() - began) < seconds:
        while sent < passed * rate:
            event = next(made)
            event["at"] = time.time_ns() // 1_000_000
            producer.produce(PAYMENTS.name, json.dumps(event).encode(), event["customer"].encode())
            sent += 1
        producer.poll(0)
        time.sleep(STEP_S)
    producer.flush(10)
    return sent / (time.perf_counter() - began)


def measure(rates: list[int], seconds: float) -> dict[str, Any]:
    """Run the role and give, by rate, the shares and percentiles of the time to readable."""
    figures: dict[str, Any] = {}
    with local_stack(env={}, progress=say) as stack:
        if stack.kafka is None:
            sys.exit("no Kafka, and this needs one: " + "; ".join(stack.description))
        settings = Settings.from_env(
            {"KAFKA_BOOTSTRAP_SERVERS": stack.kafka, "REDIS_URL": stack.redis_url, "PENSTOCK_SECRET": "bench"}
        )
        with kafka_python.client(KafkaAdminClient, settings) as admin:
            ensure(
                admin, [*topology.owned(pipeline().name), topology.Topic(PAYMENTS.name, 1, {}, "payments")]
            )
        command = [sys.executable, "-m", "benchmarks.freshness", "--work"]
        environment = {**child_environment(settings), "PYTHONPATH": os.pathsep.join(sys.path)}
        worker = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            assert worker.stdout is not None
            port = int(worker.stdout.readline())
            producer = Producer(
                {"bootstrap.servers": stack.kafka, "linger.ms": 1, "partitioner": "murmur2_random"}
            )
            made = events(10_000_000, 5_000, 1)
            for rate in rates:
                keep(producer, made, rate, WARM_S)
                before = buckets(port)
                kept = keep(producer, made, rate, seconds)
                time.sleep(1.0)
                counts = {limit: count - before[limit] for limit, count in buckets(port).items()}
                figures[str(rate)] = {
                    "kept_per_s": round(kept), "records": round(counts["+Inf"]),
                    "p50_ms_at_most": percentile(counts, 0.5), "p99_ms_at_most": percentile(counts, 0.99),
                    "within_10_ms": round(counts["0.01"] / counts["+Inf"], 4),
                    "within_50_ms": round(counts["0.05"] / counts["+Inf"], 4),
                }  # fmt: skip
                print(f"{rate:>7}/s", figures[str(rate)], flush=True)
        finally:
            worker.terminate()
            worker.wait(20)
    return figures


def work() -> None:
    """Be the featurize role until told to stop; print the port of its page first."""
    from socket import socket

    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = start.with_arguments(Settings.from_env(), port=port, slot=None)
    print(port, flush=True)
    start.run_featurize(pipeline(), settings)


def say(line: str) -> None:
    """Tell progress, at once."""
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run and print; one JSON object with `--json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument(
        "--rates", type=int, nargs="+", default=list(RATES), metavar="N", help="events a second"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="per rate")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.work:
        work()
        return 0
    figures = measure(asked.rates, asked.seconds)
    write(figures, asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

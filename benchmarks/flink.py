"""The flights on a cluster of Apache Flink with 1, 2 and 4 task managers: CPU an event, and whether samples are one worker's.

    penstock bench flink [--managers 1 2 4] [--days 150] [--partitions 4] [--python build/flink/bin/python] [--json [FILE]]

The flights of so many days stand on topics of a Kafka that this program starts. A featurize worker in memory says what every
sample and state is. Then `penstock flink` is submitted to a session cluster of so many task managers of one slot each, at that
parallelism, and ends when the samples of every event can be read. `make flink` makes Flink's environment.

Laws of this file:
- CPU is of the task managers, Java and the Python within, from where a third of the samples can be read to the last, so that
  neither a start counts nor most of what Java compiles. The JobManager, Kafka and Valkey are apart.
- Samples and dead letters are compared record for record, states byte for byte, soon after the last sample can be read.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import redis
from kafka import KafkaAdminClient

from benchmarks.peers import PRODUCED_AT_ONCE, ROOT, machine, say
from benchmarks.written import write
from penstock.examples import flights, flights_data
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.demo.processes import cpu_of
from penstock.stream.log import kafka_python
from penstock.stream.log.admin import ensure
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Out
from penstock.stream.process.settings import Settings
from penstock.stream.stack import local_stack
from penstock.stream.stack.valkey import valkey_server
from tests.flink.session_cluster import SessionCluster
from tests.stream.flink.one_task import by_one_task, copied, told

LOOK_S = 0.2
PATIENCE_S = 1_200.0
SETTLE_S = 20.0
FIRST_DAY = date(2013, 1, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the process's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--managers", type=int, nargs="+", default=[1, 2, 4], help="how many (default 1 2 4)")
    parser.add_argument(
        "--days",
        type=int,
        default=150,
        help="of the year, from its start (default 150; with few, what Java compiles is most of the CPU)",
    )
    parser.add_argument("--partitions", type=int, default=4, help="of the events' topics (default 4)")
    parser.add_argument("--python", default=str(ROOT / "build" / "flink" / "bin" / "python"), help="Flink's")
    parser.add_argument("--json", metavar="FILE", nargs="?", const="-", help="write the figures")
    args = parser.parse_args(arguments)
    if not Path(args.python).exists():
        sys.exit(f"{args.python} is not there: `make flink` makes it, or name Flink's Python with --python")
    shown = sys.stderr if args.json == "-" else sys.stdout
    rows: list[dict[str, Any]] = []
    with local_stack(env={}, progress=say) as stack:
        if stack.kafka is None:
            sys.exit("no Kafka: " + "; ".join(stack.description))
        events = produce(stack.kafka, args.days, args.partitions)
        say(f"{events:,} events")
        print("managers  entries/s  CPU us/entry  load  as one worker", file=shown)
        for managers in args.managers:
            row = one_run(stack.kafka, args.python, managers)
            rows.append(row)
            print(
                f"{managers:8} {row['entries_per_s']:10,.0f} {row['cpu_us_per_entry']:13.0f} {row['load']:5.1f}"
                f"  {'NO: ' + '; '.join(row['differing']) if row['differing'] else 'yes'}",
                file=shown,
                flush=True,
            )
    given = {"days": args.days, "events": events}
    write({**given, "rows": rows, "machine": machine()}, args.json)
    return 1 if any(row["differing"] for row in rows) else 0


def produce(bootstrap: str, days: int, partitions: int) -> int:
    """Write the flights onto their topics; how many events."""
    topics = [topology.Topic(source.name, partitions, {}, "events") for source in flights.pipeline.sources]
    with kafka_python.client(KafkaAdminClient, Settings(bootstrap=bootstrap)) as admin:
        ensure(admin, topics)
    log = KafkaLog(bootstrap)
    outs = [
        Out(topic, None if key is None else key.encode(), msgspec.json.encode(fields), ())
        for topic, key, fields, _ in flights_data.events(end=FIRST_DAY + timedelta(days=days))
    ]
    for at in range(0, len(outs), PRODUCED_AT_ONCE):
        log.append(outs[at : at + PRODUCED_AT_ONCE])
    log.close()
    return len(outs)


def one_run(bootstrap: str, python: str, managers: int) -> dict[str, Any]:
    """Submit the job to a cluster of its own, and wait until all can be read; what it took, and whether it is the same."""
    name = f"flights{uuid.uuid4().hex[:8]}"
    pipeline = replace(flights.pipeline, name=name)
    samples = topology.samples(name)
    with kafka_python.client(KafkaAdminClient, Settings(bootstrap=bootstrap)) as admin:
        ensure(admin, topology.owned(name))
    server, url = valkey_server()
    log = KafkaLog(bootstrap)
    say("one worker in memory says what they give")
    expected, stored = by_one_task(pipeline, copied(log, pipeline))
    wanted = len(expected[samples])
    with tempfile.TemporaryDirectory(prefix="penstock-flink-") as place:
        folder = Path(place)
        file = folder / "definition.py"
        file.write_text(
            "from dataclasses import replace\nfrom penstock.examples import flights\n"
            f"pipeline = replace(flights.pipeline, name={name!r})\n"
        )
        os.environ |= {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "REDIS_URL": url}
        cluster = SessionCluster(python, folder, [ROOT]).start()
        try:
            workers = [cluster.run("taskmanager.sh") for _ in range(managers)]
            submit(python, file, cluster, managers, folder)
            until(lambda: readable(log, samples) > wanted // 3, cluster)
            first, before, began = readable(log, samples), cpu_s(workers), time.perf_counter()
            until(lambda: readable(log, samples) > wanted, cluster)  # more by the transactions' own marks
            while len(told(log, pipeline)[samples]) < wanted:
                time.sleep(LOOK_S)
            wall_s, spent_s = time.perf_counter() - began, cpu_s(workers) - before
            settled = time.monotonic() + SETTLE_S
            while (others := differing(log, pipeline, expected, url, stored)) and time.monotonic() < settled:
                time.sleep(LOOK_S)
        finally:
            cluster.end()
            log.close()
            server.close()
    entries = wanted - first
    return {
        "managers": managers, "entries": wanted, "entries_per_s": round(entries / wall_s), "load": round(os.getloadavg()[0], 2),
        "cpu_us_per_entry": round(spent_s / entries * 1e6, 1), "differing": others,
    }  # fmt: skip


def submit(python: str, file: Path, cluster: SessionCluster, parallelism: int, folder: Path) -> None:
    """Give the job to the cluster; exits with what it said where that fails."""
    line = [
        python, "-m", "penstock.stream.cli", "flink", str(file), "--parallelism", str(parallelism),
        "--cluster", cluster.rest, "--checkpoint-every", "2s", "--checkpoints", str(folder / "kept"),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FLINK_LOG_DIR": str(folder)}
    done = subprocess.run(line, env=environment, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the job was not taken:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def until(done: Any, cluster: SessionCluster) -> None:
    """Wait; exits with the cluster's last words where it takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > deadline:
            sys.exit(f"not done after {PATIENCE_S:.0f} s:\n{cluster.said()}")
        time.sleep(LOOK_S)


def readable(log: KafkaLog, topic: str) -> int:
    """Where what is committed of the samples log ends."""
    return log.bounds([(topic, 0)])[(topic, 0)][1]


def cpu_s(workers: Sequence[subprocess.Popen[bytes]]) -> float:
    """CPU seconds of the task managers' sessions: the scripts, Java and Python."""
    groups = {worker.pid for worker in workers}
    total = 0.0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getpgid(int(entry.name)) in groups and (found := cpu_of(int(entry.name))) is not None:
                    total += found[1]
            except (ProcessLookupError, FileNotFoundError):
                continue
    return total


def differing(
    log: KafkaLog, pipeline: Pipeline, expected: dict[str, list[Any]], url: str, stored: dict[str, bytes]
) -> list[str]:
    """What is not as one worker gave it, record for record and state for state."""
    told_here, found = told(log, pipeline), []
    for topic, there in expected.items():
        here = told_here[topic]
        if topic == topology.CONTROL_ALERTS:  # other runs tell theirs there, too
            here = [row for row in here if row in there]
        if here != there:
            at = next((at for at, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), "the end")
            found.append(f"{topic}: {len(here)} instead of {len(there)}, the first at {at}")
    states = {key: value for key, value in stored.items() if ":state:" in key}
    with redis.Redis.from_url(url) as client:
        others = [key for key, value in states.items() if client.get(key) != value]
    return [*found, f"{len(others)} of {len(states)} states, such as {others[0]}"] if others else found


if __name__ == "__main__":
    raise SystemExit(main())

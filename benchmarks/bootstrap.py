"""How fast a pipeline starts from files of the past, beside reading the same events from its topics.

    penstock bench bootstrap [--end 2013-04-01] [--json [FILE]]

The flights from January up to --end, as Parquet and on topics of two partitions, with the pipeline of `examples/flights.py`.
Three runs on the same machine, one after the other, each with a Valkey of its own:

- `live`: the roles featurize and learn read the topics, from the first sample to the last commit of learn.
- `bootstrap`: `penstock bootstrap` reads the files and learns, to its end.
- `reading`: the same rows become state and samples, and nobody learns meanwhile: what files cost by themselves.

Laws of this file: all three must give the same number of samples and labels, and the first two the same live model.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pyarrow
import pyarrow.parquet
from kafka import KafkaAdminClient

from benchmarks.peers import ROOT, machine, say
from benchmarks.written import write
from penstock.examples.flights_data import ARRIVALS, DEPARTURES, Event, events
from penstock.features.redis.store import RedisStateStore, connect
from penstock.stream import topology
from penstock.stream.bootstrap.kept import Kept, Place
from penstock.stream.bootstrap.run import Bootstrap, tasks_of
from penstock.stream.definition_file import load
from penstock.stream.demo.processes import Role
from penstock.stream.log import kafka_python
from penstock.stream.log.admin import ensure
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Out, partition_for
from penstock.stream.process.clock import wall_ms
from penstock.stream.process.interpreter import settle_memory
from penstock.stream.process.settings import Settings
from penstock.stream.process.write_behind import WriteBehind
from penstock.stream.roles.bootstrap import Asked, looked, plan_of
from penstock.stream.stack import Stack, local_stack
from penstock.stream.stack.valkey import valkey_server

PARTITIONS = 2
FILE = str(ROOT / "examples" / "flights.py")
ROW_GROUP = 50_000
LOOK_S = 0.02


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the process's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--end", type=date.fromisoformat, default=date(2013, 4, 1), help="default 2013-04-01")
    parser.add_argument(
        "--json",
        metavar="FILE",
        nargs="?",
        const="-",
        help="write the figures; without FILE to standard output",
    )
    args = parser.parse_args(arguments)
    found = measured(list(events("none", None, args.end)))
    told = sys.stderr if args.json == "-" else sys.stdout
    print("            rows/s  ÷ live  CPU us/row", file=told)
    for name in ("live", "bootstrap", "reading"):
        one = found[name]
        print(
            f"{name:9} {one['events_per_s']:8,.0f} {one['ratio']:7.2f} {one['cpu_us_per_event']:11.1f}",
            file=told,
        )
    write(found, args.json)
    return 0


def measured(flown: Sequence[Event]) -> dict[str, Any]:
    """Run all three; the figures by name. Exits where they differ."""
    with (
        tempfile.TemporaryDirectory(prefix="penstock-bootstrap-") as folder,
        local_stack(env={}, progress=say) as stack,
    ):
        if stack.kafka is None:
            sys.exit("no Kafka: " + "; ".join(stack.description))
        options = files_of(flown, Path(folder))
        produce(stack.kafka, flown)
        until = str(max(event.at_ms for event in flown) + 1)
        runs = {
            "live": live(stack, len(flown), Path(folder)),
            "bootstrap": bootstrap(stack, options, until),
            "reading": reading(stack, options, until),
        }
    if runs["live"].pop("digest") != runs["bootstrap"].pop("digest"):
        sys.exit("the bootstrap ended with another model than the topics gave")
    found: dict[str, Any] = {}
    for name, run in runs.items():
        found[name] = {
            "events_per_s": round(len(flown) / run["wall_s"]),
            "cpu_us_per_event": round(run["cpu_s"] / len(flown) * 1e6, 2),
            "ratio": round(runs["live"]["wall_s"] / run["wall_s"], 3),
            **run,
        }
    return {**found, "events": len(flown), "machine": machine()}


def files_of(flown: Sequence[Event], folder: Path) -> list[str]:
    """Write a Parquet file for each topic; the `--source` options."""
    options = []
    for topic in (DEPARTURES, ARRIVALS):
        rows = [event.fields for event in flown if event.topic == topic]
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist(rows), folder / f"{topic}.parquet", row_group_size=ROW_GROUP
        )
        options.append(f"{topic}={folder / topic}.parquet")
    return options


def produce(bootstrap: str, flown: Sequence[Event]) -> None:
    """Write the events onto their topics."""
    with kafka_python.client(KafkaAdminClient, Settings(bootstrap=bootstrap)) as admin:
        ensure(admin, [topology.Topic(topic, PARTITIONS, {}, "events") for topic in (DEPARTURES, ARRIVALS)])
    log = KafkaLog(bootstrap)
    encode = msgspec.json.Encoder().encode
    for at in range(0, len(flown), 20_000):
        log.append(
            [
                Out(
                    topic,
                    None if key is None else key.encode(),
                    encode(fields),
                    (),
                    0 if key is None else partition_for(key.encode(), PARTITIONS),
                )
                for topic, key, fields, _ in flown[at : at + 20_000]
            ]
        )
    log.close()


def prepared(stack: Stack, url: str) -> dict[str, str]:
    """The environment of a deployment of its own, whose topics are there."""
    assert stack.kafka is not None
    prefix = f"run{uuid.uuid4().hex[:8]}."
    with kafka_python.client(KafkaAdminClient, Settings(bootstrap=stack.kafka)) as admin:
        ensure(admin, topology.owned("flights", prefix))
    return {
        **os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "PENSTOCK_PREFIX": prefix,
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka, "REDIS_URL": url, "PENSTOCK_SECRET": "of a benchmark",
    }  # fmt: skip


def digest_of(url: str, environment: dict[str, str]) -> str:
    """The live model's, as the last snapshot says."""
    said = json.loads(connect(url).get(f"model:{environment['PENSTOCK_PREFIX']}flights") or b"{}")  # type: ignore[arg-type]
    return str(said.get("digest", "none")).partition("-")[0]


def live(stack: Stack, count: int, folder: Path) -> dict[str, Any]:
    """Both roles over the topics, until every event is featurized and learned."""
    server, url = valkey_server()
    environment = prepared(stack, url)
    assert stack.kafka is not None
    log, prefix = KafkaLog(stack.kafka), environment["PENSTOCK_PREFIX"]
    samples, group = (topology.samples("flights", prefix), 0), f"{prefix}flights.learn"
    tps = [(topic, number) for topic in (DEPARTURES, ARRIVALS) for number in range(PARTITIONS)]
    roles: dict[str, Role] = {}
    try:
        for name in ("learn", "featurize"):
            roles[name] = Role(name, FILE, environment, folder)
        roles["learn"].wait_ready()
        while log.bounds([samples])[samples][1] == 0:
            roles["featurize"].check()
            time.sleep(LOOK_S)
        began, before = time.perf_counter(), sum(role.cpu_s() for role in roles.values())
        read, ended = 0, 0
        while read < count or log.committed(group, [samples]).get(samples, 0) < ended:
            for role in roles.values():
                role.check()
            time.sleep(LOOK_S)
            read = sum(log.committed(f"{prefix}flights.featurize", tps).values())
            ended = log.bounds([samples])[samples][1] - 2  # a tick a second goes on
        wall_s = time.perf_counter() - began
        cpu_s = sum(role.cpu_s() for role in roles.values()) - before
        for role in reversed(roles.values()):
            role.stop()
        return {"wall_s": wall_s, "cpu_s": cpu_s, "digest": digest_of(url, environment)}
    finally:
        for role in roles.values():
            role.stop()
        log.close()
        server.close()


def bootstrap(stack: Stack, options: Sequence[str], until: str) -> dict[str, Any]:
    """The command, to its end."""
    server, url = valkey_server()
    environment = prepared(stack, url)
    line = [sys.executable, "-m", "penstock.stream.cli", "bootstrap", FILE, "--until", until, "--json"]
    for option in options:
        line += ["--source", option]
    try:
        before = os.times()
        done = subprocess.run(line, env=environment, check=False, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"bootstrap failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        report = json.loads(done.stdout.splitlines()[-1])
        after = os.times()
        return {
            "wall_s": report["seconds"],
            "cpu_s": after.children_user
            + after.children_system
            - before.children_user
            - before.children_system,
            "reading_s": report["reading_s"],
            "learning_after_s": report["learning_after_s"],
            "digest": digest_of(url, environment),
        }
    finally:
        server.close()


def reading(stack: Stack, options: Sequence[str], until: str) -> dict[str, Any]:
    """Rows to state and samples in this process, with nobody who learns."""
    server, url = valkey_server()
    environment = prepared(stack, url)
    prefix, pipeline = environment["PENSTOCK_PREFIX"], load(FILE)
    assert stack.kafka is not None
    log, client = KafkaLog(stack.kafka), connect(url)
    plan = looked(
        pipeline,
        plan_of(pipeline, Asked(FILE, options, until, []), PARTITIONS),
        lambda what, done, total: None,
    )
    deployed = topology.deployed(pipeline.name, prefix)
    kept = Kept(
        lambda task: RedisStateStore(client, deployed, task),
        deployed,
        plan,
        list(tasks_of(pipeline, PARTITIONS)),
    )
    writer = WriteBehind("bootstrap-write")
    try:
        kept.load()
        place = Place(plan=plan, began_ms=wall_ms(), samples=[0])
        kept.begin(place)
        settle_memory()
        began, cpu = time.perf_counter(), time.process_time()
        Bootstrap(pipeline, log, kept, place, wall_ms, prefix=prefix, writer=writer).read()
        return {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}
    finally:
        writer.close()
        log.close()
        server.close()


if __name__ == "__main__":
    raise SystemExit(main())

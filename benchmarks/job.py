"""The whole job, from events in Kafka to features in Redis, predictions on a topic and a model that learns, beside other engines.

    penstock bench job [--events 200000] [--entities 5000] [--rounds 3] [--json [FILE]]

13 features of state and one of the row for each of 5,000 Pareto-distributed customers, a scaled logistic regression that
predicts every event and then learns its label, a test for drift on its losses, the features into a Valkey, the predictions onto
a topic. The events stand on a topic of four partitions beforehand. Penstock runs as two processes, `penstock run --role
featurize` and `--role learn`; Bytewax, Quix Streams and the loop in memory are one process each. Rounds are interleaved, figures
are medians; the features of every customer's last event must be the same for all.

Laws of this file:
- CPU is of the contenders' own processes, from their first record to their last write; servers apart. A start is not counted.
- The peers keep no model and no experts for a crash, and read again what they had not committed: that is told beside the figures.
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
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from kafka import KafkaAdminClient

from benchmarks.features_job import PAYMENTS, whole_records
from benchmarks.job_pipeline import pipeline
from benchmarks.peer_report import differences
from benchmarks.peer_values import Documents, documents_in, last_vectors
from benchmarks.peers import PRODUCED_AT_ONCE, ROOT, SAID, machine, quix_python, say
from benchmarks.written import write
from penstock.stream import topology
from penstock.stream.demo.processes import Role
from penstock.stream.log import kafka_python
from penstock.stream.log.admin import ensure
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Out
from penstock.stream.process.settings import Settings
from penstock.stream.stack import Stack, local_stack
from penstock.stream.stack.valkey import valkey_server

OWN = "penstock"
PARTITIONS = 4
PROMISES = {
    OWN: "exactly once in Redis; model, experts and drift replayed to the bit; drift decides",
    "bytewax": "nothing kept: reads the topic from its start",
    "quix": "at least once for features; the model is lost",
    "memory": "neither log nor store",
}
LOOK_S = 0.02


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the process's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=200_000, help="how many (default 200000)")
    parser.add_argument("--entities", type=int, default=5_000, help="how many customers (default 5000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is run (default 3)")
    parser.add_argument(
        "--json",
        metavar="FILE",
        nargs="?",
        const="-",
        help="write the figures; without FILE to standard output",
    )
    args = parser.parse_args(arguments)
    if find_spec("bytewax") is None:
        say("this needs Bytewax: pip install 'penstock[peers]'")
        return 2
    pythons = {"bytewax": sys.executable, "memory": sys.executable}
    try:
        pythons["quix"] = quix_python(f"river=={version('river')}")
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"Quix Streams could not be installed, so it does not take part: {error}")
    found = side_by_side(args.events, args.entities, args.rounds, pythons)
    told = sys.stderr if args.json == "-" else sys.stdout
    print("            events/s  CPU us/event  events/CPU s  ÷ penstock  after a crash", file=told)
    for name, figures in ((name, found[name]) for name in PROMISES if name in found):
        print(
            f"{name:9} {figures['events_per_s']:10,.0f} {figures['cpu_us_per_event']:13.1f}"
            f" {figures['events_per_cpu_s']:13,.0f} {found['ratios'][name]['events_per_cpu_s']:11.2f}  {PROMISES[name]}",
            file=told,
        )
    write(found, args.json)
    return 0


def side_by_side(events: int, entities: int, rounds: int, pythons: dict[str, str]) -> dict[str, Any]:
    """Run all in turn; the figures by name, and the ratios to Penstock's. Exits where values differ or one fails."""
    names = [OWN, *pythons]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    written: dict[str, Documents] = {}
    with local_stack(env={}, progress=say) as stack:  # its own broker, even if another is given
        if stack.kafka is None:
            sys.exit("no Kafka: " + "; ".join(stack.description))
        produce(stack.kafka, events, entities)
        for turn in range(rounds):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                prefix = f"run{uuid.uuid4().hex[:8]}."
                if name == OWN:
                    run = own_run(stack, events, prefix)
                    written[name] = last_vectors(stack.kafka, prefix)
                else:
                    run, written[name] = peer_run(stack, name, pythons[name], events, entities, prefix)
                runs[name].append(run)
                say(f"round {turn + 1} {name}: {json.dumps(run)}")
    for name in names:
        lines = [] if name == "memory" else differences(written[OWN], written[name])
        if lines:
            sys.exit(f"{name} computed other features: {lines[:SAID]}")
    found = {name: of_all(of_name, events) for name, of_name in runs.items()}
    ratios = {
        name: {
            key: round(found[name][key] / found[OWN][key], 3) for key in ("events_per_s", "events_per_cpu_s")
        }
        for name in names
    }
    return {**found, "ratios": ratios, "machine": machine(), "events": events, "runs": runs}


def of_all(runs: Sequence[dict[str, Any]], events: int) -> dict[str, Any]:
    """Give the medians of a contender's runs."""
    wall_s, cpu_s = median(run["wall_s"] for run in runs), median(run["cpu_s"] for run in runs)
    found: dict[str, Any] = {
        "events_per_s": round(events / wall_s),
        "events_per_cpu_s": round(events / cpu_s),
        "cpu_us_per_event": round(cpu_s / events * 1e6, 2),
    }
    if "roles" in runs[0]:
        found["roles"] = {
            role: {"cpu_us_per_event": round(median(run["roles"][role] for run in runs) / events * 1e6, 2)}
            for role in runs[0]["roles"]
        }
    return found


def produce(bootstrap: str, events: int, entities: int) -> None:
    """Write the events onto their topic, by customer."""
    with kafka_python.client(KafkaAdminClient, Settings(bootstrap=bootstrap)) as admin:
        ensure(admin, [topology.Topic(PAYMENTS.name, PARTITIONS, {}, "events")])
    log = KafkaLog(bootstrap)
    listed = whole_records(events, entities)
    for at in range(0, events, PRODUCED_AT_ONCE):
        log.append([Out(r.topic, r.key, r.value, ()) for r in listed[at : at + PRODUCED_AT_ONCE]])
    log.close()


def own_run(stack: Stack, events: int, prefix: str) -> dict[str, Any]:
    """Run both roles until every event is predicted, and its label learned."""
    assert stack.kafka is not None
    with kafka_python.client(KafkaAdminClient, Settings(bootstrap=stack.kafka)) as admin:
        ensure(admin, topology.owned(pipeline.name, prefix))
    server, url = valkey_server()
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "PENSTOCK_PREFIX": prefix,
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka, "REDIS_URL": url, "PENSTOCK_SECRET": "of a benchmark",
    }  # fmt: skip
    samples = (topology.samples(pipeline.name, prefix), 0)
    group = f"{topology.deployed(pipeline.name, prefix)}.learn"
    log = KafkaLog(stack.kafka)
    roles: dict[str, Role] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="penstock-job-") as folder:
            file = str(ROOT / "benchmarks" / "job_pipeline.py")
            # learn waits for samples before there are any
            for name in ("learn", "featurize"):
                roles[name] = Role(name, file, environment, Path(folder))
                if name == "learn":
                    roles[name].wait_ready()
            before = {name: role.cpu_s() for name, role in roles.items()}
            while log.bounds([samples])[samples][1] == 0:
                roles["featurize"].check()
                before = {name: role.cpu_s() for name, role in roles.items()}
                time.sleep(LOOK_S)
            began = time.perf_counter()
            entries = 2 * events  # a sample and a label each
            while log.committed(group, [samples]).get(samples, 0) < entries:
                for role in roles.values():
                    role.check()
                time.sleep(LOOK_S)
            wall_s = time.perf_counter() - began
            spent = {name: role.cpu_s() - before[name] for name, role in roles.items()}
            for role in roles.values():
                role.stop()
    finally:
        for role in roles.values():
            role.stop()
        log.close()
        server.close()
    return {
        "wall_s": wall_s,
        "cpu_s": sum(spent.values()),
        "roles": spent,
        "load": round(os.getloadavg()[0], 2),
    }


def peer_run(
    stack: Stack, name: str, python: str, events: int, entities: int, prefix: str
) -> tuple[dict[str, Any], Documents]:
    """Run a peer to the end of the topic; what it measured, and what it left in Redis."""
    assert stack.kafka is not None
    with kafka_python.client(KafkaAdminClient, Settings(bootstrap=stack.kafka)) as admin:
        ensure(admin, [topology.Topic(f"{prefix}predictions", 1, {}, "what a peer predicted")])
    server, url = valkey_server()
    try:
        with tempfile.TemporaryDirectory(prefix="penstock-job-") as folder:
            out, scratch = Path(folder) / "figures.json", Path(folder) / "state"
            scratch.mkdir()
            line = [
                python, "-P", "-m", f"benchmarks.peer_{name}", "--bootstrap", stack.kafka, "--topic", PAYMENTS.name,
                "--redis", url, "--scratch", str(scratch), "--prefix", prefix, "--out", str(out),
                "--events", str(events), "--entities", str(entities), "--predictions", f"{prefix}predictions",
                *(["--durable"] if name == "quix" else []),
            ]  # fmt: skip
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
            done = subprocess.run(line, env=environment, check=False, capture_output=True, text=True)
            if done.returncode or not out.exists():
                sys.exit(f"{name} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
            measured: dict[str, Any] = json.loads(out.read_text())
        return {**measured, "load": round(os.getloadavg()[0], 2)}, documents_in(url)
    finally:
        server.close()


if __name__ == "__main__":
    raise SystemExit(main())

"""Penstock's featurize worker beside a plain Bytewax flow and a plain Quix Streams application of the same job.

The same records stand once on a topic of a real Kafka. Each contender is a process of its own, reads the topic from its start
with its own connector and writes every customer's newest values into a Valkey of its own. Rounds are interleaved. Then the
values are compared: for every customer, what a contender wrote must be what Penstock computed at that customer's last event.
`python -m benchmarks.features --peers` runs it.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kafka import KafkaAdminClient

from benchmarks.features_job import PAYMENTS, pipeline, records
from benchmarks.peer_report import differences, medians, per_event, ratios, table, without
from benchmarks.peer_values import Documents, documents_in, last_vectors, own_documents
from penstock.features.redis.store import connect
from penstock.stream import topology
from penstock.stream.demo.processes import cpu_of
from penstock.stream.log import kafka_python
from penstock.stream.log.admin import ensure
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Out
from penstock.stream.process.settings import Settings
from penstock.stream.stack import Stack, local_stack
from penstock.stream.stack.valkey import valkey_server

ROOT = Path(__file__).parents[1]
OWN = "penstock"
QUIX = "quixstreams[redis]==3.28.1"
SAID = 3  # differences that are shown
PRODUCED_AT_ONCE = 10_000


class Contender(NamedTuple):
    """One way to run the job: a module of this folder, where, and what it promises."""

    module: str
    python: str
    durable: bool
    promise: str


def contenders(quix: str | None) -> dict[str, Contender]:
    """Give all by name, in the order of the table; those of Quix Streams if there is an interpreter that has it."""
    here = sys.executable
    found = {
        OWN: Contender("peer_penstock", here, True, "exactly once; also writes every vector to Kafka"),
        "bytewax": Contender("peer_bytewax", here, False, "nothing kept: reads the topic from its start"),
        "bytewax-recovery": Contender("peer_bytewax", here, True, "at least once, snapshots in SQLite"),
    }
    if quix is not None:
        found["quix"] = Contender("peer_quix", quix, True, "at least once, changelog topic")
        found["quix-no-changelog"] = Contender(
            "peer_quix", quix, False, "at least once, if the disk is still there"
        )
    return found


def quix_python(*more: str) -> str:
    """Give an interpreter that has Quix Streams, which wants an older confluent-kafka than ours: a venv of its own, made once.

    `more` are packages that it has, too. Raises `subprocess.CalledProcessError` if pip cannot install it.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock"
    version = f"{QUIX.rpartition('=')[2]}-py{sys.version_info[0]}.{sys.version_info[1]}"
    folder = cache / "-".join([f"quixstreams-{version}", *more])
    if not (folder / "ready").exists():
        say(f"installing {QUIX} (once) into {folder}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        python = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*python, "--disable-pip-version-check", QUIX, *more], check=True)
        (folder / "ready").touch()
    return str(folder / "bin" / "python")


def side_by_side(events: int, entities: int, step_ms: int, rounds: int) -> dict[str, Any]:
    """Run all contenders in turn, print the table and the check, and give all figures.

    Exits with one line if a contender fails, if values differ, or if there is no Kafka.
    """
    try:
        chosen = contenders(quix_python())
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"Quix Streams could not be installed, so it does not take part: {error}")
        chosen = contenders(None)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in chosen}
    written: dict[str, Documents] = {}
    with local_stack(env={}, progress=say) as stack:  # its own broker, even if another is given
        if stack.kafka is None:
            sys.exit("no Kafka, and --peers needs one: " + "; ".join(stack.description))
        produce(stack.kafka, events, entities, step_ms)
        names = list(chosen)
        for turn in range(rounds):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                run, documents = one_run(stack, chosen[name], events)
                runs[name].append({**run, **per_event(run, events)})
                written[name] = documents
                say(f"round {turn + 1} {name}: {json.dumps(runs[name][-1])}")
        expected = last_vectors(stack.kafka, runs[OWN][-1]["prefix"])
    return report(chosen, runs, written, expected)


def report(
    chosen: Mapping[str, Contender],
    runs: dict[str, list[dict[str, Any]]],
    written: Mapping[str, Documents],
    expected: Documents,
) -> dict[str, Any]:
    """Print the table and the check of the values, and give all figures. Exits if values differ."""
    figures = {name: medians(of_name) for name, of_name in runs.items()}
    print(table(figures, OWN, {name: contender.promise for name, contender in chosen.items()}))
    differ = False
    for name, documents in written.items():
        # Penstock's document is of a moment, at which nothing lies between it and the newest event.
        left_out = {"idle"} if name == OWN else set()
        lines = differences(without(expected, left_out), without(documents, left_out))
        differ = differ or bool(lines)
        of = f"{len(expected)} customers x {len(next(iter(expected.values()))) - len(left_out)} values"
        print(f"{name}: {of} as Penstock's at the customer's last event: {len(lines) or 'no'} differences")
        for line in lines[:SAID]:
            print(f"  {line}")
    if differ:
        sys.exit("the contenders computed different things: their figures cannot be compared")
    return {
        "machine": machine(), "contenders": figures, "ratios": ratios(figures, OWN), "runs": runs,
        "promises": {name: contender.promise for name, contender in chosen.items()},
    }  # fmt: skip


def say(line: str) -> None:
    """Tell how far it is, beside the result."""
    print(line, file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """Give what the figures depend on."""
    cpu = next((line for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    return {
        "cpu": cpu.partition(":")[2].strip() or platform.processor(), "cores": os.cpu_count(),
        "python": platform.python_version(), "load": [round(load, 2) for load in os.getloadavg()],
    }  # fmt: skip


def produce(bootstrap: str, events: int, entities: int, step_ms: int) -> None:
    """Write the records of the reference job onto their topic, one partition, in order."""
    with kafka_python.client(KafkaAdminClient, Settings(bootstrap=bootstrap)) as admin:
        ensure(admin, [topology.Topic(PAYMENTS.name, 1, {}, "events")])
    log = KafkaLog(bootstrap)
    listed = records(events, entities, step_ms)
    for at in range(0, events, PRODUCED_AT_ONCE):
        log.append([Out(r.topic, r.key, r.value, (), 0) for r in listed[at : at + PRODUCED_AT_ONCE]])
    log.close()


def one_run(stack: Stack, contender: Contender, events: int) -> tuple[dict[str, Any], Documents]:
    """Run one contender to the end of the topic; what was measured, and what it left in Redis."""
    assert stack.kafka is not None
    # Of groups and topics: what Kafka knows of another run is not this one's.
    prefix = f"run{uuid.uuid4().hex[:8]}."
    if contender.module == "peer_penstock":
        with kafka_python.client(KafkaAdminClient, Settings(bootstrap=stack.kafka)) as admin:
            ensure(admin, topology.owned(pipeline().name, prefix))
    server, url = valkey_server()
    broker = stack.servers["kafka"]
    try:
        with tempfile.TemporaryDirectory(prefix="penstock-peer-") as folder:
            out = Path(folder) / "figures.json"
            scratch = Path(folder) / "state"
            scratch.mkdir()
            line = [
                contender.python, "-P", "-m", f"benchmarks.{contender.module}", "--bootstrap", stack.kafka,
                "--topic", PAYMENTS.name, "--redis", url, "--scratch", str(scratch), "--prefix", prefix,
                "--out", str(out), "--events", str(events), *(["--durable"] if contender.durable else []),
            ]  # fmt: skip
            redis_s, kafka_s = redis_cpu_s(url), java_cpu_s(broker.pid)
            done = subprocess.run(
                line, env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"},
                check=False, capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode or not out.exists():
                sys.exit(f"{contender.module} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
            measured = json.loads(out.read_text())
        measured |= {"prefix": prefix, "load": round(os.getloadavg()[0], 2)}
        measured["redis_cpu_s"] = redis_cpu_s(url) - redis_s
        kafka_now_s = java_cpu_s(broker.pid)
        if kafka_s is not None and kafka_now_s is not None:
            measured["kafka_cpu_s"] = kafka_now_s - kafka_s
        return measured, own_documents(url, prefix) if contender.module == "peer_penstock" else documents_in(
            url
        )
    finally:
        server.close()


def redis_cpu_s(url: str) -> float:
    """CPU seconds of a server since it started."""
    with connect(url) as client:
        info: Any = client.info("cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"])


def java_cpu_s(pid: int) -> float | None:
    """CPU seconds of a broker since it started; None if this process is not the broker itself but Docker's client."""
    found = cpu_of(pid)
    return found[1] if found is not None and found[0] == "java" else None


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []

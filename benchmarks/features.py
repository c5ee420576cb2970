"""`python -m benchmarks.features`: events per second and CPU microseconds per event of the feature engine.

Three ways: the compiled view alone (fold in and give the vector); the featurize step with decoding, samples, encoded states and
documents, without a server; and the same into a Valkey that this program starts. Then the laws: cost against the length of the
windows, the number of entities, and the events per entity. CPU is of this process; the server's is told apart.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.features_job import PAYMENTS, events, pipeline, records, reference_view
from benchmarks.written import write
from penstock.features.engine.choose import engine_name
from penstock.features.engine.compute import CompiledView
from penstock.features.redis.memory import MemoryServer, MemoryStateStore
from penstock.features.redis.store import RedisStateStore, StateStore, connect
from penstock.features.units import Unit
from penstock.stream.featurize.order import step_alone
from penstock.stream.featurize.task import Task
from penstock.stream.featurize.worker import BATCH_RECORDS
from penstock.stream.log.protocol import TP, Out, Record
from penstock.stream.process.interpreter import settle_memory
from penstock.stream.stack.valkey import valkey_server

ENTITIES = 5_000
STEP_MS = 500  # two payments a second over all customers


class OnePartition:
    """What a task asks of the log: one partition of payments, read from its start, and a samples log in which nothing stands."""

    def __init__(self, size: int) -> None:
        self.size = size

    def topic_id(self, topic: str) -> str:
        return "bench"

    def partitions(self, topic: str) -> int:
        return 1

    def committed(self, group: str, tps: Sequence[TP]) -> dict[TP, int]:
        return {}

    def bounds(self, tps: Sequence[TP]) -> dict[TP, tuple[int, int]]:
        return {tp: (0, self.size if tp[0] == PAYMENTS.name else 0) for tp in tps}

    def append(self, outs: Sequence[Out]) -> None:
        """Forget."""


class Discarding(MemoryStateStore):
    """Keeps nothing but the position: the cost of the step itself."""

    def save(self, units: Sequence[Unit]) -> None:
        """Forget."""


def measured(work: Callable[[], int]) -> dict[str, float]:
    """Time some work that says how many events it did."""
    cpu, wall = time.process_time(), time.perf_counter()
    n = work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "events": n, "events_per_s": round(n / wall), "events_per_cpu_s": round(n / cpu),
        "cpu_us_per_event": round(cpu / n * 1e6, 2),
    }  # fmt: skip


def engine_alone(
    n: int, entities: int, step_ms: int, windows: tuple[str, ...] | None = None
) -> dict[str, float]:
    """Fold in and give the vector; the states are warm after the first half, which is not timed."""
    view = CompiledView(reference_view(windows) if windows else reference_view())
    states: dict[str, Any] = {}
    listed = list(events(n, entities, step_ms))

    def fold(part: list[dict[str, Any]]) -> int:
        own, new = view.update_own, view.new
        for tie, event in enumerate(part):
            customer = event["customer"]
            state = states.get(customer)
            if state is None:
                state = states[customer] = new()
            own(state, event["at"], tie, event)
        return len(part)

    fold(listed[: n // 2])
    found = measured(lambda: fold(listed[n // 2 :]))
    kept = list(states.values())[:2000]
    found["entities"] = len(states)
    found["state_bytes"] = round(sum(len(view.encode(s)) for s in kept) / len(kept))
    last = listed[-1]["at"]
    found["document_bytes"] = round(sum(len(view.document(s, last, last)) for s in kept) / len(kept))
    return found


def featurize(listed: list[Record], store: StateStore) -> dict[str, float]:
    """Run the featurize task of the worker over records that are in memory already."""
    settle_memory()  # the records, too, which a worker would not have
    job = pipeline()
    task = Task(job, OnePartition(len(listed)), store, "0", [(0, 0)], "")  # type: ignore[arg-type]
    task.take_up("bench")
    rows = 0

    def run(part: list[Record]) -> int:
        nonlocal rows
        for at in range(0, len(part), BATCH_RECORDS):
            wall_ms = part[at].timestamp_ms
            task.enqueue(part[at : at + BATCH_RECORDS], wall_ms)
            units = step_alone(task, {(0, 0)}, wall_ms, BATCH_RECORDS * 2).units[task]
            store.save([unit.unit for unit in units])
            rows += sum(len(unit.unit.writes) for unit in units)
        return len(part)

    run(listed[: len(listed) // 4])
    rows = 0
    found = measured(lambda: run(listed[len(listed) // 4 :]))
    found["writes_per_event"] = round(rows / found["events"], 3)
    if task.featurize.counts.dead_letters:
        raise RuntimeError(f"the job is wrong: {task.featurize.counts.dead_letters}")
    return found


def into_valkey(listed: list[Record]) -> dict[str, float]:
    """The same into a server of its own; its CPU and its bytes per entity too."""
    server, url = valkey_server()
    try:
        client = connect(url)
        before: Any = client.info()
        found = featurize(listed, RedisStateStore(client, "bench", "0"))
        after: Any = client.info()
        entities = client.dbsize() / 2
        cpu = sum(after[k] - before[k] for k in ("used_cpu_user", "used_cpu_sys"))
        found["server_cpu_us_per_event"] = round(cpu / len(listed) * 1e6, 2)
        found["redis_bytes_per_entity"] = round((after["used_memory"] - before["used_memory"]) / entities)
        return found
    finally:
        server.close()


def laws(n: int, most_entities: int) -> dict[str, Any]:
    """Cost against what it must not depend on; half of the events of each run warm up."""
    by_window = {
        "/".join(windows): engine_alone(n, 1_000, 12_000, windows)["cpu_us_per_event"]
        for windows in (("1h", "2h", "3h"), ("1h", "6h", "12h"), ("1d", "6d", "12d"), ("20d", "60d", "120d"))
    }
    by_entities: dict[str, float] = {}
    entities = 100
    while entities <= most_entities:
        by_entities[str(entities)] = engine_alone(max(n, entities * 2), entities, STEP_MS)["cpu_us_per_event"]
        entities *= 10
    by_events = {
        str(per): engine_alone(per * 200, 200, 60_000)["cpu_us_per_event"] for per in (100, 1_000, n // 200)
    }
    return {"windows": by_window, "entities": by_entities, "events_per_entity": by_events}


def memory_per_entity(entities: int) -> int:
    """Resident bytes for one entity of the reference job in memory, in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_memory_per_entity, entities).result()


def _memory_per_entity(entities: int) -> int:
    view = CompiledView(reference_view())
    for tie, event in enumerate(events(200, 2, STEP_MS)):  # what is loaded once
        view.update_own(view.new(), event["at"], tie, event)
    before = _resident()
    states: dict[str, Any] = {}
    for tie, event in enumerate(events(entities * 20, entities, STEP_MS)):
        customer = event["customer"]
        if customer not in states:
            states[customer] = view.new()
        view.update_own(states[customer], event["at"], tie, event)
    return round((_resident() - before) / len(states))


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def both_engines(n: int, entities: int, rounds: int) -> int:
    """Run each engine in turn in this process, and print the medians and their ratio."""
    listed = records(n, entities, STEP_MS)
    found: dict[str, list[tuple[float, ...]]] = {"python": [], "native": []}
    for _ in range(rounds):
        for name, runs in found.items():
            os.environ["PENSTOCK_ENGINE"] = name
            ways = (
                engine_alone(n, entities, STEP_MS),
                featurize(listed, Discarding(MemoryServer(), "bench", "0")),
                into_valkey(listed),
            )
            runs.append(tuple(way["cpu_us_per_event"] for way in ways))
            print(f"{name:7} engine, step, into Valkey: CPU us an event", *runs[-1], flush=True)
    median = {
        name: [statistics.median(way) for way in zip(*runs, strict=True)] for name, runs in found.items()
    }
    for place, way in enumerate(("engine", "step", "into Valkey")):
        slow, fast = median["python"][place], median["native"][place]
        print(f"{way:11} python {slow:.2f}, native {fast:.2f} us an event: {slow / fast:.1f} times as fast")
    return 0


def profile(listed: list[Record]) -> None:
    """Print where the step spends its time."""
    run = cProfile.Profile()
    run.runcall(featurize, listed, Discarding(MemoryServer(), "bench", "0"))
    pstats.Stats(run).sort_stats("tottime").print_stats(25)


def main(arguments: list[str] | None = None) -> int:
    """Run and print; one JSON object with `--json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    parser.add_argument("--store", choices=("redis", "none"), default="redis")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--entities", type=int, default=ENTITIES, help="customers of the reference job")
    parser.add_argument(
        "--laws", action="store_true", help="also cost against windows, entities, events per entity"
    )
    parser.add_argument(
        "--most-entities", type=int, default=100_000, help="for --laws; 1000000 needs about 10 GB"
    )
    parser.add_argument(
        "--peers",
        type=int,
        nargs="?",
        const=3,
        metavar="ROUNDS",
        help="also beside Bytewax and Quix Streams (3 rounds)",
    )
    parser.add_argument(
        "--both",
        type=int,
        nargs="?",
        const=3,
        metavar="ROUNDS",
        help="both engines in turn instead (3 rounds)",
    )
    parser.add_argument("--profile", action="store_true", help="profile the step instead")
    asked = parser.parse_args(arguments)
    if asked.peers and find_spec("bytewax") is None:
        print("--peers needs Bytewax: pip install 'penstock[peers]'", file=sys.stderr)
        return 2
    settle_memory()
    if asked.profile:
        profile(records(asked.events, asked.entities, STEP_MS))
        return 0
    if asked.both:
        return both_engines(asked.events, asked.entities, asked.both)
    figures: dict[str, Any] = {"which": engine_name()}
    print("the engine is", figures["which"])
    figures["engine"] = engine_alone(asked.events, asked.entities, STEP_MS)
    print("engine     ", figures["engine"], flush=True)
    listed = records(asked.events, asked.entities, STEP_MS)
    figures["step"] = featurize(listed, Discarding(MemoryServer(), "bench", "0"))
    print("step       ", figures["step"], flush=True)
    main_figures = figures["step"]
    if asked.store == "redis":
        main_figures = figures["redis"] = into_valkey(listed)
        print("into Valkey", figures["redis"], flush=True)
    figures |= {key: main_figures[key] for key in ("events_per_s", "events_per_cpu_s")}
    figures["memory_bytes_per_entity"] = memory_per_entity(asked.entities)
    print("memory     ", figures["memory_bytes_per_entity"], "bytes per entity", flush=True)
    if asked.laws:
        figures["laws"] = laws(asked.events, asked.most_entities)
        print("laws       ", json.dumps(figures["laws"], indent=2), flush=True)
    if asked.peers:
        from benchmarks.peers import side_by_side

        figures["peers"] = side_by_side(asked.events, asked.entities, STEP_MS, asked.peers)
    write(figures, asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks.read`: p50 and p99 of reading 1, 10 and 100 entities of 50 features each, in milliseconds.

Against a Valkey that this program starts; first idle, then while another process writes features into it as fast as it can
(`benchmarks.features` in a loop). Documents, and states evaluated at the reader's moment.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import penstock.features as f
from benchmarks.features import featurize
from benchmarks.features_job import START_MS, records
from benchmarks.written import write
from penstock.features.define.view import View
from penstock.features.engine.compute import CompiledView
from penstock.features.read.client import FeatureReader
from penstock.features.redis.keys import public_key, state_key
from penstock.features.redis.store import UNIT_KEYS, RedisStateStore, connect
from penstock.stream.featurize import step
from penstock.stream.process.interpreter import settle_memory
from penstock.stream.stack.valkey import valkey_server

ENTITIES = 2_000


def wide_view() -> View:
    """Give fifty features: five aggregates of ten windows."""
    windows = ("5m", "10m", "20m", "30m", "1h", "2h", "3h", "6h", "12h", "1d")
    features = {
        f"{name}_{w}": build
        for w in windows
        for name, build in (
            ("n", f.count(w)), ("sum", f.sum("a", w)), ("mean", f.mean("a", w)), ("min", f.min("a", w)),
            ("max", f.max("a", w)),
        )
    }  # fmt: skip
    return View("wide", SimpleNamespace(name="read"), "card", features)


def fill(client: Any, view: View) -> int:
    """Write the entities, twenty events each; give the moment of the last one."""
    compiled, rng = CompiledView(view), random.Random(1)
    last_ms = START_MS
    for entity in range(ENTITIES):
        state = compiled.new()
        for tie in range(20):
            at = START_MS + tie * 180_000 + rng.randrange(60_000)
            compiled.update(state, at, tie, {"a": rng.lognormvariate(3, 1)})
            last_ms = max(last_ms, at)
        client.set(
            state_key("read", "all", "wide", compiled.view.version, f"e{entity}"), compiled.encode(state)
        )
        client.set(public_key("read", "wide", f"e{entity}"), compiled.document(state, last_ms, last_ms))
    return last_ms


def times(reader: FeatureReader, entities: int, at_ms: int, seconds: float) -> dict[str, float]:
    """Read random entities for some seconds."""
    rng = random.Random(2)
    found: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        wanted = [("wide", f"e{rng.randrange(ENTITIES)}") for _ in range(entities)]
        start = time.perf_counter()
        reader.read(wanted, at_ms)
        found.append((time.perf_counter() - start) * 1000)
    found.sort()
    n = len(found)
    return {"p50_ms": round(found[n // 2], 3), "p99_ms": round(found[n * 99 // 100], 3), "reads": n}


def write_for_ever(url: str, unit_keys: int) -> None:
    """Write the reference job until killed, in units of so many keys."""
    step.UNIT_KEYS = unit_keys
    settle_memory()
    listed = records(100_000, 5_000, 500)
    print("writing", flush=True)
    while True:
        client = connect(url)
        for key in client.scan_iter("penstock:bench:*"):
            client.unlink(key)
        featurize(listed, RedisStateStore(client, "bench", "0"))


def main(arguments: list[str] | None = None) -> int:
    """Run and print; one JSON object with `--json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--seconds", type=float, default=3.0, help="per figure")
    parser.add_argument(
        "--unit-keys", type=int, default=UNIT_KEYS, help="keys that the writer writes in one script"
    )
    parser.add_argument("--write", metavar="URL", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.write:
        write_for_ever(asked.write, asked.unit_keys)
    server, url = valkey_server()
    figures: dict[str, Any] = {}
    writer: subprocess.Popen[str] | None = None
    try:
        view = wide_view()
        at_ms = fill(connect(url), view) + 1000
        readers = {"documents": FeatureReader(url, "read"), "states": FeatureReader(url, "read", [view])}
        settle_memory()
        for load in ("idle", "writing"):
            if load == "writing":
                size = ["--unit-keys", str(asked.unit_keys)]
                command = [sys.executable, "-m", "benchmarks.read", "--write", url, *size]
                writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                assert writer.stdout is not None
                writer.stdout.readline()
            for name, reader in readers.items():
                for entities in (1, 10, 100):
                    key = f"{load} {name} {entities}x50"
                    figures[key] = times(reader, entities, at_ms, asked.seconds)
                    print(f"{key:24}", figures[key], flush=True)
    finally:
        if writer is not None:
            writer.kill()
            writer.wait()
        server.close()
    write(figures, asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

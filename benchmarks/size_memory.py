"""What a key takes in Valkey beside its bytes, and what states and waiting samples take in a worker, times their encoded size.

    penstock bench size_memory [--json FILE]

These are the constants of `stream/sizing/constants.py` that are memory. Each figure of a worker is of a process of its own: what
its resident memory grew by. A minute, and 300 MB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

import penstock.examples
from benchmarks.written import write
from penstock.features.engine.compute import CompiledView
from penstock.features.redis.keys import public_key, state_key
from penstock.features.redis.store import connect
from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.learn.entries import entry_of
from penstock.stream.learn.fold import Fold
from penstock.stream.log.memory import MemoryLog
from penstock.stream.messages import Sample
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.sizing.made_events import made_events
from penstock.stream.sizing.measure import planned
from penstock.stream.stack.valkey import valkey_server

KEYS = 20_000
TTL_MS = 10**9
STATES, WAITING = 60_000, 60_000
EXAMPLES = Path(penstock.examples.__file__).parent


def resident() -> int:
    """Bytes of this process that are in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024


def redis_key_bytes() -> dict[str, float]:
    """What a key takes beside its name and its value, of states and documents of 200 to 2,000 bytes."""
    server, url = valkey_server()
    try:
        with connect(url) as client:
            told: Any = client.info("memory")
            before, stored = told["used_memory"], 0
            for number in range(KEYS):
                value = bytes(200 + number % 1_801)
                for name in (
                    state_key("cards", "0", "card", "1f0c2a9b", f"c{number}"), public_key("cards", "card", f"c{number}"),
                ):  # fmt: skip
                    client.set(name, value, px=TTL_MS)
                    stored += len(name) + len(value)
            told = client.info("memory")
            return {"redis_key_bytes": (told["used_memory"] - before - stored) / (2 * KEYS)}
    finally:
        server.close()


def flown() -> MemoryFlow:
    """The cards of the example with full windows."""
    pipeline = load(EXAMPLES / "cards.py")
    rate, _ = planned(pipeline, 0.1, {"card": 2_000}, 1.0, 6_000)
    flow = MemoryFlow(pipeline, partitions=1, clock=lambda: 10**13)
    flow.feed(list(made_events(pipeline, rate)))
    flow.settle()
    return flow


def state_in_memory() -> dict[str, float]:
    """Of a state: what it takes in memory with its name, and what of it is its size when encoded."""
    flow = flown()
    [view] = flow.pipeline.views
    private = state_key(flow.deployed, "0", view.name, view.version, "")
    encoded = [value for key, value in flow.server.data.items() if key.startswith(private)]
    compiled, before = CompiledView(view), resident()
    states = {f"c{number:016d}": compiled.decode(encoded[number % len(encoded)]) for number in range(STATES)}
    took = (resident() - before) / len(states)
    mean = sum(map(len, encoded)) / len(encoded)
    return {"state_bytes": mean, "state_in_memory": took, "state_ratio": took / mean}


def waiting_in_memory() -> dict[str, float]:
    """Of a sample without its label: what it takes in learn, and its size in the log."""
    flow = flown()
    log, topic = flow.log, topology.samples("cards")
    assert isinstance(log, MemoryLog)
    reader = log.reader({(topic, 0): 0})
    records = reader.poll(6_000, 0.0)
    samples = [
        (one, len(record.value or b""))
        for record in records
        if isinstance(one := entry_of(record.value), Sample)
    ]
    template, size = samples[-1]
    fold = Fold(flow.pipeline)
    for number in range(2_000):  # what is there once
        fold.step(number, entry_of(records[number].value))  # type: ignore[arg-type]
    before = resident()
    for number in range(WAITING):
        origin = msgspec.structs.replace(template.origin, offset=10**6 + number)
        fold.step(
            10**6 + number,
            msgspec.structs.replace(template, id=f"{number:012d}", x=[*template.x], origin=origin),
        )
        fold.outputs.predictions.clear()
    took = (resident() - before) / WAITING
    return {"sample_bytes": float(size), "waiting_in_memory": took, "waiting_ratio": took / size}


PARTS: dict[str, Callable[[], dict[str, float]]] = {
    "redis": redis_key_bytes, "states": state_in_memory, "waiting": waiting_in_memory,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Print all figures; one JSON object with `--json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.part:
        print(json.dumps(PARTS[asked.part]()))
        return 0
    figures: dict[str, float] = {}
    for part in PARTS:
        line = [sys.executable, "-m", "benchmarks.size_memory", "--part", part]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        figures |= json.loads(done.stdout.splitlines()[-1])
    for name, figure in figures.items():
        print(f"{name:20} {figure:10,.1f}")
    write(figures, asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

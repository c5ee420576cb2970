"""`penstock bench serve`: p50, p99 and p99.9 of predictions on request, at fixed arrival rates, with 50 features from Redis.

One serve process beside a Valkey that this program starts; the client is another process on the same machine. The loop is open:
requests are due at fixed moments, however long answers take, and a request's time begins when it was due. So a server that falls
behind is seen to (no coordinated omission). Models and features are made by the code that makes them elsewhere.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.written import write
from penstock.features.engine.compute import CompiledView
from penstock.features.redis.keys import state_key, wanted_key
from penstock.features.redis.store import RedisStateStore, connect
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.replica_snapshot import ReplicaWriter
from penstock.stream.messages import Entry, LabelRecord, Origin, Recipe, Sample
from penstock.stream.stack.valkey import valkey_server

START_MS = 1_700_000_000_000
CARDS = 2_000
SECRET = "of a benchmark"
CONNECTIONS = 32
DEFINITION = """
from river import linear_model, preprocessing

from penstock import Label, Pipeline, Source, View, count, max, mean, min, sum

paid = Source("paid", id="payment", time="paid_at", key="card")
windows = ("5m", "10m", "20m", "30m", "1h", "2h", "3h", "6h", "12h", "1d")
features = {
    f"{name}_{w}": build
    for w in windows
    for name, build in (
        ("n", count(w)), ("sum", sum("amount", w)), ("mean", mean("amount", w)), ("min", min("amount", w)),
        ("max", max("amount", w)),
    )
}
pipeline = Pipeline(
    "wide",
    views=[View("card", paid, key=("card", "shop"), features=features)],
    predict=paid,
    inputs=["amount"],
    label=Label(paid, lambda event: event["fraud"], wait="1h", fields=("fraud",)),
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
)
"""


def fill(pipeline: Pipeline, url: str, labels: int) -> None:
    """Write states of entities, twenty events each, and the replica of a fold that learned from so many labels."""
    client, rng = connect(url), random.Random(1)
    (view,) = pipeline.views
    compiled = CompiledView(view)
    for card in range(CARDS):
        state = compiled.new()
        for tie in range(20):
            at = START_MS + tie * 180_000 + rng.randrange(60_000)
            compiled.update(state, at, tie, {"amount": rng.lognormvariate(3, 1)})
        client.set(state_key("wide", "all", "card", view.version, f"c{card}|s"), compiled.encode(state))
    fold, names = Fold(pipeline), pipeline.vector_names
    fold.step(0, Recipe(pipeline.digest, names, ""))
    for number in range(labels):
        x = [rng.lognormvariate(3, 1) for _ in names]
        y = x[0] > 25 if number < labels // 2 else x[1] > 25
        of_sample = Sample(Origin("t", 0, number), f"p{number}", "c", START_MS + number, x)
        entries: list[Entry] = [
            of_sample,
            LabelRecord(Origin("t", 0, number, 1), f"p{number}", START_MS + number, y),
        ]
        for entry in entries:
            fold.step(fold.position, entry)
    print(f"{len(fold.experts.models)} models over {len(names)} inputs", flush=True)
    client.set(wanted_key("wide"), b"1")
    store = RedisStateStore(client, "wide", "learn")
    store.acquire()
    store.start(b"start")
    ReplicaWriter(store, "wide", SECRET, lambda: 0, "topic").write(b"start", fold, 0)


def request(rows: int, rng: random.Random) -> bytes:
    """One HTTP request for predictions of so many events."""
    events = [
        {
            "payment": f"p{rng.randrange(10**9)}",
            "paid_at": START_MS + 20 * 180_000 + rng.randrange(60_000),
            "card": f"c{rng.randrange(CARDS)}",
            "shop": "s",
            "amount": round(rng.lognormvariate(3, 1), 2),
        }
        for _ in range(rows)
    ]
    body = json.dumps(events[0] if rows == 1 else events).encode()
    head = f"POST /v1/pipelines/wide:predict HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _answered(reader: asyncio.StreamReader) -> bool:
    head = await reader.readuntil(b"\r\n\r\n")
    size = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    await reader.readexactly(int(size[1]) if size else 0)
    return head.split(b" ", 2)[1] == b"200"


async def drive(port: int, per_s: float, seconds: float, rows: int) -> dict[str, Any]:
    """Ask at a fixed rate; times are from when a request was due."""
    rng = random.Random(3)
    asked = [request(rows, rng) for _ in range(500)]
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    took: list[float] = []
    errors = 0

    async def one(number: int, due: float) -> None:
        nonlocal errors
        reader, writer = await idle.get()
        writer.write(asked[number % len(asked)])
        good = await _answered(reader)
        took.append(time.perf_counter() - due)
        errors += not good
        idle.put_nowait((reader, writer))

    began, tasks = time.perf_counter(), []
    for number in range(int(per_s * seconds)):
        due = began + number / per_s
        ahead = due - time.perf_counter()
        if ahead > 0:
            await asyncio.sleep(ahead)
        tasks.append(asyncio.create_task(one(number, due)))
    await asyncio.gather(*tasks)
    spent = time.perf_counter() - began
    took.sort()
    count = len(took)

    def at(share: float) -> float:
        return round(took[min(int(count * share), count - 1)] * 1000, 2)

    return {
        "per_s": per_s, "rows": rows, "answered_per_s": round(count / spent, 1), "p50_ms": at(0.5), "p99_ms": at(0.99),
        "p999_ms": at(0.999), "errors": errors,
    }  # fmt: skip


def client(port: int, per_s: float, seconds: float, rows: int) -> dict[str, Any]:
    """The same in a process of its own."""
    given = ["--drive", f"{port},{per_s},{seconds},{rows}"]
    command = [sys.executable, "-P", "-m", "benchmarks.serve", *given]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds of a process (Linux)."""
    rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(rest[11]) + int(rest[12])) / os.sysconf("SC_CLK_TCK")


def measured(process: subprocess.Popen[str], port: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Every rate, then the most that one worker takes at p99 of 10 ms."""
    client(port, 200, 1, 1)
    rates = []
    for per_s, rows in [*((rate, 1) for rate in asked.rates), (asked.list_rate, 100)]:
        before = cpu_s(process.pid)
        found = client(port, per_s, asked.seconds, rows)
        found["cpu_us_per_request"] = round((cpu_s(process.pid) - before) / (per_s * asked.seconds) * 1e6)
        rates.append(found)
        print(found, flush=True)
    most, step = 0.0, max(asked.rates)
    while step <= 20_000:
        found = client(port, step, asked.seconds, 1)
        print(found, flush=True)
        if found["p99_ms"] > 10 or found["errors"]:
            break
        most, step = step, step * 1.25
    return {"rates": rates, "max_per_s_at_p99_10ms": most}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; one JSON object with `--json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--seconds", type=float, default=10.0, help="per rate")
    parser.add_argument("--rates", type=float, nargs="+", default=[500, 1000, 2000], help="requests a second")
    parser.add_argument("--list-rate", type=float, default=20, help="requests of 100 rows a second")
    parser.add_argument("--labels", type=int, default=9_000, help="that the models learned from")
    parser.add_argument("--drive", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.drive:
        port, per_s, seconds, rows = asked.drive.split(",")
        import uvloop

        found = uvloop.run(drive(int(port), float(per_s), float(seconds), int(rows)))
        print(json.dumps(found))
        return 0
    server, url = valkey_server()
    process: subprocess.Popen[str] | None = None
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "wide.py"
            file.write_text(DEFINITION)
            fill(load(file), url, asked.labels)
            command = [
                sys.executable,
                "-m",
                "penstock.stream.cli",
                "run",
                str(file),
                "--role",
                "serve",
                "--port",
                "0",
            ]
            environment = {**os.environ, "REDIS_URL": url, "PENSTOCK_SECRET": SECRET, "PYTHONHASHSEED": "0"}
            process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
            assert process.stderr is not None
            found = next(filter(None, (re.search(r":(\d+)/docs", line) for line in process.stderr)))
            time.sleep(2.0)
            figures = measured(process, int(found[1]), asked)
    finally:
        if process is not None:
            process.terminate()
            process.wait()
        server.close()
    write(figures, asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`penstock bench serve`: p50, p99 and p99.9 of predictions on request, at fixed arrival rates, with 50 features from Redis.

One serve process beside a Valkey that this program starts; the client (`open_loop`) is another process on the same machine.
Models and features are made by the code that makes them elsewhere, and while requests are answered learn goes on: there are new
models every second. `--peers` asks other servers by the same client in the same run (`serve_peers`).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import serve_peers
from benchmarks.open_loop import client, most
from benchmarks.written import write
from penstock.features.engine.compute import CompiledView
from penstock.features.redis.keys import state_key, wanted_key
from penstock.features.redis.store import RedisStateStore, connect
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.replica_snapshot import ReplicaWriter
from penstock.stream.messages import LabelRecord, Origin, Recipe, Sample
from penstock.stream.stack.valkey import valkey_server

START_MS = 1_700_000_000_000
CARDS = 2_000
SECRET = "of a benchmark"
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


class Learning:
    """A fold that learned from so many labels and goes on learning: a thread stores a new replica every second."""

    def __init__(self, pipeline: Pipeline, client: Any, labels: int) -> None:
        self.fold, self.rng, self.number = Fold(pipeline), random.Random(1), 0
        self.names = pipeline.vector_names
        self.fold.step(0, Recipe(pipeline.digest, self.names, ""))
        self.learn(labels // 2, 0)
        self.learn(labels - labels // 2, 1)
        client.set(wanted_key("wide"), b"1")
        store = RedisStateStore(client, "wide", "learn")
        store.acquire()
        store.start(b"start")
        self.writer = ReplicaWriter(store, "wide", SECRET, lambda: time.time_ns() // 1_000_000, "topic")
        self.base = self.writer.write(b"start", self.fold, 0)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.go_on)

    def learn(self, labels: int, by: int) -> None:
        """Fold samples whose label depends on one of the inputs."""
        for number in range(self.number, self.number + labels):
            x = [self.rng.lognormvariate(3, 1) for _ in self.names]
            asked = Sample(Origin("t", 0, number), f"p{number}", "c", START_MS + number, x)
            label = LabelRecord(Origin("t", 0, number, 1), f"p{number}", START_MS + number, x[by] > 25)
            for entry in (asked, label):
                self.fold.step(self.fold.position, entry)
        self.number += labels

    def go_on(self) -> None:
        """Learn a hundred labels a second, and store."""
        while not self.ended.wait(1.0):
            self.learn(100, 1)
            self.base = self.writer.write(self.base, self.fold, time.time_ns() // 1_000_000)

    def __enter__(self) -> Learning:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()


def fill(pipeline: Pipeline, url: str, labels: int) -> Learning:
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
    learning = Learning(pipeline, client, labels)
    print(f"{len(learning.fold.experts.models)} models over {len(learning.names)} inputs", flush=True)
    return learning


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


def cpu_s(pid: int) -> float:
    """CPU seconds of a process (Linux)."""
    rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(rest[11]) + int(rest[12])) / os.sysconf("SC_CLK_TCK")


def measured(
    name: str, cpu: Callable[[], float], port: int, requests: Sequence[bytes], per_s: float, seconds: float
) -> dict[str, Any]:
    """One run at one rate, with the server's CPU."""
    before = cpu()
    found = client(port, requests, per_s, seconds)
    found["cpu_us_per_request"] = round((cpu() - before) / max(found["answered"], 1) * 1e6)
    print(name, found, flush=True)
    return found


def own(port: int, pid: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Every rate, lists, then the most that one worker takes at p99 of 10 ms."""
    rng = random.Random(3)
    one, many = ([request(rows, rng) for _ in range(500 if rows == 1 else 50)] for rows in (1, 100))

    def at(per_s: float, seconds: float = asked.seconds, requests: Sequence[bytes] = one) -> dict[str, Any]:
        return measured("penstock", lambda: cpu_s(pid), port, requests, per_s, seconds)

    at(200, 1)
    rates = [at(per_s) for per_s in asked.rates]
    rows_100 = at(asked.list_rate, requests=many)
    found = most(lambda per_s: at(per_s, asked.search_seconds), max(asked.rates))
    return {"rates": rates, "rows_100": rows_100, **found}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; one JSON object with `--json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--seconds", type=float, default=10.0, help="per rate")
    parser.add_argument("--search-seconds", type=float, default=5.0, help="per rate while the most is sought")
    parser.add_argument("--rates", type=float, nargs="+", default=[500, 1000, 2000], help="requests a second")
    parser.add_argument("--list-rate", type=float, default=20, help="requests of 100 rows a second")
    parser.add_argument("--labels", type=int, default=9_000, help="that the models learned from")
    parser.add_argument(
        "--peers", nargs="*", metavar="NAME", choices=list(serve_peers.PEERS),
        help="also other servers, each in an environment of its own, which is made once (2 GB for all of them): "
        f"{', '.join(serve_peers.PEERS)}; without a name all",
    )  # fmt: skip
    asked = parser.parse_args(arguments)
    server, url = valkey_server()
    process: subprocess.Popen[str] | None = None
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "wide.py"
            file.write_text(DEFINITION)
            learning = fill(load(file), url, asked.labels)
            command = ["-m", "penstock.stream.cli", "run", str(file), "--role", "serve", "--port", "0"]
            environment = {**os.environ, "REDIS_URL": url, "PENSTOCK_SECRET": SECRET, "PYTHONHASHSEED": "0"}
            process = subprocess.Popen(
                [sys.executable, *command], env=environment, stderr=subprocess.PIPE, text=True
            )
            assert process.stderr is not None
            told = (re.search(r":(\d+)/docs", line) for line in process.stderr)
            found = next(filter(None, told))
            time.sleep(2.0)
            with learning:
                figures = own(int(found[1]), process.pid, asked)
            process.terminate()
            process.wait()
            if asked.peers is not None:
                names = asked.peers or list(serve_peers.PEERS)
                figures["peers"] = serve_peers.side_by_side(names, Path(folder), url, asked)
    finally:
        if process is not None and process.poll() is None:
            process.terminate()
            process.wait()
        server.close()
    write(figures, asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

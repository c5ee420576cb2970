"""Other servers beside the serve role: the same river model over the same 50 features, by the same client.

Each is a process of its own with one worker, in an environment of its own that is made once. MLflow's and MLServer's know no
features, so a request brings all of them; Feast's gives features and knows no model. So each does a part of what one request to
Penstock does.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from river import linear_model, preprocessing

from benchmarks.open_loop import client, most

HERE = Path(__file__).parent
FEATURES = [f"f{number}" for number in range(50)]
ENTITIES = 2_000
RATES = (50.0, 100.0, 200.0, 500.0)
STARTS_WITHIN_S = 120.0
PINS = {"mlserver": ("mlserver==1.7.1",), "mlflow": ("mlflow==3.17.2",), "feast": ("feast[redis]==0.67.0",)}


class Peer(NamedTuple):
    """A server: what asks it, the path that says it is ready, the command line for a port, and what its answer must hold."""

    path: str
    ready: str
    body: Callable[[random.Random], Any]
    start: Callable[[Path, Path, int], list[str]]
    holds: Callable[[Any, float], bool]


def row(rng: random.Random) -> list[float]:
    """Inputs as those that the models learned from."""
    return [round(rng.lognormvariate(3, 1), 6) for _ in range(50)]


def _mlflow_body(rng: random.Random) -> Any:
    return {"dataframe_split": {"columns": FEATURES, "data": [row(rng)]}}


def _mlserver_body(rng: random.Random) -> Any:
    return {"inputs": [{"name": "x", "shape": [1, 50], "datatype": "FP64", "data": row(rng)}]}


def _feast_body(rng: random.Random) -> Any:
    return {"feature_service": "fifty", "entities": {"card": [f"c{rng.randrange(ENTITIES)}"]}}


def _mlflow(bin_: Path, folder: Path, port: int) -> list[str]:
    subprocess.run([bin_ / "python", HERE / "serve_peer_mlflow.py", folder], check=True, cwd=folder)
    where = ["--model-uri", str(folder / "mlflow"), "--host", "127.0.0.1", "--port", str(port)]
    return [str(bin_ / "mlflow"), "models", "serve", *where, "--workers", "1", "--env-manager", "local"]


def _mlserver(bin_: Path, folder: Path, port: int) -> list[str]:
    made = folder / "mlserver"
    made.mkdir(exist_ok=True)
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    # No second process between a request and the model: it is the fastest way for a model that takes 10 us.
    settings = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, **ports}
    (made / "settings.json").write_text(json.dumps(settings))
    parameters = {"uri": str(folder / "model.pickle")}
    (made / "model-settings.json").write_text(
        json.dumps({"name": "wide", "implementation": "serve_peer_mlserver.River", "parameters": parameters})
    )
    shutil.copy(HERE / "serve_peer_mlserver.py", made)
    return [str(bin_ / "mlserver"), "start", str(made)]


def _feast(bin_: Path, folder: Path, port: int) -> list[str]:
    subprocess.run([bin_ / "python", HERE / "serve_peer_feast.py", folder], check=True, cwd=folder)
    where = ["--chdir", str(folder / "feast"), "serve", "--host", "127.0.0.1", "--port", str(port)]
    # It would end its worker after every 1,000 requests.
    return [str(bin_ / "feast"), *where, "--no-access-log", "--workers", "1", "--max-requests", "0"]


def _feast_holds(answer: Any, _: float) -> bool:
    found = [one["values"][0] for one in answer["results"]]
    return len(found) == 51 and all(value is not None for value in found)


PEERS: Mapping[str, Peer] = {
    "mlflow": Peer(
        "/invocations", "/ping", _mlflow_body, _mlflow, lambda answer, p: abs(answer["predictions"][0] - p) < 1e-9
    ),
    "mlserver": Peer(
        "/v2/models/wide/infer", "/v2/health/ready", _mlserver_body, _mlserver,
        lambda answer, p: abs(answer["outputs"][0]["data"][0] - p) < 1e-9,
    ),
    "feast": Peer("/get-online-features", "/health", _feast_body, _feast, _feast_holds),
}  # fmt: skip


def side_by_side(names: Sequence[str], scratch: Path, url: str, asked: argparse.Namespace) -> dict[str, Any]:
    """The figures of each, or how it failed."""
    model = learned(asked.labels)
    (scratch / "model.pickle").write_bytes(pickle.dumps(model))
    (scratch / "redis").write_text(url.removeprefix("redis://").partition("/")[0])
    found: dict[str, Any] = {}
    for name in names:
        try:
            found[name] = measured(name, scratch, model, asked)
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
            print(f"{name} takes no part: {error}", flush=True)
            found[name] = {"error": str(error)}
    return found


def learned(labels: int) -> Any:
    """A river model that learned from so many labels, as the fold's do."""
    model, rng = preprocessing.StandardScaler() | linear_model.LogisticRegression(), random.Random(1)
    for _ in range(labels):
        x = dict(zip(FEATURES, row(rng), strict=True))
        model.learn_one(x, x["f0"] > 25)
    return model


def measured(name: str, scratch: Path, model: Any, asked: argparse.Namespace) -> dict[str, Any]:
    """Start one, hold an answer against what is expected, then ask at rates, and for the most."""
    peer, bin_, port = PEERS[name], environment(name), free_port()
    requests = [http(peer.path, peer.body(random.Random(number))) for number in range(500)]
    with (scratch / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            peer.start(bin_, scratch, port), cwd=scratch, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "FEAST_USAGE": "False", "PYTHONPATH": "",
                 "PATH": f"{bin_}:{os.environ['PATH']}"},
        )  # fmt: skip
    try:
        until_ready(process, f"http://127.0.0.1:{port}{peer.ready}", scratch / f"{name}.log")
        p = model.predict_proba_one(dict(zip(FEATURES, row(random.Random(0)), strict=True)))[True]
        body = requests[0].split(b"\r\n\r\n", 1)[1]
        said = urllib.request.Request(
            f"http://127.0.0.1:{port}{peer.path}", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(said, timeout=30) as reply:
            answer = json.loads(reply.read())
        if not peer.holds(answer, p):
            raise RuntimeError(f"{name} answered {str(answer)[:300]}, and the model says {p}")

        def at(per_s: float, seconds: float = asked.search_seconds) -> dict[str, Any]:
            before = session_cpu_s(process.pid)
            found = client(port, requests, per_s, seconds)
            spent_us = (session_cpu_s(process.pid) - before) * 1e6
            found["cpu_us_per_request"] = round(spent_us / max(found["answered"], 1))
            print(name, found, flush=True)
            return found

        at(20, 2)
        rates = [at(per_s) for per_s in RATES]
        versions = {"version": PINS[name][0], "python": sys.version.split()[0], "river": version("river")}
        return {"rates": rates, **most(at, 200), **versions}
    finally:
        for told in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, told)  # its workers are of its session
                process.wait(20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def http(path: str, body: Any) -> bytes:
    """One request."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def environment(name: str) -> Path:
    """Where a peer's programs lie: an environment of its own, made once.

    Raises `subprocess.CalledProcessError` if pip cannot install it.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock"
    wanted = [*PINS[name], f"river=={version('river')}"]
    folder = (
        cache / f"{name}-{PINS[name][0].rpartition('=')[2]}-py{sys.version_info[0]}.{sys.version_info[1]}"
    )
    if not (folder / "ready").exists():
        print(f"installing {wanted[0]} (once) into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [
            str(folder / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        alone = {**os.environ, "PYTHONPATH": ""}  # what we import is nothing that pip should consider
        subprocess.run([*pip, *(wanted if name != "feast" else wanted[:1])], check=True, env=alone)
        (folder / "ready").touch()
    return folder / "bin"


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


def until_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Wait until it answers. Raises `RuntimeError` with the end of its log."""
    end = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"it did not answer at {address}; its log ends with {log.read_text()[-2000:]}")


def session_cpu_s(leader: int) -> float:
    """CPU seconds of all processes that one started, itself included (Linux)."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(rest[3]) == leader:
            total += int(rest[11]) + int(rest[12])
    return total / os.sysconf("SC_CLK_TCK")

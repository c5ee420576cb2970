"""The serve role as a process: over a real Redis, asked by an ordinary HTTP client."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count as numbers
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

from penstock.features.redis.keys import wanted_key
from penstock.features.redis.store import connect
from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.definitions import DefinitionError
from penstock.stream.log.protocol import Out
from penstock.stream.messages import OperatorRequest, encode_json
from penstock.stream.roles.in_memory import SECRET, MemoryFlow
from penstock.stream.roles.serve import check_names
from tests.patience import PATIENCE_S
from tests.stream.serve.served_flow import predictions_of, samples_of

FILE = Path("examples/cards.py")
START_MS = 1_700_000_000_000


def payment(n: int) -> dict[str, Any]:
    return {
        "payment_id": f"p{n}", "paid_at": START_MS + n * 60_000, "card": f"c{n % 5}", "amount": float(n % 90), "hour": n % 24,
        "online": n % 2 == 0, "fraud": n % 90 > 60,
    }  # fmt: skip


def out(event: dict[str, Any]) -> Out:
    return Out("cards.payments", event["card"].encode(), encode_json(event))


class Running(NamedTuple):
    flow: MemoryFlow
    port: int
    process: subprocess.Popen[str]

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        connection.request(method, path, None if body is None else encode_json(body))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def until(self, what: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not what():
            assert time.monotonic() < end and self.process.poll() is None
            time.sleep(0.05)


@pytest.fixture
def running(
    request: pytest.FixtureRequest, valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Running]:
    monkeypatch.setattr("penstock.stream.learn.replica_snapshot.REPLICA_EVERY_MS", 0)
    monkeypatch.setattr("penstock.stream.learn.replica_snapshot.REPLICA_SPACING", 0)
    monkeypatch.setattr("penstock.stream.learn.births.FREEZE_EVERY", 50)
    given = valkey.connection_pool.connection_kwargs
    url = f"redis://127.0.0.1:{given['port']}/{given.get('db', 0)}"
    wall = numbers(START_MS + 10**10, 10)
    flow = MemoryFlow(load(FILE), client=connect(url), clock=lambda: next(wall))
    valkey.set(wanted_key("cards"), b"1")
    flow.settle()
    flow.feed([out(payment(n)) for n in range(200)])
    flow.settle()
    command = [
        sys.executable,
        "-m",
        "penstock.stream.cli",
        "run",
        str(FILE),
        "--role",
        "serve",
        "--port",
        "0",
    ]
    process = subprocess.Popen(
        [*command, "--workers", str(request.param)],
        env={**os.environ, "REDIS_URL": url, "PENSTOCK_SECRET": SECRET, "PYTHONHASHSEED": "0"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        found = None
        for line in process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/docs", line):
                break
        assert found, "it ended before it listened"
        made = Running(flow, int(found[1]), process)
        made.until(lambda: made.ask("GET", "/v2/health/ready")[0] == 200)
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
        flow.close()


@pytest.mark.parametrize("running", [2], indirect=True)
def test_a_worker_that_is_killed_is_replaced_and_the_others_answer_meanwhile(running: Running) -> None:
    def workers() -> list[int]:
        told = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text()
        return [int(one) for one in told.split()]

    first = workers()
    assert len(first) == 2
    os.kill(first[0], signal.SIGKILL)
    running.until(lambda: first[0] not in workers())
    for _ in range(20):
        assert running.ask("GET", "/v2/health/ready")[0] == 200
    running.until(lambda: len(workers()) == 2)


@pytest.mark.parametrize("running", [1, 2], indirect=True)
def test_it_answers_as_the_topic_will_explains_and_follows_what_learn_does(running: Running) -> None:
    flow, fold = running.flow, running.flow.learn.fold
    assert fold is not None
    asked = {name: value for name, value in payment(200).items() if name != "fraud"}
    status, said = running.ask("POST", "/v1/pipelines/cards:predict?vector=true&explain=true", asked)
    assert status == 200, said
    flow.feed([out(payment(200))])
    flow.settle()
    sample, published = samples_of(flow)[-1], predictions_of(flow)[-1]
    assert list(said["vector"].values()) == sample.x and sample.id == "p200"
    assert (said["prediction"], said["model"]["version"]) == (published.prediction, published.model.version)
    explained = said["explanation"]
    total = explained["base"] + sum(one["contribution"] for one in explained["contributions"])
    assert total == pytest.approx(explained["margin"], abs=1e-9)
    path = f"/v1/pipelines/cards:predict?min_position={fold.position}&wait_ms=10000"
    status, said = running.ask("POST", path, asked)
    assert status == 200 and said["position"] >= fold.position
    kept = sorted(flow.models.ids())[0]
    roll = OperatorRequest(
        id="r1", pipeline="cards", verb="rollback", reason="told to", by="ann", version=kept
    )
    flow.feed([Out(topology.CONTROL_COMMANDS, b"cards", encode_json(roll))])
    flow.settle()
    live = fold.version
    path = f"/v1/pipelines/cards:predict?min_position={fold.position}&wait_ms=10000"
    status, said = running.ask("POST", path, asked)
    assert status == 200 and said["model"]["version"] == live


def test_two_pipelines_of_one_name_are_not_served_together() -> None:
    pipeline = load(FILE)
    with pytest.raises(DefinitionError, match="named 'cards'"):
        check_names([pipeline, pipeline])

"""A serve role as a process of its own, beside a flow in memory that learns: for tests that ask it as its users do."""

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
from contextlib import contextmanager
from itertools import count as numbers
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

from penstock.features.redis.keys import wanted_key
from penstock.features.redis.store import connect
from penstock.stream.definition_file import load
from penstock.stream.log.protocol import Out
from penstock.stream.messages import encode_json
from penstock.stream.roles.in_memory import SECRET, MemoryFlow
from tests.patience import PATIENCE_S

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
    """`flow` is what learns, `port` where `process` answers."""

    flow: MemoryFlow
    port: int
    process: subprocess.Popen[str]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

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


def url_of(valkey: redis.Redis) -> str:
    given = valkey.connection_pool.connection_kwargs
    if "path" in given:  # a cluster's
        return str(given["path"])
    return f"redis://127.0.0.1:{given['port']}/{given.get('db', 0)}"


@contextmanager
def serving(valkey: redis.Redis, workers: int = 1, payments: int = 200) -> Iterator[Running]:
    """The cards example after so many payments, served; every entry that learn folds gives a new replica."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("penstock.stream.learn.replica_snapshot.REPLICA_EVERY_MS", 0)
        patched.setattr("penstock.stream.learn.replica_snapshot.REPLICA_SPACING", 0)
        patched.setattr("penstock.stream.learn.births.FREEZE_EVERY", 50)
        wall = numbers(START_MS + 10**10, 10)
        flow = MemoryFlow(load(FILE), client=connect(url_of(valkey)), clock=lambda: next(wall))
        valkey.set(wanted_key("cards"), b"1")
        flow.settle()
        flow.feed([out(payment(n)) for n in range(payments)])
        flow.settle()
        command = ["-m", "penstock.stream.cli", "run", str(FILE), "--role", "serve", "--port", "0"]
        process = subprocess.Popen(
            [sys.executable, *command, "--workers", str(workers)],
            env={
                **os.environ, "REDIS_URL": url_of(valkey), "PENSTOCK_SECRET": SECRET, "PYTHONHASHSEED": "0",
            },
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        try:
            assert process.stderr is not None
            told = (re.search(r"http://127\.0\.0\.1:(\d+)/docs", line) for line in process.stderr)
            found = next(filter(None, told), None)
            assert found, "it ended before it listened"
            made = Running(flow, int(found[1]), process)
            made.until(lambda: made.ask("GET", "/v2/health/ready")[0] == 200)
            yield made
        finally:
            process.send_signal(signal.SIGTERM)
            ended = process.wait(PATIENCE_S)
            flow.close()
        assert ended == 0, f"told to end, it ended with {ended}"

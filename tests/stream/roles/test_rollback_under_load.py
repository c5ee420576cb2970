"""A rollback while requests come at a fixed rate: nobody is refused, the new version answers, and positions keep their word."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import redis

from penstock.stream import topology
from penstock.stream.log.protocol import Out
from penstock.stream.messages import OperatorRequest, encode_json
from tests.patience import PATIENCE_S
from tests.serving import Running, out, payment, serving

RATE_PER_S = 1_000
CONNECTIONS = 32
"""So many requests are under way at most: fewer than a process turns away, so that none is."""
BEFORE = AFTER = 500
PREDICT = "/v1/pipelines/cards:predict"


@pytest.fixture
def running(valkey: redis.Redis) -> Iterator[Running]:
    with serving(valkey) as made:
        yield made


class Told(NamedTuple):
    """One answer: when it came, its status, the version and the position that it names."""

    at_s: float
    status: int
    version: str
    position: int


class Load:
    """Requests at a fixed rate from a thread of its own, over connections that are kept; `told` are their answers."""

    def __init__(self, port: int) -> None:
        self.port, self.told, self.failed = port, list[Told](), list[BaseException]()
        self.ending = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)

    def __enter__(self) -> Load:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive(), "a request was never answered"

    def until(self, number: int) -> None:
        end_s = time.monotonic() + PATIENCE_S
        while len(self.told) < number and not self.failed:
            assert time.monotonic() < end_s
            time.sleep(0.01)
        assert not self.failed, self.failed

    async def _all(self) -> None:
        began_s = time.monotonic()
        await asyncio.gather(*(self._one(began_s + place / RATE_PER_S) for place in range(CONNECTIONS)))

    async def _one(self, due_s: float) -> None:
        """Every so-manieth request, each at its own moment however long the one before it took."""
        body = encode_json({name: value for name, value in payment(500).items() if name != "fraud"})
        head = f"POST {PREDICT} HTTP/1.1\r\nhost: here\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            while not self.ending.is_set():
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                due_s += CONNECTIONS / RATE_PER_S
                writer.write(head + body)
                top = await reader.readuntil(b"\r\n\r\n")
                size = next(
                    int(line.split(b":")[1])
                    for line in top.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                )
                said = json.loads(await reader.readexactly(size))
                version = said.get("model", {}).get("version", "")
                self.told.append(
                    Told(time.monotonic(), int(top.split()[1]), version, said.get("position", -1))
                )
            writer.close()
        except (OSError, EOFError, ValueError) as error:
            self.failed.append(error)


def test_a_rollback_under_load_fails_no_request_and_is_answered_from_by_whoever_asks_for_its_position(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    flow, fold = running.flow, running.flow.learn.fold
    assert fold is not None
    target = next(one.version for one in fold.experts.models if one.kind == "frozen")
    old = fold.version
    assert old != target
    roll = OperatorRequest(
        id="r1", pipeline="cards", verb="rollback", reason="told to", by="ann", version=target
    )
    asked = {name: value for name, value in payment(501).items() if name != "fraud"}
    with Load(running.port) as load:
        load.until(BEFORE)
        commanded_s, number = time.monotonic(), len(load.told)
        flow.feed([Out(topology.CONTROL_COMMANDS, b"cards", encode_json(roll))])
        flow.settle()
        position = fold.position
        status, said = running.ask("POST", f"{PREDICT}?min_position={position}&wait_ms=10000", asked)
        assert status == 200 and said["position"] >= position and said["model"]["version"] == target
        load.until(number + AFTER)
        flow.feed([out(payment(n)) for n in range(200, 300)])  # it goes on learning, and so do the answers
        flow.settle()
        path = f"{PREDICT}?min_position={fold.position}&wait_ms=10000"
        status, said = running.ask("POST", path, asked)
        assert status == 200 and said["position"] >= fold.position > position
        load.until(len(load.told) + AFTER)
    told = load.told
    assert not load.failed and {one.status for one in told} == {200}
    assert {one.version for one in told[:BEFORE]} == {old}
    for one in told:
        if one.version == old:
            assert one.position < position
        if one.position < position:
            assert one.version == old
    changed = next(one for one in told if one.version == target)
    answered_s = [one.at_s for one in told]
    with capsys.disabled():
        print(
            f"\n{len(told)} answers in {answered_s[-1] - answered_s[0]:.1f} s, none refused; the new version answered "
            f"{changed.at_s - commanded_s:.2f} s after the rollback was commanded"
        )


def test_a_position_that_never_comes_is_refused_with_where_the_models_are_while_others_are_answered(
    running: Running,
) -> None:
    fold = running.flow.learn.fold
    assert fold is not None
    with Load(running.port) as load:
        load.until(50)
        asked: dict[str, Any] = {name: value for name, value in payment(501).items() if name != "fraud"}
        status, said = running.ask("POST", f"{PREDICT}?min_position={fold.position + 1}&wait_ms=50", asked)
        assert status == 409 and said["position"] <= fold.position
        load.until(len(load.told) + 50)
    assert {one.status for one in load.told} == {200}

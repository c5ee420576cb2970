"""The serve role as a process: over a real Redis, asked by an ordinary HTTP client."""

from __future__ import annotations

import http.client
import os
import re
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from penstock.features.read.client import FeatureReader
from penstock.features.units import StoreUnavailable
from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.definitions import DefinitionError
from penstock.stream.log.protocol import Out
from penstock.stream.messages import OperatorRequest, encode_json
from penstock.stream.roles.http import check_names
from penstock.stream.roles.serve import Once
from tests.effort import first_here
from tests.patience import PATIENCE_S
from tests.serving import FILE, Running, out, payment, serving
from tests.stream.serve.served_flow import predictions_of, samples_of


@pytest.fixture
def running(request: pytest.FixtureRequest, valkey: redis.Redis) -> Iterator[Running]:
    with serving(valkey, request.param) as made:
        yield made


def workers(running: Running) -> list[int]:
    """The processes that answer."""
    told = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text()
    return [int(one) for one in told.split()]


@pytest.mark.long
@pytest.mark.parametrize("running", [2], indirect=True)
def test_a_worker_that_is_killed_is_replaced_and_the_others_answer_meanwhile(running: Running) -> None:
    first = workers(running)
    assert len(first) == 2
    os.kill(first[0], signal.SIGKILL)
    running.until(lambda: first[0] not in workers(running))
    for _ in range(20):
        assert running.ask("GET", "/v2/health/ready")[0] == 200
    running.until(lambda: len(workers(running)) == 2)


@pytest.mark.long
@pytest.mark.parametrize("running", [2], indirect=True)
def test_metrics_are_those_of_all_workers_and_do_not_fall_when_one_is_killed(running: Running) -> None:
    def counted() -> float:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE_S)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        assert "pid=" not in text and "penstock_served_position{" in text
        found = re.search(r'penstock_rows_answered_total\{pipeline="cards"\} ([0-9.]+)', text)
        return float(found[1]) if found else 0.0

    asked = {name: value for name, value in payment(200).items() if name != "fraud"}
    for number in range(1, 31):
        assert running.ask("POST", "/v1/pipelines/cards:predict", asked)[0] == 200
        assert counted() == number
    first = workers(running)
    os.kill(first[0], signal.SIGKILL)
    running.until(lambda: first[0] not in workers(running))
    assert counted() == 30
    running.until(lambda: len(workers(running)) == 2)
    assert counted() == 30


def test_accesses_are_logged_where_that_is_asked_for(
    valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_SERVE_ACCESS_LOG", "1")
    with serving(valkey) as made:
        assert made.ask("GET", "/v1/pipelines/cards/features/card/c1")[0] == 200
        assert made.process.stderr is not None
        line = next(
            line for line in made.process.stderr if "penstock.serve.access" in line and "features" in line
        )
    assert re.search(
        r"GET /v1/pipelines/cards/features/\{view\}/\{entity\} 200 [0-9.]+ ms [0-9a-f]{16}$", line.strip()
    )


@pytest.mark.parametrize("running", [1], indirect=True)
def test_a_redis_that_hangs_fails_requests_and_no_page_and_is_asked_again_when_it_is_back(
    running: Running, valkey: redis.Redis
) -> None:
    asked = {name: value for name, value in payment(200).items() if name != "fraud"}
    pid = valkey.info()["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(10):
            status, said = running.ask("POST", "/v1/pipelines/cards:predict", asked)
            assert status == 503 and "features cannot be read" in said["error"]
        assert (
            running.ask("GET", "/v2/health/live")[0] == 200 and running.ask("GET", "/v1/pipelines")[0] == 200
        )
    finally:
        os.kill(pid, signal.SIGCONT)
    running.until(lambda: running.ask("POST", "/v1/pipelines/cards:predict", asked)[0] == 200)


@pytest.mark.parametrize("running", first_here([1, 2]), indirect=True)
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


def test_a_read_that_timed_out_is_not_tried_again_and_one_on_a_stale_connection_is() -> None:
    class Fails:
        def __init__(self, error: Exception) -> None:
            self.error, self.reads = error, 0
            self.connection_pool = SimpleNamespace(connection_kwargs={"host": "there", "port": 1})

        def mget(self, keys: Sequence[str], /) -> Any:
            self.reads += 1
            raise self.error

    pipeline = load(FILE)
    for error, reads in ((redis.TimeoutError("timed out"), 1), (redis.ConnectionError("closed"), 2)):
        client = Fails(error)
        reader = FeatureReader(Once(client), pipeline.name, pipeline.views)  # type: ignore[arg-type]
        with pytest.raises(StoreUnavailable, match=r"redis://there:1/0"):
            reader.states([("card", "c1")])
        assert client.reads == reads


def test_two_pipelines_of_one_name_are_not_served_together() -> None:
    pipeline = load(FILE)
    with pytest.raises(DefinitionError, match="named 'cards'"):
        check_names([pipeline, pipeline])

"""The serve role as a process: over a real Redis, asked by an ordinary HTTP client."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.definitions import DefinitionError
from penstock.stream.log.protocol import Out
from penstock.stream.messages import OperatorRequest, encode_json
from penstock.stream.roles.serve import check_names
from tests.serving import FILE, Running, out, payment, serving
from tests.stream.serve.served_flow import predictions_of, samples_of


@pytest.fixture
def running(request: pytest.FixtureRequest, valkey: redis.Redis) -> Iterator[Running]:
    with serving(valkey, request.param) as made:
        yield made


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

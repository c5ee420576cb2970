"""When something is wrong: Redis that hangs, is slow or is away; a model that raises; and what the access log says of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from river import base

from penstock import Serving
from penstock.features.units import StoreUnavailable
from penstock.stream.serve.asking import Away
from penstock.stream.serve.circuit import MOST_SLOW, SLOW_S, Circuit
from penstock.stream.serve.tracing import passed_on, pattern
from tests.stream.serve.test_app import PREDICT, Asked, columns, event

AWAY = redis.ConnectionError("nobody there")


@pytest.fixture(scope="module", autouse=True)
def often() -> Iterator[None]:
    """Replicas are due at every turn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.stream.learn.replica_snapshot.REPLICA_EVERY_MS", 0)
        patch.setattr("penstock.stream.learn.replica_snapshot.REPLICA_SPACING", 0)
        yield


class Slow:
    """A Redis that takes its time, by a clock of its own."""

    def __init__(self) -> None:
        self.now_s = self.takes_s = 0.0
        self.reads, self.hangs = 0, False

    def read(self) -> int:
        self.reads += 1
        self.now_s += self.takes_s
        if self.hangs:
            raise StoreUnavailable("timed out", "redis://there", "check it")
        return self.reads


def circuit_of(server: Slow) -> Circuit:
    return Circuit(server.read, lambda: server.now_s)


def test_a_redis_that_hangs_is_waited_for_once_and_then_asked_beside_the_requests_alone() -> None:
    server = Slow()
    server.hangs = True
    circuit = circuit_of(server)
    for _ in range(100):
        with pytest.raises(Away, match="timed out"):
            circuit.read(server.read)
    assert server.reads == 1
    assert not circuit.probe() and server.reads == 2
    server.hangs = False
    assert circuit.probe() and circuit.read(server.read) == 4


def test_a_redis_that_is_slow_time_and_again_is_as_good_as_away_until_it_is_quick() -> None:
    server = Slow()
    circuit, server.takes_s = circuit_of(server), 2 * SLOW_S
    for _ in range(MOST_SLOW):
        circuit.read(server.read)
    with pytest.raises(Away, match="took 200 ms"):
        circuit.read(server.read)
    assert not circuit.probe()
    server.takes_s = 0.0
    assert circuit.probe() and circuit.read(server.read)


@given(st.lists(st.booleans(), max_size=60))
def test_a_slow_read_now_and_then_is_no_fault(slow: list[bool]) -> None:
    server = Slow()
    circuit, run = circuit_of(server), 0
    for one in slow:
        server.takes_s = 2 * SLOW_S if one else 0.0
        circuit.read(server.read)
        run = run + 1 if one else 0
        assert bool(circuit.why) == (run >= MOST_SLOW)
        if circuit.why:
            break


def test_pages_and_turning_away_go_on_while_redis_is_away() -> None:
    asked = Asked(60)
    asked.keys.away = AWAY
    asyncio.run(asked.app.turn_once())
    asked.keys.calls = 0
    statuses = [asked("POST", PREDICT, event())[0] for _ in range(20)]
    assert statuses == [503] * 20 and asked.keys.calls == 2
    assert asked("GET", "/v1/pipelines/parcels/features/depot/d1")[0] == 503 and asked.keys.calls == 2
    assert asked("GET", "/healthz")[0] == 200 and asked("GET", "/openapi.json")[0] == 200


def test_where_the_definition_allows_it_an_answer_without_features_is_given_and_says_so() -> None:
    asked = Asked(serving=Serving(degraded=True))
    whole = asked("POST", f"{PREDICT}?vector=true", event())[2]
    assert "degraded" not in whole
    asked.keys.away = AWAY
    status, _, said = asked("POST", f"{PREDICT}?vector=true", event())
    assert status == 200 and said["degraded"] is True
    features = [name for name in whole["vector"] if "." in name]
    assert said["features"]["missing"] == features and said["features"]["age_ms"] == {}
    assert said["vector"] == {**dict.fromkeys(features), "weight": event()["weight"]}
    replica = asked.served.replica
    assert replica is not None
    assert said["prediction"] == replica.ask("", 0, list(said["vector"].values())).prediction.prediction
    infer = asked("POST", "/v2/models/parcels/infer", columns(event()))
    assert infer[0] == 200 and infer[2]["parameters"]["degraded"] is True
    assert 'penstock_degraded_answers_total{pipeline="parcels"} 2.0' in asked("GET", "/metrics")[2].decode()
    assert asked("GET", "/v1/pipelines/parcels/features/depot/d1")[0] == 503
    asked.keys.away = None
    asyncio.run(asked.app.turn_once())
    assert asked("POST", f"{PREDICT}?vector=true", event())[2] == whole


def test_features_of_a_null_key_are_what_they_always_are_even_without_redis() -> None:
    asked = Asked(60, serving=Serving(degraded=True))
    given = event(depot=None)
    whole = asked("POST", f"{PREDICT}?vector=true", given)[2]
    asked.keys.away = AWAY
    assert asked("POST", f"{PREDICT}?vector=true", given)[2]["vector"] == whole["vector"]


class Moody(base.Classifier):
    """A model that raises where the weight is above 100."""

    def learn_one(self, x: dict[str, Any], y: Any) -> None:
        pass

    def predict_proba_one(self, x: dict[str, Any]) -> dict[Any, float]:
        if x.get("weight", 0.0) > 100:
            raise ZeroDivisionError("secret insides")
        return {True: 0.25, False: 0.75}


def test_a_model_that_raises_is_a_500_in_a_sentence_and_the_next_request_goes_on() -> None:
    asked = Asked(60, model=Moody())
    status, _, problem = asked("POST", PREDICT, event(weight=1000.0))
    assert status == 500 and "none of the models gave an answer" in problem["error"]
    assert "secret" not in problem["error"]
    assert asked("POST", PREDICT, event(weight=1.0))[0] == 200
    _, _, many = asked("POST", PREDICT, [event(weight=1000.0), event(weight=1.0)])
    assert "error" in many["predictions"][0] and "prediction" in many["predictions"][1]
    assert asked("POST", "/v2/models/parcels/infer", columns(event(weight=1000.0)))[0] == 500


# -- what follows a request ---------------------------------------------------------------------------------------------------


def test_the_access_log_has_a_line_a_request_without_what_was_asked_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = Asked(60)
    with caplog.at_level(logging.INFO, logger="penstock.serve.access"):
        asked("POST", PREDICT, event())
        assert not caplog.records
        asked.app.log_access = True
        asked("POST", f"{PREDICT}?version=mine", event(depot="secret"), {"X-Request-Id": "r1"})
        asked("GET", "/v1/pipelines/parcels/features/depot/secret?at=5")
        asked("GET", "/v1/pipelines/secret/features")
        asked("POST", "/v2/models/parcels/versions/secret/infer", columns(event()))
    lines = [one.getMessage() for one in caplog.records]
    assert [line.split(" ")[:3] for line in lines] == [
        ["POST", PREDICT, "404"],
        ["GET", "/v1/pipelines/parcels/features/{view}/{entity}", "200"],
        ["GET", "/{unknown}", "404"],
        ["POST", "/v2/models/parcels/versions/{version}/infer", "404"],
    ]
    assert lines[0].endswith(" ms r1") and not any("secret" in line for line in lines)


@given(st.lists(st.text("ab/{}%2é\n", max_size=6), max_size=6), st.sampled_from(["v1", "v2", "x"]))
def test_no_path_gets_into_the_log_as_it_came(parts: list[str], first: str) -> None:
    known = {
        "v1",
        "v2",
        "pipelines",
        "models",
        "p",
        "features",
        "versions",
        "infer",
        "ready",
        "{version}",
        "{entity}",
        "{unknown}",
    }
    shown = pattern([first, *parts], ["p"])
    assert {one for one in shown.split("/") if one} <= known


@given(st.binary(max_size=70))
def test_what_is_no_trace_context_is_not_passed_on(header: bytes) -> None:
    assert passed_on(header, b"53995c3f42cd8ad8") is None


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255), st.integers(0, 254))
def test_a_trace_context_goes_on_with_a_span_of_ours(trace: int, span: int, flags: int, version: int) -> None:
    given = b"%02x-%032x-%016x-%02x" % (version, trace, span, flags)
    assert passed_on(given, b"53995c3f42cd8ad8") == b"00-%032x-53995c3f42cd8ad8-%02x" % (trace, flags & 3)
    for none in (
        b"%02x-%032x-%016x-01" % (0, 0, span),
        b"%02x-%032x-%016x-01" % (0, trace, 0),
        b"ff" + given[2:],
    ):
        assert passed_on(none, b"53995c3f42cd8ad8") is None

"""The HTTP side, asked as a server would ask it: paths, options, limits, both protocols, errors in whole sentences."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import redis

from penstock.stream.process.health_page import Health
from penstock.stream.serve.app import Application
from penstock.stream.serve.limits import Limits
from tests.stream.generated import outs, parcel_events, parcels
from tests.stream.serve.served_flow import Keys, flow_of, served_of

WALL_MS = 1_800_000_000_000
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PREDICT = "/v1/pipelines/parcels:predict"


class Asked:
    """An application, asked without a server."""

    def __init__(self, number: int = 200, **more: Any) -> None:
        self.flow = flow_of(parcels(**more))
        served, self.keys = served_of(self.flow)
        self.flow.settle()
        served.refresh()
        self.flow.feed(outs(parcel_events(number)))
        self.flow.settle()
        served.refresh()
        self.served, self.health = served, Health("serve")
        self.app = Application({"parcels": served}, self.health, wall_ms=lambda: WALL_MS)

    def __call__(self, *given: Any, **more: Any) -> tuple[int, dict[str, str], Any]:
        return asyncio.run(self.ask(*given, **more))

    async def ask(
        self, method: str, path: str, body: Any = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], Any]:
        path, _, query = path.partition("?")
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        chunks = [raw[:7], raw[7:]]
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            chunk = chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()],
        }
        await self.app(scope, receive, send)
        start, end = sent
        found = {k.decode(): v.decode() for k, v in start["headers"]}
        said = end["body"]
        return (
            start["status"],
            found,
            json.loads(said) if found["content-type"] == "application/json" else said,
        )


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.stream.learn.replica_snapshot.REPLICA_EVERY_MS", 0)
        patch.setattr("penstock.stream.learn.replica_snapshot.REPLICA_SPACING", 0)
        yield Asked(interval=0.9, calibrate=True)


def event(**changes: Any) -> dict[str, Any]:
    sent = [event for _, _, event in parcel_events(260) if "sent_at" in event]
    return {**sent[-1], **changes}


def test_one_event_or_a_list_is_answered(asked: Asked) -> None:
    status, headers, one = asked("POST", PREDICT, event())
    assert status == 200 and one["id"] == "p259" and headers["x-request-id"]
    assert 0 <= one["prediction"] <= 1 and one["position"] == asked.served.replica.position  # type: ignore[union-attr]
    status, _, many = asked("POST", PREDICT, [event(), event(weight="x")])
    assert status == 200 and many["predictions"][0] == one and "weight" in many["predictions"][1]["error"]
    assert asked("POST", PREDICT, event(weight="x"))[0] == 422
    status, headers, _ = asked("POST", PREDICT, event(), {"X-Request-Id": "mine", "traceparent": TRACE})
    assert headers["x-request-id"] == "mine"
    version, trace, span, flags = headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", TRACE[3:35], "01") and span not in TRACE
    for wrong in ("00-1-2-01", TRACE.upper(), TRACE + "-x", "ff" + TRACE[2:], TRACE.replace("4", "é")):
        assert "traceparent" not in asked("POST", PREDICT, event(), {"traceparent": wrong})[1]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", PREDICT, b"", 400, "empty"),
        ("POST", PREDICT, b"[{", 400, "no JSON list"),
        ("POST", PREDICT, b"{", 422, "not a JSON object"),
        ("POST", PREDICT + "?colour=red", b"{}", 400, "no option 'colour'"),
        ("POST", PREDICT + "?min_position=-4", b"{}", 400, "no whole number"),
        ("POST", PREDICT + "?vector=perhaps", b"{}", 400, "true or false"),
        ("POST", PREDICT + "?max_age=soon", b"{}", 400, "max_age"),
        ("POST", "/v1/pipelines/nobody:predict", b"{}", 404, "there are parcels"),
        ("POST", "/v1/pipelines/parcels:foresee", b"{}", 405, "openapi"),
        ("GET", "/v1/pipelines/parcels/features/shop/d1", b"", 404, "its views are"),
        ("GET", "/somewhere", b"", 404, "openapi"),
        ("POST", "/v2/models/parcels/infer", b"{}", 400, "inputs"),
        ("GET", "/v2/models/nobody", b"", 404, "there are parcels"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_said_in_a_sentence(
    asked: Asked, method: str, path: str, body: bytes, status: int, says: str
) -> None:
    found, _, problem = asked(method, path, body)
    assert found == status and says in problem["error"]


def test_features_and_pipelines_are_shown(asked: Asked) -> None:
    _, _, found = asked("GET", "/v1/pipelines")
    (shown,) = found["pipelines"]
    assert (
        shown["ready"]
        and shown["inputs"] == ["weight"]
        and sum(shown["weights"].values()) == pytest.approx(1)
    )
    status, _, depot = asked("GET", "/v1/pipelines/parcels/features/depot/d1")
    assert status == 200 and depot["found"] and set(depot["values"]) == {"late_3h", "done_1h"}
    street = "s 1|".replace("|", "%257C").replace(" ", "%20")
    status, _, found = asked("GET", f"/v1/pipelines/parcels/features/street/d1%7C{street}")
    assert status == 200 and found["found"]


def test_health_and_metrics_are_on_the_same_port(asked: Asked) -> None:
    asyncio.run(asked.app.refresh_once())
    assert asked("GET", "/healthz")[0] == asked("GET", "/readyz")[0] == 200
    asked("POST", PREDICT, event())
    text = asked("GET", "/metrics")[2].decode()
    assert 'penstock_request_duration_seconds_bucket{le="0.005",outcome="ok"}' in text
    assert 'penstock_rows_answered_total{pipeline="parcels"}' in text


def test_a_position_is_waited_for_and_then_refused_with_when_to_try_again(asked: Asked) -> None:
    here = asked.served.replica.position  # type: ignore[union-attr]
    status, headers, problem = asked("POST", f"{PREDICT}?min_position={here + 1}&wait_ms=1", event())
    assert status == 409 and headers["retry-after"] == "1" and problem["position"] == here

    async def both() -> Any:
        waits = asyncio.create_task(
            asked.ask("POST", f"{PREDICT}?min_position={here + 1}&wait_ms=60000", event())
        )
        await asyncio.sleep(0.05)
        asked.flow.feed(outs(list(parcel_events(230))[-40:]))
        asked.flow.settle()
        assert asked.served.refresh()
        return await waits

    status, _, found = asyncio.run(both())
    assert status == 200 and found["position"] > here


def test_more_requests_than_may_wait_are_turned_away_at_once(asked: Asked) -> None:
    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(asked.ask("POST", PREDICT, event()) for _ in range(20)))

    limits, asked.app.limits = asked.app.limits, Limits(at_once=5)
    found = asyncio.run(all_at_once())
    asked.app.limits = limits
    statuses = [status for status, _, _ in found]
    assert statuses.count(200) == 5 and statuses.count(429) == 15
    assert all(headers["retry-after"] == "1" for status, headers, _ in found if status == 429)
    assert asked.app.working == 0 and asked("POST", PREDICT, event())[0] == 200


def test_bodies_and_rows_are_bounded(asked: Asked) -> None:
    limits, asked.app.limits = asked.app.limits, Limits(body_bytes=2_000, rows=3)
    try:
        assert asked("POST", PREDICT, [event()] * 3)[0] == 200
        assert asked("POST", PREDICT, [event()] * 4)[0] == 413
        assert asked("POST", PREDICT, b"x" * 2_001)[0] == 413
    finally:
        asked.app.limits = limits


def test_a_token_is_asked_for_where_there_is_one(asked: Asked) -> None:
    limits, asked.app.limits = asked.app.limits, Limits(tokens=("open sesame", "other"))
    try:
        status, headers, _ = asked("POST", PREDICT, event())
        assert status == 401 and headers["www-authenticate"] == "Bearer"
        assert asked("POST", PREDICT, event(), {"Authorization": "Bearer wrong"})[0] == 401
        assert asked("POST", PREDICT, event(), {"Authorization": "Bearer other"})[0] == 200
        assert asked("GET", "/healthz")[0] in (200, 503)
    finally:
        asked.app.limits = limits


def test_whoever_has_no_token_takes_no_place_of_those_who_have(asked: Asked) -> None:
    async def all_at_once() -> list[Any]:
        strangers = [asked.ask("GET", "/metrics") for _ in range(10)]
        strangers += [asked.ask("POST", PREDICT, event()) for _ in range(10)]
        known = asked.ask("POST", PREDICT, event(), {"Authorization": "Bearer mine"})
        return await asyncio.gather(*strangers, known)

    limits, asked.app.limits = asked.app.limits, Limits(at_once=1, tokens=("mine",))
    found = asyncio.run(all_at_once())
    asked.app.limits = limits
    assert [status for status, _, _ in found] == [200] * 10 + [401] * 10 + [200]


def test_redis_away_is_a_503_with_its_reason(asked: Asked) -> None:
    keys: Keys = asked.keys
    keys.away = redis.ConnectionError("nobody there")
    status, headers, problem = asked("POST", PREDICT, event())
    assert status == 503 and "nobody there" in problem["error"] and headers["retry-after"]
    asyncio.run(asked.app.turn_once())
    assert "not in touch with Redis" in str(asked("GET", "/readyz")[2]) and asked("GET", "/healthz")[0] == 200
    keys.away = None
    assert asked("POST", PREDICT, event())[0] == 503
    asyncio.run(asked.app.turn_once())
    assert asked("POST", PREDICT, event())[0] == 200 and asked("GET", "/readyz")[0] == 200


def test_a_failure_of_ours_is_a_500_without_its_insides(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked.served, "answered", lambda *_: 1 / 0)
    status, _, problem = asked("POST", PREDICT, event())
    assert status == 500 and "request id" in problem["error"] and "zero" not in problem["error"]


def columns(*events: dict[str, Any], nested: bool = False) -> dict[str, Any]:
    kinds = {"weight": "FP64", "sent_at": "INT64"}
    rows = len(events)
    return {
        "id": "42",
        "parameters": {"content_type": "pd"},
        "inputs": [
            {
                "name": name,
                "shape": [rows, 1] if nested else [rows],
                "datatype": kinds.get(name, "BYTES"),
                "data": [[one[name]] if nested else one[name] for one in events],
            }
            for name in events[0]
        ],
    }


def test_the_open_inference_protocol_gives_the_same_predictions(asked: Asked) -> None:
    _, _, own = asked("POST", PREDICT, [event(), event(weight=None)])
    said = [one["prediction"] for one in own["predictions"]]
    for nested in (False, True):
        status, _, found = asked(
            "POST", "/v2/models/parcels/infer", columns(event(), event(weight=None), nested=nested)
        )
        assert status == 200, found
        assert found["id"] == "42" and found["model_version"] == own["predictions"][0]["model"]["version"]
        outputs = {one["name"]: one for one in found["outputs"]}
        assert outputs["prediction"]["data"] == said and outputs["prediction"]["shape"] == [2, 1]
        assert set(outputs) == {"prediction", "calibrated"}
        assert found["parameters"]["position"] == own["predictions"][0]["position"]
    status, _, problem = asked("POST", "/v2/models/parcels/infer", columns(event(), event(weight="x")))
    assert status == 400 and problem["error"].startswith("row 1: ")
    wanted = {**columns(event()), "outputs": [{"name": "calibrated"}]}
    assert [one["name"] for one in asked("POST", "/v2/models/parcels/infer", wanted)[2]["outputs"]] == [
        "calibrated"
    ]
    here = found["parameters"]["position"]
    late = {**columns(event()), "parameters": {"min_position": here + 10**6, "wait_ms": 1}}
    assert asked("POST", "/v2/models/parcels/infer", late)[0] == 409
    live = found["model_version"]
    assert asked("POST", f"/v2/models/parcels/versions/{live}/infer", columns(event()))[0] == 200
    assert asked("POST", "/v2/models/parcels/versions/v99/infer", columns(event()))[0] == 404


def test_columns_may_follow_the_json_as_bytes(asked: Asked) -> None:
    sent = columns(event(), event(weight=3.5))
    said = asked("POST", "/v2/models/parcels/infer", sent)[2]["outputs"]
    pack = {"FP64": "<d", "INT64": "<q"}
    rest = b""
    for one in sent["inputs"]:
        data = one.pop("data")
        if one["datatype"] == "BYTES":
            raw = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in data)
        else:
            raw = b"".join(struct.pack(pack[one["datatype"]], value) for value in data)
        one["parameters"] = {"binary_data_size": len(raw)}
        rest += raw
    sent["parameters"] = {"binary_data_output": True}
    head = json.dumps(sent).encode()
    given = {"Inference-Header-Content-Length": str(len(head))}
    status, _, found = asked("POST", "/v2/models/parcels/infer", head + rest, given)
    assert status == 200 and found["outputs"] == said
    for broken in (rest[:-1], rest + b"x", b""):
        status, _, problem = asked("POST", "/v2/models/parcels/infer", head + broken, given)
        assert status == 400 and "not an inference request" in problem["error"]


def test_the_open_inference_protocol_says_what_there_is(asked: Asked) -> None:
    assert asked("GET", "/v2")[2]["name"] == "penstock"
    assert asked("GET", "/v2/health/live")[2]["live"] and asked("GET", "/v2/health/ready")[2]["ready"]
    assert asked("GET", "/v2/models/parcels/ready")[2] == {"name": "parcels", "ready": True}
    found = asked("GET", "/v2/models/parcels")[2]
    kinds = {one["name"]: one["datatype"] for one in found["inputs"]}
    assert kinds["weight"] == "FP64" and kinds["sent_at"] == "INT64" and kinds["depot"] == "BYTES"
    assert found["platform"] == "penstock_river" and found["outputs"][0]["name"] == "prediction"


def test_the_openapi_document_describes_what_is_answered(asked: Asked) -> None:
    document = asked("GET", "/openapi.json")[2]
    assert document["openapi"] == "3.1.0" and PREDICT in document["paths"]
    schemas = document["components"]["schemas"]

    def holds(name: str, value: Any) -> None:
        jsonschema.validate(
            value, {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        )

    holds("parcels.event", event())
    holds("Prediction", asked("POST", PREDICT, event())[2])
    holds("Predictions", asked("POST", PREDICT, [event()])[2])
    holds("Pipelines", asked("GET", "/v1/pipelines")[2])
    holds("EntityFeatures", asked("GET", "/v1/pipelines/parcels/features/depot/d1")[2])
    holds("InferResponse", asked("POST", "/v2/models/parcels/infer", columns(event()))[2])
    holds("ModelMetadata", asked("GET", "/v2/models/parcels")[2])
    with pytest.raises(jsonschema.ValidationError):
        holds("parcels.event", event(weight="x"))
    assert b"<script>" in asked("GET", "/docs")[2]

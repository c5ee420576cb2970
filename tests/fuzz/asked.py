"""Targets: what people and programs ask, set and write down: requests over HTTP, settings, texts of a definition."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from tests.fuzz.target import Target, only

PATHS = [
    "/v1/pipelines/parcels:predict",
    "/v1/pipelines/parcels:explain",
    "/v2/models/parcels/infer",
    "/v1/pipelines/parcels/features/",
]


def _serve() -> Callable[[bytes], object]:
    import logging

    from penstock.stream.learn import replica_snapshot
    from tests.stream.serve.test_app import Asked

    replica_snapshot.REPLICA_EVERY_MS = replica_snapshot.REPLICA_SPACING = 0
    logging.disable(logging.CRITICAL)
    app = Asked(40).app

    async def ask(
        method: str, path: bytes, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> int:
        sent: list[Any] = []
        given = [body]

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": given.pop() if given else b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": method, "path": path.decode("utf-8", "replace"), "raw_path": path, "query_string": query,
            "headers": headers,
        }  # fmt: skip
        await app(scope, receive, send)
        if dict(sent[0]["headers"])[b"content-type"] == b"application/json":
            json.loads(sent[1]["body"])
        return int(sent[0]["status"])

    def one(data: bytes) -> None:
        head, _, body = data.partition(b"\n")
        fields = head.split(b"\x01")
        what, path, query = (
            fields[0][:1] or b"\0",
            b"".join(fields[1:2]),
            b"".join(fields[2:3]).replace(b"wait", b"wai"),
        )
        base = PATHS[what[0] % len(PATHS)].encode() if what[0] < 64 else b"/"
        headers = [(name, value) for name, _, value in (one.partition(b":") for one in fields[3:8])]
        method = "GET" if what[0] & 32 else "POST"
        status = asyncio.run(ask(method, base + path, query, headers, body))
        assert status < 500 or status == 503, f"answered {status}"

    return one


def _serve_seeds() -> list[bytes]:
    from tests.stream.generated import parcel_events

    event = next(one for _, _, one in parcel_events(5) if "sent_at" in one)
    infer = {"inputs": [{"name": name, "shape": [1], "datatype": "BYTES" if isinstance(value, str) else "FP64", "data": [value]}
                        for name, value in event.items()]}  # fmt: skip
    as_json = json.dumps(event).encode()
    return [
        b"\x00\n" + as_json, b"\x00\n[" + as_json + b"," + as_json + b"]", b"\x01\x01\x01explain=true\n" + as_json,
        b"\x00\x01\x01as_of=1700000000000&max_age=1h&version=champion\n" + as_json, b"\x02\n" + json.dumps(infer).encode(),
        b"#\x01traffic/d1\x01at=2024-01-01T00:00:00Z\n", b"#\x01traffic/d%7C1\x01at=5\n", b"`\x01v2/models/parcels\n",
        b"\x02\x01\x01\x01inference-header-content-length:10\n" + json.dumps(infer).encode(), b"`\x01v1/pipelines\n",
        b"\x00\x01\x01\x01traceparent:00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\x01x-request-id:a\n" + as_json,
        b"\x00\n" + b"[" * 60, b"\x00\n[{}]",
    ]  # fmt: skip


def _settings() -> Callable[[bytes], object]:
    from penstock.stream.formats.registry import HttpRegistry
    from penstock.stream.process.settings import SettingError, Settings

    def one(data: bytes) -> None:
        env = {}
        for line in data.split(b"\n")[:20]:
            name, _, value = line.decode(errors="replace").partition("=")
            env[name] = value
        settings = only(lambda: Settings.from_env(env), SettingError)
        if settings is not None and settings.schema_registry and not settings.schema_registry_ca:
            only(lambda: HttpRegistry(settings), SettingError)

    return one


def _setting_seeds() -> list[bytes]:
    return [
        b"KAFKA_BOOTSTRAP_SERVERS=a:1\nREDIS_URL=redis://x\nPENSTOCK_PREFIX=a.\nPENSTOCK_PORT=80\nPENSTOCK_SECRETS_FORMER=a,b",
        b"PENSTOCK_PORT=nan\nPENSTOCK_SERVE_ACCESS_LOG=1", b"PENSTOCK_CONNECT_TIMEOUT_S=1e9\nPENSTOCK_FEATURIZE_SKEW_S=2.5",
        b"PENSTOCK_SCHEMA_REGISTRY_URL=http://127.0.0.1:8081,http://[::1]:1\nPENSTOCK_SCHEMA_REGISTRY_USER=u",
        b"PENSTOCK_SCHEMA_REGISTRY_URL=https://h\nPENSTOCK_SCHEMA_REGISTRY_TOKEN=t\nPENSTOCK_KAFKA_SASL_MECHANISM=PLAIN",
    ]  # fmt: skip


def _definitions() -> Callable[[bytes], object]:
    from penstock.features.define.durations import is_duration, milliseconds
    from penstock.features.define.expressions import expression
    from penstock.stream.serve.asking import Refusal
    from penstock.stream.serve.requests import moment_of

    def one(data: bytes) -> None:
        text = data.decode(errors="replace")
        read = only(lambda: milliseconds(text), ValueError)
        assert read is None or (read > 0 and is_duration(text.strip()))
        only(lambda: moment_of(text), Refusal)
        made = only(lambda: expression(text), ValueError)
        if made is not None:
            given = ["x" if kind == "text" else 1e300 for kind in made.fields.values()]
            made.function(*given)
            made.function(*[None for _ in given])

    return one


def _definition_seeds() -> list[bytes]:
    return [
        b"10m", b"1d", b"-3h", b"1700000000000", b"2024-01-01T00:00:00Z", b"amount * 2 + 1", b"a > 3 and b == 'x' or not c",
        b"min(a, b) / max(c, 1)", b"abs(a) ** 2 if a else floor(b)", b"a == true", b"len(x)",
    ]  # fmt: skip


TARGETS = [
    Target("requests over HTTP", "each is answered, and never with 500", _serve, _serve_seeds),
    Target("settings", "what cannot be used is SettingError", _settings, _setting_seeds),
    Target("texts of a definition", "what cannot be used is ValueError", _definitions, _definition_seeds),
]

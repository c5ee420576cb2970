"""The serve role as an ASGI application: paths, limits, answers and errors. What is answered is `served`'s.

Laws of this file:
- Answers are computed without giving way, those that came together from one read (`together`); what waits is bounded, and beyond
  that a request is turned away at once (429), before everybody's latency grows.
- Every answer has a request id; none holds data of another request, and no log holds data of any.
- Whatever a request provokes is that request's: it is answered with a status and a whole sentence, and the next one goes on.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from penstock.stream.process.health_page import Health
from penstock.stream.serve.answers import Pipelines, Prediction, Problem
from penstock.stream.serve.asking import Asking, Refusal
from penstock.stream.serve.limits import USUAL, Limits
from penstock.stream.serve.open_inference import OpenInference
from penstock.stream.serve.openapi import document
from penstock.stream.serve.page import PAGE, POLICY
from penstock.stream.serve.replies import HARMLESS, JSON, Given, Reply, id_of, refused
from penstock.stream.serve.requests import asking_of, events_of, moment_of
from penstock.stream.serve.served import ServedPipeline
from penstock.stream.serve.together import Together
from penstock.stream.serve.tracing import passed_on, pattern

logger = logging.getLogger("penstock.serve")
access = logging.getLogger("penstock.serve.access")

REFRESH_S = 0.2
LOOK_S = 0.02
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_encode = msgspec.json.Encoder().encode


class Application:
    """The pipelines of one process, by name. With `log_access` every request is a line of the log `penstock.serve.access`."""

    def __init__(
        self,
        pipelines: Mapping[str, ServedPipeline],
        health: Health,
        limits: Limits = USUAL,
        *,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        log_access: bool = False,
    ) -> None:
        self.pipelines, self.health, self.limits, self.wall_ms = dict(pipelines), health, limits, wall_ms
        self.log_access = log_access
        self.working = self.waiting = 0
        self.beside: list[asyncio.Task[None]] = []
        self.together = {name: Together(one, wall_ms) for name, one in self.pipelines.items()}
        self.told: dict[str, str] = {}
        self.open_inference = OpenInference(self.pipelines)
        self.openapi = _encode(
            document([one.pipeline for one in self.pipelines.values()], bool(limits.tokens))
        )

    # -- models ------------------------------------------------------------------------------------------------------------

    async def refresh_once(self) -> None:
        """Look for newer replicas and say how things are."""
        await self.models_once()
        await self.turn_once()

    async def models_once(self) -> None:
        """Look for newer replicas, beside the requests; of all pipelines at once, so that none waits for another's."""
        await asyncio.gather(*(asyncio.to_thread(one.refresh) for one in self.pipelines.values()))

    async def turn_once(self) -> None:
        """Say how things are, and ask for a Redis that was away; one that hangs is waited for elsewhere."""
        self.health.turned()
        await asyncio.gather(
            *(asyncio.to_thread(one.circuit.probe) for one in self.pipelines.values() if one.circuit.why)
        )
        for name, served in self.pipelines.items():
            if served.replica is not None:
                self.health.served_position.labels(name).set(served.replica.position)
                self.health.served_event_timestamp_seconds.labels(name).set(served.replica.standing.at / 1000)
            if (why := served.challenger_why) != self.told.get(name, ""):
                self.told[name] = why
                logger.warning("%s: the challenger %s", name, f"does not answer: {why}" if why else "answers")
        conditions = {f"{name} has models": one.replica is not None for name, one in self.pipelines.items()}
        reached = not any(one.circuit.why for one in self.pipelines.values())
        self.health.ready({**conditions, "in touch with Redis": reached})

    async def _again(self, once: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await once()
            except Exception:  # the last models go on answering
                logger.exception("looking for newer models failed; the last ones go on answering")
            await asyncio.sleep(REFRESH_S)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.refresh_once()
                beside = (self.models_once, self.turn_once)
                self.beside = [asyncio.create_task(self._again(once)) for once in beside]
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                for one in self.beside:
                    one.cancel()
                await send({"type": "lifespan.shutdown.complete"})
                return

    # -- one request -------------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        headers = dict(scope["headers"])
        own = id_of(headers.get(b"x-request-id", b"")) or secrets.token_hex(8).encode()
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw.split(b"?")[0].decode("ascii", "replace")
        query = dict(parse_qsl(scope["query_string"].decode("utf-8", "replace"), keep_blank_values=True))
        request = Given(scope["method"], path, path.strip("/").split("/"), query, headers)
        try:
            reply = await self._reply(request, receive)
        except Refusal as error:
            reply = refused(error)
        except Exception:
            logger.exception("request %s failed", own.decode("ascii", "replace"))
            reply = Reply(
                500, _encode(Problem("the server failed; its log has the reason under this request id"))
            )
        await self._send(send, reply, own, headers)
        took_s = time.perf_counter() - began
        if request.method == "POST":
            outcome = "ok" if reply.status < 400 else str(reply.status)
            self.health.request_duration_seconds.labels(outcome).observe(took_s)
        if self.log_access:
            said = (request.method, pattern(request.parts, self.pipelines), reply.status, 1000 * took_s)
            access.info("%s %s %d %.1f ms %s", *said, own.decode("ascii", "replace"))

    async def _send(self, send: Send, reply: Reply, own: bytes, headers: Mapping[bytes, bytes]) -> None:
        sent = [
            (b"content-type", reply.kind.encode()),
            (b"content-length", b"%d" % len(reply.body)),
            (b"x-request-id", own),
            *HARMLESS,
            *reply.headers,
        ]
        if b"traceparent" in headers:
            traced = passed_on(headers[b"traceparent"], secrets.token_hex(8).encode())
            if traced is not None:
                sent.append((b"traceparent", traced))
        await send({"type": "http.response.start", "status": reply.status, "headers": sent})
        await send({"type": "http.response.body", "body": reply.body})

    async def _reply(self, given: Given, receive: Receive) -> Reply:
        if given.method == "GET" and given.path in ("/metrics", "/healthz", "/readyz"):
            status, kind, body = await asyncio.to_thread(self.health.status, given.path)
            return Reply(status, body, kind)
        if given.method == "GET" and given.path == "/docs":
            return Reply(200, PAGE, "text/html; charset=utf-8", ((b"content-security-policy", POLICY),))
        if given.path == "/openapi.json":
            return Reply(200, self.openapi)
        if not self.limits.admits(given.headers.get(b"authorization", b"").decode("latin-1")):
            why = "this needs a token: send it as `Authorization: Bearer TOKEN`"
            return Reply(401, _encode(Problem(why)), JSON, ((b"www-authenticate", b"Bearer"),))
        if self.working >= self.limits.at_once:
            why = f"{self.limits.at_once} requests are being answered already: try again, or run more workers"
            raise Refusal(429, Problem(why), 1.0)
        self.working += 1
        try:
            return await self._admitted(given, receive)
        finally:
            self.working -= 1

    async def _admitted(self, given: Given, receive: Receive) -> Reply:
        """Answer one that may ask, and takes a place of those that are answered at once."""
        if given.headers.get(b"content-encoding", b"identity") not in (b"identity", b""):
            why = "a packed body is not unpacked here: send it as it is, without Content-Encoding"
            raise Refusal(415, Problem(why))
        if given.parts[0] == "v2":
            return await self._open_inference(given, receive)
        if given.parts[:2] == ["v1", "pipelines"]:
            return await self._own(given, receive)
        raise Refusal(404, Problem(f"there is nothing at {given.path}: see /openapi.json"))

    async def _own(self, given: Given, receive: Receive) -> Reply:
        """`/v1/pipelines…`."""
        parts = given.parts[2:]
        if not parts and given.method == "GET":
            return Reply(200, _encode(Pipelines([one.shown() for one in self.pipelines.values()])))
        name, _, verb = unquote(parts[0]).partition(":") if parts else ("", "", "")
        served = self.pipelines.get(name)
        if served is None:
            known = ", ".join(self.pipelines)
            raise Refusal(404, Problem(f"no pipeline {name!r} is served here: there are {known}"))
        if given.method == "GET" and len(parts) == 1 and not verb:
            return Reply(200, _encode(served.shown()))
        if given.method == "GET" and len(parts) == 4 and parts[1] == "features":
            entity = [unquote(one) for one in unquote(parts[3]).split("|")]
            at = moment_of(given.query.get("at"))
            return Reply(200, _encode(served.entity(unquote(parts[2]), entity, at)))
        if given.method == "POST" and len(parts) == 1 and verb in ("predict", "explain"):
            asking = asking_of(given.query, explain=verb == "explain", most_wait_ms=self.limits.wait_ms)
            events, listed = events_of(await self._body(receive), self.limits.rows)
            answers = await self._answers(served, events, asking)
            if listed:
                said = [Prediction(error=str(one)) if isinstance(one, Refusal) else one for one in answers]
                return Reply(200, _encode({"predictions": said}))
            if isinstance(answers[0], Refusal):
                raise answers[0]
            return Reply(200, _encode(answers[0]))
        raise Refusal(
            405 if len(parts) == 1 else 404,
            Problem(f"{given.method} {given.path} is nothing that is answered here: see /openapi.json"),
        )

    async def _open_inference(self, given: Given, receive: Receive) -> Reply:
        """`/v2…`: the Open Inference Protocol, whose errors are `{"error": …}` as ours are."""
        body = await self._body(receive) if given.method == "POST" else b""
        found = self.open_inference.find(given.method, [unquote(one) for one in given.parts[1:]])
        if found.served is not None and found.version:
            await asyncio.to_thread(found.served.open_version, found.version)
        if found.served is None or found.body is not None:
            return Reply(*found.answer())
        json_bytes = given.headers.get(b"inference-header-content-length", b"").decode("latin-1")
        request = self.open_inference.request(found, body, self.limits, json_bytes)
        answers = await self._answers(found.served, request.events, request.asking)
        return Reply(200, _encode(self.open_inference.infer(found, request, answers)))

    async def _answers(
        self, served: ServedPipeline, events: Sequence[bytes], asking: Asking
    ) -> list[Prediction | Refusal]:
        """The answers to events, once the models have seen what is asked for; counted."""
        await self.reached(served, asking)
        if asking.version:
            await asyncio.to_thread(served.open_version, asking.version)
        name = served.pipeline.name
        answers = await self.together[name].answers(events, asking)
        self.health.rows_answered.labels(name).inc(len(answers))
        if served.pipeline.serving.challenger or served.circuit.why:
            for one in answers:
                if isinstance(one, Prediction) and one.arm is not None:
                    self.health.arm_answers.labels(name, one.arm).inc()
                if isinstance(one, Prediction) and one.degraded:
                    self.health.degraded_answers.labels(name).inc()
        return answers

    async def reached(self, served: ServedPipeline, asking: Asking) -> None:
        """Wait, for as long as is asked at most, until the models have seen what is asked for."""
        if not served.behind(asking) or served.replica is None:
            return
        if self.waiting >= self.limits.waiting:
            raise served.refuse_behind(asking)
        deadline = time.monotonic() + asking.wait_ms / 1000
        self.waiting += 1
        self.working -= 1
        try:
            while served.behind(asking) and time.monotonic() < deadline:
                await asyncio.sleep(LOOK_S)
        finally:
            self.waiting -= 1
            self.working += 1

    async def _body(self, receive: Receive) -> bytes:
        """The whole body, within its bounds."""
        most, chunks, size = self.limits.body_bytes, [], 0
        try:
            async with asyncio.timeout(self.limits.body_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal(400, Problem("the request ended before its body did"))
                    chunk = message.get("body", b"")
                    size += len(chunk)
                    if size > most:
                        raise Refusal(
                            413, Problem(f"the body has more than {most} bytes: send fewer rows at a time")
                        )
                    chunks.append(chunk)
                    if not message.get("more_body"):
                        return b"".join(chunks)
        except TimeoutError:
            raise Refusal(408, Problem(f"the body did not come within {self.limits.body_s:g} s")) from None

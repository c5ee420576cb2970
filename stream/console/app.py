"""The console as an ASGI application: the table of pages, their streams, files and health.

Laws of this file:
- A page is drawn in a thread, under the lock of the state it is drawn from; the event loop is never kept waiting.
- Whatever goes wrong for one request is answered with a page that says it in a sentence; the next request goes on.
- What is posted becomes a request on `control.commands`, by the one function that was given for it, or nothing at all.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import pkgutil
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from penstock.stream.console import files, live, pages
from penstock.stream.console.forms import BadForm, form_of
from penstock.stream.console.guard import App, Guard, Receive, Scope, Send
from penstock.stream.console.page import Asked, CannotRead, NotFound, Page, Person, Refused
from penstock.stream.console.posts import CannotAsk, Posts
from penstock.stream.console.reading.shared import Reading
from penstock.stream.console.render import Renderer, data_of
from penstock.stream.console.who.doors import Doors
from penstock.stream.console.who.gate import Gate
from penstock.stream.console.who.people import People
from penstock.stream.definitions import Pipeline
from penstock.stream.messages import OperatorRequest
from penstock.stream.process.clock import wall_ms as clock
from penstock.stream.process.health_page import Health

logger = logging.getLogger("penstock.console")

MOST_STREAMS = 400
YEAR_S = 31_536_000


def table() -> list[Page]:
    """Every page of `pages/`, in the order of their files' names."""
    found = []
    for module in sorted(one.name for one in pkgutil.iter_modules(pages.__path__)):
        found.append(importlib.import_module(f"{pages.__name__}.{module}").PAGE)
    return found


class Console:
    """The pages of these pipelines, over what `reading` knows. `sources` is what pages read from themselves, where they do.

    `people` are those who may look and ask (without them: everybody looks); `ask` sends a request, where this console can.
    """

    def __init__(
        self,
        reading: Reading,
        definitions: Mapping[str, Pipeline],
        hosts: frozenset[str],
        *,
        health: Health | None = None,
        prefix: str = "",
        sources: Any = None,
        wall_ms: Callable[[], int] = clock,
        table: Sequence[Page] = (),
        every_s: float = live.EVERY_S,
        people: People | None = None,
        ask: Callable[[OperatorRequest], None] | None = None,
    ) -> None:
        self.reading, self.definitions, self.prefix, self.sources = reading, definitions, prefix, sources
        self.health = health or Health("console")
        self.wall_ms, self.every_s = wall_ms, every_s
        self.renderer = Renderer(table or globals()["table"]())
        self.files = files.read()
        self.renderer.add(files={name: f"/static/{name}?{one.mark}" for name, one in self.files.items()})
        self.people = people or People()
        self.posts = Posts(reading, ask, sources)
        self.shared = live.Shared()
        self.streams = 0
        self.stopping = False
        routes = [Route("/static/{name}", self._file), *Doors(self.renderer, self.people).routes]
        routes += [Route(path, self._health) for path in ("/metrics", "/healthz", "/readyz")]
        for page in self.renderer.pages:
            if page.posts is not None or page.does is not None:
                routes.append(Route(page.path, self._post(page), methods=["POST"]))
            routes.append(Route(page.path, self._page(page), name=page.name))
            routes.append(Route("/live" + page.path, self._stream(page), name=f"live {page.name}"))
        self.routes = routes
        handlers: dict[Any, Any] = {404: self._refused, 405: self._refused, Exception: self._failed}
        self.starlette = Starlette(routes=routes, exception_handlers=handlers)
        self.app: App = Guard(Gate(self.starlette, self.people), hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        await self.app(scope, receive, send)

    # -- what a page needs -------------------------------------------------------------------------------------------------

    def asked(self, request: Request, *, read: Any = None, form: Mapping[str, str] | None = None) -> Asked:
        """What a request asks; with the fields of a form in the place of its query."""
        person = request.scope.get("person")
        query = request.query_params if form is None else form
        return Asked(
            states=self.reading.states,
            definitions=self.definitions,
            now_ms=self.wall_ms(),
            path=dict(request.path_params),
            query={name: value for name, value in query.items() if name != "after"},
            person=person if isinstance(person, Person) else Person(),
            prefix=self.prefix,
            read=read,
            once=secrets.token_hex(16),
            here=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            login=self.people.login,
            asks=self.posts.ask is not None,
        )

    def position(self, pipeline: str) -> str:
        """How far the topics were read that a pipeline's pages are made of."""
        states = self.reading.states
        shown = [states.pipelines[pipeline]] if pipeline in states.pipelines else states.pipelines.values()
        return live.position_text(states.reached(pipeline), max((one.looked_ms for one in shown), default=0))

    def _whole(self, page: Page, request: Request) -> str:
        asked = self.asked(request)
        if page.reads is not None:
            asked = self.asked(request, read=page.reads(asked, self.sources))
        with self.reading.lock:
            variables = self.renderer.variables(page, asked)
            query = request.url.query
            address = f"/live{request.url.path}" + (f"?{query}" if query else "")
            return self.renderer.whole(
                page, {**variables, "live": address, "read_to": self.position(asked.pipeline)}
            )

    def _drawn(self, page: Page, request: Request) -> live.Drawn:
        asked = self.asked(request)
        if page.reads is not None:
            asked = self.asked(request, read=page.reads(asked, self.sources))
        with self.reading.lock:
            variables = self.renderer.variables(page, asked)
            position = self.position(asked.pipeline)
            more = {"live": "", "read_to": position}
            parts = self.renderer.parts(page, {**variables, **more})
            return live.Drawn(position, parts, data_of(variables["charts"]))

    # -- answers -----------------------------------------------------------------------------------------------------------

    def _page(self, page: Page) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            try:
                return HTMLResponse(await run_in_threadpool(self._whole, page, request))
            except NotFound as error:
                return self._said(404, str(error))
            except CannotRead as error:
                return self._said(503, str(error))

        return answer

    def _post(self, page: Page) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            try:
                form = await form_of(request)
                return await run_in_threadpool(self.posts.answer, page, self.asked(request, form=form))
            except (Refused, BadForm) as error:
                return self._said(error.status, str(error))
            except NotFound as error:
                return self._said(404, str(error))
            except CannotAsk as error:
                return self._said(503, str(error))

        return answer

    def _stream(self, page: Page) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            if request.method == "HEAD":
                return Response(headers=live.HEADERS)
            if self.streams >= MOST_STREAMS:
                return Response("too many pages are open\n", 503, {"Retry-After": "30"})
            after = request.headers.get("last-event-id") or request.query_params.get("after", "")
            return StreamingResponse(self._events(page, request, after), headers=live.HEADERS)

        return answer

    async def _events(self, page: Page, request: Request, after: str) -> AsyncIterator[bytes]:
        pipeline = str(request.path_params.get("pipeline", ""))
        asked = self.asked(request)
        looked_at = (page.name, *sorted(asked.path.items()), "?", *sorted(asked.query.items()), asked.person)

        async def newest() -> live.Drawn:
            states = self.reading.states
            revision = (id(states), states.revision(pipeline), states.caught_up, states.failed)
            return await self.shared.drawn(looked_at, revision, lambda: self._drawn(page, request))

        def ready(wanted: dict[str, int]) -> bool:
            states = self.reading.states
            return states.caught_up or all(
                states.positions.get(topic, 0) >= offset
                for topic, offset in wanted.items()
                if topic != "looked"
            )

        self.streams += 1
        try:
            async for event in live.stream(
                newest, after, ready, every_s=self.every_s, stopping=lambda: self.stopping
            ):
                yield event
        except (NotFound, CannotRead, asyncio.CancelledError):
            return
        finally:
            self.streams -= 1

    async def _file(self, request: Request) -> Response:
        found = self.files.get(request.path_params["name"])
        if found is None:
            return Response("no such file\n", 404)
        fresh = request.url.query == found.mark
        headers = {
            "Content-Type": found.kind,
            "Vary": "Accept-Encoding",
            "Cache-Control": f"public, max-age={YEAR_S}, immutable" if fresh else "no-cache",
        }
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(found.packed, headers={**headers, "Content-Encoding": "gzip"})
        return Response(found.plain, headers=headers)

    async def _health(self, request: Request) -> Response:
        status, kind, body = self.health.status(request.url.path)
        return Response(body, status, {"Content-Type": kind})

    async def _refused(self, request: Request, error: Exception) -> Response:
        status = int(getattr(error, "status_code", 404))
        what = "no page is at this address" if status == 404 else "this address does not take such a request"
        return self._said(status, f"{what}: {request.url.path}")

    async def _failed(self, request: Request, error: Exception) -> Response:
        logger.error("drawing %s failed", request.url.path, exc_info=error)
        return self._said(
            500, f"drawing this page failed ({type(error).__name__}): the console's log says where"
        )

    def _said(self, status: int, said: str) -> Response:
        return HTMLResponse(
            self.renderer.refused(status, said, sorted(self.reading.states.pipelines)), status
        )

"""The pages to log in and out.

Laws of this file:
- A login makes a new session, whatever the browser brought: one that was planted there before is worth nothing.
- The page asks for a name and a password, which a password manager fills in and may be pasted (WCAG 3.3.8), and tells nobody who
  is not logged in anything of the pipelines.
"""

from __future__ import annotations

from math import ceil
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from penstock.stream.console.forms import BadForm, form_of
from penstock.stream.console.render import Renderer
from penstock.stream.console.who.origin import own_path
from penstock.stream.console.who.people import LoginRefused, People


class Doors:
    """`/login` and `/logout`."""

    def __init__(self, renderer: Renderer, people: People) -> None:
        self.renderer, self.people = renderer, people

    @property
    def routes(self) -> list[Any]:
        """What Starlette serves."""
        return [
            Route("/login", self.page, methods=["GET"]),
            Route("/login", self.log_in, methods=["POST"]),
            Route("/logout", self.log_out, methods=["POST"]),
        ]

    def _page(self, request: Request, status: int, said: str, name: str, wanted: str) -> HTMLResponse:
        # After a link from another site the browser keeps the cookie back: it comes once a page of ours asks again.
        elsewhere = request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site"
        shown = self.renderer.alone(
            "login.html",
            said=said,
            name=name,
            next=own_path(wanted),
            again=elsewhere and "next" in request.query_params,
            login=self.people.login,
            insecure=not self.people.secure(request.scope),
            person=request.scope["person"],
        )
        return HTMLResponse(shown, status)

    async def page(self, request: Request) -> Response:
        """Ask for a name and a password."""
        return self._page(request, 200, "", "", request.query_params.get("next", "/"))

    async def log_in(self, request: Request) -> Response:
        """Take them."""
        try:
            form = await form_of(request)
        except BadForm as error:
            return self._page(request, error.status, f"{error}.".capitalize(), "", "/")
        name, wanted = form.get("name", "").strip(), own_path(form.get("next", "/"))
        address = self.people.asks_from(request.scope)
        try:
            text = await run_in_threadpool(self.people.log_in, name, form.get("password", ""), address)
        except LoginRefused as refused:
            answer = self._page(request, 429 if refused.wait_s else 403, str(refused), name[:64], wanted)
            if refused.wait_s:
                answer.headers["Retry-After"] = str(ceil(refused.wait_s))
            return answer
        self.people.log_out(request.scope)
        return RedirectResponse(wanted, 303, {"Set-Cookie": self.people.cookie(request.scope, text)})

    async def log_out(self, request: Request) -> Response:
        """End the session."""
        self.people.log_out(request.scope)
        return RedirectResponse("/login", 303, {"Set-Cookie": self.people.cookie(request.scope, "")})

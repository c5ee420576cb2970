"""Stands before every page: who asks, whether he may look at all, and whether the request is one of ours.

Laws of this file:
- Whatever is not GET, HEAD or OPTIONS is refused (403) unless it comes from a page of this console, also a login.
- Where nobody in particular may not look, he is sent to log in, and sees nothing else: no names of pipelines, no streams.
"""

from __future__ import annotations

from urllib.parse import quote

from penstock.stream.console.guard import OPEN_TO_ALL, App, Receive, Scope, Send
from penstock.stream.console.page import Person
from penstock.stream.console.who.origin import SAFE, foreign, own_path
from penstock.stream.console.who.people import People

DOORS = ("/login", "/logout")


class Gate:
    """An ASGI application behind these rules; puts a `Person` into the scope, and the `People` who are known."""

    def __init__(self, app: App, people: People) -> None:
        self.app, self.people = app, people

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        person, path = self.people.person_of(scope), scope["path"]
        why = foreign(
            scope["method"], scope["headers"], by_header=person is not None and person.by == "proxy"
        )
        if why:
            await _say(send, 403, f"This request is refused: {why}.")
            return
        scope["person"], scope["people"] = person or Person(), self.people
        free = path in DOORS or path in OPEN_TO_ALL or path.startswith("/static/")
        if person is None and not self.people.anonymous and not free:
            await self._to_the_door(scope, send)
            return
        await self.app(scope, receive, send)

    async def _to_the_door(self, scope: Scope, send: Send) -> None:
        query = scope["query_string"].decode("latin-1")
        wanted = quote(scope["path"]) + (f"?{query}" if query else "")
        if not self.people.login:
            await _say(send, 403, "This console is asked through its proxy, which says who asks; it did not.")
        elif scope["method"] not in SAFE or scope["path"].startswith("/live/"):
            await _say(send, 401, "Log in again: nobody is logged in any more.")
        else:
            place = f"/login?next={quote(own_path(wanted), safe='')}".encode()
            await send({"type": "http.response.start", "status": 303, "headers": [(b"location", place)]})
            await send({"type": "http.response.body", "body": b""})


async def _say(send: Send, status: int, said: str) -> None:
    body = (said + "\n").encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

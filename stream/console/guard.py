"""What stands before every answer: which Host names are answered, and what browsers are told to refuse.

Laws of this file:
- A request whose Host is not listed is answered 421 and nothing else, so that no other site's name leads here (DNS rebinding).
- No page runs a script or a style but those of `static/`, loads anything from elsewhere, or stands in another site's frame.
- Pages are not stored; what lies in `static/` is, under an address that names its content.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
LOCAL = ("localhost", "127.0.0.1", "[::1]")


OPEN_TO_ALL = ("/metrics", "/healthz", "/readyz")
"""What those ask who watch processes, by whichever address: there is nothing of a pipeline in it but numbers."""


def host_names(host: str, more: Iterable[str] = ()) -> frozenset[str]:
    """The names that a console on this address answers to, without ports: local ones, the address itself, and those given."""
    own = f"[{host}]" if ":" in host else host.lower()
    return frozenset((*LOCAL, own, *(one.lower() for one in more if one)))


def name_in(host: str) -> str:
    """The name in a Host header, without its port.

    >>> name_in("Console.example:8090"), name_in("[::1]:8090"), name_in("localhost")
    ('console.example', '[::1]', 'localhost')
    """
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


class Guard:
    """An ASGI application behind these rules."""

    def __init__(self, app: App, hosts: frozenset[str]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == b"host"]
        host = name_in(given[0].decode("latin-1")) if len(given) == 1 else ""
        if host not in self.hosts and scope["path"] not in OPEN_TO_ALL:
            said = b"This console is not asked by this name: add it to PENSTOCK_CONSOLE_HOSTS.\n"
            headers = [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"%d" % len(said)),
            ]
            await send({"type": "http.response.start", "status": 421, "headers": [*headers, *HEADERS]})
            await send({"type": "http.response.body", "body": said})
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if not any(name.lower() == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message["headers"] = [*headers, *HEADERS]
            await send(message)

        await self.app(scope, receive, with_headers)

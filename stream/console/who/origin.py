"""Did a request that changes something come from a page of this console? What browsers say of that, judged.

Laws of this file:
- Pure. Without tokens, as Go's `http.CrossOriginProtection`: `Sec-Fetch-Site` decides where a browser sends it, else `Origin`
  against `Host`. What is said twice is not believed.
- A request that says neither comes from no browser. It passes only where a header, which no other site's page can send, says who
  asks; a cookie is sent along by itself, so with one alone it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""The methods that change nothing."""
OURS = ("same-origin", "none")
"""`Sec-Fetch-Site` of a page of ours, and of what a person typed or opened."""
Headers = Iterable[tuple[bytes, bytes]]


def values(headers: Headers, name: str) -> list[str]:
    """Every value of a header."""
    wanted = name.lower().encode()
    return [value.decode("latin-1").strip() for key, value in headers if key.lower() == wanted]


def foreign(method: str, headers: Headers, *, by_header: bool) -> str:
    """Why a request is not believed to come from a page of this console; empty if it is.

    `by_header` says that a header said who asks.
    """
    if method in SAFE:
        return ""
    headers = list(headers)
    if sites := values(headers, "sec-fetch-site"):
        if len(sites) == 1 and sites[0] in OURS:
            return ""
        return f"the browser says that it comes from elsewhere (Sec-Fetch-Site: {', '.join(sites)[:60]})"
    origins, hosts = values(headers, "origin"), values(headers, "host")
    if origins:
        if len(origins) == 1 and len(hosts) == 1 and _place(origins[0]) == hosts[0].lower():
            return ""
        return f"the browser says that it comes from elsewhere (Origin: {', '.join(origins)[:200]})"
    if by_header:
        return ""
    return "nothing says where it comes from (neither Sec-Fetch-Site nor Origin): use the page, or the command line"


def _place(origin: str) -> str:
    """Host and port of an origin; empty of one that is none."""
    try:
        found = urlsplit(origin)
    except ValueError:
        return ""
    whole = found.scheme in ("http", "https") and not (found.path or found.query or found.fragment)
    return found.netloc.lower() if whole else ""


def own_path(address: str) -> str:
    """An address to go on to, if it is one of this console; else its first page.

    >>> own_path("/pipelines/flights?span=7d"), own_path("//evil.example/"), own_path("https://evil.example")
    ('/pipelines/flights?span=7d', '/', '/')
    """
    plain = address.isascii() and address.isprintable() and "\\" not in address and " " not in address
    if not plain or not address.startswith("/") or address.startswith("//") or len(address) > 2_000:
        return "/"
    return "/" if address.startswith(("/login", "/logout", "/live/")) else address

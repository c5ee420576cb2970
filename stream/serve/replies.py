"""One request as it was given, and one answer, before either is HTTP.

Laws of this file:
- Plain data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from penstock.stream.serve.asking import Refusal

JSON = "application/json"
HARMLESS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
"""What every answer tells a browser or a proxy: that it is what it says it is, and that nobody keeps it."""
_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_encode = msgspec.json.Encoder().encode


class Given(NamedTuple):
    """One request: `parts` are its path's, still percent-encoded."""

    method: str
    path: str
    parts: list[str]
    query: dict[str, str]
    headers: Mapping[bytes, bytes]


class Reply(NamedTuple):
    """One answer."""

    status: int
    body: bytes
    kind: str = JSON
    headers: Sequence[tuple[bytes, bytes]] = ()


def id_of(given: bytes) -> bytes:
    """The id that a request came with, if that may stand in a header and in a log; else empty."""
    return given if _ID.fullmatch(given) else b""


def refused(error: Refusal) -> Reply:
    """A refusal as an answer."""
    retry = () if error.retry_s is None else ((b"retry-after", b"%d" % max(1, round(error.retry_s))),)
    return Reply(error.status, _encode(error.problem), JSON, retry)

"""One request as it was given, and one answer, before either is HTTP.

Laws of this file:
- Plain data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from penstock.stream.serve.asking import Refusal

JSON = "application/json"
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


def refused(error: Refusal) -> Reply:
    """A refusal as an answer."""
    retry = () if error.retry_s is None else ((b"retry-after", b"%d" % max(1, round(error.retry_s))),)
    return Reply(error.status, _encode(error.problem), JSON, retry)

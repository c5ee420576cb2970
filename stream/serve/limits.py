"""What a request may take: bytes, rows, time, and a token.

Laws of this file:
- A token is compared in constant time, and never logged.
"""

from __future__ import annotations

import hmac
from typing import NamedTuple


class Limits(NamedTuple):
    """Bounds on requests.

    `body_bytes` and `rows` bound one request, `body_s` the time that its body may take to come. `at_once` requests are worked on
    or wait for their turn; more are turned away. `waiting` of them may wait for a position. `tokens` empty: everybody may ask.
    """

    body_bytes: int = 4_000_000
    rows: int = 1_000
    body_s: float = 10.0
    at_once: int = 64
    waiting: int = 256
    wait_ms: int = 10_000
    tokens: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Limits({len(self.tokens)} tokens)"

    def admits(self, authorization: str) -> bool:
        """Whether a request with this `Authorization` header may be answered."""
        if not self.tokens:
            return True
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode()
        known = [hmac.compare_digest(given, one.encode()) for one in self.tokens]
        return scheme.lower() == "bearer" and any(known)


USUAL = Limits()

"""What a browser keeps after a login: who logged in, signed, so that any console with the same key knows it again.

Laws of this file:
- Pure: key, time and the session's own id are given. Nothing is believed whose signature does not fit.
- A session says no role: that is looked up each time. It ends after `LASTS_S`, or where name or password changed.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

import msgspec

LASTS_S = 12 * 3_600
PLAIN, SECURE = "penstock_session", "__Host-penstock_session"
"""The cookie's name; over TLS one that no other host can set."""


class Session(NamedTuple):
    """A login: its own id, whose it is, the mark of the password it was made with, and when it ends (s since the epoch)."""

    id: str
    name: str
    mark: str
    until_s: int


def key_of(secret: str) -> bytes:
    """The key that signs sessions, made of the deployment's secret, which it does not tell."""
    return hmac.digest(secret.encode(), b"penstock console sessions", "sha256")


def mark_of(key: bytes, secret: str) -> str:
    """What changes when a password does, and tells nothing of it."""
    return hmac.new(key, b"password:" + secret.encode(), hashlib.sha256).hexdigest()[:16]


def token(key: bytes, session: Session) -> str:
    """The session as text for a cookie."""
    said = urlsafe_b64encode(msgspec.json.encode(session)).decode().rstrip("=")
    return f"{said}.{_signature(key, said)}"


def session_of(key: bytes, text: str, now_s: int) -> Session | None:
    """The session that a text is; None where it was not signed with this key, or is over."""
    said, _, signature = text.partition(".")
    if not text.isascii() or not hmac.compare_digest(_signature(key, said), signature):
        return None
    try:
        found = msgspec.json.decode(urlsafe_b64decode(said + "=" * (-len(said) % 4)), type=Session)
    except ValueError:
        return None
    return found if now_s < found.until_s else None


def _signature(key: bytes, said: str) -> str:
    return hmac.new(key, b"session:" + said.encode(), hashlib.sha256).hexdigest()

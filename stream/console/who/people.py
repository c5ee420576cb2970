"""Who a request is of: a listed proxy's word, else a session, else nobody in particular.

Laws of this file:
- A role is looked up at each request: who was taken out of the file, or changed his password, is logged out everywhere at once.
- Neither a password nor a session is ever logged, nor what was typed as a name: people type passwords there.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any

from penstock.stream.console.page import Person
from penstock.stream.console.who.attempts import Attempts
from penstock.stream.console.who.origin import values
from penstock.stream.console.who.password_file import PasswordFile
from penstock.stream.console.who.passwords import MOST_CHARACTERS, fits
from penstock.stream.console.who.proxy import Proxies
from penstock.stream.console.who.sessions import (
    LASTS_S,
    PLAIN,
    SECURE,
    Session,
    key_of,
    mark_of,
    session_of,
    token,
)

logger = logging.getLogger("penstock.console")

AT_ONCE = 2
"""So many passwords are checked at a time: each takes 32 MiB."""
MOST_ENDED = 10_000


class LoginRefused(Exception):  # noqa: N818 - no error: somebody mistyped
    """The login is refused; `wait_s` says after how long one may try again (0: at once)."""

    def __init__(self, said: str, wait_s: float = 0.0) -> None:
        super().__init__(said)
        self.wait_s = wait_s


class People:
    """Everybody whom this console knows. Without arguments it knows nobody, and everybody may look.

    `secret` signs sessions: with the same one, several consoles know each other's; without, each start ends all logins.
    """

    def __init__(
        self,
        users: PasswordFile | None = None,
        proxies: Proxies | None = None,
        *,
        anonymous: bool = True,
        secret: str = "",
        now_s: Callable[[], float] = time.time,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.users_file, self.proxies = users, proxies or Proxies()
        self.anonymous, self.now_s, self.steady_s = anonymous, now_s, steady_s
        self.key = key_of(secret or secrets.token_hex(32))
        self.attempts = Attempts()
        self._lock = threading.Lock()
        self._checking = threading.Semaphore(AT_ONCE)
        self._ended: dict[str, int] = {}

    @property
    def login(self) -> bool:
        """Whether one can log in here."""
        return self.users_file is not None

    # -- requests ----------------------------------------------------------------------------------------------------------

    def person_of(self, scope: Any) -> Person | None:
        """Who asks; None for nobody who was told."""
        address, headers = _address(scope), scope["headers"]
        said = self.proxies.person(address, headers)
        if said is not None or self.users_file is None:
            return said
        session = self._session(scope)
        user = self.users_file.users().get(session.name) if session else None
        if session is None or user is None or mark_of(self.key, user.secret) != session.mark:
            return None
        return Person(user.name, user.role, "password")

    def secure(self, scope: Any) -> bool:
        """Whether the browser speaks TLS, to us or to a listed proxy."""
        return scope.get("scheme") == "https" or self.proxies.over_tls(_address(scope), scope["headers"])

    def asks_from(self, scope: Any) -> str:
        """The address of whoever asks."""
        return self.proxies.asks_from(_address(scope), scope["headers"])

    def _session(self, scope: Any) -> Session | None:
        """The session of a request, if it has one that holds."""
        wanted = SECURE if self.secure(scope) else PLAIN
        for header in values(scope["headers"], "cookie"):
            try:
                cookie = SimpleCookie(header).get(wanted)
            except CookieError:
                continue
            found = session_of(self.key, cookie.value, int(self.now_s())) if cookie else None
            if found is not None and found.id not in self._ended:
                return found
        return None

    # -- logins ------------------------------------------------------------------------------------------------------------

    def log_in(self, name: str, password: str, address: str) -> str:
        """A new session, as text for the cookie. Raises `LoginRefused`. Takes a while: for a thread."""
        if self.users_file is None:
            raise LoginRefused("This console has no password file.")
        wait_s = self._take(address, name)
        if wait_s:
            raise LoginRefused(
                f"Too many logins from your address did not succeed. Try again in {wait_s:.0f} seconds.",
                wait_s,
            )
        users = self.users_file.users()
        with self._checking:
            same = len(password) <= MOST_CHARACTERS and fits(users, name, password)
        if not same:
            logger.warning("a login from %s was refused: no such name, or another password", address)
            raise LoginRefused("There is no such name, or the password is another one.")
        with self._lock:
            self.attempts.give_back(address, name, self.steady_s())
        logger.info("%s logged in from %s", name, address)
        mark = mark_of(self.key, users[name].secret)
        return token(self.key, Session(secrets.token_hex(16), name, mark, int(self.now_s()) + LASTS_S))

    def _take(self, address: str, name: str) -> float:
        with self._lock:
            return self.attempts.take(address, name, self.steady_s())

    def log_out(self, scope: Any) -> None:
        """End the session of a request, here at once; another console knows it until it ends by itself."""
        session = self._session(scope)
        if session is None:
            return
        now_s = int(self.now_s())
        with self._lock:
            self._ended = {one: until for one, until in self._ended.items() if until > now_s}
            self._ended[session.id] = session.until_s
            while len(self._ended) > MOST_ENDED:
                del self._ended[next(iter(self._ended))]

    def cookie(self, scope: Any, text: str) -> str:
        """The header that sets the session's cookie, or with an empty text takes it away."""
        secure = self.secure(scope)
        over = "" if text else "; Max-Age=0"
        return f"{SECURE if secure else PLAIN}={text}; Path=/; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}{over}"


def _address(scope: Any) -> str:
    """Where a request comes from; empty through a Unix socket."""
    client = scope.get("client")
    return str(client[0]) if client else ""

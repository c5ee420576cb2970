"""The password file: read again when it changed, and written by `penstock console --add-user`.

Laws of this file:
- The file is readable by its owner alone, and is always whole: it is written beside itself and put in its place.
- One that cannot be read lets nobody in; what was known before is not kept in its place.
"""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
import threading
from pathlib import Path

from penstock.stream.console.page import Role
from penstock.stream.console.who.passwords import SALT_BYTES, BadLine, User, hashed, users_of

logger = logging.getLogger("penstock.console")


class CannotReadUsers(RuntimeError):
    """The password file cannot be used; the message says why, and what to do."""


class PasswordFile:
    """The users of a file. Safe to ask from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._users: dict[str, User] = {}
        self._said = ""

    def check(self) -> None:
        """Raise `CannotReadUsers` where the file cannot be read now."""
        try:
            users_of(self.path.read_text("utf-8"))
        except FileNotFoundError:
            raise CannotReadUsers(
                f"{self.path} is not there: `penstock console --add-user NAME --role operator --users {self.path}` makes it"
            ) from None
        except (OSError, UnicodeDecodeError, BadLine) as error:
            raise CannotReadUsers(f"the password file {self.path} cannot be used: {error}") from None
        if self.path.stat().st_mode & 0o077:
            logger.warning("others can read the password file %s: chmod 600 %s", self.path, self.path)

    def users(self) -> dict[str, User]:
        """The users as the file says now; nobody where it cannot be read."""
        with self._lock:
            try:
                found = os.stat(self.path)
                seen = (found.st_mtime_ns, found.st_ino, found.st_size)
                if seen != self._seen:
                    self._users, self._seen = users_of(self.path.read_text("utf-8")), seen
                self._said = ""
            except (OSError, UnicodeDecodeError, BadLine) as error:
                self._users, self._seen = {}, None
                if str(error) != self._said:
                    self._said = str(error)
                    logger.error("the password file %s lets nobody in: %s", self.path, error)
            return self._users


def add_user(path: Path, name: str, role: Role, password: str) -> bool:
    """Add somebody to the file, or change his role and password; whether he is new. Raises `BadLine`."""
    text = path.read_text("utf-8") if path.exists() else ""
    known = name in users_of(text)
    line = f"{name}:{role}:{hashed(password, secrets.token_bytes(SALT_BYTES))}"
    kept = [one for one in text.splitlines() if one.partition(":")[0].strip() != name]
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False) as made:
        made.write("\n".join([*kept, line, ""]))
        made.flush()
        os.fsync(made.fileno())
    os.replace(made.name, path)
    return not known

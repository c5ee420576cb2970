"""Names, roles and passwords in lines of a file, as in htpasswd: `NAME:ROLE:scrypt$N$R$P$SALT$HASH`.

Laws of this file:
- Pure: the salt is given. A password is nowhere but in the arguments of `hashed` and `fits`.
- `fits` takes as long for a name that is not there as for one that is, and compares in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import NamedTuple

from penstock.stream.console.page import ROLES, Role

N, R, P = 2**15, 8, 3
"""What OWASP asks of scrypt, in the form that takes 32 MiB while one password is checked, and about a tenth of a second."""
SALT_BYTES, HASH_BYTES = 16, 32
LEAST_CHARACTERS, MOST_CHARACTERS = 12, 1_024
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


class BadLine(ValueError):
    """A line of the file that cannot be read; the message says which, and never what stands in it."""


class User(NamedTuple):
    """One line: `secret` is its third part."""

    name: str
    role: Role
    secret: str


def hashed(password: str, salt: bytes, n: int = N) -> str:
    """What is kept of a password."""
    made = _scrypt(password, salt, n, R, P)
    return f"scrypt${n}${R}${P}${b64encode(salt).decode()}${b64encode(made).decode()}"


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    given = password.encode("utf-8", "surrogatepass")[: 4 * MOST_CHARACTERS]
    most = 128 * r * (n + p + 2) + 2**20
    return hashlib.scrypt(given, salt=salt, n=n, r=r, p=p, maxmem=most, dklen=HASH_BYTES)


def users_of(text: str) -> dict[str, User]:
    """The users of a file's text, by name; empty lines and those that begin with # say nothing. Raises `BadLine`."""
    found: dict[str, User] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.strip().split(":")
        if len(parts) != 3 or not NAME.fullmatch(parts[0]) or parts[1] not in ROLES or not _costs(parts[2]):
            raise BadLine(f"line {number} is not NAME:ROLE:HASH as `penstock console --add-user` writes it")
        if parts[0] in found:
            raise BadLine(f"line {number} names {parts[0]} a second time")
        found[parts[0]] = User(parts[0], parts[1], parts[2])
    return found


def _costs(secret: str) -> tuple[int, int, int, bytes, bytes] | None:
    """The parts of what is kept; None if it is none, or would take more than 256 MiB."""
    kind, *rest = secret.split("$")
    if kind != "scrypt" or len(rest) != 5 or not all(one.isdecimal() for one in rest[:3]):
        return None
    n, r, p = (int(one) for one in rest[:3])
    try:
        salt, made = b64decode(rest[3], validate=True), b64decode(rest[4], validate=True)
    except ValueError:
        return None
    fit = 2 <= n <= 2**20 and n & (n - 1) == 0 and 1 <= r <= 32 and 1 <= p <= 16 and 128 * r * n <= 2**28
    return (n, r, p, salt, made) if fit and salt and len(made) == HASH_BYTES else None


NOBODY = f"scrypt${N}${R}${P}${b64encode(bytes(SALT_BYTES)).decode()}${b64encode(bytes(HASH_BYTES)).decode()}"
"""Checked in the place of a name that is not there: it takes as long, and nothing fits it."""


def fits(users: Mapping[str, User], name: str, password: str) -> bool:
    """Whether the password is that of the name."""
    user = users.get(name)
    n, r, p, salt, made = _costs(NOBODY if user is None else user.secret) or (
        N,
        R,
        P,
        b"?",
        bytes(HASH_BYTES),
    )
    same = hmac.compare_digest(_scrypt(password, salt, n, r, p), made)
    return same and user is not None

"""Model versions: what they are, and the signed envelope that carries one through Redis or a folder.

Laws of this file:
- Nothing is unpickled before its signature and its payload digest have been verified: river models only pickle, and the stores
  they lie in are reachable by others.
- The signature covers the description and the payload, so that neither can be exchanged alone.
- A payload that another Python or river wrote is not unpickled, and one that does not unpickle is refused like a forged one: a
  stored version never stops the process that reads it.
"""

from __future__ import annotations

import hashlib
import hmac
import pickle
import platform
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
import river

from penstock.stream.models.digest import digest

CHALLENGER = "challenger-"
"""What the ids of versions begin with that a race made."""

Header = TypeVar("Header", bound=msgspec.Struct)


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """What a version is and where it came from.

    `position` is the samples-log offset before which it had learned everything; `join_from` the oldest sample it had not seen the
    label of; `parent` the version it descends from; `labels` how many labels it had learned (0: not counted); `digest` that of
    the model; `why` what it was made for, for people.
    """

    id: str
    pipeline: str
    parent: str | None
    kind: str
    position: int
    join_from: int
    at: int
    labels: int
    recipe: str
    digest: str
    python: str = platform.python_version()
    river: str = river.__version__
    why: str = ""


def named(wanted: str, ids: Iterable[str]) -> str:
    """The id that a person means: `wanted` itself, or the last of `ids`, oldest first, that is it without its ending.

    >>> named("v3", ["v3.1f0c2a", "v3.77aa01", "v31.77aa01"]), named("v4", ["v3.1f0c2a"])
    ('v3.77aa01', 'v4')
    """
    known = list(ids)
    meant = [one for one in known if one.startswith(f"{wanted}.")]
    return meant[-1] if meant and wanted not in known else wanted


def challenger_of(version: str | None) -> str:
    """The challenger whose model a version is; empty for all others.

    >>> challenger_of("challenger-tree-81022.9f0c2a"), challenger_of("v3.1f0c2a")
    ('tree', '')
    """
    if version is None or not version.startswith(CHALLENGER):
        return ""
    return version.removeprefix(CHALLENGER).rpartition("-")[0]


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """A version with its payload, signed."""

    header: bytes
    payload: bytes
    key_id: str
    mac: bytes


class BadEnvelope(ValueError):
    """An envelope that must not be opened; the message says why and names the version."""


def _mac(secret: str, header: bytes, payload: bytes) -> bytes:
    return hmac.new(secret.encode(), header + hashlib.sha256(payload).digest(), hashlib.sha256).digest()


def key_id(secret: str) -> str:
    """Eight hex digits that name a secret without telling it."""
    return hashlib.sha256(b"penstock key id" + secret.encode()).hexdigest()[:8]


def seal(header: msgspec.Struct, payload: bytes, secret: str) -> bytes:
    """Sign a header and its payload under `secret` (HMAC-SHA256)."""
    encoded = msgspec.msgpack.encode(header)
    return msgspec.msgpack.encode(Envelope(encoded, payload, key_id(secret), _mac(secret, encoded, payload)))


def unseal(sealed: bytes, secret: str, header_type: type[Header]) -> tuple[Header, bytes]:
    """Verify and split; raises `BadEnvelope` when bytes were changed or another secret signed them."""
    try:
        envelope = msgspec.msgpack.decode(sealed, type=Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadEnvelope(f"not a model envelope: {error}") from None
    if not hmac.compare_digest(envelope.mac, _mac(secret, envelope.header, envelope.payload)):
        raise BadEnvelope(
            f"the signature does not fit (signed with key {envelope.key_id}, this worker has {key_id(secret)}); "
            f"the bytes were changed, or PENSTOCK_SECRET differs from the one that wrote them"
        )
    try:
        header = msgspec.msgpack.decode(envelope.header, type=header_type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadEnvelope(f"the envelope's header is not a {header_type.__name__}: {error}") from None
    return header, envelope.payload


def dump(model: Any) -> bytes:
    """A model as bytes, for `restore` only."""
    return pickle.dumps(model, protocol=5)


def restore(payload: bytes) -> Any:
    """The model of a payload that `unseal` verified, or that never left this process."""
    return pickle.loads(payload)


def open_version(version: Version, payload: bytes) -> Any:
    """The model of a version that a store gave. Raises `BadEnvelope`: who wrote it, why it does not open here, what to do.

    The river must be the one that wrote it, the Python of the same 3.x, and the model what its description says.
    """
    wrote = f"version {version.id!r} was written under Python {version.python} and river {version.river}"
    here = f"here are Python {platform.python_version()} and river {river.__version__}"
    todo = "install those, or name a version made since, or retrain"
    if version.river != river.__version__ or _series(version.python) != _series(platform.python_version()):
        raise BadEnvelope(f"{wrote}, {here}: {todo}")
    try:
        model = restore(payload)
        found = digest(model)
    except Exception as error:  # whatever a class that changed since may raise
        raise BadEnvelope(
            f"{wrote}; it does not open here ({type(error).__name__}: {error}): {todo}"
        ) from error
    if found != version.digest:
        raise BadEnvelope(f"{wrote} as {version.digest}; opened here it is {found}, another model: {todo}")
    return model


def _series(python: str) -> list[str]:
    """A Python's major and minor version: what it pickles does not change within one."""
    return python.split(".")[:2]

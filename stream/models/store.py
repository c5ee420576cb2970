"""Where model versions lie: Redis, and beside it a folder or any fsspec URL, so that a lost Redis loses no version.

Laws of this file:
- A version is sealed before it leaves the process and verified before it is opened again.
- Putting the same version twice is harmless: its bytes are a function of the samples log. So is deleting it twice.
- What a former secret signed still opens, and `resign` signs it anew; it is written only under today's.
- Any text is an id: it names a field of a hash, or a file by `file_name`, which no two ids share.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Protocol
from urllib.parse import quote, unquote

import fsspec
import redis

from penstock.features.redis.keys import versions_key
from penstock.features.redis.refused import unusable
from penstock.features.redis.store import address
from penstock.stream.models.version import BadEnvelope, Secret, Version, keys_of, resealed, seal, unseal
from penstock.stream.topology import deployed

logger = logging.getLogger("penstock.models")

MOST_NAME = 160  # characters; file systems take 255 bytes
_SUFFIX = ".model"
_CUT = "%-"  # never in percent-encoded text
_REPLACE = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1"""


class ModelStore(Protocol):
    """Keeps sealed model versions by id."""

    def put(self, version: Version, payload: bytes) -> None:
        """Store one version."""

    def get(self, version_id: str) -> tuple[Version, bytes] | None:
        """One version and its model's bytes, verified; None when it is not there. Raises `BadEnvelope`."""

    def versions(self) -> list[Version]:
        """Every stored version, oldest first."""

    def ids(self) -> set[str]:
        """The ids of every stored version, none of which is opened for it where that can be."""

    def delete(self, ids: Collection[str]) -> None:
        """Delete these versions; those that are not there are passed over."""


def file_name(version_id: str) -> str:
    """A file's name for an id: percent-encoded, and where that is too long its beginning and a digest of the whole.

    >>> file_name("v3"), file_name("../night/1")
    ('v3.model', '..%2Fnight%2F1.model')
    """
    encoded = quote(version_id, safe="", errors="surrogatepass")
    if len(encoded) > MOST_NAME:
        whole = hashlib.blake2b(encoded.encode(), digest_size=16).hexdigest()
        encoded = f"{encoded[: MOST_NAME - 40]}{_CUT}{whole}"
    return encoded + _SUFFIX


def id_of(name: str) -> str | None:
    """The id that a file's name stands for; None for a shortened one (the file itself says), and for other files."""
    if not name.endswith(_SUFFIX) or _CUT in name:
        return None
    return unquote(name.removesuffix(_SUFFIX), errors="surrogatepass")


class MemoryModelStore:
    """Versions in this process's memory."""

    def __init__(self) -> None:
        self.stored: dict[str, tuple[Version, bytes]] = {}

    def put(self, version: Version, payload: bytes) -> None:
        """Store one version."""
        self.stored[version.id] = (version, payload)

    def get(self, version_id: str) -> tuple[Version, bytes] | None:
        """One version, or None."""
        return self.stored.get(version_id)

    def versions(self) -> list[Version]:
        """Every stored version, oldest first."""
        return sorted((version for version, _ in self.stored.values()), key=lambda version: version.position)

    def ids(self) -> set[str]:
        """The ids of every stored version."""
        return set(self.stored)

    def delete(self, ids: Collection[str]) -> None:
        """Delete these versions."""
        for version_id in ids:
            self.stored.pop(version_id, None)


class RedisModelStore:
    """Versions in the Redis hash `penstock:<prefix><pipeline>:versions`, and as files under `folder` when one is given."""

    def __init__(
        self, client: redis.Redis, pipeline: str, secret: Secret, folder: str = "", prefix: str = ""
    ) -> None:
        self.client: Any = client
        self.pipeline, self.secret, self.folder = pipeline, keys_of(secret), folder.rstrip("/")
        self.deployed = deployed(pipeline, prefix)
        self.key = versions_key(self.deployed)
        self.files: Any = fsspec.url_to_fs(self.folder)[0] if folder else None

    def _asked(self, call: Callable[[], Any]) -> Any:
        """The answer of Redis, or `StoreUnavailable` or `StoreRefused`."""
        try:
            return call()
        except redis.RedisError as error:
            where = address(self.client)
            raise unusable(error, where, "check that Redis runs there, and REDIS_URL") from error

    def _path(self, version_id: str) -> str:
        return f"{self.folder}/{self.deployed}/{file_name(version_id)}"

    def put(self, version: Version, payload: bytes) -> None:
        """Store one version, in the folder first."""
        sealed = seal(version, payload, self.secret)
        if self.files is not None:
            self.files.makedirs(f"{self.folder}/{self.deployed}", exist_ok=True)
            self._write(self._path(version.id), sealed)
        self._asked(lambda: self.client.hset(self.key, version.id, sealed))

    def _write(self, path: str, sealed: bytes) -> None:
        with self.files.open(path + ".part", "wb") as file:
            file.write(sealed)
        self.files.mv(path + ".part", path)  # a crash while writing leaves no torn version behind

    def resign(self) -> list[str]:
        """Sign everything anew that a former secret signed; the ids. Raises `BadEnvelope` for what no known secret signed."""
        done = set()
        for version_id in sorted(self.ids()):
            path = self._path(version_id)
            if self.files is not None and self.files.exists(path):
                with self.files.open(path, "rb") as file:
                    fresh = resealed(file.read(), self.secret)
                if fresh is not None:
                    self._write(path, fresh)
                    done.add(version_id)
            if self._asked(partial(self._resign, version_id)):
                done.add(version_id)
        return sorted(done)

    def _resign(self, version_id: str) -> bool:
        """In Redis, unless learn stores the version again in between: then it has signed it."""
        stored = self.client.hget(self.key, version_id)
        fresh = None if stored is None else resealed(stored, self.secret)
        return fresh is not None and bool(self.client.eval(_REPLACE, 1, self.key, version_id, stored, fresh))

    def get(self, version_id: str) -> tuple[Version, bytes] | None:
        """One version from Redis, or from the folder when Redis lost it."""
        sealed = self._asked(lambda: self.client.hget(self.key, version_id))
        if sealed is None and self.files is not None and self.files.exists(self._path(version_id)):
            with self.files.open(self._path(version_id), "rb") as file:
                sealed = file.read()
        if sealed is None:
            return None
        version, payload = unseal(sealed, self.secret, Version)
        if version.id != version_id or version.pipeline != self.pipeline:
            raise BadEnvelope(
                f"asked for {self.pipeline}/{version_id}, the envelope holds {version.pipeline}/{version.id}"
            )
        return version, payload

    def versions(self) -> list[Version]:
        """Every stored version, oldest first; by id where several are of one position."""
        found = [self.get(version_id) for version_id in sorted(self.ids())]
        return sorted(
            (entry[0] for entry in found if entry is not None), key=lambda version: version.position
        )

    def ids(self) -> set[str]:
        """The ids of every stored version."""
        # Decoded as redis-py encodes: an id that is no text in UTF-8 never came through it.
        ids = {field.decode() for field in self._asked(lambda: self.client.hkeys(self.key))}
        place = f"{self.folder}/{self.deployed}"
        if self.files is not None and self.files.exists(place):
            for path in self.files.ls(place, detail=False):
                name = str(path).rsplit("/", 1)[-1]
                version_id = id_of(name)
                if version_id is None and name.endswith(_SUFFIX):
                    version_id = self._id_in(str(path))
                if version_id is not None:
                    ids.add(version_id)
        return ids

    def _id_in(self, path: str) -> str | None:
        """The id of the version in a file whose name was shortened; None where it does not open."""
        with self.files.open(path, "rb") as file:
            try:
                return unseal(file.read(), self.secret, Version)[0].id
            except BadEnvelope as error:
                logger.warning("%s is not used: %s", path, error)
                return None

    def delete(self, ids: Collection[str]) -> None:
        """Delete these versions in Redis, then in the folder. A file that cannot be deleted is said and left."""
        if not ids:
            return
        self._asked(lambda: self.client.hdel(self.key, *ids))
        for version_id in ids if self.files is not None else ():
            path = self._path(version_id)
            try:
                if self.files.exists(path):
                    self.files.rm_file(path)
            except OSError as error:
                logger.warning("version %s could not be deleted from %s: %s", version_id, path, error)

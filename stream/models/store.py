"""Where model versions lie: Redis, and beside it a folder or any fsspec URL, so that a lost Redis loses no version.

Laws of this file:
- A version is sealed before it leaves the process and verified before it is opened again.
- Putting the same version twice is harmless: its bytes are a function of the samples log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import fsspec
import redis

from penstock.features.redis.keys import versions_key
from penstock.features.redis.store import StoreUnavailable, address
from penstock.stream.models.version import BadEnvelope, Version, seal, unseal
from penstock.stream.topology import deployed


class ModelStore(Protocol):
    """Keeps sealed model versions by id."""

    def put(self, version: Version, payload: bytes) -> None:
        """Store one version."""

    def get(self, version_id: str) -> tuple[Version, bytes] | None:
        """One version and its model's bytes, verified; None when it is not there. Raises `BadEnvelope`."""

    def versions(self) -> list[Version]:
        """Every stored version, oldest first."""


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


class RedisModelStore:
    """Versions in the Redis hash `penstock:<prefix><pipeline>:versions`, and as files under `folder` when one is given."""

    def __init__(
        self, client: redis.Redis, pipeline: str, secret: str, folder: str = "", prefix: str = ""
    ) -> None:
        self.client: Any = client
        self.pipeline, self.secret, self.folder = pipeline, secret, folder.rstrip("/")
        self.deployed = deployed(pipeline, prefix)
        self.key = versions_key(self.deployed)
        self.files: Any = fsspec.url_to_fs(self.folder)[0] if folder else None

    def _asked(self, call: Callable[[], Any]) -> Any:
        """The answer of Redis, or `StoreUnavailable`."""
        try:
            return call()
        except redis.RedisError as error:
            where = address(self.client)
            raise StoreUnavailable(str(error), where, "check that Redis runs there, and REDIS_URL") from error

    def _path(self, version_id: str) -> str:
        return f"{self.folder}/{self.deployed}/{version_id}.model"

    def put(self, version: Version, payload: bytes) -> None:
        """Store one version, in the folder first."""
        sealed = seal(version, payload, self.secret)
        if self.files is not None:
            self.files.makedirs(f"{self.folder}/{self.deployed}", exist_ok=True)
            path = self._path(version.id)
            with self.files.open(path + ".part", "wb") as file:
                file.write(sealed)
            self.files.mv(path + ".part", path)  # a crash while writing leaves no torn version behind
        self._asked(lambda: self.client.hset(self.key, version.id, sealed))

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
        """Every stored version, oldest first."""
        ids = {field.decode() for field in self._asked(lambda: self.client.hkeys(self.key))}
        if self.files is not None and self.files.exists(f"{self.folder}/{self.deployed}"):
            paths = self.files.ls(f"{self.folder}/{self.deployed}", detail=False)
            ids |= {
                str(path).rsplit("/", 1)[-1].removesuffix(".model")
                for path in paths
                if str(path).endswith(".model")
            }
        found = [self.get(version_id) for version_id in ids]
        return sorted(
            (entry[0] for entry in found if entry is not None), key=lambda version: version.position
        )

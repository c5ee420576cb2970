"""Keys outside of units: walking them, and rewriting or deleting what no owner writes any more.

Laws:
- `scan` gives every key that is there from its start to its end, possibly twice; it never blocks the server for long.
- `replace` changes a document only if it still is what the caller read, so it never undoes an owner's write.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import redis

from penstock.features.redis import scripts
from penstock.features.redis.connecting import address
from penstock.features.redis.memory import MemoryServer
from penstock.features.redis.one_server import server_of
from penstock.features.redis.refused import unusable
from penstock.features.redis.resp import save_command
from penstock.features.units import KEEP_TTL, UNIT_KEYS

BATCH_KEYS = 1_000


class Keyspace(Protocol):
    """What a change of definitions needs of the server beside the units of its tasks."""

    def scan(self, prefix: str) -> Iterator[list[str]]:
        """Give the keys that begin with `prefix`, in batches."""

    def read(self, names: Sequence[str]) -> list[bytes | None]:
        """Read many keys, in one moment; from a cluster what a pipeline serves last (see `cluster`)."""

    def replace(self, documents: Sequence[tuple[str, bytes, bytes]]) -> int:
        """Replace (key, expected, new) documents where the expected one still stands; give how many. TTLs stay.

        An empty new document deletes.
        """

    def delete(self, names: Sequence[str]) -> int:
        """Delete keys, a few at a time; give how many were there."""

    def claim(self, name: str, document: bytes) -> bytes:
        """Write a document where none stands; give the one that stands, which whoever came first wrote."""

    def exchange(self, name: str, said: Mapping[str, bytes], ttl_ms: int) -> dict[str, bytes]:
        """Write these fields of a hash, which then lives for `ttl_ms`, and give all its fields."""


class RedisKeyspace:
    """The keys of a Redis. The client comes from `store.connect`."""

    def __init__(self, client: redis.Redis) -> None:
        """Keep the client."""
        self._client: Any = client
        self._server = server_of(client)

    def scan(self, prefix: str) -> Iterator[list[str]]:
        """See `Keyspace.scan`."""
        at: Any = 0
        while True:
            with self._answering():
                at, found = self._server.page(at, prefix, BATCH_KEYS)
            if found:
                yield found
            if at == 0:
                return

    def read(self, names: Sequence[str]) -> list[bytes | None]:
        """See `Keyspace.read`."""
        with self._answering():
            return self._server.mget(names) if names else []

    def replace(self, documents: Sequence[tuple[str, bytes, bytes]]) -> int:
        """See `Keyspace.replace`."""
        done = 0
        with self._answering():
            groups = self._server.together([name for name, _, _ in documents])
        for group in groups:
            for at in range(0, len(group), UNIT_KEYS // 2):
                part = [documents[n] for n in group[at : at + UNIT_KEYS // 2]]
                names = [name for name, _, _ in part]
                values = [value for _, expected, new in part for value in (expected, new)]
                with self._answering():
                    done += int(self._server.run(scripts.REPLACE, names, values))
        return done

    def delete(self, names: Sequence[str]) -> int:
        """See `Keyspace.delete`."""
        done = 0
        for at in range(0, len(names), UNIT_KEYS):
            with self._answering():
                done += self._client.unlink(*names[at : at + UNIT_KEYS])
        return done

    def claim(self, name: str, document: bytes) -> bytes:
        """See `Keyspace.claim`."""
        with self._answering():
            while True:
                # a server that is full or cannot save refuses a write that would change nothing
                stored: bytes | None = self._client.get(name)
                if stored is not None:
                    return stored
                if self._client.set(name, document, nx=True):
                    return document

    def exchange(self, name: str, said: Mapping[str, bytes], ttl_ms: int) -> dict[str, bytes]:
        """See `Keyspace.exchange`."""
        [key] = self._server.names([name])
        commands = [save_command(["HGETALL", key], [], ())]
        if said:
            words = [part for pair in said.items() for part in pair]
            commands[:0] = [
                save_command(["HSET", key, *words], [], ()),
                save_command(["PEXPIRE", key, ttl_ms], [], ()),
            ]
        with self._answering():
            replies = self._server.exchange(name, commands)
            if refused := next((reply for reply in replies if isinstance(reply, redis.RedisError)), None):
                raise refused
        found = replies[-1]
        pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
        return {field.decode(): word for field, word in pairs}

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as problem:
            where = address(self._client)
            todo = "check that Redis runs there, then run this again"
            raise unusable(problem, where, todo) from problem


class MemoryKeyspace:
    """The keys of a `MemoryServer`."""

    def __init__(self, server: MemoryServer) -> None:
        """Keep the server."""
        self._server = server

    def scan(self, prefix: str) -> Iterator[list[str]]:
        """See `Keyspace.scan`."""
        found = [key for key in self._server.data if key.startswith(prefix)]
        for at in range(0, len(found), BATCH_KEYS):
            yield found[at : at + BATCH_KEYS]

    def read(self, names: Sequence[str]) -> list[bytes | None]:
        """See `Keyspace.read`."""
        return self._server.mget(names)

    def replace(self, documents: Sequence[tuple[str, bytes, bytes]]) -> int:
        """See `Keyspace.replace`."""
        done = 0
        for name, expected, new in documents:
            if self._server.data.get(name) == expected:
                self._server.put(name, new, KEEP_TTL)
                done += 1
        return done

    def delete(self, names: Sequence[str]) -> int:
        """See `Keyspace.delete`."""
        found = [name for name in names if name in self._server.data]
        for name in found:
            self._server.put(name, b"")
        return len(found)

    def claim(self, name: str, document: bytes) -> bytes:
        """See `Keyspace.claim`."""
        return self._server.data.setdefault(name, document)

    def exchange(self, name: str, said: Mapping[str, bytes], ttl_ms: int) -> dict[str, bytes]:
        """See `Keyspace.exchange`. There is no clock: nothing expires."""
        fields = self._server.hashes.setdefault(name, {})
        fields.update(said)
        return dict(fields)

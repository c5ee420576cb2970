"""What the store and the keyspace ask of Redis, and how one server answers it; `cluster` answers the same.

Laws of this file:
- Whatever fails, the connection is closed: no answer is ever taken for another command's.
- Nothing is asked twice by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import redis
from redis.sentinel import SentinelConnectionPool

from penstock.features.redis import keys
from penstock.features.redis.cluster import FAILOVER_S, Cluster
from penstock.features.redis.talking import talk
from penstock.features.units import Write

RETRY_S = 10.0  # a server that restarts is back by then


class Server(Protocol):
    """One server or a cluster, by the names of keys that one server has.

    Attributes:
        patience_s: how long it may be away before whoever keeps state there gives up.
        several: whether there is what a unit cannot write with its task's keys (`wide`).

    """

    patience_s: float
    several: bool

    def mget(self, names: Sequence[str], /) -> list[bytes | None]:
        """The values of many keys."""

    def run(self, text: str, names: Sequence[str], values: Sequence[bytes | str]) -> Any:
        """The answer of a script all of whose keys are one task's."""

    def exchange(self, name: str, commands: Sequence[bytes]) -> list[Any]:
        """Send packed commands in one go to where `name` lies; their answers, an error for one that was refused."""

    def names(self, names: Sequence[str]) -> Sequence[str]:
        """The keys themselves, for a command that is packed elsewhere."""

    def writes(self, writes: Sequence[Write], pipeline: str, task: str) -> Sequence[Write]:
        """The writes of a task, with the keys themselves."""

    def wide(self, name: str) -> bool:
        """Whether a unit cannot write this key with its task's, and `publish` does."""

    def publish(self, name: str, document: bytes, partitions: int) -> None:
        """Write what belongs to a whole pipeline, whose tasks are so many partitions (0: there is one task)."""

    def together(self, names: Sequence[str]) -> Iterable[Sequence[int]]:
        """The places of those names that one script may touch, group by group."""

    def page(self, at: Any, prefix: str, count: int) -> tuple[Any, list[str]]:
        """Where to go on and a page of the names with a prefix; `at` is 0 at first, and again after the last."""

    def renew(self) -> None:
        """Forget connections, before something is asked again."""


class OneServer:
    """A single server, or the one that Sentinel calls the master. The client comes from `connecting.connect`."""

    several = False

    def __init__(self, client: redis.Redis) -> None:
        """Keep the client."""
        self._client: Any = client
        self._scripts: dict[str, Any] = {}
        self.patience_s = (
            FAILOVER_S if isinstance(client.connection_pool, SentinelConnectionPool) else RETRY_S
        )

    def mget(self, names: Sequence[str], /) -> list[bytes | None]:
        """See `Server.mget`."""
        return list(self._client.mget(names))

    def run(self, text: str, names: Sequence[str], values: Sequence[bytes | str]) -> Any:
        """See `Server.run`."""
        script = self._scripts.get(text)
        if script is None:
            script = self._scripts[text] = self._client.register_script(text)
        return script(keys=names, args=values)

    def exchange(self, name: str, commands: Sequence[bytes]) -> list[Any]:
        """See `Server.exchange`."""
        return talk(self._client.connection_pool, commands)

    def names(self, names: Sequence[str]) -> Sequence[str]:
        """See `Server.names`."""
        return names

    def writes(self, writes: Sequence[Write], pipeline: str, task: str) -> Sequence[Write]:
        """See `Server.writes`."""
        return writes

    def wide(self, name: str) -> bool:
        """See `Server.wide`."""
        return False

    def publish(self, name: str, document: bytes, partitions: int) -> None:
        """See `Server.publish`."""
        raise AssertionError("a unit writes it")

    def together(self, names: Sequence[str]) -> Iterable[Sequence[int]]:
        """See `Server.together`."""
        return [range(len(names))] if names else []

    def page(self, at: Any, prefix: str, count: int) -> tuple[Any, list[str]]:
        """See `Server.page`."""
        cursor, found = self._client.scan(at, match=keys.pattern(prefix), count=count)
        return cursor, [key.decode() for key in found]

    def renew(self) -> None:
        """See `Server.renew`."""
        # not those that another thread uses: it finds out by itself
        self._client.connection_pool.disconnect(inuse_connections=False)


def server_of(client: redis.Redis) -> Server:
    """What a client connects to."""
    several: Any = client
    return several if isinstance(several, Cluster) else OneServer(client)

"""What Penstock uses of a `redis.Redis`, over a cluster; keys go by their names on a single server."""

from __future__ import annotations

from typing import Any, NoReturn

import redis

from penstock.features.redis.cluster import Cluster, answer
from penstock.features.redis.resp import save_command


class ClusterClient(Cluster):
    """The commands of a `redis.Redis` that are used outside of units of work. `redis.DataError` for any other."""

    def get(self, name: str, /) -> bytes | None:
        """The value of a key."""
        return self.mget([name])[0]

    def set(self, name: str, value: bytes, *, px: int | None = None, nx: bool = False) -> Any:
        """Write a key, for `px` ms if given; with `nx` only where there is none, otherwise None is the answer."""
        more = [*(("PX", px) if px is not None else ()), *(("NX",) if nx else ())]
        return self._keyed(name, "SET", value, *more)

    def pttl(self, name: str, /) -> Any:
        """How many ms a key has left; -1 for ever, -2 if there is none."""
        return self._keyed(name, "PTTL")

    def hget(self, name: str, field: str, /) -> Any:
        """A field of a hash."""
        return self._keyed(name, "HGET", field)

    def hset(self, name: str, field: str, value: bytes, /) -> Any:
        """Write a field of a hash."""
        return self._keyed(name, "HSET", field, value)

    def hkeys(self, name: str, /) -> Any:
        """The fields of a hash."""
        return self._keyed(name, "HKEYS")

    def hdel(self, name: str, *fields: str) -> Any:
        """Delete fields of a hash."""
        return self._keyed(name, "HDEL", *fields)

    def eval(self, text: str, count: int, *given: Any) -> Any:
        """Run a script whose keys lie in one slot."""
        return self.run(text, given[:count], given[count:])

    def unlink(self, *names: str) -> int:
        """Delete keys; how many there were."""
        keys = self._keys(names)
        done = 0
        for group in self.together(names):
            of_slot = [keys[n] for n in group]
            replies = self._at(of_slot[0], [save_command(["UNLINK", key], [], ()) for key in of_slot])
            done += sum(answer(reply) for reply in replies)
        return done

    delete = unlink

    def infos(self) -> dict[str, Any]:
        """The answers of all primaries to `INFO`, by address."""
        return self._asked(
            lambda cluster: {
                node.name: cluster.get_redis_connection(node).info() for node in cluster.get_primaries()
            }
        )

    def close(self) -> None:
        """Close every connection; the next command opens others."""
        with self._connecting:
            if self._cluster is not None:
                self._cluster.close()
                self._cluster = None

    def _keyed(self, name: str, command: str, *given: Any) -> Any:
        [key] = self._keys([name])
        return answer(self._at(key, [save_command([command, key, *given], [], ())])[0])

    def __getattr__(self, command: str) -> NoReturn:
        """Say plainly what is not there."""
        if command.startswith("_"):
            raise AttributeError(command)
        raise redis.DataError(f"{command!r} is not among the commands that Penstock sends to a Redis Cluster")

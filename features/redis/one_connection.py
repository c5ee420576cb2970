"""Reading many keys over one connection that is kept: for who asks Redis once per request, all day.

A client's pool, retries and telemetry cost more than the question itself: 30 us a read, of which 12 are the socket's (benchmarks/
serve.py). Connecting, signing in, TLS and parsing stay the client's own.

Laws of this file:
- Whatever fails, the connection is closed and the next read opens another: no answer is ever taken for another question's.
- It raises what the client would raise, and never asks twice by itself.
- Used by one thread at a time.
"""

from collections.abc import Sequence
from typing import Any

import redis

from penstock.features.redis.cluster import Cluster


class OneConnection:
    """What `FeatureReader` needs of a client, with the address, credentials and timeouts of one that `store.connect` gave."""

    def __init__(self, client: redis.Redis) -> None:
        self.connection_pool = client.connection_pool
        self._connection: Any = self.connection_pool.make_connection()

    def mget(self, keys: Sequence[str], /) -> Any:
        """Give the values of many keys, None where there is none."""
        parts = [b"*%d\r\n$4\r\nMGET\r\n" % (len(keys) + 1)]
        for key in keys:
            name = key.encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(name), name))
        try:
            if not self._connection.is_connected:
                self._connection.connect()  # which asks Sentinel where the master is, where there is one
            self._connection.send_packed_command([b"".join(parts)])
            return self._connection.read_response()
        except redis.ResponseError:
            raise  # a whole answer: the connection is as good as before
        except BaseException:
            self._connection.disconnect()
            raise

    def close(self) -> None:
        """Close the connection; the next read opens another."""
        self._connection.disconnect()


def one_connection(client: redis.Redis) -> Any:
    """A connection for a client's reads; of a cluster the client itself, which has one for every node."""
    several: Any = client
    return several if isinstance(several, Cluster) else OneConnection(client)

"""A primary, its replica and three sentinels on loopback. All were started here and end with the test that asked for them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from penstock.stream.stack.server import Server, free_ports
from penstock.stream.stack.valkey import pongs, valkey_binary, valkey_server
from tests.patience import eventually

SERVICE = "features"
DOWN_MS = 1_000


class Watched:
    """What sentinels watch: `servers` by port, and which of them is the primary."""

    def __init__(self, servers: dict[int, Server], sentinels: list[int]) -> None:
        self.servers, self.sentinels = servers, sentinels

    @property
    def url(self) -> str:
        return (
            "redis+sentinel://" + ",".join(f"127.0.0.1:{port}" for port in self.sentinels) + f"/{SERVICE}/0"
        )

    def client(self, port: int) -> Any:
        return redis.Redis(port=port, socket_timeout=5)

    def primary(self) -> int:
        """The port that the sentinels name."""
        found = self.client(self.sentinels[0]).execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(found[1])

    def fail_over(self, key: str) -> None:
        """Kill the primary and wait for the other to be it, which has not heard of the newest write of a key."""
        primary = self.primary()
        other = next(port for port in self.servers if port != primary)
        self.client(other).config_set("masterauth", "of nobody")
        self.client(primary).execute_command("CLIENT", "KILL", "TYPE", "replica")
        assert eventually(lambda: self.client(other).info("replication")["master_link_status"] == "down")
        heard = self.client(primary).get(key)
        assert eventually(lambda: self.client(primary).get(key) not in (heard, None))
        self.servers[primary].kill()
        assert eventually(
            lambda: self.primary() == other and self.client(other).info("replication")["role"] == "master"
        )


@contextmanager
def valkey_sentinel() -> Iterator[Watched]:
    """Start them; the sentinels know each other and the replica when this gives them."""
    with ExitStack() as ending:
        servers: dict[int, Server] = {}
        first, *sentinels = free_ports(4)
        for port, more in ((first, {}), (free_ports(1)[0], {"replicaof": f"127.0.0.1 {first}"})):
            server, _ = valkey_server(port, more={"repl-diskless-sync-delay": "0", **more})
            servers[port] = server
            ending.callback(server.close)
        for port in sentinels:
            ending.callback(_sentinel(port, first).close)
        watched = Watched(servers, sentinels)

        def complete() -> bool:
            for port in sentinels:
                asked = watched.client(port)
                found = asked.execute_command("SENTINEL", "MASTERS")
                one = found[0] if isinstance(found, list) else next(iter(found.values()))
                said = {k.decode() if isinstance(k, bytes) else k: v for k, v in one.items()}
                if int(said["num-slaves"]) < 1 or int(said["num-other-sentinels"]) < 2:
                    return False
            return True

        assert eventually(complete)
        yield watched


def _sentinel(port: int, primary: int) -> Server:
    folder = Path(tempfile.mkdtemp(prefix="penstock-sentinel-"))
    settings = folder / "sentinel.conf"
    settings.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
        f"sentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n"
        f"sentinel down-after-milliseconds {SERVICE} {DOWN_MS}\nsentinel failover-timeout {SERVICE} 5000\n"
    )
    server = Server("sentinel", [valkey_binary(), str(settings), "--sentinel"], folder, lambda: pongs(port))
    server.start()
    return server

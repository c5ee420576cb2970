"""A Valkey cluster on loopback: primaries with a replica each, formed as valkey-cli does, and slots that move.

Every node was started here and ends with the test that asked for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import redis
from redis.crc import key_slot

from penstock.stream.stack.server import Server, free_ports
from penstock.stream.stack.valkey import valkey_server
from tests.patience import eventually

SLOTS = 16_384
NODE_TIMEOUT_MS = 1_000


class Node:
    """One server of a cluster."""

    def __init__(self, server: Server, port: int) -> None:
        self.server, self.port = server, port
        self.client: Any = redis.Redis(port=port, socket_timeout=5)

    def id(self) -> str:
        return str(self.client.execute_command("CLUSTER", "MYID").decode())

    def nodes(self) -> list[list[str]]:
        """The lines of CLUSTER NODES, as this node sees them."""
        said = self.client.execute_command("CLUSTER", "NODES", NEVER_DECODE=True).decode()
        return [line.split() for line in said.splitlines()]

    def info(self) -> dict[str, str]:
        said = self.client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True).decode()
        return dict(line.split(":", 1) for line in said.split("\r\n") if ":" in line)

    def is_primary(self) -> bool:
        return bool(self.client.info("replication")["role"] == "master")


class ValkeyCluster:
    """So many primaries, each with a replica if `replicas`."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = list(nodes)

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes) + "/"

    def alive(self) -> list[Node]:
        return [node for node in self.nodes if node.server.running]

    def owner(self, key: str) -> Node:
        """The primary that has a key's slot, as those that live see it."""
        slot, alive = key_slot(key.encode()), self.alive()
        for first, last, (_, port, *_), *_ in alive[0].client.execute_command(
            "CLUSTER", "SLOTS", NEVER_DECODE=True
        ):
            if first <= slot <= last:
                return next(node for node in alive if node.port == port)
        raise AssertionError(f"nobody has slot {slot}")

    def replica_of(self, primary: Node) -> Node:
        """A replica of a primary."""
        mine = primary.id()
        return next(
            node for node in self.alive() for line in node.nodes() if "myself" in line[2] and line[3] == mine
        )

    def cut_off(self, primary: Node) -> Node:
        """A replica of a primary that hears nothing from it any more; of its death it does."""
        replica = self.replica_of(primary)
        replica.client.config_set("masterauth", "of nobody")
        primary.client.execute_command("CLIENT", "KILL", "TYPE", "replica")
        eventually(lambda: replica.client.info("replication")["master_link_status"] == "down")
        return replica

    def other(self, primary: Node) -> Node:
        """Another primary."""
        return next(node for node in self.alive() if node is not primary and node.is_primary())

    def move(self, slot: int, source: Node, target: Node, *, until: int | None = None) -> None:
        """Move a slot key by key, as `valkey-cli --cluster reshard` does; with `until`, so many keys and no further."""
        target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id())
        source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id())
        moved = 0
        while until is None or moved < until:
            keys = source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10)
            if not keys:
                break
            source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys)
            moved += len(keys)
        if until is None:
            for node in (target, source, *self.alive()):
                if node.is_primary():
                    node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target.id())

    def move_whole(self, slot: int, source: Node, target: Node) -> None:
        """Move a slot in one step, as Valkey 9 can."""
        source.client.execute_command(
            "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id()
        )
        eventually(lambda: self.has(target, slot))

    def has(self, node: Node, slot: int) -> bool:
        mine = next(line for line in node.nodes() if "myself" in line[2])
        return any(_within(part, slot) for part in mine[8:])

    def healthy(self) -> bool:
        """Whether every node that lives sees all slots served."""
        return all(node.info()["cluster_state"] == "ok" for node in self.alive())


def _within(part: str, slot: int) -> bool:
    if part.startswith("["):
        return False
    first, _, last = part.partition("-")
    return int(first) <= slot <= int(last or first)


@contextmanager
def valkey_cluster(
    primaries: int = 3, *, replicas: bool = True, node_timeout_ms: int = NODE_TIMEOUT_MS
) -> Iterator[ValkeyCluster]:
    """Start and form one; it is whole when this gives it."""
    count = primaries * 2 if replicas else primaries
    ports = free_ports(count * 2)
    with ExitStack() as ending:
        nodes = []
        for port, bus in zip(ports[:count], ports[count:], strict=True):
            more = {
                "cluster-enabled": "yes",
                "cluster-port": str(bus),
                "cluster-node-timeout": str(NODE_TIMEOUT_MS),
                "cluster-replica-validity-factor": "0",
                "repl-diskless-sync-delay": "0",
                "cluster-config-file": f"nodes-{port}.conf",
            }
            server, _ = valkey_server(port, more=more)
            ending.callback(server.close)
            nodes.append(Node(server, port))
        _form(nodes, ports[count:], primaries)
        made = ValkeyCluster(nodes)
        assert eventually(made.healthy)
        for node in nodes[primaries:]:
            assert eventually(lambda node=node: node.client.info("replication")["master_link_status"] == "up")  # type: ignore[misc]
        yield made


def _form(nodes: Sequence[Node], buses: Sequence[int], primaries: int) -> None:
    for n, node in enumerate(nodes[:primaries]):
        first, last = n * SLOTS // primaries, (n + 1) * SLOTS // primaries - 1
        node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
    for n, node in enumerate(nodes):
        node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
    for node, bus in zip(nodes[1:], buses[1:], strict=True):
        nodes[0].client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
    eventually(
        lambda: all(
            len(node.nodes()) == len(nodes) and "handshake" not in str(node.nodes()) for node in nodes
        )
    )
    for replica, primary in zip(nodes[primaries:], nodes, strict=False):
        replica.client.execute_command("CLUSTER", "REPLICATE", primary.id())


def until(done: Any, patience_s: float) -> None:
    """Wait for a thing, not longer than so."""
    deadline = time.monotonic() + patience_s
    while not done():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)

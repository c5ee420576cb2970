"""Asking the nodes of a Redis Cluster: packed commands of one slot, and many keys of many slots.

Laws of this file:
- `MOVED` and `ASK` are followed; everything else that a node says against a command is given back, or raised, as it is.
- Keys are read by slot, slots by node, all nodes in one go. redis-py's pipeline would ask again for every key of a node that is
  away, one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from redis.cluster import ClusterNode
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError

from penstock.features.redis.resp import save_command
from penstock.features.redis.talking import talk, talk_to_all

REDIRECTIONS = 8
_ASKING = save_command(["ASKING"], [], ())
_ELSEWHERE = (AskError, TryAgainError, ClusterDownError)  # MOVED is an ASK, to redis-py


def exchange(cluster: Any, slot: int, commands: Sequence[bytes]) -> list[Any]:
    """Send commands of one slot to its node in one go; their answers, an error for one that was refused.

    After a redirection all of them are sent again. Raises `TryAgainError` and `ClusterDownError`.
    """
    node, asking = cluster.nodes_manager.get_node_from_slot(slot), False
    for _ in range(REDIRECTIONS):
        pool = cluster.get_redis_connection(node).connection_pool
        sent = [part for command in commands for part in (_ASKING, command)] if asking else commands
        replies = talk(pool, sent)[1::2] if asking else talk(pool, sent)
        refused = next((reply for reply in replies if isinstance(reply, _ELSEWHERE)), None)
        if refused is None:
            return replies
        if isinstance(refused, MovedError):
            cluster.nodes_manager.move_slot(refused)
            node, asking = cluster.nodes_manager.get_node_from_slot(slot), False
        elif isinstance(refused, AskError):
            node, asking = _importing(cluster, refused), True
        else:
            raise refused
    raise redis.ConnectionError(f"slot {slot} was passed from node to node")


def _importing(cluster: Any, refused: AskError) -> Any:
    """The node that a slot is moving to, which may have no other slot yet."""
    node = cluster.get_node(host=refused.host, port=refused.port)
    made: Any = ClusterNode  # it has no types
    return node or made(refused.host, refused.port, "primary")


def read(cluster: Any, keys: Sequence[str]) -> list[bytes | None]:
    """The values of keys; those of a slot are read in one moment, unless it is being moved."""
    slots: dict[int, list[int]] = {}
    for n, key in enumerate(keys):
        slots.setdefault(key_slot(key.encode()), []).append(n)
    nodes: dict[str, tuple[Any, list[int]]] = {}
    for slot in slots:
        node = cluster.nodes_manager.get_node_from_slot(slot)
        nodes.setdefault(node.name, (node, []))[1].append(slot)
    asked = []
    for node, of_node in nodes.values():
        commands = [save_command(["MGET", *(keys[n] for n in slots[slot])], [], ()) for slot in of_node]
        asked.append((cluster.get_redis_connection(node).connection_pool, commands))
    values: list[bytes | None] = [None] * len(keys)
    for (_, of_node), replies in zip(nodes.values(), talk_to_all(asked), strict=True):
        for slot, reply in zip(of_node, replies, strict=True):
            if isinstance(reply, _ELSEWHERE):
                found = _one_by_one(cluster, slot, [keys[n] for n in slots[slot]])
            elif isinstance(reply, Exception):
                raise reply
            else:
                found = reply
            for n, value in zip(slots[slot], found, strict=True):
                values[n] = value
    return values


def _one_by_one(cluster: Any, slot: int, keys: Sequence[str]) -> list[bytes | None]:
    """The values of keys of a slot that is being moved, or has been: some lie here and some there."""
    values = []
    for key in keys:
        [reply] = exchange(cluster, slot, [save_command(["GET", key], [], ())])
        if isinstance(reply, Exception):
            raise reply
        values.append(reply)
    return values

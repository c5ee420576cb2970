"""Walking the keys of a Redis Cluster, node by node.

Laws of this file:
- Every key that is there from the start of a walk to its end is given, possibly twice. A key that moves between two nodes
  could be missed by both, so where slots moved meanwhile, or are moving, the walk begins again.
"""

from __future__ import annotations

import logging
import time
from typing import Any, NamedTuple

from redis.crc import key_slot

from penstock.features.redis import placing

_log = logging.getLogger("penstock.store")

MOVING = " moving"
MOVING_S = 0.2  # between two looks at a cluster whose slots are moving


class At(NamedTuple):
    """Where a walk stands: which node (by place), which pattern, the cursor there, and where slots were when it began."""

    node: int
    pattern: int
    cursor: int
    slots: dict[str, str]


def page(cluster: Any, at: Any, prefix: str, count: int) -> tuple[Any, list[str]]:
    """Where to go on and a page of the names with a prefix; `at` is 0 at first, and again after the last."""
    wanted = placing.patterns(prefix)
    slot = _slot_of(wanted)
    if at == 0:
        cluster.nodes_manager.initialize()
        at = At(0, 0, 0, _slots(cluster, slot))
    names = sorted(at.slots)
    cursor, keys = _scanned(cluster, names[at.node], at.cursor, wanted[at.pattern], count)
    found = [name for key in keys if (name := placing.found(key.decode())).startswith(prefix)]
    if cursor:
        return at._replace(cursor=cursor), found
    if at.pattern + 1 < len(wanted):
        return at._replace(pattern=at.pattern + 1, cursor=0), found
    if at.node + 1 < len(names):
        return At(at.node + 1, 0, 0, at.slots), found
    now = _slots(cluster, slot)
    if now == at.slots and not any(slots.endswith(MOVING) for slots in now.values()):
        return 0, found
    _log.warning("slots of the Redis Cluster move: its keys are walked again until none has moved meanwhile")
    time.sleep(MOVING_S)
    cluster.nodes_manager.initialize()
    return At(0, 0, 0, _slots(cluster, slot)), found


def _slot_of(wanted: list[str]) -> int | None:
    """The one slot in which all keys of these patterns lie, if there is one."""
    tag = wanted[0].partition("{")[2].partition("}")[0]
    return key_slot(f"{{{tag}}}".encode()) if len(wanted) == 1 and tag and "*" not in tag else None


def _scanned(cluster: Any, name: str, cursor: int, pattern: str, count: int) -> tuple[int, list[bytes]]:
    node = cluster.get_node(node_name=name)
    if node is None:
        return 0, []  # it left the cluster: the slots are elsewhere, which the end of the walk will see
    after, found = cluster.get_redis_connection(node).scan(cursor, match=pattern, count=count)
    return after, found


def _slots(cluster: Any, slot: int | None) -> dict[str, str]:
    """What every primary says of its own slots, with a mark where one moves; of one slot alone, if only that matters."""
    said = {}
    for node in cluster.get_primaries():
        nodes: Any = cluster.get_redis_connection(node).execute_command("CLUSTER NODES")
        for one in nodes.values():
            if "myself" in one["flags"]:
                ranges = [(int(part[0]), int(part[-1])) for part in one["slots"]]
                moving = [int(moves["slot"]) for moves in one["migrations"]]
                if slot is not None:
                    ranges = [(slot, slot) for first, last in ranges if first <= slot <= last]
                    moving = [number for number in moving if number == slot]
                said[node.name] = f"{ranges}{MOVING if moving else ''}"
    return said

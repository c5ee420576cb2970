"""Which Redis can keep state: a judgement of what `INFO` says.

Law: what is refused would otherwise lose state silently or fail in the middle of the work.
"""

from collections.abc import Mapping
from typing import Any

LEAST_VERSION = (6, 2)


def refusal(info: Mapping[str, Any], *, in_cluster: bool = False) -> tuple[str, str] | None:
    """Say what is wrong with a server and what to do about it; None if nothing is.

    Args:
        info: the answer to `INFO`, as redis-py parses it. Valkey gives the Redis version it follows.
        in_cluster: whether it was found as a primary of a cluster.

    """
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < LEAST_VERSION:
        return f"Redis {version} is too old", f"use {'.'.join(map(str, LEAST_VERSION))} or later"
    if info.get("cluster_enabled") and not in_cluster:
        return "this server is in cluster mode", "write its address as redis+cluster://host:port/"
    if info.get("role", "master") != "master":
        return "this server is a replica", "give the address of the primary"
    policy = str(info.get("maxmemory_policy", ""))
    if int(info.get("maxmemory", 0)) > 0 and policy.startswith("allkeys"):
        return (
            f"maxmemory-policy {policy} may evict private state, which would be lost silently",
            "CONFIG SET maxmemory-policy noeviction (or volatile-lru: only public documents have a TTL)",
        )
    return None

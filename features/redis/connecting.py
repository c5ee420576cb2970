"""From an address to a client: one server, a cluster, or whichever server Sentinel calls the master.

Laws of this file:
- No client that is opened here retries by itself, and none waits longer for an answer than it was told to.
- Nothing is asked of any server before the first command. No message holds a password.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import SSLConnection, parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from penstock.features.redis.cluster_client import ClusterClient
from penstock.features.redis.refused import unusable
from penstock.features.redis.server_rules import refusal
from penstock.features.units import StoreUnavailable

FORMS = {
    "cluster": "redis+cluster://host:port,host:port/ (some of the cluster's nodes)",
    "sentinel": "redis+sentinel://host:port,host:port/service/0 (the sentinels, the name they watch, the database)",
}
PORTS = {"cluster": 6379, "sentinel": 26379}
_OF_SENTINELS = "sentinel_"


def connect(url: str, timeout_s: float = 5.0, **options: Any) -> redis.Redis:
    """Open a client that never retries by itself and never waits longer than `timeout_s` for an answer.

    `redis://`, `rediss://` (TLS) and `unix://` name one server, `redis+cluster://host:port,host:port/` some nodes of a cluster,
    `redis+sentinel://host:port,host:port/service/0` the sentinels that know which server is the master; `rediss+…` speaks TLS
    with the servers. Options go to `redis.Redis.from_url` as they are: `username`, `password`, `max_connections`,
    `ssl_ca_certs` (with a `rediss://` URL) and so on; those that begin with `sentinel_` are the sentinels' own.

    Raises:
        StoreUnavailable: if the address is of none of these forms; a URL of one server is judged by redis-py alone.

    """
    given = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, **options}
    scheme = url.partition("://")[0]
    kind = scheme.partition("+")[2]
    if not kind:
        return redis.Redis.from_url(url, **{"retry": Retry(NoBackoff(), 0), **given})
    nodes, path, more = _read(url, scheme, kind)
    given = {**given, **more}
    if kind == "cluster":
        if path.strip("/") not in ("", "0"):
            raise _wrong(f"a cluster has no database {path.strip('/')!r}", scheme, kind)
        return cast(redis.Redis, ClusterClient(nodes, given))
    service, _, database = path.strip("/").partition("/")
    if not service or not (database or "0").isdecimal():
        raise _wrong("the path must be the name of the service and the database's number", scheme, kind)
    own = {name: given.pop(name) for name in list(given) if name.startswith(_OF_SENTINELS)}
    of_sentinels = {name: value for name, value in given.items() if name.startswith("socket_")}
    of_sentinels |= {name.removeprefix(_OF_SENTINELS): value for name, value in own.items()}
    of_sentinels["retry"] = Retry(NoBackoff(), 0)
    make: Any = Sentinel
    pool_of: Any = SentinelConnectionPool
    sentinel = make(nodes, sentinel_kwargs=of_sentinels)
    pool = pool_of(service, sentinel, **{"retry": Retry(NoBackoff(), 0), "db": int(database or 0), **given})
    return redis.Redis.from_pool(pool)


def _read(url: str, scheme: str, kind: str) -> tuple[list[tuple[str, int]], str, dict[str, Any]]:
    """The nodes, the path and the options of an address that names several servers."""
    if kind not in FORMS or scheme not in (f"redis+{kind}", f"rediss+{kind}"):
        raise _wrong(f"{scheme}:// is no scheme of a Redis address", scheme, kind)
    split = urlsplit(url)
    user, at, hosts = split.netloc.rpartition("@")
    nodes = []
    for one in hosts.split(","):
        try:
            node = urlsplit(f"//{one}")
            nodes.append((node.hostname or "", node.port or PORTS[kind]))
        except ValueError as problem:
            raise _wrong(f"{one!r} is not host:port ({problem})", scheme, kind) from None
    if not all(host for host, _ in nodes):
        raise _wrong("a host is missing", scheme, kind)
    try:
        parsed: Any = parse_url  # it has no types
        more: dict[str, Any] = parsed(f"{scheme.partition('+')[0]}://{user}{at}host/?{split.query}")
    except ValueError as problem:
        raise _wrong(str(problem), scheme, kind) from None
    del more["host"]
    if more.pop("connection_class", None) is SSLConnection:
        more["ssl"] = True
    return nodes, split.path, more


def _wrong(what: str, scheme: str, kind: str) -> StoreUnavailable:
    forms = FORMS.get(kind) or f"redis://host:port/0, {FORMS['cluster']} or {FORMS['sentinel']}"
    return StoreUnavailable(what, f"REDIS_URL, {scheme}://…", f"write {forms}")


def address(client: redis.Redis) -> str:
    """Say where a client connects to, without secrets."""
    pool = client.connection_pool
    given = pool.connection_kwargs
    if isinstance(pool, SentinelConnectionPool):
        asked = [one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels]
        hosts = ",".join(f"{one.get('host')}:{one.get('port')}" for one in asked)
        return f"redis+sentinel://{hosts}/{pool.service_name}/{given.get('db', 0)}"
    return str(given.get("path") or f"redis://{given.get('host')}:{given.get('port')}/{given.get('db', 0)}")


def check_redis(client: redis.Redis) -> None:
    """Refuse a server, or a cluster one of whose primaries, cannot keep state.

    Raises:
        StoreRefused: if it does not know this user, or the user may not ask it.
        StoreUnavailable: if it does not answer, or `server_rules.refusal` says why not.

    """
    where = address(client)
    several: Any = client
    try:
        if isinstance(several, ClusterClient):
            infos: dict[str, Any] = several.infos()
        else:
            infos = {where: client.info()}
    except redis.RedisError as problem:
        raise unusable(problem, where, "check that Redis runs there, and REDIS_URL") from problem
    for node, info in infos.items():
        refused = refusal(cast(Mapping[str, Any], info), in_cluster=isinstance(several, ClusterClient))
        if refused is not None:
            what, todo = refused
            raise StoreUnavailable(what, node, todo)

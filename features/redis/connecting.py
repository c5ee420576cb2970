"""From an address to a client: one server, a cluster, or whichever server Sentinel calls the master.

Laws of this file:
- No client that is opened here retries by itself, and none waits longer for an answer than it was told to.
- Nothing is asked of any server before the first command. No message holds a password.
"""

from __future__ import annotations

import re
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
ENCODED = "/, ?, #, @ and : within it are %2F, %3F, %23, %40 and %3A"
PORTS = {"cluster": 6379, "sentinel": 26379}
_OF_SENTINELS = "sentinel_"
_SCHEME = re.compile(r"[a-z]+(\+[a-z]+)?")


def connect(url: str, timeout_s: float = 5.0, **options: Any) -> redis.Redis:
    """Open a client that never retries by itself and never waits longer than `timeout_s` for an answer.

    `redis://`, `rediss://` (TLS) and `unix://` name one server, `redis+cluster://host:port,host:port/` some nodes of a cluster,
    `redis+sentinel://host:port,host:port/service/0` the sentinels that know which server is the master; `rediss+…` speaks TLS
    with the servers. Options go to `redis.Redis.from_url` as they are: `username`, `password`, `max_connections`,
    `ssl_ca_certs` (with a `rediss://` URL) and so on; those that begin with `sentinel_` are the sentinels' own.

    Raises:
        StoreUnavailable: if the address is of none of these forms.

    """
    _check_encoded(url)
    given = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, **options}
    scheme = url.partition("://")[0]
    kind = scheme.partition("+")[2]
    if not kind:
        try:
            return redis.Redis.from_url(url, **{"retry": Retry(NoBackoff(), 0), **given})
        except ValueError as problem:
            raise _wrong(_said(problem), scheme, kind) from None
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


def without_secrets(url: str) -> str:
    """A Redis address as it may be shown: without user, password and options.

    >>> without_secrets("rediss://mia:secret@redis:6379/0?ssl_ca_certs=ca.pem"), without_secrets("redis://127.0.0.1:6379/0")
    ('rediss://…@redis:6379/0?…', 'redis://127.0.0.1:6379/0')
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        return "…"
    place, asks, options = rest.partition("?")
    user, at, place = place.rpartition("@")
    if "@" in options or (not at and not urlsplit(f"//{place}").hostname and not place.startswith("/")):
        return f"{scheme}{mark}…"
    return f"{scheme}{mark}{'…@' if at else ''}{place}{'?…' if asks else ''}"


def _check_encoded(url: str) -> None:
    """Refuse a user or password that ends where nobody meant it to: the rest would be taken for a host, and said."""
    scheme, _, rest = url.partition("://")
    place = re.split("[/?#]", rest, maxsplit=1)[0]
    path, _, options = rest[len(place) :].partition("?")
    in_options = "@" in options and ("=" not in options.partition("@")[0] or place.startswith(":"))
    if scheme != "unix" and "@" not in place and ("@" in path or "#" in rest or in_options):
        raise _wrong(
            f"the user or the password ends at a character that is not encoded ({ENCODED})", scheme, ""
        )


def _said(problem: ValueError) -> str:
    """What redis-py says of an address, where it says nothing that stands in it."""
    said = str(problem)
    known = ("Redis URL must", "Invalid value for", "Invalid SSL")
    return said.replace("\n", " ") if said.startswith(known) else f"host or port is none ({ENCODED})"


def _read(url: str, scheme: str, kind: str) -> tuple[list[tuple[str, int]], str, dict[str, Any]]:
    """The nodes, the path and the options of an address that names several servers."""
    if kind not in FORMS or scheme not in (f"redis+{kind}", f"rediss+{kind}"):
        raise _wrong(f"{scheme}:// is no scheme of a Redis address", scheme, kind)
    try:
        split = urlsplit(url)
    except ValueError as problem:
        raise _wrong(_said(problem), scheme, kind) from None
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
    where = f"REDIS_URL, {scheme}://…" if _SCHEME.fullmatch(scheme) else "REDIS_URL"
    return StoreUnavailable(what, where, f"write {forms}")


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

"""A Redis Cluster as one server would be: commands go to the node of their key, named as on a single server (`placing`).

Laws of this file:
- Redirections (`MOVED`, `ASK`) are followed; whatever else means "not now" (a node away, `TRYAGAIN`, `CLUSTERDOWN`, slots without
  a node) is a `ConnectionError`, on which callers wait and ask again. Nobody is asked twice for what may have been done.
- Only primaries are asked.
- What a unit cannot write with its task's keys, since it belongs to a whole pipeline, is written by `publish` and told to a
  replica before it counts as written: nothing would notice its loss.
- Reading what is served beside its features, the former is the same before and after the latter, or all is read again.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import starmap
from typing import Any, TypeVar

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ClusterError,
    NoScriptError,
    RedisClusterException,
    TryAgainError,
)
from redis.retry import Retry

from penstock.features.redis import cluster_nodes, cluster_walk, placing
from penstock.features.redis.keys import live_key, position_key
from penstock.features.redis.resp import save_command
from penstock.features.units import Write

FAILOVER_S = 60.0  # a node is given up after 15 s by default, and its replica elected within 2
READS = 8  # of what is served, while it changes
REPLICA_MS = 1_000  # longest wait for a replica to have what belongs to a whole pipeline
_NOT_NOW = (TryAgainError, ClusterDownError, ClusterError, RedisClusterException, AskError)
_log = logging.getLogger("penstock.store")
_T = TypeVar("_T")


class _Live(msgspec.Struct):
    partitions: int = 0


_live = msgspec.json.Decoder(_Live).decode


class _Address:
    """What `address` reads of a client."""

    def __init__(self, where: str, options: Mapping[str, Any]) -> None:
        self.connection_kwargs = {"path": where, "decode_responses": options.get("decode_responses")}


class Cluster:
    """What the stores ask of a `one_server.Server`, over a cluster; `cluster_client` has what is asked of a client.

    `options` are those of `redis.RedisCluster`. It connects with the first command, and may be used from several threads.
    """

    patience_s = FAILOVER_S
    several = True

    def __init__(self, nodes: Sequence[tuple[str, int]], options: Mapping[str, Any]) -> None:
        """Keep the addresses."""
        self._seeds, self._options = list(nodes), dict(options)
        self.connection_pool = _Address(
            "redis+cluster://" + ",".join(f"{host}:{port}" for host, port in nodes) + "/", options
        )
        self._cluster: Any = None
        self._connecting = threading.Lock()
        self._stale = False
        self._served: dict[str, bytes | None] = {}

    # -- what is asked of it ---------------------------------------------------------------------------------------------------

    def mget(self, names: Sequence[str], /) -> list[bytes | None]:
        """The values of many keys, those of a slot in one moment; with a pipeline's live key among them, of one version."""
        wide = [name for name in names if placing.is_live(name)]
        others = [name for name in names if not placing.is_live(name)]
        if not others:
            return self._read(wide)
        of_documents = {document[0] for name in others if (document := placing.document_of(name)) is not None}
        if not wide:
            asked = [live_key(pipeline) for pipeline in of_documents]
            return self._documents(others, dict(zip(asked, self._read(asked), strict=True)))
        more = [key for pipeline in of_documents if (key := live_key(pipeline)) not in wide]
        wide_too = [*dict.fromkeys(wide), *more]
        before = (
            {name: self._served[name] for name in wide_too}
            if self._served.keys() >= set(wide_too)
            else dict(zip(wide_too, self._read(wide_too), strict=True))
        )
        for _ in range(READS):
            found = dict(zip(others, self._documents(others, before), strict=True))
            after = dict(zip(wide_too, self._read(wide_too), strict=True))
            if after == before:
                self._served.update(after)
                return [after[name] if name in after else found[name] for name in names]
            before = after
        raise redis.ConnectionError(f"{wide[0]} changed each time it was read")

    def run(self, text: str, names: Sequence[str], values: Sequence[bytes | str]) -> Any:
        """See `Server.run`."""
        keys = self._keys(names)
        sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        for opening in (["EVALSHA", sha], ["EVAL", text]):
            [reply] = self._at(keys[0], [save_command([*opening, len(keys), *keys, *values], [], ())])
            if not isinstance(reply, NoScriptError):
                break
        return answer(reply)

    def exchange(self, name: str, commands: Sequence[bytes]) -> list[Any]:
        """See `Server.exchange`. After a redirection all of them are sent again: scripts see what was done."""
        return self._at(placing.placed(name), commands)

    def names(self, names: Sequence[str]) -> Sequence[str]:
        """See `Server.names`."""
        return [placing.placed(name) for name in names]

    def writes(self, writes: Sequence[Write], pipeline: str, task: str) -> Sequence[Write]:
        """See `Server.writes`. What `publish` writes is left out."""
        private, public = f"penstock:{pipeline}:{task}:", f"features:{pipeline}:"
        states, documents = f"penstock:{{{pipeline}:{task}}}:", f"features:{{{pipeline}:{task}}}:"
        after, behind, none = len(private), len(public), placing.placed(position_key(pipeline, task))
        given = []
        for name, state, shown, document, ttl_ms in writes:
            key = states + name[after:] if name.startswith(private) else placing.placed(name)
            if shown.startswith(public):
                given.append(Write(key, state, documents + shown[behind:], document, ttl_ms))
            elif not shown or placing.is_live(shown):
                given.append(Write(key, state, none, b"", 0))
            else:
                given.append(Write(key, state, placing.placed(shown, task), document, ttl_ms))
        return given

    def wide(self, name: str) -> bool:
        """See `Server.wide`."""
        return placing.is_live(name)

    def publish(self, name: str, document: bytes, partitions: int) -> None:
        """See `Server.publish`. A live document says by how many partitions its pipeline's documents lie.

        And it is another one each time, so that a version that was served before is not taken for one that stood all along.
        """
        said = {**msgspec.json.decode(document), "edition": secrets.token_hex(4)}
        told = msgspec.json.encode({**said, "partitions": partitions} if partitions else said)
        commands = [save_command(["SET", name, told], [], ())]
        if self._asked(lambda cluster: bool(cluster.get_replicas())):
            commands.append(save_command(["WAIT", 1, REPLICA_MS], [], ()))
        written, *heard = self.exchange(name, commands)
        answer(written)
        if heard and heard[0] != 1:
            _log.warning(
                "%s is written, and no replica of its node has said within a second that it has it", name
            )
        self._served.pop(name, None)

    def together(self, names: Sequence[str]) -> Iterable[Sequence[int]]:
        """See `Server.together`: those of a slot."""
        slots: dict[int, list[int]] = {}
        for n, key in enumerate(self._keys(names)):
            slots.setdefault(key_slot(key.encode()), []).append(n)
        return slots.values()

    def page(self, at: Any, prefix: str, count: int) -> tuple[Any, list[str]]:
        """See `Server.page`. Where slots moved meanwhile the walk begins again, so names may come twice."""
        return self._asked(lambda cluster: cluster_walk.page(cluster, at, prefix, count))

    def renew(self) -> None:
        """See `Server.renew`: who has which slots is asked before the next command."""
        self._stale = True

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _keys(self, names: Iterable[str | bytes]) -> list[str]:
        """The keys of names; that of a document of several tasks by the partition of its entity."""
        texts = [name.decode() if isinstance(name, bytes) else name for name in names]
        of = [None if isinstance(text, placing.Found) else placing.document_of(text) for text in texts]
        pipelines = list({document[0] for document in of if document is not None})
        served = self._read([live_key(pipeline) for pipeline in pipelines])
        partitions = {one: _partitions(live) for one, live in zip(pipelines, served, strict=True)}
        return [
            placing.placed(text)
            if document is None
            else placing.placed(text, placing.task_of(document[1], partitions[document[0]]))
            for text, document in zip(texts, of, strict=True)
        ]

    def _documents(self, names: Sequence[str], live: Mapping[str, bytes | None]) -> list[bytes | None]:
        """The values of names. What is not where murmur2 says is looked for with every other task: producers may place it so."""
        keys: list[str] = []
        others: dict[int, list[str]] = {}
        for n, name in enumerate(names):
            document = None if isinstance(name, placing.Found) else placing.document_of(name)
            partitions = 0 if document is None else _partitions(live.get(live_key(document[0])))
            task = placing.task_of(document[1], partitions) if document is not None else placing.ALL
            keys.append(placing.placed(name, task))
            if partitions > 1:
                others[n] = [placing.placed(name, str(m)) for m in range(partitions) if str(m) != task]
        values = self._read(keys)
        missing = [n for n in others if values[n] is None]
        if missing:
            elsewhere = iter(self._read([key for n in missing for key in others[n]]))
            for n in missing:
                there = [value for _, value in zip(others[n], elsewhere, strict=False)]
                values[n] = next((value for value in there if value is not None), None)
        return values

    def _at(self, key: str, commands: Sequence[bytes]) -> list[Any]:
        """The answers to packed commands of the slot of a key."""
        slot = key_slot(key.encode())
        return self._asked(lambda cluster: cluster_nodes.exchange(cluster, slot, commands))

    def _read(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of keys, a command a slot, all commands of a node in one go."""
        return self._asked(lambda cluster: cluster_nodes.read(cluster, keys)) if keys else []

    def _asked(self, call: Callable[[Any], _T]) -> _T:
        """What a call gives, with one sort of error for "not now"."""
        try:
            return call(self._connected())
        except (redis.ConnectionError, redis.TimeoutError):
            self.renew()  # a node that is away may have been replaced by the next time
            raise
        except _NOT_NOW as problem:
            self.renew()
            cause = problem.__cause__
            if isinstance(cause, redis.AuthenticationError):
                raise cause from None
            raise redis.ConnectionError(str(problem)) from problem

    def _connected(self) -> Any:
        with self._connecting:
            if self._cluster is None:
                node: Any = ClusterNode
                self._cluster = RedisCluster(
                    startup_nodes=list(starmap(node, self._seeds)),
                    retry=Retry(NoBackoff(), 0),
                    require_full_coverage=False,
                    reinitialize_steps=1,
                    **self._options,
                )
                self._stale = False
            cluster, stale = self._cluster, self._stale
        if stale:
            cluster.nodes_manager.initialize(self._seeds)
            self._stale = False
        return cluster


def answer(reply: Any) -> Any:
    """What a command was answered; raises what it was refused with."""
    if isinstance(reply, Exception):
        raise reply
    return reply


def _partitions(live: bytes | None) -> int:
    """How many partitions a pipeline's documents lie by; 0 if they are those of one task."""
    return 0 if live is None else _live(live).partitions

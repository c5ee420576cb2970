"""The exactly-once unit of work on Redis: one Lua script checks owner, generation and position, then writes.

Laws, beyond those of `units`:
- No client retries silently. Connections are retried here, for `retry_for_s` seconds, each time with a
  warning in the log and in `reconnects`; that is safe because the script recognises what it already did.
- The owner's token is random, not a counter: a stalled worker that wakes must not be able to count itself
  ahead.
- A primary that lost its newest writes (failover, restored backup, AOF every second) has an older position
  but a consistent one, since a unit is atomic there too: `StateLost` now, and `acquire` gives where to go
  on.
"""

import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import redis

from penstock.features.redis import keys, scripts
from penstock.features.redis.cluster import Cluster
from penstock.features.redis.connecting import address, check_redis, connect
from penstock.features.redis.memory import MemoryServer, MemoryStateStore
from penstock.features.redis.one_server import server_of
from penstock.features.redis.refused import unusable
from penstock.features.redis.resp import Argument, fastest_save_command
from penstock.features.units import (
    KEEP_TTL,
    UNIT_BYTES,
    UNIT_KEYS,
    Fenced,
    StateLost,
    StateStore,
    StoreRefused,
    StoreUnavailable,
    Unit,
    Write,
    check_units,
)

# fmt: off
__all__ = [
    "KEEP_TTL", "UNIT_BYTES", "UNIT_KEYS", "Fenced", "MemoryServer", "MemoryStateStore", "RedisStateStore", "StateLost",
    "StateStore", "StoreRefused", "StoreUnavailable", "Unit", "Write", "address", "check_redis", "connect",
]
# fmt: on

LOAD_KEYS = 1000  # keys per MGET
CLEAR_KEYS = 500  # keys per UNLINK

_log = logging.getLogger("penstock.store")
_T = TypeVar("_T")


class RedisStateStore:
    """The state of one task on a Redis; see `units.StateStore`.

    Attributes:
        reconnects: how often a command had to be repeated because the server did not answer.

    """

    def __init__(
        self,
        client: redis.Redis,
        pipeline: str,
        task: str,
        *,
        retry_for_s: float | None = None,
        partitions: int = 0,
    ) -> None:
        """Name the task; nothing is read yet. The client comes from `connect`, or is configured like it.

        `retry_for_s` is how long a server that is away is waited for; None waits for a restart, or a failover where there can be
        one. `partitions` is how many tasks the pipeline has if they are partitions: a cluster's readers are told.
        """
        _check_client(client)
        self.reconnects = 0
        self._server = server_of(client)
        self._where = address(client)
        self._pipeline, self._name, self._partitions = pipeline, task, partitions
        self._task = f"{pipeline}/{task}"
        self._retry_for_s = self._server.patience_s if retry_for_s is None else retry_for_s
        self._save_command = fastest_save_command()
        named = (keys.token_key, keys.generation_key, keys.position_key)
        self._names = tuple(key(pipeline, task) for key in named)
        self._keys = self._server.names(self._names)
        self._states = keys.states_prefix(pipeline, task)
        self._sha = hashlib.sha1(scripts.SAVE.encode(), usedforsecurity=False).hexdigest()
        self._token = ""
        self._generation: bytes | None = None
        #: The positions that may be stored now: one, or those between which a `save` is under way. Replaced, never changed.
        self._stored: tuple[bytes | None, ...] = (None,)

    def acquire(self) -> bytes | None:
        """See `StateStore.acquire`."""
        self._token = secrets.token_hex(16)
        self._generation, position = self._run(scripts.ACQUIRE, self._names, (self._token,))
        self._stored = (position,)
        if (self._generation is None) != (position is None):
            gone = "generation" if self._generation is None else "position"
            raise StateLost(f"{self._task}: the {gone} is gone from {self._where} but the rest is not")
        return cast("bytes | None", position)

    def start(self, position: bytes) -> None:
        """See `StateStore.start`."""
        generation = self._generation
        if self._stored == (None,):
            self.clear()
            generation = secrets.token_hex(16).encode()
        self._check(self._run(scripts.START, self._names, (self._token, generation or b"", position)))
        self._generation, self._stored = generation, (position,)

    def load(self, state_keys: Sequence[str]) -> list[bytes | None]:
        """See `StateStore.load`."""
        states: list[bytes | None] = []
        for at in range(0, len(state_keys), LOAD_KEYS):
            chunk = state_keys[at : at + LOAD_KEYS]
            states += self._retrying(lambda chunk=chunk: self._server.mget(chunk))  # type: ignore[misc]
        return states

    def save(self, units: Sequence[Unit]) -> None:
        """See `StateStore.save`."""
        check_units(units)
        if not units:
            return
        rest = list(units)
        if self._server.several:
            self._publish(rest)
        by_text = False
        self._stored = (units[0].base, *(unit.new for unit in units))

        def send() -> int:
            return self._send(rest, by_text)

        while rest:
            del rest[: self._retrying(send)]
            by_text = True
        self._stored = (units[-1].new,)

    def alive(self) -> None:
        """See `StateStore.alive`."""
        while True:
            may_be_stored = self._stored
            token, generation, position = self._retrying(lambda: self._server.mget(self._names))
            if token != self._token.encode():
                self._check(scripts.NO_TOKEN if token is None else scripts.FENCED)
            if generation != self._generation:
                self._check(scripts.NO_GENERATION)
            if position in may_be_stored:
                return
            if may_be_stored is self._stored:  # no `save` began or ended while this was asked
                self._check(scripts.NO_POSITION if position is None else scripts.OTHER_POSITION)

    def clear(self) -> int:
        """See `StateStore.clear`. Walks the whole database (SCAN), without blocking it."""
        deleted, batch = 0, list(self._names[1:])
        for key in self._scan():
            batch.append(key)
            deleted += 1
            if len(batch) == CLEAR_KEYS:
                self._check(self._run(scripts.DELETE, (self._names[0], *batch), (self._token,)))
                batch = []
        # Always at least one call: it is what finds out that the task is no longer ours.
        self._check(self._run(scripts.DELETE, (self._names[0], *batch), (self._token,)))
        self._generation, self._stored = None, (None,)
        return deleted

    def _scan(self) -> Iterator[str]:
        at: Any = 0
        while True:
            at, found = self._retrying(lambda at=at: self._server.page(at, self._states, 1000))  # type: ignore[misc]
            yield from found
            if at == 0:
                return

    def _publish(self, units: Sequence[Unit]) -> None:
        """Write what belongs to the whole pipeline and not to the task, where one script cannot write both.

        It goes first: a task goes on under a definition only where that is served. So it is at least once, and only looks
        whether the task is still ours.
        """
        writes = [write for unit in units for write in unit.writes if self._server.wide(write.public_key)]
        if writes:
            self.alive()
        for write in writes:
            self._retrying(
                lambda write=write: self._server.publish(write.public_key, write.document, self._partitions)  # type: ignore[misc]
            )

    def _send(self, units: Sequence[Unit], by_text: bool) -> int:
        """Send units in one pipeline and give how many of them are stored.

        Fewer than all are stored if the server does not know the script: send the rest `by_text`.
        """
        opening = ["EVAL", scripts.SAVE] if by_text else ["EVALSHA", self._sha]
        commands = []
        for unit in units:
            head: list[Argument] = [*opening, len(self._keys) + 2 * len(unit.writes), *self._keys]
            values: list[Argument] = [self._token, self._generation or b"", unit.base, unit.new]
            writes = self._server.writes(unit.writes, self._pipeline, self._name)
            commands.append(self._save_command(head, values, writes))
        replies = self._exchange(commands)
        # A unit can only be stored after all before it, whatever they answer when they are repeated.
        stored = [n for n, reply in enumerate(replies) if reply in (scripts.WRITTEN, scripts.ALREADY)]
        done = stored[-1] + 1 if stored else 0
        if done < len(units) and not isinstance(replies[done], redis.exceptions.NoScriptError):
            if isinstance(replies[done], Exception):
                raise replies[done]
            self._check(replies[done])
        return done

    def _exchange(self, commands: Sequence[bytes]) -> list[Any]:
        """Send commands in one go and give their answers; one that the server refused is its error."""
        return self._server.exchange(self._names[0], commands)

    def _run(self, text: str, names: Sequence[str], values: Sequence[bytes | str]) -> Any:
        return self._retrying(lambda: self._server.run(text, names, values))

    def _check(self, code: int) -> None:
        """Raise what a script's answer means."""
        if code == scripts.FENCED:
            raise Fenced(f"{self._task}: another worker owns this task on {self._where}")
        if code in scripts.LOST:
            raise StateLost(f"{self._task}: {scripts.LOST[code]} on {self._where}")

    def _retrying(self, call: Callable[[], _T]) -> _T:
        """Call until the server answers, for a bounded time."""
        deadline, wait_s = time.monotonic() + self._retry_for_s, 0.02
        while True:
            try:
                return call()
            except redis.exceptions.AuthenticationError as problem:  # which is a connection error, too
                raise unusable(problem, self._where, "") from problem
            except redis.OutOfMemoryError as problem:
                raise StoreUnavailable(
                    str(problem), self._where, "raise maxmemory or free memory"
                ) from problem
            except redis.RedisError as problem:
                if not _passes(problem):
                    raise unusable(problem, self._where, "see the server's log") from problem
                if time.monotonic() + wait_s > deadline:
                    todo = (
                        f"no answer for {self._retry_for_s:g} s; check that Redis runs there, and REDIS_URL"
                    )
                    raise StoreUnavailable(str(problem), self._where, todo) from problem
                self.reconnects += 1
                _log.warning("%s: %s; trying again in %.2f s", self._where, problem, wait_s)
                self._server.renew()
                time.sleep(wait_s)
                wait_s = min(wait_s * 2, 1.0)


def _passes(problem: redis.RedisError) -> bool:
    """Whether a server may answer soon.

    It is away, loading after a restart, without the replicas that it must have, or not the primary any more: then only a new
    connection finds the one that is.
    """
    away = (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError)
    return isinstance(problem, away) or str(problem).startswith("NOREPLICAS")


def _check_client(client: redis.Redis) -> None:
    """Refuse a client that was not opened by `connect`, and works otherwise than the store takes for granted."""
    several: Any = client
    retry = None if isinstance(several, Cluster) else client.get_retry()
    if retry is not None and retry.get_retries() != 0:
        raise ValueError(
            "the Redis client retries silently: open it with penstock.features.redis.store.connect(url)"
        )
    if client.connection_pool.connection_kwargs.get("decode_responses"):
        raise ValueError("the Redis client decodes responses, but states are bytes: leave that out")

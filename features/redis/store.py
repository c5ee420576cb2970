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

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from penstock.features.redis import keys, scripts
from penstock.features.redis.memory import MemoryServer, MemoryStateStore
from penstock.features.redis.refused import unusable
from penstock.features.redis.resp import Argument, fastest_save_command
from penstock.features.redis.server_rules import refusal
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
    "StateStore", "StoreRefused", "StoreUnavailable", "Unit", "Write", "check_redis", "connect",
]
# fmt: on

LOAD_KEYS = 1000  # keys per MGET
CLEAR_KEYS = 500  # keys per UNLINK

_log = logging.getLogger("penstock.store")
_T = TypeVar("_T")


def connect(url: str, timeout_s: float = 5.0, **options: Any) -> redis.Redis:
    """Open a client that never retries by itself and never waits longer than `timeout_s` for an answer.

    Options go to `redis.Redis.from_url` as they are: `username`, `password`, `max_connections`,
    `ssl_ca_certs` (with a `rediss://` URL) and so on.
    """
    given = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "retry": Retry(NoBackoff(), 0)}
    return redis.Redis.from_url(url, **{**given, **options})


def address(client: redis.Redis) -> str:
    """Say where a client connects to, without secrets."""
    given = client.connection_pool.connection_kwargs
    return str(given.get("path") or f"redis://{given.get('host')}:{given.get('port')}/{given.get('db', 0)}")


def check_redis(client: redis.Redis) -> None:
    """Refuse a server that cannot keep state.

    Raises:
        StoreRefused: if it does not know this user, or the user may not ask it.
        StoreUnavailable: if it does not answer, or `server_rules.refusal` says why not.

    """
    where = address(client)
    try:
        refused = refusal(cast(Mapping[str, Any], client.info()))
    except redis.RedisError as problem:
        raise unusable(problem, where, "check that Redis runs there, and REDIS_URL") from problem
    if refused is not None:
        what, todo = refused
        raise StoreUnavailable(what, where, todo)


class RedisStateStore:
    """The state of one task on a Redis; see `units.StateStore`.

    Attributes:
        reconnects: how often a command had to be repeated because the server did not answer.

    """

    def __init__(self, client: redis.Redis, pipeline: str, task: str, *, retry_for_s: float = 10.0) -> None:
        """Name the task; nothing is read yet. The client comes from `connect`, or is configured like it."""
        retry = client.get_retry()
        if retry is not None and retry.get_retries() != 0:
            raise ValueError(
                "the Redis client retries silently: open it with penstock.features.redis.store.connect(url)"
            )
        if client.connection_pool.connection_kwargs.get("decode_responses"):
            raise ValueError("the Redis client decodes responses, but states are bytes: leave that out")
        self.reconnects = 0
        self._client: Any = client
        self._where = address(client)
        self._task = f"{pipeline}/{task}"
        self._retry_for_s = retry_for_s
        self._save_command = fastest_save_command()
        named = (keys.token_key, keys.generation_key, keys.position_key)
        self._names = tuple(key(pipeline, task) for key in named)
        self._states = keys.pattern(keys.states_prefix(pipeline, task))
        texts = (scripts.SAVE, scripts.START, scripts.ACQUIRE, scripts.DELETE)
        self._scripts = {text: client.register_script(text) for text in texts}
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
            states += self._retrying(lambda chunk=chunk: self._client.mget(chunk))  # type: ignore[misc]
        return states

    def save(self, units: Sequence[Unit]) -> None:
        """See `StateStore.save`."""
        check_units(units)
        if not units:
            return
        rest = list(units)
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
            token, generation, position = self._retrying(lambda: self._client.mget(self._names))
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
        deleted, batch = 0, list[str | bytes](self._names[1:])
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

    def _scan(self) -> Iterator[bytes]:
        cursor = 0
        while True:
            cursor, found = self._retrying(
                lambda at=cursor: self._client.scan(at, match=self._states, count=1000)  # type: ignore[misc]
            )
            yield from found
            if cursor == 0:
                return

    def _send(self, units: Sequence[Unit], by_text: bool) -> int:
        """Send units in one pipeline and give how many of them are stored.

        Fewer than all are stored if the server does not know the script: send the rest `by_text`.
        """
        opening = ["EVAL", scripts.SAVE] if by_text else ["EVALSHA", self._scripts[scripts.SAVE].sha]
        commands = []
        for unit in units:
            head: list[Argument] = [*opening, len(self._names) + 2 * len(unit.writes), *self._names]
            values: list[Argument] = [self._token, self._generation or b"", unit.base, unit.new]
            commands.append(self._save_command(head, values, unit.writes))
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
        """Send commands in one go and give their answers; one that the server refused is its error.

        The client's pipeline does the same, but packs every argument by itself, which costs more than all else here.
        """
        pool = self._client.connection_pool
        connection = pool.get_connection()
        replies: list[Any] = []
        try:
            connection.send_packed_command(commands)
            for _ in commands:
                try:
                    replies.append(connection.read_response())
                except redis.ResponseError as refused:
                    replies.append(refused)
        finally:
            if len(replies) < len(commands):
                connection.disconnect()  # an answer that comes later belongs to nobody
            pool.release(connection)
        return replies

    def _run(self, text: str, names: Sequence[str | bytes], values: Sequence[bytes | str]) -> Any:
        return self._retrying(lambda: self._scripts[text](keys=names, args=values))

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
            except (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError) as problem:
                # Also "loading" after a restart, and a failover, after which only a new connection finds the
                # primary.
                if time.monotonic() + wait_s > deadline:
                    todo = (
                        f"no answer for {self._retry_for_s:g} s; check that Redis runs there, and REDIS_URL"
                    )
                    raise StoreUnavailable(str(problem), self._where, todo) from problem
                self.reconnects += 1
                _log.warning("%s: %s; trying again in %.2f s", self._where, problem, wait_s)
                # not those that another thread uses: it finds out by itself
                self._client.connection_pool.disconnect(inuse_connections=False)
                time.sleep(wait_s)
                wait_s = min(wait_s * 2, 1.0)
            except redis.OutOfMemoryError as problem:
                raise StoreUnavailable(
                    str(problem), self._where, "raise maxmemory or free memory"
                ) from problem
            except redis.RedisError as problem:
                raise unusable(problem, self._where, "see the server's log") from problem

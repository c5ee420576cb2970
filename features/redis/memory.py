"""The store's twin in memory, for tests: the same contract without a server.

Laws: those of `units`. There is no clock, so public documents do not expire; `ttl_ms` remembers what they
were given.
"""

from collections.abc import Iterable, Sequence

from penstock.features.redis import keys
from penstock.features.units import KEEP_TTL, Fenced, StateLost, Unit, check_units


class MemoryServer:
    """What a Redis would hold, shared by the stores and readers of one test. `flushall` loses it all."""

    def __init__(self) -> None:
        """Start empty."""
        self.data: dict[str, bytes] = {}
        self.ttl_ms: dict[str, int] = {}
        self.hashes: dict[str, dict[str, bytes]] = {}
        self._issued = 0

    def fresh(self) -> bytes:
        """Give a token that was never given before."""
        self._issued += 1
        return str(self._issued).encode()

    def mget(self, names: Iterable[str]) -> list[bytes | None]:
        """Read many keys, as Redis does."""
        return [self.data.get(name) for name in names]

    def put(self, key: str, value: bytes, ttl_ms: int = 0) -> None:
        """Write one key, or delete it if the value is empty."""
        if ttl_ms == KEEP_TTL:
            if key not in self.data:
                return
            ttl_ms = self.ttl_ms.get(key, 0)
        self.data.pop(key, None)
        self.ttl_ms.pop(key, None)
        if value:
            self.data[key] = value
            if ttl_ms:
                self.ttl_ms[key] = ttl_ms

    def flushall(self) -> None:
        """Lose everything."""
        self.data.clear()
        self.hashes.clear()
        self.ttl_ms.clear()


class MemoryStateStore:
    """The state of one task in a `MemoryServer`; see `units.StateStore`."""

    def __init__(self, server: MemoryServer, pipeline: str, task: str) -> None:
        """Name the task; nothing is read yet."""
        self._server = server
        self._where = f"{pipeline}/{task}"
        self._token_key = keys.token_key(pipeline, task)
        self._generation_key = keys.generation_key(pipeline, task)
        self._position_key = keys.position_key(pipeline, task)
        self._state_prefix = keys.states_prefix(pipeline, task)
        self._token = b""
        self._generation: bytes | None = None
        #: The positions that may be stored now: one, or those between which a `save` is under way. Replaced, never changed.
        self._stored: tuple[bytes | None, ...] = (None,)

    def acquire(self) -> bytes | None:
        """See `StateStore.acquire`."""
        data = self._server.data
        self._token = data[self._token_key] = self._server.fresh()
        self._generation = data.get(self._generation_key)
        position = data.get(self._position_key)
        self._stored = (position,)
        if (self._generation is None) != (position is None):
            raise StateLost(f"{self._where}: half of the bookkeeping is gone")
        return position

    def start(self, position: bytes) -> None:
        """See `StateStore.start`."""
        self._check_owner()
        data = self._server.data
        stored = data.get(self._position_key)
        if stored is not None:
            if stored == position and data.get(self._generation_key) == self._generation:
                return
            raise StateLost(f"{self._where}: started already, at another position")
        self.clear()
        self._generation = data[self._generation_key] = self._server.fresh()
        data[self._position_key] = position
        self._stored = (position,)

    def load(self, state_keys: Sequence[str]) -> list[bytes | None]:
        """See `StateStore.load`."""
        return self._server.mget(state_keys)

    def save(self, units: Sequence[Unit]) -> None:
        """See `StateStore.save`."""
        check_units(units)
        if not units:
            return
        stored = self._check_bookkeeping()
        news = [unit.new for unit in units]
        if stored != units[0].base and stored not in news:
            raise StateLost(f"{self._where}: the stored position is not the base of this unit")
        self._stored = (units[0].base, *news)
        for unit in units[news.index(stored) + 1 if stored in news else 0 :]:
            for write in unit.writes:
                self._server.put(write.state_key, write.state)
                if write.public_key:
                    self._server.put(write.public_key, write.document, write.ttl_ms)
            self._server.data[self._position_key] = unit.new
        self._stored = (units[-1].new,)

    def alive(self) -> None:
        """See `StateStore.alive`."""
        while self._stored != (None,):
            may_be_stored = self._stored
            if self._check_bookkeeping() in may_be_stored:
                return
            if may_be_stored is self._stored:  # no `save` began or ended while this was asked
                raise StateLost(f"{self._where}: the position went back")
        self._check_owner()

    def clear(self) -> int:
        """See `StateStore.clear`."""
        self._check_owner()
        states = [key for key in self._server.data if key.startswith(self._state_prefix)]
        for key in (*states, self._generation_key, self._position_key):
            self._server.put(key, b"")
        self._generation, self._stored = None, (None,)
        return len(states)

    def _check_owner(self) -> None:
        token = self._server.data.get(self._token_key)
        if token is None:
            raise StateLost(f"{self._where}: the owner's token is gone")
        if token != self._token:
            raise Fenced(f"{self._where}: another worker owns this task")

    def _check_bookkeeping(self) -> bytes:
        self._check_owner()
        if self._server.data.get(self._generation_key) != self._generation or self._generation is None:
            raise StateLost(f"{self._where}: the generation is another or gone")
        position = self._server.data.get(self._position_key)
        if position is None:
            raise StateLost(f"{self._where}: the position is gone")
        return position

"""Where the serve role gets its models from: learn's replica in Redis, and versions that are kept.

Laws of this file:
- Looking says that somebody is there, so that learn goes on writing replicas; the word is forgotten in `WANTED_MS`.
- Nothing is unpickled that is not signed. What does not open is said, and the models that answer stay.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, cast

import redis

from penstock.features.redis.keys import replica_key, wanted_key
from penstock.features.redis.refused import unusable
from penstock.features.redis.store import StateStore
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.replica import Replica
from penstock.stream.learn.replica_snapshot import open_replica, stored_replica
from penstock.stream.models.published import key_of
from penstock.stream.models.store import ModelStore
from penstock.stream.models.version import Secret, Version, named, open_version

WANTED_MS = 30_000
MOST_VERSIONS_OPEN = 4
NAMED_S = 5.0


class Keyed(Protocol):
    """What is needed of a Redis client."""

    def mget(self, keys: Sequence[str], /) -> Any:
        """The values of many keys, None where there is none."""

    def set(self, name: str, value: bytes, /, *, px: int) -> Any:
        """Write a key for so many ms."""


class _Loads:
    """The part of a state store that a reader of snapshots needs."""

    def __init__(self, client: Keyed) -> None:
        self.client = client

    def load(self, state_keys: Sequence[str]) -> list[bytes | None]:
        """Read states, in the order of the keys."""
        return list(self.client.mget(state_keys)) if state_keys else []


class Replicas:
    """The newest replica of one pipeline, by its name as deployed. Used by one thread at a time."""

    def __init__(
        self, client: Keyed, pipeline: Pipeline, deployed: str, secret: Secret, where: str = ""
    ) -> None:
        self.client, self.pipeline, self.where = client, pipeline, where
        self.stored = stored_replica(cast(StateStore, _Loads(client)), deployed, secret)
        self.key, self.wanted = replica_key(deployed), wanted_key(deployed)
        self.seen: bytes | None = None

    def newest(self) -> Replica | None:
        """The newest replica, None if it is the one of the last call, or there is none.

        Raises `StoreUnavailable` or `StoreRefused`, and `BadEnvelope` for one that does not open here.
        """
        try:
            self.client.set(self.wanted, b"1", px=WANTED_MS)
            (sealed,) = self.client.mget([self.key])
            if sealed is None or sealed == self.seen:
                return None
            taken = self.stored.load()
        except redis.RedisError as error:
            raise unusable(error, self.where, "check that Redis runs there") from error
        if taken is None:
            return None
        self.seen = sealed
        return open_replica(self.pipeline, taken)


class Opened(NamedTuple):
    """A version that is open, and until when the name that it was asked by is taken to mean it (s of `clock_s`)."""

    version: Version
    model: Any
    until_s: float

    @property
    def known(self) -> tuple[str, Any, int]:
        """Its id (of a named copy that of what was named), its model, and the offset before which that had learned everything."""
        return key_of(self.version).version, self.model, self.version.position


class KeptVersions:
    """Models of kept versions, the newest few that were asked for held open. They only ever predict. Any thread may ask."""

    def __init__(self, store: ModelStore, clock_s: Callable[[], float] = lambda: 0.0) -> None:
        self.store, self.clock_s = store, clock_s
        self.open: dict[str, Opened] = {}
        self.turn = threading.Lock()

    def __call__(self, wanted: str) -> tuple[str, Any, int]:
        """The id and model of a version, and the offset before which it had learned everything, by id or a name that people gave.

        A person may move a name, so what it means is looked up again after `NAMED_S`.

        Raises:
            BadEnvelope: it must not be opened.
            KeyError: there is none; says so.
            StoreUnavailable: Redis does not answer.

        """
        held = self.open.get(wanted)
        if held is not None and self.clock_s() < held.until_s:
            return held.known
        with self.turn:
            found = self.store.get(wanted) or self.store.get(named(wanted, sorted(self.store.ids())))
            if found is None:
                raise KeyError("there is no such version; `penstock models` lists those that are kept")
            version, payload = found
            same = held is not None and key_of(held.version) == key_of(version)
            model = held.model if held is not None and same else open_version(version, payload)
            until_s = math.inf if version.id == wanted else self.clock_s() + NAMED_S
            opened = self.open[wanted] = Opened(version, model, until_s)
            while len(self.open) > MOST_VERSIONS_OPEN:
                del self.open[next(iter(self.open))]
        return opened.known

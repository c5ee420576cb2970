"""What single pages read from themselves: Kafka's log and Redis, opened when a page first needs them, once for all.

Laws of this file:
- A page's reading is bounded: `SLOTS` pages read at once, and whoever finds none free within `WAIT_S` is told so.
- What was read stays good for a moment (`kept`), so that many who look at a page ask the servers once.
- Nothing is written but what `send_back` is told to send.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from penstock.features.redis.store import connect
from penstock.stream.console.page import CannotRead
from penstock.stream.console.reading.explaining import Explaining
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import Log
from penstock.stream.models.store import ModelStore, RedisModelStore
from penstock.stream.models.version import Keys
from penstock.stream.operate.dead_letters import Letter, send_back
from penstock.stream.process.settings import Settings

SLOTS = 4
WAIT_S = 10.0
REDIS_S = 2.0
KAFKA_S = 5.0
MOST_KEPT = 64
Value = TypeVar("Value")


class Servers:
    """Kafka and Redis at the settings' addresses. `log`, `client` and `send` stand in for them, in tests."""

    def __init__(
        self,
        settings: Settings,
        *,
        log: Log | None = None,
        client: Any = None,
        send: Callable[[Iterable[Letter]], int] | None = None,
    ) -> None:
        self.settings = settings
        self.prefix = settings.prefix
        self.explaining = Explaining()
        self.sent: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._log, self._client = log, client
        self._send = send or (lambda letters: send_back(letters, settings))
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(SLOTS)
        self._kept: OrderedDict[Any, tuple[float, Any]] = OrderedDict()

    @property
    def log(self) -> Log:
        """Kafka, as a log; nothing is asked of it yet."""
        with self._lock:
            if self._log is None:
                self._log = KafkaLog(
                    self.settings.bootstrap,
                    self.settings.kafka,
                    client_id=self.settings.client_id,
                    request_timeout_s=min(self.settings.connect_timeout_s, KAFKA_S),
                )
            return self._log

    @property
    def client(self) -> Any:
        """A client of Redis; nothing is asked of it yet."""
        with self._lock:
            if self._client is None:
                self._client = connect(self.settings.redis_url, REDIS_S)
            return self._client

    def versions(self, pipeline: str) -> ModelStore | None:
        """Where a pipeline's versions are stored; None without the secret that they are signed with."""
        if not self.settings.secret:
            return None
        keys = Keys(self.settings.secret, self.settings.former_secrets)
        return RedisModelStore(self.client, pipeline, keys, self.settings.models, self.prefix)

    def send_back(self, letters: Iterable[Letter]) -> int:
        """Send dead letters back where they came from; how many were. Raises `LogError`."""
        return self._send(letters)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Reads while others read, of whom there are few. Raises `CannotRead`."""
        if not self._slots.acquire(timeout=WAIT_S):
            raise CannotRead(
                f"{SLOTS} other pages are being read from Kafka and Redis: load this one again in a moment"
            )
        try:
            yield
        finally:
            self._slots.release()

    def kept(self, key: Any, for_s: float | Callable[[Value], float], make: Callable[[], Value]) -> Value:
        """What `make` gave less than `for_s` ago for this key (which may depend on what it gave), or gives now."""
        now_s = time.monotonic()
        with self._lock:
            until_s, value = self._kept.get(key, (0.0, None))
            if now_s < until_s:
                return value  # type: ignore[no-any-return]
        with self.slot():
            made = make()
        with self._lock:
            self._kept[key] = time.monotonic() + (for_s(made) if callable(for_s) else for_s), made
            self._kept.move_to_end(key)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return made

    def close(self) -> None:
        """Read nothing more."""
        self.explaining.close()
        with self._lock:
            if self._log is not None:
                self._log.close()
                self._log = None


_opened: dict[int, tuple[Settings, Servers]] = {}
_opening = threading.Lock()


def servers_of(sources: Any) -> Servers:
    """The servers of a console's sources: those at the addresses of its settings, or the ones that it brings.

    Raises:
        CannotRead: if it brings none.

    """
    if isinstance(sources, Servers):
        return sources
    if not isinstance(sources, Settings):
        raise CannotRead("this console was started without Kafka and Redis to read this page from")
    with _opening:
        known = _opened.get(id(sources))
        if known is None:
            known = _opened[id(sources)] = sources, Servers(sources)
        return known[1]

"""Keeps an outside registry up to date beside the fold: a thread that is told when something changed, and never waited for.

Laws of this file:
- A commitment is published at once, other changes at most once in `EVERY_S`; what failed is tried again when told next, after
  `EVERY_S` at the earliest. A fold neither waits for the thread nor learns of its failures, which are logged and counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

logger = logging.getLogger("penstock.mlflow")

EVERY_S = 60.0
LOOK_S = 240.0
"""So much later it is published although learn knows of no change: people give names, and somebody may have changed MLflow."""
END_S = 5.0
"""How long the end of a role waits for a call that is under way."""


class Registry(Protocol):
    """What is published to."""

    def sync(self, live: Mapping[str, Any], stored_again: Sequence[str] = ()) -> Any:
        """Make it say what is stored, and what is live as the document says; gives what was `registered`. Raises anything."""


class Publisher:
    """Publishes to one registry.

    `registered` counts versions and `failures` attempts, for the metrics. `clock_s` is monotonic.
    """

    def __init__(self, registry: Registry, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.registry, self.clock_s = registry, clock_s
        self.registered = self.failures = 0
        self.wanted = threading.Condition()
        self.live: Mapping[str, Any] | None = None
        self.stored: set[str] = set()
        self.published: tuple[Any, ...] = ()
        self.next_s = 0.0
        self.ended = self.failed = False
        self.thread: threading.Thread | None = None

    def start(self) -> Publisher:
        """Let the thread run."""
        self.thread = threading.Thread(target=self._run, name="penstock-mlflow", daemon=True)
        self.thread.start()
        return self

    def tell(self, live: Mapping[str, Any], stored: Collection[str]) -> None:
        """What is live now, and the ids of versions that were stored since the last call. Returns at once."""
        with self.wanted:
            self.live = live
            self.stored.update(stored)
            self.wanted.notify()

    def due(self) -> bool:
        """Whether there is something to publish now."""
        if self.live is None:
            return False
        if self.published == _what(self.live) and not self.stored:
            return self.clock_s() >= self.next_s + LOOK_S
        committed = self.published[:1] != _what(self.live)[:1]
        return self.clock_s() >= self.next_s or (committed and not self.failed)

    def publish(self) -> None:
        """Publish once what was told last."""
        with self.wanted:
            live, stored, self.stored = self.live or {}, self.stored, set()
        self.next_s = self.clock_s() + EVERY_S
        try:
            done = self.registry.sync(live, sorted(stored))
        except Exception as error:  # a server that is away, or answers oddly: the flow goes on
            self.failures += 1
            self.failed = True
            with self.wanted:
                self.stored |= stored
            logger.warning("not published to MLflow, tried again: %s: %s", type(error).__name__, error)
            return
        self.failed = False
        self.registered += len(done.registered)
        self.published = _what(live)

    def _run(self) -> None:
        while True:
            with self.wanted:
                while not self.ended and not self.due():
                    self.wanted.wait(1.0)
                if self.ended:
                    return
            self.publish()

    def close(self) -> None:
        """End the thread; a call that is under way is left behind after `END_S`."""
        with self.wanted:
            self.ended = True
            self.wanted.notify()
        if self.thread is not None:
            self.thread.join(END_S)


def _what(live: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of the public document is published."""
    return (live.get("commit"), live.get("committed"), live.get("previous"), live.get("states"))

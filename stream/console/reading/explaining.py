"""Explanations that take a while: one is worked out at a time, in a thread, and found again by whoever asks next.

Laws of this file:
- At most `MOST_WAITING` wait, and none takes longer than `MOST_S`: whoever wants more is told the command.
- Nothing is worked out unless somebody asks, and nothing twice while it is kept.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Literal

logger = logging.getLogger("penstock.console")

MOST_WAITING = 4
MOST_KEPT = 32
MOST_S = 600.0
AGAIN_S = 30.0
Progress = Callable[[int, int], None]


class GivenUp(Exception):  # noqa: N818 - no error: it was stopped
    """It took too long, or the console ends."""


class Work:
    """One explanation: how far it is, and what came of it."""

    def __init__(self) -> None:
        self.how: Literal["waits", "runs", "done", "failed"] = "waits"
        self.folded = 0
        self.of = 0
        self.found: Any = None
        self.said = ""
        self.until_s = 0.0

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.how in ("done", "failed")


class Explaining:
    """Works out what `ask` is given."""

    def __init__(self) -> None:
        self._works: OrderedDict[Any, Work] = OrderedDict()
        self._waiting: deque[tuple[Work, Callable[[Progress], Any]]] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def known(self, key: Any) -> Work | None:
        """What was asked for under this key, if it is still known."""
        with self._lock:
            return self._works.get(key)

    def ask(self, key: Any, make: Callable[[Progress], Any]) -> Work | None:
        """Have it worked out, if it is not; None where too many wait."""
        with self._lock:
            work = self._works.get(key)
            if work is not None and not (work.how == "failed" and time.monotonic() > work.until_s):
                return work
            if len(self._waiting) >= MOST_WAITING or self._closed:
                return None
            work = self._works[key] = Work()
            self._works.move_to_end(key)
            for old in [one for one, each in self._works.items() if each.over][
                : max(len(self._works) - MOST_KEPT, 0)
            ]:
                del self._works[old]
            self._waiting.append((work, make))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="explain", daemon=True)
                self._thread.start()
            return work

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or self._closed:
                    self._thread = None
                    return
                work, make = self._waiting.popleft()
            self._do(work, make)

    def _do(self, work: Work, make: Callable[[Progress], Any]) -> None:
        until_s = time.monotonic() + MOST_S

        def progress(folded: int, of: int) -> None:
            work.folded, work.of = folded, of
            if self._closed:
                raise GivenUp("the console ends")
            if time.monotonic() > until_s:
                raise GivenUp(f"it takes longer than {MOST_S / 60:.0f} minutes: use the command")

        work.how = "runs"
        try:
            work.found = make(progress)
            work.how = "done"
        # Whatever it is, it is said to who asked, and the next one is worked out.
        except Exception as error:
            if type(error).__module__ == "builtins":
                logger.exception("explaining failed")
                work.said = f"explaining failed ({type(error).__name__}): the console's log says where"
            else:
                work.said = str(error)
            work.until_s = time.monotonic() + AGAIN_S
            work.how = "failed"

    def close(self) -> None:
        """Work out nothing more."""
        self._closed = True

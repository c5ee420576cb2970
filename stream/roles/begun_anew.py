"""A role among others in one process: begun, turned, and begun anew when it could not go on, as a supervisor would do.

Laws of this file:
- What ends one role ends no other. It is closed, its sentence is logged, and after a pause it is begun anew; the pause doubles up
  to `LONGEST_PAUSE_S`, and is short again once the role has run for that long.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from penstock.stream.process.health_page import Health
from penstock.stream.roles.start import Worker

logger = logging.getLogger("penstock")

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0


class Begun(NamedTuple):
    """A worker, and what to call after it is closed, in order."""

    worker: Worker
    after: Sequence[Callable[[], None]] = ()


class BegunAnew:
    """One role of one pipeline. `begin` makes its worker, `clock_s` is a clock.

    `expected` are the errors whose sentence says all. `failure` is why it does not run; None while it does.
    """

    def __init__(
        self,
        name: str,
        begin: Callable[[], Begun],
        page: Health,
        clock_s: Callable[[], float],
        expected: tuple[type[Exception], ...] = (),
    ) -> None:
        self.name, self.begin, self.page, self.clock_s, self.expected = name, begin, page, clock_s, expected
        self.begun: Begun | None = None
        self.failure: Exception | None = None
        self.pause_s, self.begun_s, self.due_s = FIRST_PAUSE_S, 0.0, 0.0

    def start(self) -> None:
        """Begin; raises what it cannot begin for."""
        self.begun, self.begun_s, self.failure = self.begin(), self.clock_s(), None

    def turn(self) -> int:
        """One turn, or an attempt to begin where one is due; how many records were worked on."""
        try:
            if self.begun is None:
                if self.clock_s() < self.due_s:
                    return 0
                self.start()
                self.page.condition.labels("running").set(1)
                logger.info("%s runs again", self.name)
            return 0 if self.begun is None else self.begun.worker.process_batch(0.0)
        except Exception as error:
            self._fail(error)
            return 0

    def _fail(self, error: Exception) -> None:
        now_s = self.clock_s()
        if self.begun is not None and now_s - self.begun_s >= LONGEST_PAUSE_S:
            self.pause_s = FIRST_PAUSE_S
        self.failure, self.due_s = error, now_s + self.pause_s
        said = f"{self.name} cannot go on: {type(error).__name__}: {error}; it begins anew in {self.pause_s:.0f} s"
        logger.error(said, exc_info=None if isinstance(error, self.expected) else error)
        self.pause_s = min(self.pause_s * 2, LONGEST_PAUSE_S)
        self.page.ready({"running": False})
        try:
            self.close()
        except Exception as problem:  # it failed before it was closed: that says more
            logger.warning("%s did not close well: %s", self.name, problem)

    def close(self) -> None:
        """Close the worker and call what is to be called after it, each whatever the others raise."""
        begun, self.begun = self.begun, None
        if begun is not None:
            with ExitStack() as last:
                for call in reversed(begun.after):
                    last.callback(call)
                last.callback(begun.worker.close)

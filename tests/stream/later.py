"""A writer for tests that need no thread: each step of what is handed over is done at the moment that a script says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from penstock.stream.process.write_behind import Work

GIVEN, POLLED, LOADED, WAITED_FOR = range(4)
MOST_STEPS = 2


class Later:
    """A writer whose steps are done when given, at the next poll, when states are loaded, or when they are waited for.

    A moment of the script says it of both steps of a piece: the first's is its remainder by four, the second's its quotient.
    """

    def __init__(self, moments: Iterator[int]) -> None:
        self.moments = moments
        self.work: list[tuple[Work, ...]] = [()] * MOST_STEPS
        self.due = [GIVEN] * MOST_STEPS
        self.errors: list[BaseException | None] = [None] * MOST_STEPS
        self.due_next = GIVEN

    def run(self, *steps: Work) -> None:
        try:
            self._wait(0)
        except BaseException:
            self._settle(1)
            raise
        moment = next(self.moments)
        self.due_next = moment // 4
        self._take(0, steps, moment % 4)

    def polled(self) -> None:
        self._reached(POLLED)

    def loaded(self) -> None:
        self._reached(LOADED)

    @property
    def under_way(self) -> bool:
        return any(self.work)

    def _reached(self, moment: int) -> None:
        for at in range(MOST_STEPS):
            if self.work[at] and self.due[at] == moment:
                self._go(at)

    def _take(self, at: int, steps: tuple[Work, ...], due: int) -> None:
        self.work[at], self.due[at] = steps, due
        if due == GIVEN:
            self._go(at)

    def _go(self, at: int) -> None:
        (first, *rest), self.work[at] = self.work[at], ()
        try:
            first()
            if rest:
                self._wait(at + 1)
                self._take(at + 1, tuple(rest), self.due_next)
        except BaseException as error:
            self.errors[at] = error

    def _wait(self, at: int) -> None:
        if self.work[at]:
            self._go(at)
        error, self.errors[at] = self.errors[at], None
        if error is not None:
            raise error

    def _settle(self, at: int) -> None:
        for later in range(at, MOST_STEPS):
            with suppress(BaseException):
                self._wait(later)

    def finish(self) -> None:
        for at in range(MOST_STEPS):
            try:
                self._wait(at)
            except BaseException:
                self._settle(at + 1)
                raise

    def close(self) -> None:
        assert not self.under_way

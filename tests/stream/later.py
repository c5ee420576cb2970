"""A writer for tests that need no thread: what is handed over is done at the moment that a script says."""

from __future__ import annotations

from collections.abc import Callable, Iterator


class Later:
    """A writer whose work is done at the moment that a script says: when given, at the next poll, or when it is waited for."""

    def __init__(self, moments: Iterator[int]) -> None:
        self.moments = moments
        self.work: Callable[[], None] | None = None
        self.error: BaseException | None = None
        self.moment = 0
        self.most_ahead = 0

    def run(self, work: Callable[[], None]) -> None:
        self.finish()
        self.work, self.moment = work, next(self.moments)
        if self.moment == 0:
            self.go()

    def polled(self) -> None:
        if self.work is not None and self.moment == 1:
            self.go()

    def loaded(self) -> None:
        if self.work is not None and self.moment == 2:
            self.go()

    def go(self) -> None:
        work, self.work = self.work, None
        assert work is not None
        try:
            work()
        except BaseException as error:
            self.error = error

    def finish(self) -> None:
        if self.work is not None:
            self.most_ahead += 1
            self.go()
        error, self.error = self.error, None
        if error is not None:
            raise error

    def close(self) -> None:
        assert self.work is None

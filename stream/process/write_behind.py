"""Writing what one batch gave while the next ones are worked on.

Laws of this file:
- A piece of work is one step or several. Pieces go through each step in the order given, one at a time; a later step of one piece
  may be done beside an earlier step of the next. Whoever hands over the next piece waits for the first step of the one before.
- What a step raises is raised once, to whoever hands over the next piece or finishes. Of the pieces behind it no further step is
  begun that follows the one that raised, and the piece that was to be handed over is not done.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

Work = Callable[[], None]


class Writer(Protocol):
    """Does pieces of work in order, now or beside its caller. Used from one thread."""

    def run(self, *steps: Work) -> None:
        """Do these steps, one after another, behind everything given before; raises what that raised, and then does nothing."""

    def finish(self) -> None:
        """Return when everything given is done; raises what it raised."""

    def close(self) -> None:
        """Wait for what is under way, whatever comes of it, and end. Closing twice is harmless."""


class WriteThrough:
    """Does a piece of work when it is given."""

    def run(self, *steps: Work) -> None:
        """See `Writer.run`."""
        for step in steps:
            step()

    def finish(self) -> None:
        """See `Writer.finish`: nothing is ever under way."""

    def close(self) -> None:
        """See `Writer.close`."""


class WriteBehind:
    """Does pieces of work of at most so many `steps` in a thread for each step; at most one piece is under way in each.

    Example:
        >>> done = []
        >>> writer = WriteBehind("example", steps=2)
        >>> writer.run(lambda: done.append("first"), lambda: done.append("first, too"))
        >>> writer.run(lambda: done.append("second"))
        >>> writer.finish()
        >>> done.index("first") < done.index("second")
        True
        >>> writer.close()

    """

    def __init__(self, name: str, *, steps: int = 1) -> None:
        """`name` begins those of the threads."""
        self._threads = [ThreadPoolExecutor(1, thread_name_prefix=f"{name}-{n}") for n in range(steps)]
        self._under_way: list[Future[None] | None] = [None] * steps

    def run(self, *steps: Work) -> None:
        """See `Writer.run`; `ValueError` for more steps than there are threads."""
        if len(steps) > len(self._threads):
            raise ValueError(f"{len(steps)} steps, but threads for {len(self._threads)}")
        self._hand_over(0, steps)

    def _hand_over(self, at: int, steps: tuple[Work, ...]) -> None:
        """Have the first of `steps` done in its thread, once the piece before has left it. Called by the thread before."""
        try:
            self._wait(at)
        except BaseException:
            self._settle(at + 1)
            raise
        self._under_way[at] = self._threads[at].submit(self._do, at, steps)

    def _do(self, at: int, steps: tuple[Work, ...]) -> None:
        steps[0]()
        if len(steps) > 1:
            self._hand_over(at + 1, steps[1:])

    def _wait(self, at: int) -> None:
        under_way, self._under_way[at] = self._under_way[at], None
        if under_way is not None:
            under_way.result()

    def _settle(self, at: int) -> None:
        """Wait for all steps from this one on, whatever comes of them: the error of a step before is told."""
        for later in range(at, len(self._threads)):
            under_way, self._under_way[later] = self._under_way[later], None
            if under_way is not None:
                under_way.exception()

    def finish(self) -> None:
        """See `Writer.finish`."""
        for at in range(len(self._threads)):
            try:
                self._wait(at)
            except BaseException:
                self._settle(at + 1)
                raise

    def close(self) -> None:
        """See `Writer.close`."""
        self._settle(0)
        for thread in self._threads:
            thread.shutdown(wait=True)

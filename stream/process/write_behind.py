"""Writing what one batch gave while the next one is worked on.

Laws of this file:
- One piece of work at a time, in the order given: whoever hands over the next one waits for the one before.
- What a piece raises is raised once, to whoever hands over the next one or finishes; the next one is then not done.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

Work = Callable[[], None]


class Writer(Protocol):
    """Does pieces of work in order, now or beside its caller. Used from one thread."""

    def run(self, work: Work) -> None:
        """Do `work` after everything given before is done; raises what that raised, and then leaves `work` undone."""

    def finish(self) -> None:
        """Return when everything given is done; raises what it raised."""

    def close(self) -> None:
        """Wait for what is under way, whatever comes of it, and end. Closing twice is harmless."""


class WriteThrough:
    """Does a piece of work when it is given."""

    def run(self, work: Work) -> None:
        """See `Writer.run`."""
        work()

    def finish(self) -> None:
        """See `Writer.finish`: nothing is ever under way."""

    def close(self) -> None:
        """See `Writer.close`."""


class WriteBehind:
    """Does pieces of work in a thread of its own; at most one is under way.

    Example:
        >>> done = []
        >>> writer = WriteBehind("example")
        >>> writer.run(lambda: done.append("first"))
        >>> writer.run(lambda: done.append("second"))
        >>> writer.finish()
        >>> done
        ['first', 'second']
        >>> writer.close()

    """

    def __init__(self, name: str) -> None:
        """`name` is the thread's."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._under_way: Future[None] | None = None

    def run(self, work: Work) -> None:
        """See `Writer.run`."""
        self.finish()
        self._under_way = self._thread.submit(work)

    def finish(self) -> None:
        """See `Writer.finish`."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()

    def close(self) -> None:
        """See `Writer.close`."""
        self._under_way = None
        self._thread.shutdown(wait=True)

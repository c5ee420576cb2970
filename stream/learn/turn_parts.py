"""Where the time of the learn worker's turns goes.

Laws of this file:
- The clock is read a few times a turn, never for a record.
- A part that ends in an error is not counted: the next turn begins anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, get_args

Part = Literal["decode", "fold", "write", "commit", "snapshot"]
"""The parts of a turn: records to entries; the fold, with what its commands need from the log; versions and outputs, and the wait
until those of the batch before are acknowledged; the commit, where nothing else comes; the snapshot. Waiting for records is none
of them."""
PARTS: tuple[Part, ...] = get_args(Part)


class TurnParts:
    """Seconds of `clock` by part, since this worker began.

    Example:
        >>> times = iter([10.0, 10.5])
        >>> parts = TurnParts(lambda: next(times))
        >>> parts.start()
        >>> parts.ends("fold")
        >>> parts.seconds["fold"]
        0.5
    """

    __slots__ = ("_clock", "_since", "seconds")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.seconds: dict[Part, float] = dict.fromkeys(PARTS, 0.0)
        self._since = 0.0

    def start(self) -> None:
        """A part begins."""
        self._since = self._clock()

    def ends(self, part: Part) -> None:
        """What has passed since the last call belongs to this part; the next one begins."""
        now = self._clock()
        self.seconds[part] += now - self._since
        self._since = now


class LearnHealth(Protocol):
    """What the worker tells its metrics page, once a batch."""

    def batch(self, worker: Any, /) -> None:
        """Called after every turn of the loop."""

"""Where the time of the learn worker's turns goes, and how many records one takes.

Laws of this file:
- The clock is read a few times a turn, and for one record in some where they are stepped one by one.
- A part that ends in an error is not counted: the next turn begins anew.
- However slow a model is, a turn of several records lasts about `TURN_S`: whoever looks sees that the loop turns, what was folded
  is told, and a signal to end is heard. How the log is cut into turns moves no result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, get_args

Part = Literal["decode", "fold", "write", "commit", "snapshot"]
"""The parts of a turn: records to entries; the fold, with what its commands need from the log; versions and outputs, and the wait
until those of the batch before are acknowledged; the commit, where nothing else comes; the snapshot. Waiting for records is none
of them."""
PARTS: tuple[Part, ...] = get_args(Part)
TURN_S = 1.0
LATE_S, LOOK_EVERY = 2.0, 8
FIRST_RECORDS = 50
"""What the first turn takes, when nobody knows yet how slow the model is."""


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

    __slots__ = ("_clock", "_record_s", "_since", "seconds")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.seconds: dict[Part, float] = dict.fromkeys(PARTS, 0.0)
        self._since = 0.0
        self._record_s = TURN_S / FIRST_RECORDS

    def start(self) -> None:
        """A part begins."""
        self._since = self._clock()

    def due(self, most: int) -> int:
        """How many records a turn is to take, at most so many: as the last one's pace has it."""
        return most if self._record_s * most <= TURN_S else max(round(TURN_S / self._record_s), 1)

    def late(self, number: int) -> bool:
        """Whether a turn that has come to its record of this number should end: the model is slower than it was."""
        return number > 0 and number % LOOK_EVERY == 0 and self._clock() - self._since > LATE_S

    def ends(self, part: Part, records: int = 0) -> None:
        """What has passed since the last call belongs to this part, which worked so many records off; the next one begins."""
        now = self._clock()
        self.seconds[part] += now - self._since
        if records:
            self._record_s = (now - self._since) / records
        self._since = now


class LearnHealth(Protocol):
    """What the worker tells its metrics page, once a batch."""

    def batch(self, worker: Any, /) -> None:
        """Called after every turn of the loop."""

"""The order in which a single task would step, kept by many workers that each see a part of the events.

Laws of this file:
- A merge of partition heads by event time (`featurize.merge`) gives items in the order of (newest event time of the item's
  partition including it, source, partition, offset): each part is known where the partition is read, so the order of any two
  items can be told anywhere, by themselves alone.
- What is behind `line` is complete: every partition was heard of at or after it, or is at its end.
"""

from __future__ import annotations

from collections.abc import Mapping

Head = tuple[int, int]
"""(source index, partition)"""
Place = tuple[int, int, int, int]
"""(newest event time, source index, partition, offset): sorts as items are stepped."""
ENDLESS = 1 << 62


class Line:
    """How far each partition was heard of: its newest event time in ms (-1: of nothing), and whether it is at its end.

    A partition at its end is not waited for, as `featurize.merge` has it.
    """

    def __init__(self, heard: Mapping[Head, tuple[int, bool]]) -> None:
        self.heard = dict(heard)
        self._reached: tuple[int, int, int] | None = None

    def hear(self, head: Head, newest_at: int, at_end: bool) -> None:
        """What comes of this partition after this has no earlier newest event time; `at_end` nothing is known to come."""
        self.heard[head] = (newest_at, at_end)
        self._reached = None

    def passed(self, place: Place) -> bool:
        """Whether everything that goes before this item was heard of, given that the item itself was."""
        if self._reached is None:
            waited = [(newest_at, *head) for head, (newest_at, at_end) in self.heard.items() if not at_end]
            self._reached = min(waited, default=(ENDLESS, 0, 0))
        # Of the partition that is waited for, the item itself was heard of, and with it what stands before.
        return place[:3] <= self._reached

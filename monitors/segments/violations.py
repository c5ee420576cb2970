"""Which segment the records come from that are out of range, or null: counts, and the newest violations themselves.

Laws of this file
- A record costs its place in a buffer, and only one that violates is kept, so any onset among the newest `KEPT` is exact.
- What is usual is the share of all records, over about the last ten blocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Literal

import numpy as np

from penstock.monitors.segments.blame import Blamed, Floats, blame
from penstock.monitors.segments.places import Placed, Places, flattened

BLOCK_RECORDS = 1_024
FADING = 0.9
KEPT = 1_024


class SegmentRecords:
    """All records by segment, and those that violate a guard.

    Args:
        places: kept informed of which of them had records lately.
    """

    __slots__ = ("_fading", "_violations", "open", "places")

    def __init__(self, places: Places) -> None:
        self.places = places
        self.open: list[Placed] = []
        self._fading: Floats = np.zeros(places.count)
        self._violations: deque[tuple[int, Literal["range", "nulls"], str, Placed]] = deque(maxlen=KEPT)

    def close(self, at_ms: int) -> None:
        """Count the records of `open`, which whoever has them fills, once there are `BLOCK_RECORDS`."""
        counts = self._counted()
        self._fading = FADING * self._fading + counts
        self.open.clear()
        self.places.seen(np.flatnonzero(counts).tolist(), at_ms)

    def violates(
        self, position: int, monitor: Literal["range", "nulls"], inputs: Sequence[str], placed: Placed
    ) -> None:
        """The record at this position is out of range, or null, in these inputs."""
        for name in inputs:
            self._violations.append((position, monitor, name, placed))

    def carries(self, monitor: str, name: str, since_position: int) -> tuple[Blamed, int] | None:
        """The segment that the violating records of an input since an onset come from, and how many they are; None for no one."""
        found = [
            placed
            for position, its, one, placed in self._violations
            if its == monitor and one == name and position >= since_position
        ]
        if not found:
            return None
        damage = np.bincount(flattened(found), minlength=self.places.count).astype(np.float64)
        blamed = blame(damage, self.usual(), len(found))
        return None if blamed is None else (blamed, int(damage[blamed.place]))

    def usual(self) -> Floats:
        """Records by place, the newest counting most."""
        return self._fading + self._counted() if self.open else self._fading

    def forget(self, places: Sequence[int]) -> None:
        """These places belong to other values from here on; what violated there is no longer known to."""
        gone = set(places)
        self._fading[list(gone)] = 0.0
        kept = [one for one in self._violations if not gone.intersection(one[3])]
        self._violations = deque(kept, maxlen=KEPT)

    def _counted(self) -> Floats:
        return np.bincount(flattened(self.open), minlength=self.places.count).astype(np.float64)

"""Records of a partition, the newest first, for as long and as many bytes as a page may take.

Laws of this file:
- What is yielded has no holes: each portion ends where the one before it began. A portion that could not be read whole is not
  yielded, so whoever stops knows from which offset on he has seen everything.
- Nothing is joined or committed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from penstock.stream.log.protocol import TP, Log, Record

FIRST = 256
GROWS = 4
LARGEST = 100_000
POLL_RECORDS = 5_000
POLL_S = 0.5


class Budget:
    """How long one look may take, and how many bytes it may read."""

    def __init__(self, seconds: float = 5.0, most_bytes: int = 64_000_000) -> None:
        self.until_s = time.monotonic() + seconds
        self.left_bytes = most_bytes

    @property
    def spent(self) -> bool:
        """Whether nothing more may be read."""
        return self.left_bytes <= 0 or time.monotonic() >= self.until_s


class Portion(NamedTuple):
    """All records of a partition at [`start`, `stop`), in their order."""

    start: int
    stop: int
    records: list[Record]


def portion(log: Log, tp: TP, start: int, stop: int, budget: Budget) -> Portion | None:
    """All records at [`start`, `stop`); None where the budget did not last. Raises `LogError`."""
    found: list[Record] = []
    reader = log.reader({tp: start})
    try:
        position = start
        while position < stop:
            if budget.spent:
                return None
            records = reader.poll(min(stop - position, POLL_RECORDS), POLL_S)
            budget.left_bytes -= sum(len(one.value or b"") for one in records)
            found += [one for one in records if one.offset < stop]
            position = max(position, reader.positions().get(tp, position))
    finally:
        reader.close()
    return Portion(start, stop, found)


def backwards(
    log: Log, tp: TP, budget: Budget, *, start: int = 0, stop: int | None = None, first: int = FIRST
) -> Iterator[Portion]:
    """Portions of a partition at [`start`, `stop`), the newest first, each larger than the one before; as the budget lasts."""
    low, high = log.bounds([tp])[tp]
    low, high = max(low, start), high if stop is None else min(high, stop)
    size = first
    while high > low and not budget.spent:
        found = portion(log, tp, max(high - size, low), high, budget)
        if found is None:
            return
        yield found
        high, size = found.start, min(size * GROWS, LARGEST)

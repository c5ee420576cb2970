"""Event-time order over several partitions: a k-way merge of their heads, never a sort within a partition.

Laws of this file:
- Ties go to the lower (source, partition), so that the order is a function of the logs alone.
- An empty partition is waited for as long as the caller says the broker holds more of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from heapq import heapify, heappop, heapreplace

from penstock.stream.featurize.decode import Item
from penstock.stream.featurize.pace import ALL

Head = tuple[int, int]  # (source index, partition)
MOST_BUFFERED = 20_000
MOST_BUFFERED_BYTES = 64 << 20  # of all partitions together
ITEM_BYTES = 800  # what one takes beside its value
FEW, LOOKED_AT = 4, 16


class Merge:
    """Buffers decoded items per partition and gives them in event-time order.

    `enqueue` items of one partition in offset order; `take(at_end)` yields while every partition either has a buffered item or is
    in `at_end` (the broker's high watermark says that nothing more is there).
    """

    def __init__(self, heads: Iterable[Head]) -> None:
        self.buffers: dict[Head, deque[Item]] = {head: deque() for head in heads}

    def enqueue(self, head: Head, items: Iterable[Item]) -> None:
        """Append items of one partition, in offset order."""
        self.buffers[head].extend(items)

    def absorb(self, other: Merge) -> None:
        """Take over another merge's partitions, with what waits in them."""
        self.buffers.update(other.buffers)

    def __len__(self) -> int:
        return sum(len(buffer) for buffer in self.buffers.values())

    def full(self, before: Collection[Head]) -> set[Head]:
        """The partitions to read no further for now: much of them waits for another's event time.

        One that was full `before` stays so until little is left, because what was fetched of it is fetched again. A full one has
        something buffered, so the merge never waits for it.
        """
        return {
            head
            for head, buffer in self.buffers.items()
            if len(buffer) > (most := self._most(buffer)) or (head in before and len(buffer) > most // 4)
        }

    def _most(self, buffer: deque[Item]) -> int:
        """How many items like these a partition may have waiting, by some of them."""
        if len(buffer) < FEW:
            return MOST_BUFFERED
        some = range(0, len(buffer), max(len(buffer) // LOOKED_AT, 1))
        value_bytes = sum(len(buffer[place].record.value or b"") for place in some) / len(some)
        share = MOST_BUFFERED_BYTES / len(self.buffers)
        return min(MOST_BUFFERED, int(share / (ITEM_BYTES + value_bytes)))

    def next_at(self, at_end: Collection[Head]) -> int | None:
        """The event time of the item that `take` would give first; None if it would give none."""
        if any(not buffer and head not in at_end for head, buffer in self.buffers.items()):
            return None
        return min((buffer[0].at for buffer in self.buffers.values() if buffer), default=None)

    def take(self, at_end: Collection[Head], limit: int = ALL) -> Iterator[Item]:
        """Items in event-time order, until one that is not at its end runs dry or the next item is behind `limit` (ms)."""
        waiting = [head for head, buffer in self.buffers.items() if not buffer and head not in at_end]
        if waiting:
            return
        heap = [(buffer[0].at, head, buffer) for head, buffer in self.buffers.items() if buffer]
        heapify(heap)
        while heap:
            at, head, buffer = heap[0]
            if at > limit:
                return
            yield buffer.popleft()
            if buffer:
                heapreplace(heap, (buffer[0].at, head, buffer))
            elif head in at_end:
                heappop(heap)
            else:
                return

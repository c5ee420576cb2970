"""Items that wait for their turn: in memory in order, and in the keyed state as the batches that they came in.

Laws of this file:
- A batch is kept until every item of it went on. After a crash, what went on before is known by its partition's `done` offset:
  items of one partition go on in the order of their offsets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Generic, Protocol, TypeVar

from penstock.stream.flink.order import Head, Line, Place
from penstock.stream.flink.wire import Heard, decode_heard, encode


class Kept(Protocol):
    """A map in the keyed state: bytes by text."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, value: bytes) -> None: ...

    def remove(self, key: str) -> None: ...

    def items(self) -> Iterable[tuple[str, bytes]]: ...


class InMemory(dict[str, bytes]):
    """A map of the keyed state where there is no Flink."""

    put = dict.__setitem__
    remove = dict.__delitem__


class Placed(Protocol):
    """An item with its place."""

    @property
    def place(self) -> Place: ...


One = TypeVar("One", bound=Placed)


class Waiting(Generic[One]):
    """The items of one operator. `kept` holds batches, `rest` how far each partition is, by "source/partition"."""

    def __init__(self, heads: Iterable[Head], kept: Kept, rest: Kept) -> None:
        self.kept, self.rest = kept, rest
        self.heard = {head: Heard() for head in heads}
        for head in self.heard:
            said = rest.get(f"{head[0]}/{head[1]}")
            if said is not None:
                self.heard[head] = decode_heard(said)
        self.line = Line({head: (heard.newest_at, heard.at_end) for head, heard in self.heard.items()})
        self.queue: list[tuple[Place, str, One]] = []
        self.left: dict[str, int] = {}
        self.moved: set[Head] = set()

    def add(self, head: Head, newest_at: int, at_end: bool, items: Sequence[One], said: bytes) -> None:
        """A batch as it was `said`, and how far its partition is."""
        heard = self.heard[head]
        heard.newest_at, heard.at_end = newest_at, at_end
        self.line.hear(head, newest_at, at_end)
        self.moved.add(head)
        if items:
            self.kept.put(self._queue(items), said)

    def again(self, items: Sequence[One]) -> None:
        """A batch that was kept, after a crash: what of it did not go on yet."""
        self._queue([item for item in items if item.place[3] > self.heard[item.place[1:3]].done], items[0])

    def _queue(self, items: Sequence[One], first: One | None = None) -> str:
        _, source, partition, offset = (first or items[0]).place
        name = f"{source}/{partition}/{offset}"
        for item in items:
            heappush(self.queue, (item.place, name, item))
        self.left[name] = len(items)
        return name

    def next(self) -> One | None:
        """The next item in order, if everything before it was heard of; it stays until `pop`."""
        return self.queue[0][2] if self.queue and self.line.passed(self.queue[0][0]) else None

    def pop(self) -> One:
        """Let the next item go on."""
        place, name, item = heappop(self.queue)
        head = place[1:3]
        self.heard[head].done = place[3]
        self.moved.add(head)
        self.left[name] -= 1
        if not self.left[name]:
            del self.left[name]
            self.kept.remove(name)
        return item

    def keep(self) -> None:
        """Keep how far each partition is, where it moved."""
        for head in self.moved:
            self.rest.put(f"{head[0]}/{head[1]}", encode(self.heard[head]))
        self.moved.clear()

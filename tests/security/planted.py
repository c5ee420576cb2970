"""What somebody does who can write to a store and does not know the secret: bytes changed in every way, and pickles planted.

Laws of this file:
- A planted pickle marks that it was opened. A test that says "refused before it is opened" first sees the mark of one that is
  rightly signed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

MARKS: list[str] = []


def mark(said: str) -> dict[str, Any]:
    """What a planted pickle calls when it is opened."""
    MARKS.append(said)
    return {}


class Planted:
    """An object whose pickle calls `mark`."""

    def __init__(self, said: str = "opened") -> None:
        self.said = said

    def __reduce__(self) -> tuple[Any, ...]:
        return (mark, (self.said,))


def flipped(whole: bytes, stride: int = 1) -> Iterator[bytes]:
    """Each byte (of `stride` the first) with each of its bits changed, and all of them."""
    changed = bytearray(whole)
    for place in range(0, len(whole), stride):
        kept = changed[place]
        for by in (1, 2, 4, 8, 16, 32, 64, 128, 255):
            changed[place] = kept ^ by
            yield bytes(changed)
        changed[place] = kept


def cut(whole: bytes, stride: int = 1) -> Iterator[bytes]:
    """Every beginning, every end, and each byte left out or said twice."""
    for place in range(0, len(whole), stride):
        yield whole[:place]
        if place:
            yield whole[place:]
        yield whole[:place] + whole[place + 1 :]
        yield whole[: place + 1] + whole[place:]


def swapped(whole: bytes, furthest: int = 0) -> Iterator[bytes]:
    """Every two bytes that differ, at most `furthest` apart (0: any), in each other's place."""
    changed = bytearray(whole)
    for one in range(len(whole)):
        last = len(whole) if not furthest else min(len(whole), one + furthest + 1)
        for other in range(one + 1, last):
            if changed[one] != changed[other]:
                changed[one], changed[other] = changed[other], changed[one]
                yield bytes(changed)
                changed[one], changed[other] = changed[other], changed[one]


def altered(whole: bytes, others: Sequence[bytes] = ()) -> Iterator[bytes]:
    """All of it, and beginnings of these bytes that go on as others of the same kind do."""
    yield from flipped(whole)
    yield from cut(whole)
    yield from swapped(whole, 8)
    for other in others:
        for place in range(1, min(len(whole), len(other))):
            yield whole[:place] + other[place:]

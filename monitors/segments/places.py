"""A small number for each value of each segment field, so that sums by segment are arrays.

Laws of this file
- A field has `WIDTH` places: one for all other values, one for null, and `MOST_VALUES` for values, given as they come.
- Where a field is full, values that did not come for `FORGOTTEN_MS` of event time make way for new ones; whoever keeps sums by
  place is told to forget them.
- 1, 1.0 and true are one value, as they are in Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Value = float | str | bool | None
Placed = tuple[int, ...]
"""The place of a record in each field, in the order of the fields."""

MOST_VALUES = 32
WIDTH = MOST_VALUES + 2
OTHER = "(other)"
"""How all values beyond the first `MOST_VALUES` are named."""
FORGOTTEN_MS = 28 * 86_400_000
KNOWN_MOST = 1_024


def flattened(placed: Sequence[Placed]) -> NDArray[np.int64]:
    """All places of some records, record by record."""
    count = sum(map(len, placed))
    return np.fromiter(chain.from_iterable(placed), np.int64, count)


class Places:
    """The places of every field's values; those of field number f are f * WIDTH and on.

    Example:
        >>> places = Places(["carrier"])
        >>> places.take(("UA",), 0), places.take((None,), 0), places.take(("UA",), 0), places.of(("AA",))
        ((2,), (1,), (2,), (0,))
        >>> places.named(2)
        ('carrier', 'UA')
    """

    __slots__ = ("_free", "_known", "_seen_ms", "_tables", "fields", "forgotten")

    def __init__(self, fields: Sequence[str]) -> None:
        self.fields = tuple(fields)
        starts = [number * WIDTH for number in range(len(self.fields))]
        self._tables: list[dict[Value, int]] = [{None: start + 1} for start in starts]
        self._free = [list(range(start + WIDTH - 1, start + 1, -1)) for start in starts]
        self._seen_ms = [0] * self.count
        self.forgotten: list[int] = []
        self._known: dict[tuple[Value, ...], Placed] = {}

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        """What is known of whole records is found again: it is left out of a stored state."""
        return None, {**{name: getattr(self, name) for name in self.__slots__}, "_known": {}}

    @property
    def count(self) -> int:
        """Places in all."""
        return len(self.fields) * WIDTH

    def of(self, values: tuple[Value, ...]) -> Placed:
        """Where values belong that were taken before; those that were not, or no longer are, are among the others."""
        known = self._known.get(values)
        if known is not None:
            return known
        return tuple([
            table.get(value, number * WIDTH)
            for number, (table, value) in enumerate(zip(self._tables, values, strict=True))
        ])  # fmt: skip

    def take(self, values: tuple[Value, ...], at_ms: int) -> Placed:
        """Where a sample's values belong, a new one at a place of its own while there is one.

        `forgotten` names the places that were freed since it was last emptied.
        """
        known = self._known.get(values)
        if known is not None:
            return known
        found = []
        for number, (table, value) in enumerate(zip(self._tables, values, strict=True)):
            place = table.get(value)
            if place is None:
                place = self._give(number, value, at_ms)
            found.append(place)
        placed = tuple(found)
        if len(self._known) < KNOWN_MOST:
            self._known[values] = placed
        return placed

    def seen(self, places: Sequence[int], at_ms: int) -> None:
        """These places had samples, the newest at this event time. It makes room where a field is full."""
        for place in places:
            self._seen_ms[place] = at_ms
        for table, free in zip(self._tables, self._free, strict=True):
            if not free:
                old = [
                    (value, place)
                    for value, place in table.items()
                    if value is not None and at_ms - self._seen_ms[place] > FORGOTTEN_MS
                ]
                for value, place in old:
                    del table[value]
                    free.append(place)
                    self.forgotten.append(place)
                    self._known.clear()

    def named(self, place: int) -> tuple[str, Value]:
        """The field and the value of a place."""
        number = place // WIDTH
        value = next((value for value, its in self._tables[number].items() if its == place), OTHER)
        return self.fields[number], value

    def _give(self, number: int, value: Value, at_ms: int) -> int:
        if not self._free[number]:
            return number * WIDTH
        place = self._free[number].pop()
        self._tables[number][value] = place
        self._seen_ms[place] = at_ms
        return place

"""Values of a text input that were never seen before: a category that was renamed, or is written otherwise.

Laws of this file
- The usual share of unseen values is learned (`rare`): an input with new rare values every day is judged against that, and one
  in which most values are new (an id) is not judged.
- Values become known at the end of an epoch, while nothing is told. So a renamed category goes on being unseen until it
  is told of.
- State is bounded: at most `MOST_VALUES` known values; an input that has more is not judged any more (`open`).
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.monitors.episodes import Transition
from penstock.monitors.quality.rare import Rare

MOST_VALUES = 10_000
SHOWN_VALUES = 10
SHOWN_CHARACTERS = 60


class Unseen:
    """Tell when far more values of one input are unseen than usual.

    Transitions carry monitor `unseen` and the input's name; their detail names the unseen values, most frequent first.
    Numbers and nulls are never unseen.

    Args:
        name: the input.
        alarms_per_year: its share of the budget.

    `known` are the values that were seen in an epoch before; another dict when there are too many.
    """

    __slots__ = ("_new", "known", "open", "rare")

    def __init__(self, name: str, alarms_per_year: float) -> None:
        self.rare = Rare("unseen", name, alarms_per_year)
        self.open = False
        self.known: dict[str, None] = {}  # a dict is stored in the order in which it was filled
        self._new: dict[str, int] = {}

    def knows(self, value: object) -> bool:
        """Whether it counts as seen, now and ever after: it was seen before, or is no text, or nothing is judged any more."""
        return value in self.known or self.open or not isinstance(value, str)

    def update(self, number: int, at_ms: int, position: int, value: object) -> Sequence[Transition]:
        """Take the value of sample `number` (from 1)."""
        if value in self.known or self.open or not isinstance(value, str):
            return self._named(self.rare.clean(number, at_ms, position)) if self.rare.firing else ()
        self._new[value] = self._new.get(value, 0) + 1
        if len(self._new) + len(self.known) > MOST_VALUES:
            self.open = True
            self.known, self._new = {}, {}
        return self._named(self.rare.hit(number, at_ms, position))

    def turn(self, number: int, at_ms: int, position: int) -> Sequence[Transition]:
        """Sample `number` was the last of an epoch."""
        found = self._named(self.rare.turn(number, at_ms, position))
        if not self.rare.firing:
            self.known.update(dict.fromkeys(self._new))
            self._new = {}
        return found

    def _named(self, found: list[Transition]) -> list[Transition]:
        for change in found:
            common = sorted(self._new, key=lambda value: (-self._new[value], value))[:SHOWN_VALUES]
            change.detail["values"] = {value[:SHOWN_CHARACTERS]: self._new[value] for value in common}
        return found

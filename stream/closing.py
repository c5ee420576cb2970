"""Taking tasks out of use while their definition changes, and giving them back.

Laws of this file:
- A closed task says so in its position, so that no worker of either definition goes on with it; every move is a compare-and-set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from features.store import Fenced, StateStore, Unit, Write
from stream.definitions import DefinitionError
from stream.merge import Head
from stream.places import Change, Position, decode_position

MOST_FENCED = 50


class CannotBackfill(DefinitionError):
    """A change that cannot be brought over; the message says what would do."""


class TaskState(NamedTuple):
    """One task as it is stored: its position, and the definition it was written under."""

    name: str
    position: Position
    said: dict[str, Any]


class Owner:
    """Ownership of one task while its definition changes: closes it, writes into it, opens it again.

    A former worker that has not noticed yet may take the task's token once more; it then reads the closing mark and stops, and
    this takes the token back.
    """

    def __init__(self, store: StateStore, recipe: str) -> None:
        self.store, self.recipe = store, recipe
        self.position = Position("", {})
        self.stored = b""

    @property
    def now_at(self) -> int:
        """The newest event time of the task."""
        newest: list[int] = [newest for _, newest, _ in self.position.places.values()]
        return max([0, *newest])

    def targets(self, sources: Sequence[Any], topic_ids: Sequence[str]) -> dict[Head, int]:
        """Up to where records are in the task's state, by head."""
        return {head: place.offset for head, place in self.position.at(sources, topic_ids).items()}

    def close(self, more: dict[str, list[Any]]) -> None:
        """Take the task and mark it as being changed; `more` places are those of sources that are new to it."""
        self._acquire()
        change = self.position.change
        if change is None or change.recipe != self.recipe:
            places = {**more, **self.position.places}
            self._move(self.position._replace(places=places, change=Change(self.recipe, 0)), [])

    def save(self, writes: Sequence[Write]) -> None:
        """Write, leaving the task closed."""
        assert self.position.change is not None, "closed first"
        step = self.position.change.step + 1
        self._move(self.position._replace(change=Change(self.recipe, step)), writes)

    def open(self, places: dict[str, list[Any]], write: Write) -> None:
        """End the change: the task goes on from here under the new recipe."""
        self._move(Position(self.recipe, places), [write])

    def _acquire(self) -> None:
        stored = self.store.acquire()
        if stored is None:
            raise CannotBackfill(
                "the task's state is gone: start the featurize role, it rebuilds what it needs"
            )
        self.stored, self.position = stored, decode_position(stored)

    def _move(self, to: Position, writes: Sequence[Write]) -> None:
        for _ in range(MOST_FENCED):
            new = to.encode()
            try:
                self.store.save([Unit(self.stored, new, writes)])
            except Fenced:
                before = self.stored
                self._acquire()
                if (
                    self.stored not in (before, new)
                    and self.position.change is None
                    and to.change is not None
                ):
                    # The former worker wrote between our look and our mark: close where it is now.
                    to = self.position._replace(
                        places={**to.places, **self.position.places}, change=to.change
                    )
                continue
            self.stored, self.position = new, to
            return
        raise CannotBackfill(
            "another worker takes the task again and again: stop the pipeline's featurize roles"
        )

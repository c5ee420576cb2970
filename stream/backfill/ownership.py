"""Taking tasks out of use while their definition changes, and giving them back.

Laws of this file:
- A closed task says so in its position, so that no worker of either definition goes on with it; every move is a compare-and-set.
- A closed task is moved by one run alone. Positions of different runs differ, so none takes another's write for its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from penstock.features.redis.keys import live_key, position_key
from penstock.features.redis.keyspace import Keyspace
from penstock.features.redis.store import Fenced, StateStore, Unit, Write
from penstock.stream.definitions import DefinitionError
from penstock.stream.featurize.merge import Head
from penstock.stream.featurize.position import Change, Position, decode_position

MOST_FENCED = 50
OVERTAKEN = "another `penstock backfill` of this pipeline has taken over: this one ends"
STOP_ROLES = "another worker takes the task again and again: stop the pipeline's featurize roles"


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
    this takes the token back. Another run of `penstock backfill` that closes the task anew ends this one: `run` names each.
    """

    def __init__(self, store: StateStore, recipe: str, run: str) -> None:
        self.store, self.recipe, self.run = store, recipe, run
        self.position = Position("", {})
        self.stored = b""

    @property
    def now_at(self) -> int:
        """The newest event time of the task."""
        newest: list[int] = [newest for _, newest, _ in self.position.positions.values()]
        return max([0, *newest])

    def targets(self, sources: Sequence[Any], topic_ids: Sequence[str]) -> dict[Head, int]:
        """Up to where records are in the task's state, by head."""
        return {head: place.offset for head, place in self.position.at(sources, topic_ids).items()}

    def close(self, former: str, more: dict[str, list[Any]]) -> None:
        """Take the task, which stands under recipe `former`, and mark it as being changed, wherever its worker has come.

        `more` positions are those of sources that are new to it.
        """
        self._acquire()
        for _ in range(MOST_FENCED):
            if self.position.recipe != former:
                raise CannotBackfill(
                    f"the task's state went on from recipe {former} to {self.position.recipe} meanwhile: run this again"
                )
            change = Change(self.recipe, 0, self.run)
            if self._moved(
                self.position._replace(positions={**more, **self.position.positions}, change=change), []
            ):
                return
        raise CannotBackfill(STOP_ROLES)

    def save(self, writes: Sequence[Write]) -> None:
        """Write, leaving the task closed."""
        assert self.position.change is not None, "closed first"
        step = self.position.change.step + 1
        self._move(self.position._replace(change=Change(self.recipe, step, self.run)), writes)

    def open(self, positions: dict[str, list[Any]], write: Write) -> None:
        """End the change: the task goes on from here under the new recipe."""
        sources = {name.rpartition("/")[0] for name in positions}
        dead = {source: said for source, said in self.position.dead.items() if source in sources}
        self._move(Position(self.recipe, positions, None, dead, self.position.since), [write])

    def _acquire(self) -> None:
        stored = self.store.acquire()
        if stored is None:
            raise CannotBackfill(
                "the task's state is gone: start the featurize role, it rebuilds what it needs"
            )
        self.stored, self.position = stored, decode_position(stored)

    def _move(self, to: Position, writes: Sequence[Write]) -> None:
        """Move a closed task. Only another run could have moved it as well."""
        for _ in range(MOST_FENCED):
            before = self.stored
            if self._moved(to, writes):
                return
            if self.stored != before:
                raise CannotBackfill(OVERTAKEN)
        raise CannotBackfill(STOP_ROLES)

    def _moved(self, to: Position, writes: Sequence[Write]) -> bool:
        """Try once; after somebody else took the token it is taken back, and `position` is where the task stands."""
        new = to.encode()
        try:
            self.store.save([Unit(self.stored, new, writes)])
        except Fenced:
            self._acquire()
            return self.stored == new  # written, and only the answer was lost
        self.stored, self.position = new, to
        return True


class Standing(NamedTuple):
    """What a pipeline serves (version by view) and which changes of its tasks are under way, read in one moment."""

    served: dict[str, str]
    under_way: list[Change | None]


def standing(keyspace: Keyspace, pipeline: str, tasks: Sequence[str]) -> Standing:
    """How these tasks stand now."""
    live, *positions = keyspace.read([live_key(pipeline), *(position_key(pipeline, task) for task in tasks)])
    return Standing(
        {} if live is None else msgspec.json.decode(live)["views"],
        [None if position is None else decode_position(position).change for position in positions],
    )

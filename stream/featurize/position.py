"""The position document: how far a task has come, in every source partition, stored with its state in one atomic step.

Laws of this file:
- Canonical: equal positions are equal bytes, because a unit's compare-and-set compares them.
- It names the recipe that the state was written under and the layout of states, so that neither is ever misread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import msgspec

from penstock.features.define.view import STATE_LAYOUT
from penstock.stream.definitions import DefinitionError, Source
from penstock.stream.featurize.merge import Head

_Place = Annotated[str, msgspec.Meta(pattern="/[0-9]{1,9}$")]
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_Offset = Annotated[int, msgspec.Meta(ge=0)]


@dataclass
class HeadPosition:
    """How far one source partition has been stepped: the next offset and the newest event time before it (-1 if none)."""

    offset: int
    newest_at: int = -1


class Change(NamedTuple):
    """A change to another recipe that is under way: nobody but the run of `penstock backfill` named here may go on.

    `step` counts its units.
    """

    recipe: str
    step: int
    run: str = ""


class Position(NamedTuple):
    """A position document: `places` by `topic/partition`, as [offset, newest event time, topic id].

    `dead` is what `DeadShare` has counted of sources with dead letters. Where history came from files (`stream.bootstrap`),
    `since` is the event time (ms) from which on records of the topics are taken: what is older is in the state already. It is 0
    where the topics are taken from stated offsets on, and -1 where there were no files.
    """

    recipe: str
    positions: dict[str, list[Any]]
    change: Change | None = None
    dead: dict[str, list[Any]] = {}
    since: int = -1

    def encode(self) -> bytes:
        """The canonical document."""
        document: list[Any] = [STATE_LAYOUT, self.recipe, dict(sorted(self.positions.items()))]
        if self.since >= 0:
            document += [self.change, self.dead, self.since]
        elif self.dead:
            document += [self.change, self.dead]
        elif self.change is not None:
            document.append(self.change)
        return msgspec.msgpack.encode(document)

    def at(self, sources: Sequence[Source], topic_ids: Sequence[str]) -> dict[Head, HeadPosition]:
        """The positions in these sources. Raises `TopicRecreated` when a topic is another one by now."""
        index_of = {source.name: index for index, source in enumerate(sources)}
        found: dict[Head, HeadPosition] = {}
        for name, (offset, newest_at, topic_id) in self.positions.items():
            topic, _, partition = name.rpartition("/")
            if topic not in index_of:
                continue
            index = index_of[topic]
            if topic_id != topic_ids[index]:
                raise TopicRecreated(topic)
            found[(index, int(partition))] = HeadPosition(offset, newest_at)
        return found


def named(
    positions: Mapping[Head, HeadPosition], sources: Sequence[Source], topic_ids: Sequence[str]
) -> dict[str, list[Any]]:
    """Places as a position document names them."""
    return {
        f"{sources[index].name}/{partition}": [place.offset, place.newest_at, topic_ids[index]]
        for (index, partition), place in positions.items()
    }


class _Stored(msgspec.Struct, array_like=True):
    """What a document must be: nobody signed it, and whoever can write to Redis can write any other."""

    layout: int
    recipe: str
    positions: dict[_Place, tuple[_Offset, int, str]]
    change: Change | None = None
    dead: dict[str, list[Any]] = {}
    since: int = -1


def decode_position(stored: bytes) -> Position:
    """Read a document. Raises `DefinitionError` for one that another release of Penstock wrote, or that is none."""
    try:
        found = msgspec.msgpack.decode(stored)
        ours = isinstance(found, list) and bool(found) and found[0] == STATE_LAYOUT
        if ours or not (isinstance(found, list) and found and isinstance(found[0], int)):
            msgspec.convert(found, _Stored)
    except _UNREADABLE as error:
        raise _unreadable("position", error) from None
    if not ours:
        raise DefinitionError(
            "this state was written by another release of Penstock, with another layout; "
            "`penstock reset` starts over, or run the release that wrote it"
        )
    change = Change(*found[3]) if len(found) > 3 and found[3] is not None else None
    dead, since = found[4] if len(found) > 4 else {}, found[5] if len(found) > 5 else -1
    return Position(found[1], found[2], change, dead, since)


def decode_definition(stored: bytes) -> dict[str, Any]:
    """The definition that state was written under. Raises `DefinitionError` for what is none."""
    try:
        return msgspec.json.decode(stored, type=dict[str, Any])
    except _UNREADABLE as error:
        raise _unreadable("definition", error) from None


def _unreadable(document: str, error: Exception) -> DefinitionError:
    return DefinitionError(
        f"the {document} that Redis keeps with this pipeline's state cannot be read ({error}): somebody else wrote it. "
        f"See who may write there (`penstock acls`); `penstock reset FILE` starts over from the topics"
    )


class TopicRecreated(DefinitionError):
    """A source topic was deleted and created again: its offsets mean something else now."""

    def __init__(self, topic: str) -> None:
        super().__init__(
            f"topic {topic!r} was deleted and created again since this pipeline began to read it; its offsets start anew. "
            f"`penstock reset` starts the pipeline over, or restore the topic."
        )

"""What is asked of history, and the order that its parts keep by themselves.

Laws of this file:
- An event's place is (newest event time of its partition including it, source, partition, offset): the order in which a task
  steps events (`featurize.merge`), known where the event is read, so that any part of the events can be put in order by itself.
- A row that is a moment t is read behind every event whose place has a time up to t: what a reader gets that reads as of t when
  the stream has passed t. With `before`, behind those whose place has a time below t.
- A row that is an event of the predicted source is read at that event's own place: it is that event's sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

from penstock.stream.definitions import Pipeline

Place = tuple[int, ...]
"""(newest event time in ms, partition, offset) among the events of one source; a shorter one is before all that begin with it."""
UNNAMED = -1


class Group(NamedTuple):
    """Views of one source and one key: they are fed the same events. `key` and `views` are places among keys and views."""

    source: int
    key: int
    views: tuple[int, ...]
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """What is asked for.

    `files` are, by topic, the files of each partition in order; a job without any reads topics. `views` are those whose features
    are wanted, by name (empty: all). `events` says that rows are events, which are found by their id; else each is a moment.
    With `unordered`, events are taken in the order of their times, whatever order their files have, and none is late. `part` is
    (which, of how many), counted from 1, of the rows, by a hash of the columns `part_by`.
    `buckets` is by how many the work is divided (0: by its size).
    """

    pipeline: Pipeline
    spine: str
    out: str
    files: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    time: str | None = None
    views: Sequence[str] = ()
    events: bool = False
    before: bool = False
    unordered: bool = False
    part: tuple[int, int] = (1, 1)
    part_by: Sequence[str] = ()
    buckets: int = 0

    @property
    def wanted(self) -> list[int]:
        """The views whose features are wanted, by place."""
        return [n for n, view in enumerate(self.pipeline.views) if not self.views or view.name in self.views]

    @property
    def keys(self) -> list[tuple[str, ...]]:
        """The distinct keys of the wanted views."""
        return list(dict.fromkeys(self.pipeline.views[number].key_fields for number in self.wanted))

    @property
    def groups(self) -> list[Group]:
        """The wanted views by source and key."""
        views, keys = self.pipeline.views, self.keys
        sources = [source.name for source in self.pipeline.sources]
        found: dict[tuple[int, int], list[int]] = {}
        for number in self.wanted:
            view = views[number]
            found.setdefault((sources.index(view.source.name), keys.index(view.key_fields)), []).append(
                number
            )
        return [
            Group(source, key, tuple(numbers), tuple(sorted({f for n in numbers for f in views[n].fields})))
            for (source, key), numbers in found.items()
        ]

    @property
    def sources(self) -> list[int]:
        """The sources that must be read, by place: those of the views, and the predicted one where rows are its events."""
        return sorted({group.source for group in self.groups} | ({0} if self.events else set()))

    @property
    def names(self) -> list[str]:
        """The columns that are added."""
        views = self.pipeline.views
        return [f"{views[n].name}.{name}" for n in self.wanted for name in views[n].numeric]


def hash_of(entity: str) -> int:
    """What says where an entity's rows and events lie, the same in every process."""
    return crc32(entity.encode(errors="surrogatepass"))


def bound_of(source: int, ask: Sequence[int], *, events: bool, before: bool) -> Place:
    """Events of a source whose place is below this have come when a row is read.

    `ask` begins with the row's own time; of an event its place follows.
    """
    if not events:
        return (ask[0],) if before else (ask[0] + 1,)
    return tuple(ask[1:4]) if source == 0 else (ask[1],)

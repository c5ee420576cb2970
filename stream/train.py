"""Training outside the live fold: a model over a stretch of the samples log, joined by event id like the fold joins.

Laws of this file:
- The same entries give the same model, here and in the fold: one label is one `learn_one`, in the order of the log.
- Samples inside a quarantined interval teach nothing, whenever their label comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stream.messages import Entry, Label, Origin, Recipe, Sample

Interval = tuple[int, int]


def vector(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    """A sample's vector as river takes it: missing values are left out."""
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


class Seen:
    """The newest origin seen per (topic id, source partition): what is not above it is a repeat of a crash."""

    __slots__ = ("newest",)

    def __init__(self) -> None:
        self.newest: dict[tuple[str, int], int] = {}

    def is_repeat(self, origin: Origin) -> bool:
        """Whether this origin was seen already; takes it as seen otherwise."""
        place = (origin.topic_id, origin.partition)
        here = origin.offset * 4 + origin.sub
        if here <= self.newest.get(place, -1):
            return True
        self.newest[place] = here
        return False


def train(
    model: Any,
    names: Sequence[str],
    entries: Iterable[tuple[int, Entry]],
    *,
    learn_from: int,
    quarantined: Sequence[Interval] = (),
    expire_ms: int,
) -> tuple[Any, int]:
    """Fold (position, entry) pairs into `model` in place: (model, labels learned).

    Entries before `learn_from` are read for the join only: their labels are known to the model, but their samples may get a
    label later. A label more than `expire_ms` of event time after its sample teaches nothing, as in the fold.
    """
    seen = Seen()
    pending: dict[str, tuple[dict[str, Any], int, bool]] = {}
    early: dict[str, tuple[bool, int]] = {}
    learned = 0
    for position, entry in entries:
        if isinstance(entry, Sample):
            if seen.is_repeat(entry.origin):
                continue
            skip = any(start <= position < stop for start, stop in quarantined)
            x = vector(names, entry.x)
            if entry.id in early:
                y, _ = early.pop(entry.id)
                if position >= learn_from and not skip:
                    model.learn_one(x, y)
                    learned += 1
            else:
                pending.setdefault(entry.id, (x, entry.at, skip))
        elif isinstance(entry, Label):
            if seen.is_repeat(entry.origin):
                continue
            found = pending.pop(entry.id, None)
            if found is None:
                early.setdefault(entry.id, (entry.y, entry.at))
                continue
            x, at, skip = found
            if position >= learn_from and not skip and entry.at - at <= expire_ms:
                model.learn_one(x, entry.y)
                learned += 1
        elif isinstance(entry, Recipe):
            names = entry.inputs
    return model, learned

"""Training outside the live fold: a model over a stretch of the samples log, joined by event id like the fold joins.

Laws of this file:
- The same entries give a model that says the same, here and in the fold: one label is one `learn_one`, in the order of the log.
- Samples inside a quarantined interval teach nothing, whenever their label comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from penstock.stream.learn.join import Join
from penstock.stream.messages import Entry, LabelRecord, Origin, Recipe, Sample, Tick

Interval = tuple[int, int]


def vector(names: Sequence[str | None], values: Sequence[Any]) -> dict[str, Any]:
    """A sample's vector as river takes it: missing values are left out, and so is what has no name under this definition."""
    return {
        name: value
        for name, value in zip(names, values, strict=True)
        if value is not None and name is not None
    }


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


def probability(model: Any, x: dict[str, Any]) -> float:
    """The model's probability of a true label; 0.5 when it raises or gives none: one odd vector must not stop the stream."""
    try:
        p = model.predict_proba_one(x).get(True, 0.5)
    except Exception:
        return 0.5
    return p if 0.0 <= p <= 1.0 else 0.5


def learn(model: Any, x: dict[str, Any], y: bool) -> bool:
    """One `learn_one`; False when the model raised. What it had changed by then stays, here and wherever the log is folded."""
    try:
        model.learn_one(x, y)
    except Exception:
        return False
    return True


class Waits(NamedTuple):
    """A sample that waits for its label; `skip` when it lies in a quarantined interval."""

    at: int
    x: dict[str, Any]
    skip: bool


def train(
    model: Any,
    names: Sequence[str | None] | None,
    entries: Iterable[tuple[int, Entry]],
    *,
    learn_from: int,
    read: Callable[[Recipe], Sequence[str | None] | None] = lambda recipe: recipe.inputs,
    quarantined: Sequence[Interval] = (),
    expire_ms: int,
    default: bool | None = None,
) -> tuple[Any, int]:
    """Fold (position, entry) pairs into `model` in place: (model, labels learned).

    Entries before `learn_from` are read for the join only: their labels are known to the model, but their samples may get a
    label later. A sample whose label does not come within `expire_ms` of event time teaches `default`, or nothing without one.
    `names` are those of the first vectors, and `read` gives those of a recipe's; what has None for names is passed over.
    """
    seen, join, learned = Seen(), Join[Waits](expire_ms), 0
    for position, entry in entries:
        taught: list[tuple[Waits, bool]] = []
        if names is None and isinstance(entry, Sample | LabelRecord):
            seen.is_repeat(entry.origin)
        elif isinstance(entry, Sample):
            assert names is not None
            # Of another length: appended late, by a worker of a former recipe. The right one follows.
            if len(names) == len(entry.x) and not seen.is_repeat(entry.origin):
                skip = any(start <= position < stop for start, stop in quarantined)
                waits = Waits(entry.at, vector(names, entry.x), skip)
                early = join.sample(entry.id, waits)
                taught = [] if early is None else [(waits, early.y)]
        elif isinstance(entry, LabelRecord):
            if not seen.is_repeat(entry.origin):
                found = join.label(entry.id, entry.at, entry.y)
                taught = [] if found is None else [(found, entry.y)]
        elif isinstance(entry, Tick):
            expired = join.tick(entry)
            taught = [] if default is None else [(waits, default) for waits in expired]
        elif isinstance(entry, Recipe):
            names = read(entry)
            join.recipe(entry)
        for waits, y in taught:
            if position >= learn_from and not waits.skip:
                learn(model, waits.x, y)
                learned += 1
    return model, learned

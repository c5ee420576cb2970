"""Training outside the live fold: a model over a stretch of the samples log, joined by event id like the fold joins.

Laws of this file:
- The same entries give a model that says the same, here and in the fold: one label is one `learn_one`, in the order of the log.
- Samples inside a quarantined interval teach nothing, whenever their label comes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from penstock.stream.definitions import Pipeline
from penstock.stream.learn.join import Join
from penstock.stream.messages import Entry, LabelRecord, Origin, Recipe, Sample, Tick
from penstock.stream.recipes import RecipeHistory

T = TypeVar("T")
Interval = tuple[int, int]
SLICE_RECORDS = 5_000
"""Entries that training reads at a stretch: a worker turns its loop in between."""
_ROUNDING = 1e-6  # how far outside [0, 1] rounding may put a probability


def vector(names: Sequence[str | None], values: Sequence[Any]) -> dict[str, Any]:
    """A sample's vector as river takes it: missing values are left out, and so is what has no name under this definition."""
    if None not in values and None not in names:
        return dict(zip(names, values, strict=True))  # type: ignore[arg-type]
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


def said(model: Any, x: dict[str, Any]) -> float | None:
    """The model's probability of a true label; None when it fails: it raises, or answers what is no probability.

    A model that knows no class yet says 0.5; one that knows false alone (a tree before its first true label) the rest of that.
    """
    try:
        given = model.predict_proba_one(x)
        p = given.get(True)
        if p is None:
            if not given.get(False):
                return 0.5
            p = 1.0 - given[False]
        if 0.0 <= p <= 1.0:
            return float(p)
        return min(max(float(p), 0.0), 1.0) if -_ROUNDING <= p <= 1.0 + _ROUNDING else None
    except Exception:
        return None


def probability(model: Any, x: dict[str, Any]) -> float:
    """The model's probability of a true label; 0.5 when it fails: one odd vector must not stop the stream."""
    p = said(model, x)
    return 0.5 if p is None else p


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
    position: int


class Trained(NamedTuple):
    """What training made: a model, the labels it learned, and the newest event time it met.

    `join_from` is the oldest record that still waits for its other half, None where nothing waits.
    """

    model: Any
    labels: int
    join_from: int | None
    at: int


def training(
    model: Any,
    recipes: RecipeHistory,
    pipeline: Pipeline,
    entries: Iterable[tuple[int, Entry]],
    *,
    learn_from: int,
    quarantined: Sequence[Interval] = (),
    since_at: int = 0,
) -> Generator[int, None, Trained]:
    """Fold (position, entry) pairs into `model` in place, in slices: yields after each how many entries it read.

    Entries before `learn_from` are read for the join only: their labels are known to the model, but their samples may get a
    label later. A sample whose label does not come within the wait teaches the default label, or nothing without one. `recipes`
    stands where `entries` begin, and is moved along; a sample that is not of its lineage is passed over, as the fold does. One
    older than `since_at` (event time, ms) teaches nothing.
    """
    label = pipeline.label
    seen, join, learned = Seen(), Join[Waits](label.wait_ms), 0
    early: dict[str, int] = {}
    newest = 0
    for number, (position, entry) in enumerate(entries, 1):
        taught: list[tuple[Waits, bool]] = []
        if isinstance(entry, Sample | LabelRecord) and entry.at > newest:
            newest = entry.at
        if isinstance(entry, Sample):
            names = recipes.names
            if recipes.now.reads(entry) and not seen.is_repeat(entry.origin) and names is not None:
                skip = entry.at < since_at or any(start <= position < stop for start, stop in quarantined)
                waits = Waits(entry.at, vector(names, entry.x), skip, position)
                found = join.sample(entry.id, waits)
                taught = [] if found is None else [(waits, found.y)]
        elif isinstance(entry, LabelRecord):
            if not seen.is_repeat(entry.origin) and recipes.names is not None:
                paired = join.label(entry.id, entry.at, entry.y)
                taught = [] if paired is None else [(paired, entry.y)]
                if paired is None and entry.id in join.early:
                    early.setdefault(entry.id, position)
        elif isinstance(entry, Tick):
            expired = join.tick(entry)
            taught = [] if label.default is None else [(waits, label.default) for waits in expired]
            if len(early) > 2 * len(join.early) + SLICE_RECORDS:
                early = {event_id: at for event_id, at in early.items() if event_id in join.early}
        elif isinstance(entry, Recipe):
            recipes.begin(position, entry, pipeline)
            join.recipe(entry)
        for waits, y in taught:
            if position >= learn_from and not waits.skip:
                learn(model, waits.x, y)
                learned += 1
        if number % SLICE_RECORDS == 0:
            yield SLICE_RECORDS
    waiting = [waits.position for waits in join.pending.values()]
    waiting += [at for event_id, at in early.items() if event_id in join.early]
    return Trained(model, learned, min(waiting, default=None), newest)


def at_once(slices: Generator[int, None, T]) -> T:
    """The result of what is done in slices, waited for."""
    while True:
        try:
            next(slices)
        except StopIteration as done:
            result: T = done.value
            return result

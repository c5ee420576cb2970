"""Training outside the live fold: a model over a stretch of the samples log, joined like the fold joins.

Laws of this file:
- The same entries give a model that says the same, here and in the fold: one label is one `learn_one`, in the order of the log.
- Samples inside a quarantined interval teach nothing, whenever their label comes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from penstock.monitors.losses.drift import log_loss
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.engine import compiled, engine_of, learn, plain, taken
from penstock.stream.learn.join import Join, Settled
from penstock.stream.learn.joins import join_of
from penstock.stream.messages import Entry, LabelRecord, Origin, Recipe, Sample, Tick
from penstock.stream.recipes import RecipeHistory

T = TypeVar("T")
Interval = tuple[int, int]
SLICE_RECORDS = 5_000
"""Entries that training reads at a stretch: a worker turns its loop in between."""
BASE_RATE = 0.002
"""How fast the base rate follows the labels."""


_linear = compiled()
vector: Callable[[Sequence[str | None], Sequence[Any]], dict[str, Any]]
vector = taken if _linear is None else _linear.vector
"""A sample's vector as river takes it: missing values are left out, and so is what has no name under this definition."""


def _noted(newest: dict[tuple[str, int], int], origin: Origin) -> bool:
    place = (origin.topic_id, origin.partition)
    here = origin.offset * 4 + origin.sub
    if here <= newest.get(place, -1):
        return True
    newest[place] = here
    return False


_is_repeat: Callable[[dict[tuple[str, int], int], Origin], bool]
_is_repeat = _noted if _linear is None else _linear.is_repeat


class Seen:
    """The newest origin seen per (topic id, source partition): what is not above it is a repeat of a crash."""

    __slots__ = ("newest",)

    def __init__(self) -> None:
        self.newest: dict[tuple[str, int], int] = {}

    def is_repeat(self, origin: Origin) -> bool:
        """Whether this origin was seen already; takes it as seen otherwise."""
        return _is_repeat(self.newest, origin)


class Waits(NamedTuple):
    """A sample that waits for its label; `skip` when it lies in a quarantined interval."""

    at: int
    x: dict[str, Any]
    skip: bool
    position: int


class Trained(NamedTuple):
    """What training made: a model, the labels it learned, and the newest event time it met.

    `join_from` is the oldest record that still waits for its other half, None where nothing waits. `loss` and `base_loss` are
    sums of log losses (nats) over the labels, the model's and the base rate's, each before it learned them; 0 if not measured.
    """

    model: Any
    labels: int
    join_from: int | None
    at: int
    loss: float = 0.0
    base_loss: float = 0.0


def _is_boolean(y: Any) -> bool:
    return type(y) is bool


def training(
    model: Any,
    recipes: RecipeHistory,
    pipeline: Pipeline,
    entries: Iterable[tuple[int, Entry]],
    *,
    learn_from: int,
    quarantined: Sequence[Interval] = (),
    since_at: int = 0,
    learn: Callable[[Any, dict[str, Any], Any], bool] = learn,
    knows: Callable[[Any], bool] = _is_boolean,
    at_once: bool = False,
    measure: bool = False,
) -> Generator[int, None, Trained]:
    """Fold (position, entry) pairs into `model` in place, in slices: yields after each how many entries it read.

    Entries before `learn_from` are read for the join only: their labels are known to the model, but their samples may get a
    label later. A sample without a label in time teaches `absent`, or nothing without one, and a correction teaches once more.
    `recipes` stands where `entries` begin, and is moved along; a sample not of its lineage is passed over, as the fold does, and
    one older than `since_at` (event time, ms) teaches nothing.
    `learn` is how the task teaches a label, `knows` whether something is a label of it: others are passed over.
    With `at_once` samples teach by themselves. With `measure` the model answers before every label of
    true or false that it learns.
    """
    engine = engine_of(model)
    seen, learned, newest = Seen(), 0, 0
    loss, base_loss, base = 0.0, 0.0, 0.5
    join: Join[Waits] = join_of(pipeline.label_rule)
    for number, (position, entry) in enumerate(entries, 1):
        settled: Sequence[Settled] = ()
        if isinstance(entry, Sample | LabelRecord) and entry.at > newest:
            newest = entry.at
        if isinstance(entry, Sample):
            names = recipes.names
            if recipes.now.reads(entry) and not seen.is_repeat(entry.origin) and names is not None:
                skip = entry.at < since_at or any(start <= position < stop for start, stop in quarantined)
                waits = Waits(entry.at, vector(names, entry.x), skip, position)
                if at_once:
                    settled = (Settled(waits, None, entry.at, "label"),)
                else:
                    settled = join.sample(entry.id, waits, entry.label_key)
        elif isinstance(entry, LabelRecord):
            fits = knows(entry.y) and recipes.names is not None
            if fits and not seen.is_repeat(entry.origin):
                settled = join.label(position, entry)
        elif isinstance(entry, Tick):
            settled = join.tick(entry)
        elif isinstance(entry, Recipe):
            recipes.begin(position, entry, pipeline)
            join.recipe(entry)
        for waits, y, _, how in settled:
            if how != "expired" and position >= learn_from and not waits.skip:
                if measure:
                    p = engine.said(waits.x)
                    loss += log_loss(0.5 if p is None else p, bool(y))
                    base_loss += log_loss(base, bool(y))
                    base += BASE_RATE * (bool(y) - base)
                learn(plain(engine), waits.x, y)
                learned += 1
        if number % SLICE_RECORDS == 0:
            yield SLICE_RECORDS
    return Trained(engine.model, learned, join.oldest(), newest, loss, base_loss)


def at_once(slices: Generator[int, None, T]) -> T:
    """The result of what is done in slices, waited for."""
    while True:
        try:
            next(slices)
        except StopIteration as done:
            result: T = done.value
            return result

"""What people do without Penstock: one river model that is begun anew whenever ADWIN finds that its error rose.

Laws of this file:
- The same samples and labels as the fold's, joined by the same `Join`; predicted at the sample, learned at the label.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any, NamedTuple

from river.drift import ADWIN

from penstock.stream.definitions import Pipeline
from penstock.stream.learn.join import Join, Settled
from penstock.stream.learn.joins import join_of
from penstock.stream.learn.learner import Seen, vector
from penstock.stream.learn.records import Traced
from penstock.stream.messages import Entry, LabelRecord, Recipe, Sample, Tick
from penstock.stream.recipes import RecipeHistory

DELTA = 0.002
"""ADWIN's confidence: river's default."""


class Waits(NamedTuple):
    """A sample that waits for its label, with what was predicted."""

    at: int
    x: dict[str, Any]
    p: float
    position: int


def restarted(pipeline: Pipeline, entries: Iterable[tuple[int, Entry]]) -> list[Traced]:
    """Every joined label's sample time, label and prediction of a regressor that is begun anew at ADWIN's alarms."""
    model, adwin, largest = pipeline.model.clone(), ADWIN(delta=DELTA), 0.0  # type: ignore[no-untyped-call]
    recipes = RecipeHistory(pipeline.digest, pipeline.vector_names)
    seen = Seen()
    join: Join[Waits] = join_of(pipeline.label_rule)
    rows: list[Traced] = []
    for position, entry in entries:
        settled: Sequence[Settled] = ()
        if isinstance(entry, Sample):
            names = recipes.names
            if names is None or not recipes.now.reads(entry) or seen.is_repeat(entry.origin):
                continue
            x = vector(names, entry.x)
            p = float(model.predict_one(x))
            waits = Waits(entry.at, x, p if isfinite(p) else 0.0, position)
            settled = join.sample(entry.id, waits, entry.label_key)
        elif isinstance(entry, LabelRecord) and not seen.is_repeat(entry.origin):
            settled = join.label(position, entry)
        elif isinstance(entry, Tick):
            settled = join.tick(entry)
        elif isinstance(entry, Recipe):
            recipes.begin(position, entry, pipeline)
            join.recipe(entry)
        for waits, y, _, _ in settled:
            if y is None or isinstance(y, str):
                continue
            error = abs(waits.p - y)
            largest = max(largest, abs(y))
            rows.append((waits.at, y, waits.p, 0.0, waits.position))
            before = adwin.estimation
            adwin.update(min(error / largest, 1.0) if largest else 0.0)  # type: ignore[no-untyped-call]
            if adwin.drift_detected and adwin.estimation > before:
                model = pipeline.model.clone()
                adwin = ADWIN(delta=DELTA)  # type: ignore[no-untyped-call]
            model.learn_one(waits.x, y)
    return rows

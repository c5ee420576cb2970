"""Streams of numbers and of classes whose law changes, folded live, and beside two rivals that a person would write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from math import log
from typing import Any, NamedTuple

from river.datasets import synth
from river.drift import ADWIN

from penstock.stream.definitions import Label, Pipeline, Source
from penstock.stream.learn.fold import Fold
from penstock.stream.messages import Entry, LabelRecord, Origin, Recipe, Sample
from tests.stream.generated import MINUTE, START_MS

OCCURRED = Source("made.occurred", id="id", time="at", key="id")
LEAST = 0.005
Rows = list[tuple[dict[str, float], Any]]


class Losses(NamedTuple):
    """Mean loss of the live prediction, the base predictor, the model alone, and the model begun anew at ADWIN's alarms."""

    live: float
    base: float
    alone: float
    anew: float


def friedman(kind: str, rows: int, places: tuple[int, ...]) -> Rows:
    """river's FriedmanDrift: `lea` in parts of the space, `gra` and `gsg` in all of it."""
    options: dict[str, Any] = {} if kind == "lea" else {"transition_window": max(rows // 40, 1)}
    return _taken(synth.FriedmanDrift(kind, places, seed=1, **options), rows)


def led(rows: int, drifting: int = 7) -> Rows:
    """river's LED digits: ten classes, 10 % noise; which inputs tell the digit changes after each third."""
    parts: list[Rows] = []
    for part, features in enumerate((0, drifting, 0)):
        made = synth.LEDDrift(
            seed=part, noise_percentage=0.1, irrelevant_features=True, n_drift_features=features
        )
        parts.append(_taken(made, rows // 3))
    return [(x, str(y)) for part in parts for x, y in part]


def _taken(stream: Iterable[tuple[Any, Any]], rows: int) -> Rows:
    return [({str(name): float(v) for name, v in x.items()}, y) for x, y in islice(stream, rows)]


def pipeline_of(rows: Rows, model: Any, **more: Any) -> Pipeline:
    """A definition with the stream's inputs and no views."""
    label = Label(OCCURRED, lambda e: e["y"], wait="30d", fields=("y",))
    return Pipeline(
        "made", views=[], predict=OCCURRED, label=label, model=model, inputs=list(rows[0][0]), **more
    )


def entries(rows: Rows, pipeline: Pipeline, delay: int = 0) -> Iterator[Entry]:
    """The samples log: each label right after the sample `delay` rows later."""
    yield Recipe(pipeline.digest, pipeline.vector_names, "")
    for number, (x, _) in enumerate(rows):
        at = START_MS + number * MINUTE
        yield Sample(Origin("made", 0, number), str(number), "", at, list(x.values()))
        due = number - delay
        if due >= 0:
            yield LabelRecord(Origin("told", 0, due, 1), str(due), at, rows[due][1])


def folded(rows: Rows, pipeline: Pipeline, delay: int = 0) -> Fold:
    """The fold of a stream, with its trace."""
    fold = Fold(pipeline)
    fold.trace = []
    for position, entry in enumerate(entries(rows, pipeline, delay)):
        fold.step(position, entry)
        fold.outputs.predictions.clear()
        fold.outputs.versions.clear()
    return fold


def rival(rows: Rows, fold: Fold, delay: int, *, anew: bool) -> float:
    """Mean loss of one model alone; with `anew` it is cloned fresh wherever ADWIN finds that its loss rose."""
    task, adwin, total, waiting = fold.task, ADWIN(), 0.0, list[Any]()  # type: ignore[no-untyped-call]
    model, largest, judged = fold.fresh(), 1e-9, 0
    for x, y in rows:
        waiting.append((x, y, task.said(model, x)))
        if len(waiting) <= delay:
            continue
        before, happened, said = waiting.pop(0)
        loss = loss_of(said, happened)
        total, judged, largest = total + loss, judged + 1, max(largest, loss)
        level = adwin.estimation
        adwin.update(loss / largest)  # type: ignore[no-untyped-call]
        if anew and adwin.drift_detected and adwin.estimation > level:
            model, adwin = fold.fresh(), ADWIN()  # type: ignore[no-untyped-call]
        task.learn(model, before, happened)
    return total / judged


def loss_of(said: Any, y: Any) -> float:
    """Absolute error of a number, log loss of classes."""
    if isinstance(y, str):
        return -log(max((said or {}).get(y, 0.0), LEAST))
    return abs((said or 0.0) - y)


def measured(rows: Rows, model: Callable[[], Any], delay: int = 0, **more: Any) -> Losses:
    """The four losses of a stream."""
    fold = folded(rows, pipeline_of(rows, model(), **more), delay)
    assert fold.trace
    n = len(fold.trace)
    live = sum(loss_of(p, y) for _, y, p, _, _ in fold.trace) / n
    base = sum(loss_of(p, y) for _, y, _, p, _ in fold.trace) / n
    alone, anew = (rival(rows, fold, delay, anew=which) for which in (False, True))
    return Losses(live, base, alone, anew)

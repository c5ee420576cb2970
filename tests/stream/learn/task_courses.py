"""A definition and a samples log of each task, with something to learn, for the laws that hold for all of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from river import anomaly, linear_model, multiclass, optim, preprocessing, tree

from penstock.stream.definitions import Label, Pipeline
from penstock.stream.messages import Entry, LabelRecord, Recipe, Sample
from tests.stream.generated import DELIVERED, entries, parcels


class Case(NamedTuple):
    """A task: its model, what its labels are as a function of a vector and noise, and what else the definition says."""

    model: Callable[[], Any]
    truth: Callable[[list[Any], float], Any] | None
    more: dict[str, Any] = {}


def _class(x: list[Any], noise: float) -> str:
    return "low" if x[0] + noise < -0.5 else "high" if x[0] + noise > 0.5 else "middle"


def _number(x: list[Any], noise: float) -> float:
    return 30.0 * x[0] - 20.0 * x[2] + 10.0 * noise + 100.0


def _odd(x: list[Any], noise: float) -> bool:
    return abs(x[0]) + noise > 1.8


def _detector() -> Any:
    trees = anomaly.HalfSpaceTrees(n_trees=5, height=4, window_size=50, seed=1)
    return preprocessing.MinMaxScaler() | trees


def _linear() -> Any:
    return preprocessing.StandardScaler() | linear_model.LinearRegression(optim.SGD(0.02), intercept_lr=0.2)


def _softmax() -> Any:
    return preprocessing.StandardScaler() | linear_model.SoftmaxRegression()


def _pairs() -> Any:
    pairs = multiclass.OneVsOneClassifier(linear_model.LogisticRegression())
    return preprocessing.StandardScaler() | pairs


CASES: dict[str, Case] = {
    "binary": Case(
        lambda: preprocessing.StandardScaler() | linear_model.LogisticRegression(),
        lambda x, noise: x[0] + noise > 0,
    ),
    "multiclass": Case(_softmax, _class, {"task": "multiclass"}),
    "multiclass tree": Case(
        lambda: tree.HoeffdingTreeClassifier(grace_period=50), _class, {"task": "multiclass"}
    ),
    "classes that are numbers": Case(
        lambda: tree.HoeffdingTreeClassifier(grace_period=50),
        lambda x, noise: int(x[0] + noise > 0) + int(x[2] > 0),
        {"task": "multiclass"},
    ),
    "names only": Case(_pairs, _class, {"task": "multiclass"}),
    "regression": Case(_linear, _number),
    "regression tree": Case(lambda: tree.HoeffdingTreeRegressor(grace_period=50), _number),
    "anomaly": Case(_detector, _odd),
    "unlabelled": Case(_detector, None, {"label": None}),
}


def pipeline_of(name: str, **more: Any) -> Pipeline:
    """The definition of a case."""
    case = CASES[name]
    label = Label(DELIVERED, lambda e: e["late"], wait="6h", fields=("late",))
    return parcels(**{"model": case.model(), "label": label, **case.more, **more})


def log_of(name: str, number: int, seed: int = 1, late: int = 60) -> list[Entry]:
    """The samples log of a case: as `generated.entries` has it, with the case's labels."""
    case, chance = CASES[name], random.Random(seed)
    log = entries(number, seed, late=late)
    vectors = {entry.id: entry.x for entry in log if isinstance(entry, Sample)}
    pipeline = pipeline_of(name)
    made: list[Entry] = []
    for entry in log:
        if isinstance(entry, Recipe):
            made.append(Recipe(pipeline.digest, pipeline.vector_names, ""))
        elif isinstance(entry, LabelRecord):
            if case.truth is not None:
                y = case.truth(vectors[entry.id], chance.gauss(0, 0.3))
                made.append(msgspec.structs.replace(entry, y=y))
        else:
            made.append(entry)
    return made

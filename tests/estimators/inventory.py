"""River's own inventory: every classifier, regressor and anomaly detector that it exports, with the parameters its checks use.

Laws of this file:
- Nobody chooses: a class is here because river exports it. What cannot be made without arguments gets them in `ARGUMENTS`.
- Every call makes a new model; two calls make equal ones.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from river import (
    anomaly,
    base,
    drift,
    linear_model,
    metrics,
    optim,
    preprocessing,
    tree,
)

from penstock.stream.task_kind import Kind, final_of

LEARNERS = (
    base.Classifier,
    base.Regressor,
    base.AnomalyDetector,
    base.AnomalyFilter,
    base.SupervisedAnomalyDetector,
    base.MultiLabelClassifier,
    base.MultiTargetRegressor,
)
ADAPTERS = frozenset({"base", "compat", "compose.Pipeline"})
"""What has no behaviour of its own; see `pipelines`."""


def few_trees() -> Any:
    """A detector that is quick to make."""
    return anomaly.HalfSpaceTrees(n_trees=3, height=4, window_size=50)


def _scaled_trees() -> Any:
    return preprocessing.MinMaxScaler() | few_trees()


def _linear() -> Any:
    return preprocessing.StandardScaler() | linear_model.LinearRegression()


def _logistic() -> Any:
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


def _trees() -> list[Any]:
    return [tree.HoeffdingTreeClassifier(grace_period=grace) for grace in (20, 50, 100)]


def _eager() -> dict[str, Any]:
    """Parameters by which a tree grows within so few samples."""
    return {"grace_period": 20, "delta": 0.1, "tau": 0.5}


def _plus_one(y: float) -> float:
    return y + 1.0


def _minus_one(y: float) -> float:
    return y - 1.0


ARGUMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "drift.DriftRetrainingClassifier": lambda: {
        "model": tree.HoeffdingTreeClassifier(grace_period=20),
        "drift_detector": drift.binary.DDM(warm_start=20),
    },
    "rules.AMRules": lambda: {"n_min": 20, "delta": 0.1, "tau": 0.5},
    "tree.ExtremelyFastDecisionTreeClassifier": _eager,
    "tree.HoeffdingAdaptiveTreeClassifier": _eager,
    "tree.HoeffdingAdaptiveTreeRegressor": _eager,
    "tree.HoeffdingTreeClassifier": _eager,
    "tree.HoeffdingTreeRegressor": _eager,
    "tree.SGTClassifier": lambda: {"grace_period": 20, "delta": 0.5},
    "tree.SGTRegressor": lambda: {"grace_period": 20, "delta": 0.5},
    "anomaly.HalfSpaceTrees": lambda: {"n_trees": 3, "height": 4, "window_size": 50},
    "anomaly.LocalOutlierFactor": lambda: {"n_neighbors": 3},
    "anomaly.ThresholdFilter": lambda: {"anomaly_detector": _scaled_trees(), "threshold": 0.6},
    "anomaly.QuantileFilter": lambda: {"anomaly_detector": _scaled_trees(), "q": 0.9},
    "forest.AMFClassifier": lambda: {"n_estimators": 2},
    "forest.AMFRegressor": lambda: {"n_estimators": 2},
    "ensemble.SRPClassifier": lambda: {"model": tree.HoeffdingTreeClassifier(**_eager()), "n_models": 3},
    "ensemble.SRPRegressor": lambda: {"model": tree.HoeffdingTreeRegressor(**_eager()), "n_models": 3},
    "facto.FwFMRegressor": lambda: {"weight_optimizer": optim.SGD(0.001), "latent_optimizer": optim.SGD(0.001)},
    "forest.ARFClassifier": lambda: {**_eager(), "n_models": 3},
    "forest.ARFRegressor": lambda: {**_eager(), "n_models": 3},
    "forest.OXTRegressor": lambda: {**_eager(), "n_models": 3},
    "compose.TargetTransformRegressor": lambda: {
        "regressor": _linear(), "func": _plus_one, "inverse_func": _minus_one,
    },
    "imblearn.RandomOverSampler": lambda: {
        "classifier": _logistic(), "desired_dist": {False: 0.5, True: 0.5},
    },
    "imblearn.RandomSampler": lambda: {
        "classifier": _logistic(), "desired_dist": {False: 0.5, True: 0.5}, "sampling_rate": 0.7,
    },
    "imblearn.RandomUnderSampler": lambda: {
        "classifier": _logistic(), "desired_dist": {False: 0.5, True: 0.5},
    },
    "model_selection.SuccessiveHalvingClassifier": lambda: {
        "models": _trees(), "metric": metrics.Accuracy(), "budget": 200,
    },
    "preprocessing.TargetMinMaxScaler": lambda: {"regressor": _linear()},
    "preprocessing.TargetStandardScaler": lambda: {"regressor": _linear()},
}  # fmt: skip
"""Of those that cannot be made without, and of those that would be slow: fewer trees, fewer neighbours."""


MISSING = frozenset(() if sys.version_info >= (3, 14) else {"misc.ZstdClassifier"})
"""What river has not on this Python."""


class Case(NamedTuple):
    """One estimator with one set of parameters, for one task. `mixed`: its stream has text and booleans among the numbers."""

    estimator: str
    make: Callable[[], Any]
    kind: Kind
    number: int = 0
    mixed: bool = False

    @property
    def name(self) -> str:
        """What tells it from all others."""
        return f"{self.estimator}{f' #{self.number + 1}' if self.number else ''}, {self.kind}"


def estimators() -> dict[str, type]:
    """Every class that river exports and that is a classifier, a regressor or a detector, by the name it has in river."""
    found: dict[type, str] = {}
    for module in importlib.import_module("river.api").__all__:
        if module in ADAPTERS:
            continue
        members = inspect.getmembers(importlib.import_module(f"river.{module}"), inspect.isclass)
        for name, kind in members:
            if issubclass(kind, LEARNERS) and not inspect.isabstract(kind):
                found.setdefault(kind, f"{module}.{name}")
    return {name: kind for kind, name in found.items() if name not in ADAPTERS}


def _made(name: str, kind: type, number: int) -> Any:
    if name in ARGUMENTS:
        return kind(**ARGUMENTS[name]())
    of_tests: Any = kind
    return kind(**list(of_tests._unit_test_params())[number])


def kinds(model: Any) -> tuple[Kind, ...]:
    """The tasks that a model is for."""
    final = final_of(model)
    if isinstance(final, base.Regressor | base.MultiTargetRegressor):
        return ("regression",)
    if isinstance(final, base.Classifier):
        return ("binary", "multiclass") if getattr(final, "_multiclass", False) else ("binary",)
    if isinstance(final, base.MultiLabelClassifier):
        return ("multiclass",)
    return ("anomaly", "unlabelled")


def cases() -> Iterator[Case]:
    """Every estimator, each of its parameter sets, each of its tasks."""
    for name, kind in estimators().items():
        of_tests: Any = kind
        sets = 1 if name in ARGUMENTS else len(list(of_tests._unit_test_params()))
        for number in range(sets):
            make = partial(_made, name, kind, number)
            for task in ("multiclass",) if name in MISSING else kinds(make()):
                yield Case(name, make, task, number)

"""Pipelines of the steps that a stream of text and numbers needs, and of scikit-learn's estimators."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from river import compat, compose, feature_extraction, forest, linear_model, preprocessing, stats, tree

from penstock.stream.task_kind import Kind
from tests.estimators.inventory import Case, few_trees

CLASSIFIER: tuple[Kind, ...] = ("binary", "multiclass")
REGRESSOR: tuple[Kind, ...] = ("regression",)
DETECTOR: tuple[Kind, ...] = ("anomaly", "unlabelled")


class Steps(NamedTuple):
    """A pipeline, and the tasks it is for."""

    make: Callable[[], Any]
    kinds: tuple[Kind, ...]


def _one_hot(last: Any) -> Any:
    words = compose.SelectType(str) | preprocessing.OneHotEncoder()
    numbers = compose.SelectType(int, float) | preprocessing.StandardScaler()
    return (words + numbers) | last


def _target_agg(last: Any) -> Any:
    aggregated = feature_extraction.TargetAgg(by="place", how=stats.Mean())
    return (aggregated + compose.SelectType(int, float)) | preprocessing.StandardScaler() | last


def _hashed(last: Any) -> Any:
    return preprocessing.FeatureHasher(n_features=16, seed=1) | last


def _converted(name: str, classes: list[Any] | None, **parameters: Any) -> Any:
    """An estimator of scikit-learn, of as many inputs in every vector, as that needs."""
    from sklearn import linear_model as of_sklearn

    model = getattr(of_sklearn, name)(random_state=1, **parameters)
    return (
        compose.Discard("heat", "place", "flag")
        | preprocessing.StandardScaler()
        | compat.convert_sklearn_to_river(model, classes)
    )


CLASSES = ["high", "low", "middle"]
CONVERTED: dict[str, Steps] = {
    "StandardScaler, convert_sklearn_to_river(SGDClassifier)": Steps(
        lambda: _converted("SGDClassifier", [False, True], loss="log_loss"), ("binary",)
    ),
    "StandardScaler, convert_sklearn_to_river(SGDClassifier) of classes": Steps(
        lambda: _converted("SGDClassifier", CLASSES, loss="log_loss"), ("multiclass",)
    ),
    "StandardScaler, convert_sklearn_to_river(SGDRegressor)": Steps(
        lambda: _converted("SGDRegressor", None), REGRESSOR
    ),
}
"""These need scikit-learn."""

PIPELINES: dict[str, Steps] = {
    "OneHotEncoder + StandardScaler, LogisticRegression": Steps(
        lambda: _one_hot(linear_model.LogisticRegression()), ("binary",)
    ),
    "OneHotEncoder + StandardScaler, SoftmaxRegression": Steps(
        lambda: _one_hot(linear_model.SoftmaxRegression()), CLASSIFIER
    ),
    "OneHotEncoder + StandardScaler, LinearRegression": Steps(
        lambda: _one_hot(linear_model.LinearRegression()), REGRESSOR
    ),
    "OneHotEncoder + StandardScaler, HalfSpaceTrees": Steps(lambda: _one_hot(few_trees()), DETECTOR),
    "TargetAgg, LogisticRegression": Steps(
        lambda: _target_agg(linear_model.LogisticRegression()), ("binary",)
    ),
    "TargetAgg, LinearRegression": Steps(lambda: _target_agg(linear_model.LinearRegression()), REGRESSOR),
    "FeatureHasher, LogisticRegression": Steps(
        lambda: _hashed(linear_model.LogisticRegression()), ("binary",)
    ),
    "FeatureHasher, SoftmaxRegression": Steps(lambda: _hashed(linear_model.SoftmaxRegression()), CLASSIFIER),
    "FeatureHasher, LinearRegression": Steps(lambda: _hashed(linear_model.LinearRegression()), REGRESSOR),
    "HoeffdingTreeClassifier of text, truths and numbers": Steps(
        lambda: tree.HoeffdingTreeClassifier(
            grace_period=20, delta=0.1, tau=0.5, nominal_attributes=["place", "flag"]
        ),
        CLASSIFIER,
    ),
    "ARFClassifier of text, truths and numbers": Steps(
        lambda: forest.ARFClassifier(n_models=3, grace_period=20, delta=0.1), CLASSIFIER
    ),
    **CONVERTED,
}


def cases() -> Iterator[Case]:
    """Every pipeline, for each of its tasks."""
    for name, steps in PIPELINES.items():
        for kind in steps.kinds:
            yield Case(name, steps.make, kind, mixed=True)

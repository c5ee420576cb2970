"""How good the newest predictions were, over the labels that came for them, by the figures of their task.

Laws of this file:
- Pure. A prediction counts once, by the id of its event, and with the label that came for it, in whichever order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import log
from statistics import median
from typing import Any, NamedTuple

from penstock.stream.learn.tasks.measures import Confusion, Errors, auc
from penstock.stream.learn.tasks.multiclass import text
from penstock.stream.prediction import Prediction
from penstock.stream.targets import Target

LEAST_P = 1e-15


class Scores(NamedTuple):
    """Of `labels` predictions with a label: mean log losses in nats, and the area under the ROC curve (None: one class only).

    `base_loss` is that of the labels' own rate, which is known only afterwards: the best that a constant could do.
    """

    labels: int
    loss: float
    base_loss: float
    auc: float | None

    @property
    def worse(self) -> str | None:
        """What to say of a model that is worse than the base rate; None for one that is not."""
        if self.loss <= self.base_loss:
            return None
        return f"the model is worse than the base rate: {self.loss:.4f} against {self.base_loss:.4f} nats"

    @property
    def text(self) -> str:
        """In words."""
        auc = "unknown, one kind of label only" if self.auc is None else f"{self.auc:.3f}"
        return f"{self.loss:.4f} nats against {self.base_loss:.4f} of the base rate; AUC {auc}; over {self.labels:,} labels"


class NumberScores(NamedTuple):
    """Of `labels` predicted numbers. `base_mae` is the error of the labels' own median: the best that a constant could do."""

    labels: int
    mae: float
    base_mae: float
    rmse: float
    r2: float | None

    @property
    def worse(self) -> str | None:
        """As of `Scores`."""
        if self.mae <= self.base_mae:
            return None
        return f"the model is worse than a constant: mean absolute error {self.mae:.4g} against {self.base_mae:.4g}"

    @property
    def text(self) -> str:
        """In words."""
        r2 = "" if self.r2 is None else f", R2 {self.r2:.3f}"
        return (
            f"mean absolute error {self.mae:.4g} against {self.base_mae:.4g} of the best constant; RMSE {self.rmse:.4g}{r2}; "
            f"over {self.labels:,} labels"
        )


class ClassScores(NamedTuple):
    """Of `labels` predicted classes. `base_accuracy` is that of the most frequent class."""

    labels: int
    accuracy: float
    base_accuracy: float
    macro_f1: float
    kappa: float
    loss: float

    @property
    def worse(self) -> str | None:
        """As of `Scores`: kappa is at or below 0 where the class predicted tells nothing of the class that comes."""
        if self.kappa >= 0.0:
            return None
        return f"the model is worse than chance: Cohen's kappa {self.kappa:.3f}"

    @property
    def text(self) -> str:
        """In words."""
        return (
            f"{self.loss:.4f} nats; accuracy {self.accuracy:.3f} against {self.base_accuracy:.3f} of the most frequent class; "
            f"macro F1 {self.macro_f1:.3f}, kappa {self.kappa:.3f}; over {self.labels:,} labels"
        )


class AlertScores(NamedTuple):
    """Without labels: how many of the predictions were alerts."""

    labels: int
    alerts: int

    @property
    def worse(self) -> str | None:
        """Nothing can be said without labels."""
        return None

    @property
    def text(self) -> str:
        """In words."""
        return f"unknown, no labels come; {self.alerts:,} alerts among {self.labels:,} predictions"


AnyScores = Scores | NumberScores | ClassScores | AlertScores


def scores_of(predicted: Iterable[Prediction], labels: Mapping[str, Target]) -> AnyScores | None:
    """The scores of predictions with the labels of their ids, as the task of the newest one has them; None without any."""
    predicted = list(predicted)
    if predicted and predicted[-1].rank is not None:
        ranked = [one for one in predicted if one.rank is not None]
        return AlertScores(len(ranked), sum(one.alert is True for one in ranked))
    found = [(one, labels[one.id]) for one in predicted if one.id in labels]
    if not found:
        return None
    last, label = found[-1]
    if last.classes is not None:
        return _class_scores([(one, text(y)) for one, y in found if one.classes is not None])
    if isinstance(label, bool):
        return scores((one.prediction, y) for one, y in found if _is_number(one) and isinstance(y, bool))
    return _number_scores(
        [(one.prediction, float(y)) for one, y in found if _is_number(one) and isinstance(y, float | int)]
    )


def _is_number(one: Prediction) -> bool:
    return isinstance(one.prediction, float | int)


def _class_scores(found: list[tuple[Prediction, str]]) -> ClassScores:
    confusion, loss = Confusion(), 0.0
    for one, y in found:
        named = one.prediction if isinstance(one.prediction, str) else None
        confusion.add(y, named, None)
        loss -= log(max((one.classes or {}).get(y, 0.0), LEAST_P))
    measured, n = confusion.measures(), len(found)
    most = max(confusion.came.values()) / n
    return ClassScores(n, measured["accuracy"], most, measured["macro_f1"], measured["kappa"], loss / n)


def _number_scores(found: list[tuple[Any, float]]) -> NumberScores | None:
    if not found:
        return None
    middle, errors = median(y for _, y in found), Errors()
    for p, y in found:
        errors.add(y, p, middle)
    measured = errors.measures()
    return NumberScores(
        len(found), measured["mae"], measured["base_mae"], measured["rmse"], measured.get("r2")
    )


def scores(pairs: Iterable[tuple[Any, bool]]) -> Scores | None:
    """The scores of (probability, label) pairs; None without any."""
    found = list(pairs)
    if not found:
        return None
    rate = sum(y for _, y in found) / len(found)
    loss = sum(_loss(p, y) for p, y in found) / len(found)
    base = sum(_loss(rate, y) for _, y in found) / len(found)
    return Scores(len(found), loss, base, auc(found))


def _loss(p: float, y: bool) -> float:
    return -log(max(p if y else 1 - p, LEAST_P))

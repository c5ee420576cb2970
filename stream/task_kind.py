"""Which task a model is for: told by the kind of river estimator that ends it, by what the definition says, and by its labels.

Laws of this file:
- Pure, and decided when the definition loads: the same definition is the same task for ever.
- A classifier is for true and false unless the definition says `task="multiclass"`: labels come later, and a guess from the first
  of them would be another task on another day.
- Every mistake is one `ValueError` that says what would do.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

from river import base
from river.active.base import ActiveLearningClassifier

Kind = Literal["binary", "multiclass", "regression", "anomaly", "unlabelled"]
"""What there is to predict: true or false; one of several classes; a number; whether an event is an anomaly, with labels that say
so later; how unusual an event is, without any labels."""
KINDS: tuple[Kind, ...] = get_args(Kind)
TARGETS: dict[Kind, Literal["boolean", "class", "number"]] = {
    "binary": "boolean",
    "multiclass": "class",
    "regression": "number",
    "anomaly": "boolean",
    "unlabelled": "boolean",
}
"""What a label of each task is."""


class Meaning(NamedTuple):
    """A task in words: what is predicted, and by what it is judged."""

    predicts: str
    judged: str


MEANINGS: dict[Kind, Meaning] = {
    "binary": Meaning(
        "how probable it is that the label is true", "log loss, beside the share of true labels; AUC"
    ),
    "multiclass": Meaning(
        "which of several classes comes, and how probable each is",
        "log loss, beside how frequent each class was; macro F1, kappa",
    ),
    "regression": Meaning(
        "a number", "absolute error, beside the better of running mean and last label; RMSE, R2"
    ),
    "anomaly": Meaning(
        "how probable an anomaly is, from a detector's score",
        "log loss, beside the share of anomalies; precision at the alert budget",
    ),
    "unlabelled": Meaning(
        "how unusual an event is, without labels", "nothing but its own past: no label tells what was right"
    ),
}
_SEVERAL = (base.MultiLabelClassifier, base.MultiTargetRegressor)


def final_of(model: Any) -> Any:
    """The estimator that ends a river pipeline; the model itself if it is none."""
    while getattr(model, "steps", None):
        model = list(model.steps.values())[-1]
    return model


def family_of(model: Any) -> Literal["classifier", "regressor", "detector"]:
    """What kind of estimator ends the model. Raises `ValueError` for what Penstock cannot learn with."""
    final = final_of(model)
    name = type(final).__name__
    if isinstance(final, type) or not hasattr(final, "learn_one"):
        raise ValueError(_wanted(_what(final)))
    if isinstance(final, _SEVERAL):
        raise ValueError(f"{name} predicts several targets at once; make a pipeline for each of them")
    if isinstance(final, ActiveLearningClassifier):
        raise ValueError(
            f"{name} chooses the labels to ask for, and answers with that choice; here every label that comes is learned: take"
            f" the classifier that it wraps"
        )
    if isinstance(final, base.SupervisedAnomalyDetector):
        raise ValueError(
            f"{name} scores a target that must be known beforehand, and here it comes later; take a detector that scores an event"
            f" by itself, such as anomaly.HalfSpaceTrees, or a regressor for the target"
        )
    if isinstance(final, base.AnomalyDetector | base.AnomalyFilter) or hasattr(final, "score_one"):
        return "detector"
    if isinstance(final, base.Classifier) or (
        hasattr(final, "predict_proba_one") and not isinstance(final, base.Regressor)
    ):
        return "classifier"
    if isinstance(final, base.Regressor):
        return "regressor"
    raise ValueError(_wanted(_what(final)))


def names_only(model: Any) -> bool:
    """Whether a classifier names a class and gives no probabilities."""
    own = getattr(type(final_of(model)), "predict_proba_one", None)
    return own is None or own is base.Classifier.predict_proba_one


def kind_of(model: Any, *, task: str | None, labelled: bool) -> Kind:
    """The task of a definition with this model, this `task` (None: not said), with labels or without. Raises `ValueError`."""
    if task is not None and task not in KINDS:
        raise ValueError(f"task must be one of {', '.join(KINDS)}, not {task!r}")
    family = family_of(model)
    name = type(final_of(model)).__name__
    if not labelled and family != "detector":
        raise ValueError(
            f"label must be a Label: {name} learns from labels; without any, take an anomaly detector, "
            "such as anomaly.HalfSpaceTrees"
        )
    kind: Kind
    if family == "regressor":
        kind = "regression"
    elif family == "detector":
        kind = "anomaly" if labelled else "unlabelled"
    else:
        kind = "multiclass" if task == "multiclass" else "binary"
    if task not in (None, kind):
        raise ValueError(
            f"task={task!r} does not fit the model: {name} is for the task {kind!r}{_instead(task)}"
        )
    if kind == "multiclass" and not getattr(final_of(model), "_multiclass", True):
        raise ValueError(
            f"{name} tells only two classes apart; wrap it, as multiclass.OneVsRestClassifier({name}()), "
            f"or take one for several, such as linear_model.SoftmaxRegression"
        )
    return kind


def _instead(task: str | None) -> str:
    return {
        "binary": "; take a classifier",
        "multiclass": "; take a classifier for several classes, such as linear_model.SoftmaxRegression",
        "regression": "; take a regressor, such as linear_model.LinearRegression",
        "anomaly": "; take a detector, such as anomaly.HalfSpaceTrees, and a label",
        "unlabelled": "; take a detector, such as anomaly.HalfSpaceTrees, and label=None",
    }.get(task or "", "")


def _wanted(what: str) -> str:
    return f"model must be a river classifier (learn_one and predict_proba_one), a regressor or an anomaly detector, not {what}"


def _what(value: Any) -> str:
    """What a wrong value is, in a few words."""
    return f"the class {value.__name__}; call it" if isinstance(value, type) else type(value).__name__

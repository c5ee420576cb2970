"""By which losses the predictions of a task are compared, and which figure stands beside their mean.

Laws of this file:
- Pure. A loss is log loss in nats where probabilities are predicted (of true, or of the class that came), and the absolute error,
  in the label's own unit, where numbers are.
- What a side said is made one number a label, its *value*: the probability of true, or of the class that came, or the number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from penstock.monitors.losses.blocks import Floats
from penstock.monitors.losses.comparison import log_losses, roc_auc
from penstock.stream.learn.tasks.multiclass import most_probable, text
from penstock.stream.targets import Target
from penstock.stream.task_kind import Kind

Chosen = npt.NDArray[np.bool_] | slice


class Losses(Protocol):
    """What comparing needs to know of a task."""

    unit: str
    """Of a loss; empty for the label's own."""
    figure: str
    """The figure that stands beside the mean loss."""

    def knows(self, y: Target) -> bool:
        """Whether this is a label of the task; under a former definition there may have been others."""

    def label(self, y: Target) -> Target:
        """The label as it is compared and told."""

    def value(self, said: Any, y: Target) -> float:
        """What a side said, as one number."""

    def named(self, said: Any) -> str | None:
        """The class that a side named; None where none is, or no classes are predicted."""

    def losses(self, y: Sequence[Target], values: Floats) -> Floats:
        """The loss of each label."""

    def of_constant(self, y: Sequence[Target]) -> float:
        """The mean loss of the best constant, which is known only afterwards."""

    def beside(self, y: npt.NDArray[Any], values: Floats, named: npt.NDArray[Any]) -> float:
        """The figure of some labels; not a number where there is none."""


class OfTrue:
    """True and false: log loss, and the area under the ROC curve."""

    unit, figure = "nats", "auc"

    def knows(self, y: Target) -> bool:
        """True or false."""
        return isinstance(y, bool)

    def label(self, y: Target) -> bool:
        """As it is."""
        return bool(y)

    def value(self, said: float, y: Target) -> float:
        """The probability of true."""
        return said

    def named(self, said: Any) -> None:
        """No class."""
        return

    def losses(self, y: Sequence[Target], values: Floats) -> Floats:
        """Log losses."""
        return log_losses(np.array(y, np.bool_), values)

    def of_constant(self, y: Sequence[Target]) -> float:
        """That of the share of true labels."""
        truth = np.array(y, np.bool_)
        return float(log_losses(truth, np.full(len(truth), truth.mean())).mean())

    def beside(self, y: npt.NDArray[Any], values: Floats, named: npt.NDArray[Any]) -> float:
        """The area; none with one kind of label only."""
        return roc_auc(y.astype(np.bool_), values)


class OfClasses:
    """Several classes: log loss of the class that came, and the share of labels whose class was the most probable."""

    unit, figure = "nats", "accuracy"

    def knows(self, y: Target) -> bool:
        """Text, a whole number, true or false."""
        return type(y) in (str, int, bool)

    def label(self, y: Target) -> str:
        """The name of the class."""
        return text(y)

    def value(self, said: Mapping[str, float], y: Target) -> float:
        """The probability of the class that came, 0 where the model did not know it."""
        return said.get(text(y), 0.0)

    def named(self, said: Mapping[str, float]) -> str | None:
        """The most probable class."""
        return most_probable(said)

    def losses(self, y: Sequence[Target], values: Floats) -> Floats:
        """Log losses, by the probability of what came."""
        return log_losses(np.ones(len(values), np.bool_), values)

    def of_constant(self, y: Sequence[Target]) -> float:
        """That of how frequent each class was."""
        counts = Counter(y)
        return float(self.losses(y, np.array([counts[one] / len(y) for one in y])).mean())

    def beside(self, y: npt.NDArray[Any], values: Floats, named: npt.NDArray[Any]) -> float:
        """The accuracy."""
        return float(np.mean(y == named)) if len(y) else float("nan")


class OfNumbers:
    """A number: the absolute error, whose mean is the MAE, and the root mean squared error."""

    unit, figure = "", "rmse"

    def knows(self, y: Target) -> bool:
        """A finite number."""
        return type(y) in (int, float) and bool(np.isfinite(y))

    def label(self, y: Target) -> float:
        """The number."""
        return float(y)

    def value(self, said: float, y: Target) -> float:
        """The number that was expected."""
        return said

    def named(self, said: Any) -> None:
        """No class."""
        return

    def losses(self, y: Sequence[Target], values: Floats) -> Floats:
        """Absolute errors."""
        return np.abs(np.array(y, np.float64) - values)

    def of_constant(self, y: Sequence[Target]) -> float:
        """That of the median."""
        numbers = np.array(y, np.float64)
        return float(np.abs(numbers - np.median(numbers)).mean())

    def beside(self, y: npt.NDArray[Any], values: Floats, named: npt.NDArray[Any]) -> float:
        """The root mean squared error."""
        return float(np.sqrt(np.mean((y.astype(np.float64) - values) ** 2))) if len(y) else float("nan")


def losses_of(kind: Kind) -> Losses | None:
    """Those of a task; None for one without labels.

    >>> losses_of("regression").figure, losses_of("anomaly").unit, losses_of("unlabelled")
    ('rmse', 'nats', None)
    """
    found: dict[Kind, Losses] = {
        "binary": OfTrue(),
        "anomaly": OfTrue(),
        "multiclass": OfClasses(),
        "regression": OfNumbers(),
    }
    return found.get(kind)

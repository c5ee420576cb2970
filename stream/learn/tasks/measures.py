"""Running figures over labels, a few sums each: of numbers, and of classes.

Laws of this file:
- Taking a label costs the same however many came before; the figures are computed when they are asked for.
- The area under the ROC curve is no such figure: it is computed over the predictions and labels it is given.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable


class Errors:
    """Errors of predicted numbers.

    >>> errors = Errors()
    >>> for y, p in ((1.0, 2.0), (3.0, 3.0), (5.0, 3.0)):
    ...     errors.add(y, p, 0.0)
    >>> {name: round(value, 3) for name, value in errors.measures().items()}
    {'mae': 1.0, 'rmse': 1.291, 'base_mae': 3.0, 'r2': 0.375}
    """

    def __init__(self) -> None:
        self.labels = 0
        self.error = self.squares = self.base_error = 0.0
        self.mean = self.spread = 0.0

    def add(self, y: float, p: float, base: float) -> None:
        """A label, with what was predicted live and by the base predictor."""
        self.labels += 1
        self.error += abs(p - y)
        self.squares += (p - y) * (p - y)
        self.base_error += abs(base - y)
        away = y - self.mean  # Welford's sums: squares of large labels would cancel
        self.mean += away / self.labels
        self.spread += away * (y - self.mean)

    def measures(self) -> dict[str, float]:
        """Mean absolute error, root mean squared error, the base predictor's mean absolute error, and R2 where labels differ."""
        n = self.labels
        if not n:
            return {}
        found = {"mae": self.error / n, "rmse": (self.squares / n) ** 0.5, "base_mae": self.base_error / n}
        return {**found, "r2": 1.0 - self.squares / self.spread} if self.spread > 0.0 else found


class Confusion:
    """How often each class came, was predicted, and both.

    >>> confusion = Confusion()
    >>> for y, predicted in (("a", "a"), ("a", "b"), ("b", "b"), ("c", None)):
    ...     confusion.add(y, predicted, "a")
    >>> {name: round(value, 3) for name, value in confusion.measures().items()}
    {'accuracy': 0.5, 'macro_f1': 0.444, 'kappa': 0.333, 'base_accuracy': 0.5}
    """

    def __init__(self) -> None:
        self.labels = self.base_right = 0
        self.came: Counter[str] = Counter()
        self.predicted: Counter[str | None] = Counter()
        self.right: Counter[str] = Counter()

    def add(self, y: str, predicted: str | None, base: str | None) -> None:
        """A label, with the class that was predicted live and by the base predictor."""
        self.labels += 1
        self.came[y] += 1
        self.predicted[predicted] += 1
        self.right[y] += predicted == y
        self.base_right += base == y

    def measures(self) -> dict[str, float]:
        """Accuracy, mean F1 of the classes that came or were predicted, Cohen's kappa, and the base predictor's accuracy."""
        n = self.labels
        if not n:
            return {}
        names = sorted({*self.came, *(name for name in self.predicted if name is not None)})
        f1 = [2.0 * self.right[name] / (self.came[name] + self.predicted[name]) for name in names]
        agreed = sum(self.right.values()) / n
        by_chance = sum(self.came[name] * self.predicted[name] for name in names) / (n * n)
        return {
            "accuracy": agreed,
            "macro_f1": sum(f1) / len(f1),
            "kappa": (agreed - by_chance) / (1.0 - by_chance) if by_chance < 1.0 else 0.0,
            "base_accuracy": self.base_right / n,
        }


def auc(pairs: Iterable[tuple[float, bool]]) -> float | None:
    """How often a true event was given more than a false one, ties half; None when there is only one kind.

    >>> auc([(0.9, True), (0.2, False), (0.2, True), (0.1, False)])
    0.875
    """
    true: list[float] = []
    false: list[float] = []
    for p, y in pairs:
        (true if y else false).append(p)
    if not true or not false:
        return None
    false.sort()
    won = sum([bisect_left(false, p) + bisect_right(false, p) for p in true])
    return won / (2 * len(true) * len(false))

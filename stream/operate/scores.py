"""How good the newest predictions were: log loss, base rate and AUC over the labels that came for them.

Laws of this file:
- Pure. A prediction counts once, by the id of its event, and with the label that came for it, in whichever order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import log
from typing import NamedTuple

LEAST_P = 1e-15


class Scores(NamedTuple):
    """Of `labels` predictions with a label: mean log losses in nats, and the area under the ROC curve (None: one class only).

    `base_loss` is that of the labels' own rate, which is known only afterwards: the best that a constant could do.
    """

    labels: int
    loss: float
    base_loss: float
    auc: float | None


def scores(pairs: Iterable[tuple[float, bool]]) -> Scores | None:
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


def auc(pairs: Sequence[tuple[float, bool]]) -> float | None:
    """How often a true event was given more than a false one, ties half; None when there is only one kind.

    >>> auc([(0.9, True), (0.2, False), (0.2, True), (0.1, False)])
    0.875
    """
    ordered = sorted(pairs)
    true = sum(y for _, y in ordered)
    false = len(ordered) - true
    if not true or not false:
        return None
    ranks, start = 0.0, 0
    while start < len(ordered):
        stop = start
        while stop < len(ordered) and ordered[stop][0] == ordered[start][0]:
            stop += 1
        ranks += (start + 1 + stop) / 2 * sum(y for _, y in ordered[start:stop])
        start = stop
    return (ranks - true * (true + 1) / 2) / (true * false)

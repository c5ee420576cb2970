"""Which value of a field carried what an incident cost: what a segment would have told.

Laws of this file:
- Pure. A value's excess is what was lost with it beyond its own mean of the days before; that of a rare value beyond everybody's.
- A field is named only where one value carries most of the excess and far more than its share of the labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

MOST_VALUES = 24
LEAST_LABELS = 30
CARRIES_LEAST = 0.5
OVER_ITS_SHARE = 2.0
MOST_FIELDS = 4


class Codes(NamedTuple):
    """A field's values as numbers: `values[codes[n]]` is that of row n."""

    values: list[Any]
    codes: npt.NDArray[np.int64]


class Carried(NamedTuple):
    """That `value` of `field` carried the part `excess` of what an incident cost, with the part `labels` of its labels."""

    field: str
    value: Any
    excess: float
    labels: float


def carried(
    fields: Mapping[str, Codes],
    losses: npt.NDArray[np.float64],
    before: npt.NDArray[np.bool_],
    inside: npt.NDArray[np.bool_],
) -> list[Carried]:
    """For one incident, the value of each field that carried most of its cost; those that carried most come first."""
    found = []
    if before.any() and inside.any():
        mean = float(losses[before].mean())
        for name, (values, codes) in fields.items():
            size = len(values)
            many = np.bincount(codes[inside], minlength=size)
            lost = np.bincount(codes[inside], losses[inside], size)
            many_before = np.bincount(codes[before], minlength=size)
            lost_before = np.bincount(codes[before], losses[before], size)
            usual = np.where(many_before >= LEAST_LABELS, lost_before / np.maximum(many_before, 1), mean)
            excess = np.maximum(lost - usual * many, 0.0)
            total = float(excess.sum())
            place = int(excess.argmax())
            part, share = float(excess[place]) / max(total, 1e-12), float(many[place] / many.sum())
            if part >= CARRIES_LEAST and part >= OVER_ITS_SHARE * share and many[place] >= LEAST_LABELS:
                found.append(Carried(name, values[place], part, share))
    return sorted(found, key=lambda one: (one.labels - one.excess, one.field))

"""Which one segment carries a damage, if one does.

Laws of this file
- A segment carries it if at least half of its field's damage is its own, and that is far from its usual share of records:
  the relative entropy of the two shares is at least `FAR` nats. Of several, the one with the most: a carrier that flies mostly
  from one airport is told as the carrier, because all of the damage is its own and only most of it the airport's.
- Where the damage is a number of records, chance must be excluded as well: `records * entropy` bounds the log of its probability
  (Chernoff), held against one in twenty over all segments.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.monitors.segments.places import WIDTH

Floats = NDArray[np.float64]

LEAST_SHARE = 0.5
FAR = 0.2
CHANCE = 0.05


class Blamed(NamedTuple):
    """The place of a segment, its share of the damage, and its usual share of records."""

    place: int
    share: float
    usual: float


def entropy(share: float, usual: float) -> float:
    """Relative entropy (nats) of two shares; a usual one of nothing counts as one in ten thousand.

    >>> round(entropy(1.0, 0.5), 3), entropy(0.3, 0.3)
    (0.693, 0.0)
    """
    usual = min(max(usual, 1e-4), 1 - 1e-4)
    inside = share * math.log(share / usual) if share > 0 else 0.0
    return inside + ((1 - share) * math.log((1 - share) / (1 - usual)) if share < 1 else 0.0)


def blame(damage: Floats, usual: Floats, records: float | None = None) -> Blamed | None:
    """The segment that carries the damage, or None.

    Args:
        damage: by place; what is not above 0 is none.
        usual: records by place, as they usually are, or as they were in the same time.
        records: how many records the damage is a count of, so that a few say nothing.
    """
    best: tuple[float, Blamed] | None = None
    known = max(int(np.count_nonzero(usual)), 1)
    for start in range(0, len(damage), WIDTH):
        part = np.maximum(damage[start : start + WIDTH], 0.0)
        total, of_all = float(part.sum()), float(usual[start : start + WIDTH].sum())
        if total <= 0 or of_all <= 0:
            continue
        place = int(part.argmax())
        found = Blamed(start + place, float(part[place]) / total, float(usual[start + place]) / of_all)
        far = entropy(found.share, found.usual)
        if found.share < LEAST_SHARE or found.share <= found.usual or far < FAR:
            continue
        if records is not None and records * far < math.log(known / CHANCE):
            continue
        if best is None or far > best[0]:
            best = far, found
    return None if best is None else best[1]

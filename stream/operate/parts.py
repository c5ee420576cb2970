"""Pairs of predictions, compared as a whole, by calendar month and by segment.

Laws of this file:
- Pure. A difference is the changed side's mean loss a label less the live side's: below 0 the change is better. The task says
  what a loss is (`losses_by_task`).
- Months (UTC, of the sample's event time) and segments each share out all labels: weighted by labels they sum to the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from math import isnan
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.monitors.losses.blocks import Floats
from penstock.monitors.losses.comparison import Compared, compare
from penstock.monitors.losses.drift import margin_of
from penstock.stream.operate.losses_by_task import Chosen, Losses, OfTrue
from penstock.stream.operate.pairs import Pair
from penstock.stream.targets import Target

MOST_SEGMENTS = 24
QUANTILES = (0.25, 0.5, 0.75)
OTHERS, MISSING = "others", "missing"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the comparison: `of` is whole, month or the segment's field, `value` which month or segment.

    `figures` are those that stand beside the losses of the two sides, by the task, None where there are none.
    """

    of: str
    value: str
    live_loss: float
    changed_loss: float
    figures: tuple[float | None, float | None]
    compared: Compared
    by: Losses

    def row(self) -> dict[str, Any]:
        """As one flat row, for a frame or JSON."""
        found = self.compared
        return {
            "part": self.of,
            "value": self.value,
            "labels": found.labels,
            "live_loss": self.live_loss,
            "changed_loss": self.changed_loss,
            "difference": found.difference,
            "low": found.low,
            "high": found.high,
            "e_value_log10": found.log10_e,
            "clear": found.clear,
            f"live_{self.by.figure}": self.figures[0],
            f"changed_{self.by.figure}": self.figures[1],
        }


@dataclass
class Columns:
    """Pairs as columns, in the order of the samples log; `segment` is empty without a field to compare by.

    `live` and `changed` are the values of `by` (`Losses.value`), `live_class` and `changed_class` the classes that were named.
    """

    by: Losses = field(default_factory=OfTrue)
    event_id: list[str] = field(default_factory=list)
    key: list[str] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    label: list[Target] = field(default_factory=list)
    live: list[float] = field(default_factory=list)
    changed: list[float] = field(default_factory=list)
    live_class: list[str | None] = field(default_factory=list)
    changed_class: list[str | None] = field(default_factory=list)
    segment: list[Any] = field(default_factory=list)

    def add(self, pair: Pair, segment: Any = None, *, by: bool = False) -> None:
        """One more pair."""
        self.event_id.append(pair.row.event_id)
        self.key.append(pair.row.key)
        self.at.append(pair.row.at)
        self.label.append(self.by.label(pair.y))
        self.live.append(self.by.value(pair.live, pair.y))
        self.changed.append(self.by.value(pair.changed, pair.y))
        self.live_class.append(self.by.named(pair.live))
        self.changed_class.append(self.by.named(pair.changed))
        if by:
            self.segment.append(segment)

    def __len__(self) -> int:
        return len(self.at)

    @cached_property
    def truth(self) -> npt.NDArray[Any]:
        """The labels."""
        return np.array(self.label, object)

    @cached_property
    def sides(self) -> tuple[tuple[Floats, npt.NDArray[Any]], ...]:
        """Of both sides the values, and the classes that were named."""
        given = ((self.live, self.live_class), (self.changed, self.changed_class))
        return tuple((np.array(values, np.float64), np.array(named, object)) for values, named in given)

    @cached_property
    def losses(self) -> tuple[Floats, Floats]:
        """The loss of each label: the live side's and the changed side's."""
        live, changed = (self.by.losses(self.label, values) for values, _ in self.sides)
        return live, changed

    @cached_property
    def months(self) -> list[str]:
        """The calendar month of each, in UTC."""
        return [datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m") for at in self.at]

    @property
    def worth(self) -> float:
        """The least difference that rules of drift would act on (`margin_of`), a label; of numbers by the same shares."""
        if not len(self):
            return 0.0
        return margin_of(float(self.losses[0].mean()), self.by.of_constant(self.label))

    def part(self, of: str, value: str, chosen: Chosen) -> Part:
        """Compare some of them."""
        live, changed = (side[chosen] for side in self.losses)
        y = self.truth[chosen]
        found = [self.by.beside(y, values[chosen], named[chosen]) for values, named in self.sides]
        before, after = (None if isnan(one) else one for one in found)
        means = float(live.mean()), float(changed.mean())
        return Part(of, value, *means, (before, after), compare(changed - live), self.by)

    def parts(self, by: str | None = None) -> list[Part]:
        """The whole, every month, and every segment of the field `by`; nothing of nothing."""
        if not len(self):
            return []
        found = [
            self.part("whole", "", slice(None)),
            *self._split("month", self.months, sorted(set(self.months))),
        ]
        if by is not None:
            names, order = segments(self.segment)
            found += self._split(by, names, order)
        return found

    def _split(self, of: str, names: Sequence[str], order: Iterable[str]) -> list[Part]:
        every = np.array(names)
        return [self.part(of, name, every == name) for name in order]


def segments(values: Sequence[Any]) -> tuple[list[str], list[str]]:
    """The segment of each value, and all segments in order: its own where there are few, else quarters of numbers, or "others".

    >>> segments(["b", "a", None, "b"])
    (['b', 'a', 'missing', 'b'], ['a', 'b', 'missing'])
    >>> segments([float(n) for n in range(100)])[1]
    ['up to 24.75', 'up to 49.5', 'up to 74.25', 'above 74.25']
    """
    kinds = {type(value) for value in values} & {bool, int, float}
    if len(kinds) > 1:  # False, 0 and 0.0 are one value to Python: let them have one name
        values = [float(value) if isinstance(value, bool | int | float) else value for value in values]
    counts = Counter(values)
    known = [value for value in counts if value is not None]
    numbers = all(isinstance(value, int | float) for value in known)
    last = [MISSING] if None in counts else []
    if len(known) <= MOST_SEGMENTS:
        ordered = sorted(known) if numbers else sorted(known, key=str)
        return [_name(value) for value in values], [*map(_name, ordered), *last]
    if numbers:
        edges = sorted(set(np.quantile([v for v in values if v is not None], QUANTILES).tolist()))
        names = [*(f"up to {edge:g}" for edge in edges), f"above {edges[-1]:g}"]
        places = [MISSING if v is None else names[int(np.searchsorted(edges, v))] for v in values]
        return places, [name for name in [*names, *last] if name in set(places)]
    kept = {value for value, _ in counts.most_common(MOST_SEGMENTS) if value is not None}
    own = [_name(value) if value is None or value in kept else OTHERS for value in values]
    return own, [*sorted(map(_name, kept)), OTHERS, *last]


def _name(value: Any) -> str:
    return MISSING if value is None else f"{value + 0.0:g}" if isinstance(value, float) else str(value)

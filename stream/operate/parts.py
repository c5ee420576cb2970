"""Pairs of predictions, compared as a whole, by calendar month and by segment; and what that says in plain words.

Laws of this file:
- Pure. A difference is the changed side's loss less the live side's, in nats a label: below 0 the change is better.
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
from penstock.monitors.losses.comparison import Compared, compare, log_losses, roc_auc
from penstock.monitors.losses.drift import margin_of
from penstock.stream.operate.pairs import Pair

MOST_SEGMENTS = 24
QUANTILES = (0.25, 0.5, 0.75)
OTHERS, MISSING = "others", "missing"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the comparison: `of` is whole, month or the segment's field, `value` which month or segment."""

    of: str
    value: str
    live_loss: float
    changed_loss: float
    live_auc: float | None
    changed_auc: float | None
    compared: Compared

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
            "live_auc": self.live_auc,
            "changed_auc": self.changed_auc,
        }


@dataclass
class Columns:
    """Pairs as columns, in the order of the samples log; `segment` is empty without a field to compare by."""

    event_id: list[str] = field(default_factory=list)
    key: list[str] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    label: list[bool] = field(default_factory=list)
    live: list[float] = field(default_factory=list)
    changed: list[float] = field(default_factory=list)
    segment: list[Any] = field(default_factory=list)

    def add(self, pair: Pair, segment: Any = None, *, by: bool = False) -> None:
        """One more pair."""
        self.event_id.append(pair.row.event_id)
        self.key.append(pair.row.key)
        self.at.append(pair.row.at)
        self.label.append(pair.y)
        self.live.append(pair.live)
        self.changed.append(pair.changed)
        if by:
            self.segment.append(segment)

    def __len__(self) -> int:
        return len(self.at)

    @cached_property
    def truth(self) -> npt.NDArray[np.bool_]:
        """The labels."""
        return np.array(self.label, np.bool_)

    @cached_property
    def sides(self) -> tuple[Floats, Floats]:
        """The probabilities of both sides."""
        return np.array(self.live, np.float64), np.array(self.changed, np.float64)

    @cached_property
    def losses(self) -> tuple[Floats, Floats]:
        """The log loss of each label, in nats: the live side's and the changed side's."""
        live, changed = self.sides
        return log_losses(self.truth, live), log_losses(self.truth, changed)

    @cached_property
    def months(self) -> list[str]:
        """The calendar month of each, in UTC."""
        return [datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m") for at in self.at]

    @property
    def worth(self) -> float:
        """The least difference that rules of drift would act on (`margin_of`), in nats a label."""
        rate = float(self.truth.mean()) if len(self) else 0.0
        base = log_losses(self.truth, np.full(len(self), rate)).mean() if len(self) else 0.0
        return margin_of(float(self.losses[0].mean()) if len(self) else 0.0, float(base))

    def part(self, of: str, value: str, chosen: npt.NDArray[np.bool_] | slice) -> Part:
        """Compare some of them."""
        live, changed = (side[chosen] for side in self.losses)
        areas = [roc_auc(self.truth[chosen], side[chosen]) for side in self.sides]
        before, after = (None if isnan(area) else area for area in areas)
        return Part(
            of, value, float(live.mean()), float(changed.mean()), before, after, compare(changed - live)
        )

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


# -- in words ------------------------------------------------------------------------------------------------------------------


def verdict(parts: Sequence[Part], worth: float = 0.0) -> str:
    """The comparison in one or two plain sentences; differences below `worth` are said to be small (`Columns.worth`)."""
    if not parts:
        return (
            "No event of the range was predicted by both sides and has a label: there is nothing to compare."
        )
    whole = parts[0]
    found = whole.compared
    labels = f"On {found.labels:,} label{'s' * (found.labels != 1)}"
    if whole.live_loss == whole.changed_loss and found.low == found.high:
        return (
            f"{labels} the changed definition loses exactly as much as what was live: there is no difference."
        )
    said = f"{labels} the changed definition loses {_nats(found.difference)} nats a label {_side(found.difference)}"
    if found.low is None or found.high is None:
        return f"{said}: too few labels to judge by."
    low, high = sorted((found.low, found.high) if found.difference > 0 else (-found.high, -found.low))
    said += f" (95 % interval {low:.4f} to {high:.4f}, e-value {e_value(found.log10_e)}): "
    return f"{said}{_judged(whole, worth)}. {_by_month(parts)}".strip()


def _judged(whole: Part, worth: float) -> str:
    """What the evidence is worth."""
    found = whole.compared
    if not found.enough:
        return (
            f"no single answer, as the difference keeps moving for longer than {found.block_labels:,} labels"
        )
    if not found.clear:
        return "that can be chance"
    small = (
        f", though by less than the {worth:.4f} that drift is acted on"
        if abs(found.difference) < worth
        else ""
    )
    return f"it is {'better' if found.difference < 0 else 'worse'}{small}"


def _by_month(parts: Sequence[Part]) -> str:
    months = [part.compared for part in parts if part.of == "month"]
    if len(months) < 2:
        return ""
    clear = [month for month in months if month.clear]
    better = sum(month.difference < 0 for month in clear)
    return (
        f"By month: better in {better} of {len(months)}, worse in {len(clear) - better}, "
        f"not clear in {len(months) - len(clear)}."
    )


def _nats(difference: float) -> str:
    size = f"{abs(difference):.4f}"
    return size if float(size) else "less than 0.0001"


def _side(difference: float) -> str:
    return "less" if difference < 0 else "more"


def e_value(log10_e: float) -> str:
    """An e-value that can be read.

    >>> e_value(41.3), e_value(1.5), e_value(-0.7)
    ('10^41', '32', '0.2')
    """
    return f"10^{log10_e:.0f}" if log10_e >= 4 else f"{10**log10_e:.2g}"

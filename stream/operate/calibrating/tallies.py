"""The incidents that there would have been at each budget, side by side.

Laws of this file:
- Pure. Incidents of two budgets are one if they overlap and are of one family: both of the loss, or begun within a day of each
  other, or with a finding in common.
- Worth knowing is what named broken data, what a better model was found for, and what cost clearly more a label than the margin
  that drift rules act on: by two standard errors where the summary measured it against the base rate, otherwise more than most
  other stretches as long. In a stream whose losses go up and down, half of all days cost something.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.stream.learn.causes import SORTS
from penstock.stream.operate.calibrating.carried import Carried
from penstock.stream.operate.reporting.course import Losses
from penstock.stream.operate.reporting.incidents import (
    BEFORE_LEAST_MS,
    BEFORE_MOST_MS,
    DAY_MS,
    Cost,
    Incident,
    causes,
)

FAMILY_OF = {"loss": "loss", "moved": "inputs", "cause": "data", "alone": "others"}
"""What an incident is of, by the sort of its first finding."""
FAMILIES = tuple(FAMILY_OF.values())
COMMITS = frozenset({"rollback", "retrain", "promote"})
LEAST_STRETCHES = 12
UNUSUAL_LEAST = 0.9
ERRORS_LEAST = 2.0


def family_of(kind: str) -> str:
    """What a kind of finding is of: a detector of the definition's own is of something else."""
    return FAMILY_OF[SORTS.get(kind, "alone")]


@dataclass
class Row:
    """One incident, at the least budget that found it, and the budgets (alarms a year) that did.

    `worth` is why it is worth knowing, empty where it is not. `carried` are the fields one value of which carried its cost.
    """

    incident: Incident
    cost: Cost | None
    budgets: list[float]
    worth: str = ""
    carried: list[Carried] = field(default_factory=list)

    @property
    def family(self) -> str:
        """Of the loss, of the inputs, of data's quality, or of something else."""
        return family_of(self.incident.first.data.kind)

    @property
    def broken(self) -> bool:
        """Whether broken data was found in it."""
        return any(
            one.data.state == "firing" and family_of(one.data.kind) == "data" for one in self.incident.events
        )

    def row(self) -> dict[str, Any]:
        """For programs."""
        one = self.incident
        return {
            "episode": one.id,
            "kind": one.first.data.kind,
            "subject": one.first.subject,
            "family": self.family,
            "since": one.since,
            "found": one.found,
            "over": one.over,
            "reason": one.first.data.reason,
            "causes": causes(one),
            "budgets": self.budgets,
            "cost": None if self.cost is None else self.cost._asdict(),
            "worth": self.worth,
            "carried": [part._asdict() for part in self.carried],
        }


def side_by_side(
    found: Mapping[float, Sequence[tuple[Incident, Cost | None]]],
    losses: Losses,
    span: tuple[int, int],
    margin: float,
) -> list[Row]:
    """The incidents of all budgets, by when they began; `losses` are those of the least, by event time."""
    rows: list[Row] = []
    for budget in sorted(found):
        for incident, cost in found[budget]:
            row = next(
                (
                    one
                    for one in rows
                    if budget not in one.budgets and _same(one, Row(incident, cost, []), span[1])
                ),
                None,
            )
            if row is None:
                row = Row(incident, cost, [])
                row.worth = worth_of(row, losses, span, margin)
                rows.append(row)
            row.budgets.append(budget)
    return sorted(rows, key=lambda one: (one.incident.since, one.incident.id))


def _same(row: Row, other: Row, stop: int) -> bool:
    one, two = row.incident, other.incident
    if row.family != other.family or one.since >= two.until(stop) or two.since >= one.until(stop):
        return False
    shared = {(event.data.kind, event.subject) for event in one.events} & {
        (event.data.kind, event.subject) for event in two.events
    }
    return row.family == "loss" or bool(shared) or abs(one.since - two.since) < DAY_MS


def worth_of(row: Row, losses: Losses, span: tuple[int, int], margin: float) -> str:
    """Why an incident is worth knowing; empty where it is not."""
    if row.broken:
        return "broken data"
    asked = [
        one.data
        for one in row.incident.events
        if one.data.suggested_action in COMMITS and one.data.target_version
    ]
    if asked:
        return "a better model was found"
    cost, summed = row.cost, row.incident.summary
    if row.incident.measured is not None and summed is not None and summed.excess_per_label is not None:
        excess, error = row.incident.measured
        clear = summed.excess_per_label >= margin and excess >= ERRORS_LEAST * error
        return f"{summed.excess_per_label:+.3f} nats a label beyond clean data" if clear else ""
    if cost is None or cost.before is None or cost.live - cost.before < margin:
        return ""
    part = unusual(losses, span, row.incident.until(span[1]) - row.incident.since, cost.live - cost.before)
    if part < UNUSUAL_LEAST:
        return ""
    return f"{cost.live - cost.before:+.3f} nats a label, more than in {part:.0%} of stretches as long"


def unusual(losses: Losses, span: tuple[int, int], length_ms: int, excess: float) -> float:
    """The part of all stretches so long whose loss rose by less above the days before them; 1 where there are too few to say."""
    length, before = max(length_ms, DAY_MS), min(max(length_ms, BEFORE_LEAST_MS), BEFORE_MOST_MS)
    starts = np.arange(
        max(span[0], int(losses.at[0]) if len(losses.at) else 0) + before, span[1] - length, length
    )
    if len(starts) < LEAST_STRETCHES:
        return 1.0
    summed = np.concatenate([[0.0], np.cumsum(losses.live)])

    def mean(first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        low, high = np.searchsorted(losses.at, first), np.searchsorted(losses.at, last)
        with np.errstate(invalid="ignore"):
            means: npt.NDArray[np.float64] = (summed[high] - summed[low]) / (high - low)
        return means

    rises = mean(starts, starts + length) - mean(starts - before, starts)
    rises = rises[~np.isnan(rises)]
    return float((rises < excess).mean()) if len(rises) >= LEAST_STRETCHES else 1.0

"""Settings that suit a history, each with its reason.

Laws of this file:
- Pure. A setting is suggested by what was found in this history and by nothing else; where it is too short to tell, that is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from penstock.monitors.inputs.psi import LEAST_ROWS, LEAST_WINDOWS
from penstock.monitors.losses.drift import LossConfig
from penstock.stream.operate.calibrating.carried import MOST_FIELDS
from penstock.stream.operate.calibrating.tallies import Row
from penstock.stream.operate.reporting.incidents import moment

GUARD_SAMPLES = 10_000
LEAST_DAYS = 60
GUARD_ALARMS_MOST = 12
YEAR_DAYS = 365.25


class Advice(NamedTuple):
    """One setting of the definition, as it would be written, and why; `setting` is empty for what is only to be known."""

    setting: str
    value: Any
    why: str


class Stream(NamedTuple):
    """How much there is: samples and labels of the range, how many days it has, and whether labels come at all."""

    samples: int
    labels: int
    days: float
    labelled: bool


def advice(
    rows: Sequence[Row], budgets: Sequence[float], stream: Stream, segments: Sequence[str], guard: object
) -> list[Advice]:
    """What to set, and why."""
    return [
        budget_of(rows, budgets, stream),
        guard_of(rows, budgets, stream, guard),
        *segments_of(rows, segments),
        *too_few(stream),
    ]


def budget_of(rows: Sequence[Row], budgets: Sequence[float], stream: Stream) -> Advice:
    """The largest budget whose additional alarms were mostly worth knowing."""
    least, *more = sorted(budgets)
    if stream.days < LEAST_DAYS:
        why = f"{stream.days:.0f} days are too few to choose by (at least {LEAST_DAYS}): the least budget, until there are more"
        return Advice("alarms_per_year", least, why)
    chosen, said = least, []
    at_least = [row for row in rows if least in row.budgets]
    worth = sum(bool(row.worth) for row in at_least)
    said.append(
        f"at {least:g} a year there {'is' if len(at_least) == 1 else 'are'} {_alarms(len(at_least))}, {worth} worth knowing"
    )
    for budget in more:
        added = [row for row in rows if budget in row.budgets and chosen not in row.budgets]
        worth = sum(bool(row.worth) for row in added)
        said.append(f"{budget:g} a year add {_alarms(len(added))}, {worth} worth knowing")
        if not added or worth * 2 < len(added):
            break
        chosen = budget
    return Advice("alarms_per_year", chosen, "; ".join(said))


def _alarms(many: int) -> str:
    return f"{many} alarm{'' if many == 1 else 's'}"


def guard_of(rows: Sequence[Row], budgets: Sequence[float], stream: Stream, guard: object) -> Advice:
    """Whether values out of range should let a careful model take part, hold learning, or not be looked at."""
    guards = [
        row
        for row in rows
        if row.incident.first.data.kind in ("range", "nulls") and min(budgets) in row.budgets
    ]
    if not stream.labelled:
        return Advice(
            "guard",
            "hold",
            "no label can say whether odd values are right, so a person should before they are learned",
        )
    a_year = len(guards) * YEAR_DAYS / max(stream.days, 1.0)
    names = ", ".join(dict.fromkeys(row.incident.first.subject for row in guards))
    if a_year > GUARD_ALARMS_MOST and stream.days >= LEAST_DAYS:
        why = (
            f"it fired {len(guards)} times in {stream.days:.0f} days, on {names}: such values are usual here. Leave these inputs "
            "out, cap them in the model, or do without the guard"
        )
        return Advice("guard", False, why)
    if not guards:
        return Advice(
            "guard", guard or True, "no value was out of its range for long: it cost nothing to look"
        )
    costs = [
        row.incident.measured[0]
        if row.incident.measured is not None
        else row.cost.nats or 0.0
        if row.cost
        else 0.0
        for row in guards
    ]
    why = (
        f"it found {_alarms(len(guards))} ({names}), and labels decided which model to believe: what that cost in all was "
        f"{sum(costs):+,.0f} nats"
    )
    return Advice("guard", True, why)


def segments_of(rows: Sequence[Row], declared: Sequence[str]) -> list[Advice]:
    """The fields that would have told where the damage was."""
    found = [(part, row) for row in rows if row.worth for part in row.carried]
    count = Counter(part.field for part, _ in found)
    names = [name for name, _ in count.most_common(MOST_FIELDS) if name not in declared]
    advised = []
    for name in names:
        part, row = max((one for one in found if one[0].field == name), key=lambda one: one[0].excess)
        advised.append(
            Advice(
                "segments",
                name,
                f"{name} {part.value} carried {part.excess:.0%} of what {row.incident.name} of {moment(row.incident.since)} "
                f"cost, with {part.labels:.0%} of its labels"
                + (f"; one value did so in {count[name]} incidents" if count[name] > 1 else ""),
            )
        )
    return advised


def too_few(stream: Stream) -> list[Advice]:
    """Which tests could not speak, and what they need."""
    config, said = LossConfig(), []
    needed = config.base_labels * config.min_blocks
    a_day = stream.labels / max(stream.days, 1e-9)
    samples_a_day = stream.samples / max(stream.days, 1e-9)
    if stream.labelled and stream.labels < needed:
        wait = f", {needed / a_day:,.0f} days at {a_day:,.1f} labels a day" if a_day else ""
        said.append(
            f"the tests of the loss need {needed:,} labels before they speak{wait}: here they said nothing, whatever the budget"
        )
    elif stream.labelled and a_day * 7 < config.base_labels:
        said.append(
            f"the tests of the loss look at blocks of {config.base_labels} labels: {config.base_labels / a_day:,.0f} days of "
            "labels here, so what is broken is seen in the inputs first"
        )
    if samples_a_day < LEAST_ROWS:
        said.append(
            f"the distributions of inputs are judged day by day, and only days of at least {LEAST_ROWS} samples; there are "
            f"{samples_a_day:,.1f} a day"
        )
    elif stream.days < LEAST_WINDOWS + 2:
        said.append(f"the distributions of inputs need {LEAST_WINDOWS + 1} days before they are judged")
    if stream.samples < GUARD_SAMPLES:
        said.append(
            f"the guard of ranges learns from {GUARD_SAMPLES:,} samples before it speaks; here are {stream.samples:,}"
        )
    return [Advice("", None, one) for one in said]

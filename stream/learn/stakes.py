"""What is at stake in an incident, and so how urgent it is to tell.

Laws of this file:
- At stake is what the live prediction loses by it, in nats per label: the largest of what was measured since the onset (less a
  standard error), what the finding itself measured, and for broken inputs their share of the records times what the model is
  worth, since those records may have lost all of it.
- Critical is what cannot wait until morning: nothing is learned, or more than the margin is at stake. Where no label can say what
  it costs, an alert counts as that. What asks or alerts else is a warning, and so is a level of the loss that rose by more than
  the margin; other notes, and promotions, are for information.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from penstock.monitors.episodes import Transition
from penstock.monitors.losses.drift import LossMonitor
from penstock.stream.learn.stories import Story

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
"""The lowest first."""
CALM = frozenset({"note", "promote", "summary"})
YEAR_DAYS = 365.25
LEAST_LABELS = 125


class Stake(NamedTuple):
    """Nats per label and per day; None where nothing says."""

    per_label: float | None
    per_day: float | None


UNKNOWN = Stake(None, None)


def stake_of(transition: Transition, story: Story, losses: LossMonitor, *, alone: bool) -> Stake:
    """What is at stake; `alone`: the committed model predicts by itself, so that what it loses is lost live."""
    live, base = losses.harm.reference_means()
    if base <= 0.0:
        return UNKNOWN
    monitor, effect = transition.monitor, max(transition.effect, 0.0)
    worth, found = max(base - live, 0.0), 0.0
    if story.start is not None:
        cost = losses.ledger.cost(story.start, losses.sums(transition.position), story.clean)
        if cost.excess is not None and cost.error is not None and cost.labels >= LEAST_LABELS:
            found = max(found, (cost.excess - cost.error) / cost.labels)
    if monitor in ("harm", "adwin") or (monitor == "lead" and alone):
        found = max(found, effect)
    elif monitor in ("range", "nulls"):
        found = max(found, min(effect, 1.0) * worth)
    elif monitor == "failures":
        found = max(found, worth)
    return Stake(found, found * losses.labels_per_year / YEAR_DAYS)


def _silent(transition: Transition) -> bool:
    """Whether it says that nothing comes any more, and so nothing is learned."""
    return transition.monitor == "freshness" or transition.detail.get("side") == "silent"


def severity_of(
    verb: str, transition: Transition, stake: Stake, margin: float, *, held: bool = False
) -> Severity:
    """How urgent it is that somebody hears of it.

    >>> found = Transition("range", "flow", "firing", 9.0, 8.0, 0.3, 0, 0, 0, 0)
    >>> severity_of("alert", found, Stake(0.03, 27.0), 0.025)
    'critical'
    >>> severity_of("alert", found, Stake(0.01, 9.0), 0.025)
    'warning'
    """
    rose = transition.monitor == "adwin" and transition.state == "firing"
    if verb == "note" and rose and (stake.per_label or 0.0) > margin:
        return "warning"
    if verb in CALM:
        return "info"
    if verb == "hold" or (verb == "alert" and (held or _silent(transition))):
        return "critical"
    if verb == "warn":
        return "warning"
    if stake.per_label is None:
        return "critical" if verb == "alert" else "warning"
    return "critical" if stake.per_label > margin else "warning"

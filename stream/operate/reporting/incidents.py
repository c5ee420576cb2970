"""Control events → incidents: what belongs together, when it began and ended, what it cost, and its story in sentences.

Laws of this file:
- Pure. Events of one episode are one incident, as they were told. What never fired is none.
- What it cost is what its summary says: what was lost beyond what clean data would have cost, judged by the base rate on the same
  labels. Where there is none it is what the live prediction lost between beginning and end beyond its mean of the stretch before,
  by the event time of the samples: that says what a week was like, not what a cause did. A gain is a cost below 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from penstock.stream.messages import ControlEvent
from penstock.stream.operate.control_topics import Told
from penstock.stream.operate.reporting.course import Losses
from penstock.stream.operate.reporting.moments import Moment
from penstock.stream.story_records import EpisodeSummary

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
BEFORE_LEAST_MS, BEFORE_MOST_MS = 7 * DAY_MS, 28 * DAY_MS
CAUSES = {
    "range": "values outside the learned range of",
    "nulls": "nulls in",
    "psi": "a moved distribution of",
    "unseen": "values never seen before of",
    "stuck": "one value too often in",
}
"""Kinds that name an input, and what each says of it."""
SEVERITIES = ("info", "warning", "critical")


class Incident(NamedTuple):
    """One episode. Times are event times in ms; `over` is None while it is open. `timed` is False for one that has none.

    `number` counts the incidents of the page, the earliest first.
    """

    number: int
    id: str
    events: list[ControlEvent]
    since: int
    found: int
    over: int | None
    timed: bool

    @property
    def first(self) -> ControlEvent:
        """The event that it was first told by as more than a suspicion."""
        return next(one for one in self.events if one.data.state == "firing")

    @property
    def name(self) -> str:
        """What it is about, in two words."""
        return f"{self.first.data.kind} {self.first.subject}"

    @property
    def severity(self) -> str:
        """The worst of its events."""
        return max((one.data.severity for one in self.events), key=SEVERITIES.index)

    @property
    def summary(self) -> EpisodeSummary | None:
        """What was told of it when it was over; None while it is not, and of logs from before there were summaries."""
        return next((one.data.summary for one in reversed(self.events) if one.data.summary is not None), None)

    @property
    def measured(self) -> tuple[float, float] | None:
        """What it cost beyond what clean data would have, and the standard error of that, in nats; None if that is not known."""
        found = self.summary
        if found is None or found.excess_nats is None or found.error_nats is None:
            return None
        return found.excess_nats, found.error_nats

    def until(self, stop: int) -> int:
        """Its end, or `stop` while it is open."""
        return stop if self.over is None else self.over


def incidents(told: Sequence[Told]) -> list[Incident]:
    """All that fired, by when they began."""
    by_episode: dict[str, list[ControlEvent]] = {}
    for one in told:
        if isinstance(one.message, ControlEvent):
            by_episode.setdefault(one.message.data.episode, []).append(one.message)
    found = [_incident(name, events) for name, events in by_episode.items()]
    fired = sorted((one for one in found if one is not None), key=lambda one: (one.since, one.id))
    return [one._replace(number=number) for number, one in enumerate(fired, 1)]


def _incident(name: str, events: list[ControlEvent]) -> Incident | None:
    events = sorted(events, key=lambda one: one.data.detected_at.get("at", 0))
    fired = [one.data for one in events if one.data.state == "firing"]
    if not fired:
        return None
    firing: set[tuple[str, str]] = set()
    over: int | None = None
    for event in events:
        finding = (event.data.kind, event.subject)
        if event.data.state == "firing":
            firing.add(finding)
            over = None
        elif event.data.state == "resolved":
            firing.discard(finding)
            over = event.data.detected_at.get("at") if not firing else None
    found = fired[0].detected_at.get("at", 0)
    since = min([found, *(at for at in (one.since.get("at") for one in fired) if at is not None)])
    return Incident(0, name, events, since, found, over, "offset" not in fired[0].since)


def compared_spans(incident: Incident, stop: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The event times that an incident's inputs are compared over: before it, and in it (up to `stop` while it is open)."""
    over = min(incident.until(stop), incident.since + BEFORE_MOST_MS)
    before = min(max(over - incident.since, BEFORE_LEAST_MS), BEFORE_MOST_MS)
    return (incident.since - before, incident.since), (incident.since, max(over, incident.since + 1))


# -- what it cost ----------------------------------------------------------------------------------------------------------------


class Cost(NamedTuple):
    """What a stretch cost: mean losses (nats a label) in it and before it, and `nats`, how much more was lost than before.

    `committed` is None where the committed model said nothing; `before` and `nats` are where no label came before.
    """

    labels: int
    live: float
    base: float
    committed: float | None
    labels_before: int
    days_before: float
    before: float | None
    nats: float | None


def cost_of(losses: Losses, start: int, stop: int) -> Cost | None:
    """What [start, stop) cost; None without labels in it."""
    inside = losses.within(start, stop)
    if not len(inside.at):
        return None
    length = min(max(stop - start, BEFORE_LEAST_MS), BEFORE_MOST_MS)
    earlier = losses.within(start - length, start)
    said = ~np.isnan(inside.committed)
    live = float(inside.live.mean())
    before = float(earlier.live.mean()) if len(earlier.at) else None
    return Cost(
        labels=len(inside.at),
        live=live,
        base=float(inside.base.mean()),
        committed=float(inside.committed[said].mean()) if said.any() else None,
        labels_before=len(earlier.at),
        days_before=length / DAY_MS if not len(earlier.at) else (start - int(earlier.at[0])) / DAY_MS,
        before=before,
        nats=None if before is None else (live - before) * len(inside.at),
    )


# -- its story -------------------------------------------------------------------------------------------------------------------


def moment(at_ms: int) -> str:
    """An event time for people, in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%-d %b %Y %H:%M")


def length(ms: float) -> str:
    """How long something took, in its two largest units.

    >>> length(9_780_000), length(86_400_000), length(20_000)
    ('2 h 43 min', '1 d', '0 min')
    """
    minutes = int(ms) // 60_000
    days, hours, minutes = minutes // 1_440, minutes // 60 % 24, minutes % 60
    parts = [f"{days} d" if days else "", f"{hours} h" if hours else "", f"{minutes} min" if minutes else ""]
    return " ".join([part for part in parts if part][:2]) or "0 min"


def causes(incident: Incident) -> list[str]:
    """What was found broken or moved together with it, in words."""
    told = next((one.data.causes for one in reversed(incident.events) if one.data.causes), [])
    found = (
        f"{CAUSES[one.data.kind]} {one.subject}"
        for one in incident.events
        if one.data.kind in CAUSES and one.data.state == "firing"
    )
    return [*told] or list(dict.fromkeys(found))


def segment(incident: Incident) -> str:
    """The segment that carried it, in words; empty where none did."""
    found = next(
        (one.data.segment for one in reversed(incident.events) if one.data.segment is not None), None
    )
    if found is None:
        return ""
    return (
        f"{found.field} {found.value} carried {found.share:.0%} of it, with {found.usual:.0%} of all records"
    )


def story(incident: Incident, cost: Cost | None, done: Sequence[Moment]) -> list[str]:
    """The incident in sentences; `done` is what was found, decided and commanded in it."""
    data = incident.first.data
    began = "It began" if incident.timed else "By the records' own times it began"
    late = incident.found - incident.since
    said = [
        f"{began} at about {moment(incident.since)}, and was found at {moment(incident.found)}, {length(late)} later: "
        f"{data.reason}.",
        f"It was over at {moment(incident.over)}, {length(incident.over - incident.since)} after it began."
        if incident.over is not None
        else "It is not over.",
    ]
    found = causes(incident)
    said.append(
        f"Found together with it: {', '.join(found)}."
        if found
        else "No input was found broken or moved together with it."
    )
    carried = segment(incident)
    said += [f"The segment {carried}."] if carried else []
    if cost is not None:
        said += _cost_lines(cost, summed=incident.measured is not None)
    told = [
        one
        for one in done
        if one.lane != "found" or (one.mark.endswith("firing") and one.said != data.reason)
    ]
    said += [
        f"{moment(one.at) if one.at is not None else 'Later'}: {one.head}"
        + (f" ({one.said})." if one.lane in ("found", "decided") else ".")
        for one in told
    ]
    if all(one.lane == "found" for one in told):
        said.append("Nothing was asked of anybody because of it.")
    summed = next((one for one in reversed(incident.events) if one.data.summary is not None), None)
    if summed is not None:
        said.append(f"As it was summed up when it was over: {summed.data.reason}.")
    return said


def _cost_lines(cost: Cost, *, summed: bool) -> list[str]:
    """What was lost; how much more in all than before is left out where it was `summed` up better.

    That one compares with the base rate on the same labels, so it knows a hard week from a broken model.
    """
    line = f"While it lasted {cost.labels:,} labels came, and the live prediction lost {cost.live:.3f} nats by each"
    if cost.before is not None and cost.nats is not None:
        line += f", against {cost.before:.3f} in the {cost.days_before:.0f} days before"
        if not summed:
            line += f": {abs(cost.nats):,.0f} nats {'more' if cost.nats >= 0 else 'less'} in all"
    others = f"The base rate lost {cost.base:.3f} by each of these labels"
    if cost.committed is not None:
        others += f", the committed model by itself {cost.committed:.3f}"
    return [f"{line}.", f"{others}."]


def cost_in_words(incident: Incident, cost: Cost | None) -> str:
    """Nats, with their error where that is known; empty where nothing is."""
    if incident.measured is not None:
        excess, error = incident.measured
        return f"{excess:+,.0f} ± {error:,.0f}"
    return "" if cost is None or cost.nats is None else f"{cost.nats:+,.0f}"


def row(incident: Incident, cost: Cost | None) -> dict[str, Any]:
    """The incident as one flat row for programs."""
    data, measured = incident.first.data, incident.measured
    return {
        "number": incident.number,
        "episode": incident.id,
        "kind": data.kind,
        "subject": incident.first.subject,
        "severity": incident.severity,
        "since": incident.since,
        "found": incident.found,
        "over": incident.over,
        "reason": data.reason,
        "causes": causes(incident),
        "segment": segment(incident),
        "command": next((one.data.command for one in reversed(incident.events) if one.data.command), ""),
        "cost": None if cost is None else cost._asdict(),
        "measured": None if measured is None else {"excess_nats": measured[0], "error_nats": measured[1]},
    }

"""Control events → episodes as pages show them: which there are, what each one's story is, what it cost, what was done.

Laws of this file:
- Pure. What is an incident, its story and what was done in it are `penstock report`'s own functions, of what the topics say.
- A cost without an error is that of the history's hours, by when labels came. `penstock report`, which folds the samples log
  again, goes by when samples were made.
- Where a command was carried out is known of those whose live model was seen; the others have their decision alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from penstock.stream.console.page import NotFound
from penstock.stream.console.past import Point
from penstock.stream.console.state import PipelineState
from penstock.stream.messages import ControlEvent
from penstock.stream.operate.control_topics import Told
from penstock.stream.operate.reporting.course import Losses
from penstock.stream.operate.reporting.incidents import (
    BEFORE_LEAST_MS,
    BEFORE_MOST_MS,
    SEVERITIES,
    Cost,
    Incident,
    cost_in_words,
    cost_of,
    incidents,
    story,
)
from penstock.stream.operate.reporting.moments import Moment, Placed, done_in, moments

SUMMED = "summary"


class Episode(NamedTuple):
    """One episode: its events in the order told, and the incident that they are, None of what never was more than a suspicion.

    `state` is `firing` or `suspected` while it is open, `over` or `withdrawn` after that. `at` is its onset (event time, ms).
    """

    id: str
    events: list[ControlEvent]
    incident: Incident | None
    state: str
    severity: str
    at: int
    cost: str

    @property
    def open(self) -> bool:
        """Whether anything found in it goes on."""
        return self.state in ("firing", "suspected")

    @property
    def first(self) -> ControlEvent:
        """What it was first told by; of an incident as more than a suspicion."""
        return self.events[0] if self.incident is None else self.incident.first


def told_of(state: PipelineState) -> list[Told]:
    """What the control topics said, as reports take it."""
    return [Told(one.message, one.wall_ms) for one in state.told]


def episodes(state: PipelineState) -> list[Episode]:
    """All that are known: the open ones first, then the newest."""
    told = told_of(state)
    known = {one.id: one for one in incidents(told)}
    by_id: dict[str, list[ControlEvent]] = {}
    for event in state.events:
        by_id.setdefault(event.data.episode, []).append(event)
    found = [_episode(name, events, known.get(name), state) for name, events in by_id.items()]
    return sorted(found, key=lambda one: (not one.open, -one.at, one.id))


def _episode(
    name: str, events: list[ControlEvent], incident: Incident | None, state: PipelineState
) -> Episode:
    newest: dict[tuple[str, str], str] = {}
    for event in events:
        if event.data.kind != SUMMED:
            newest[event.data.kind, event.subject] = event.data.state
    going = [one for one in newest.values() if one in ("firing", "suspected")]
    ended = "withdrawn" if incident is None else "over"
    now = "firing" if "firing" in going else "suspected" if going else ended
    severity = max((event.data.severity for event in events), key=SEVERITIES.index)
    if incident is not None:
        # Opened again after a suspicion, as `penstock status` has it: what fires decides.
        cost = cost_in_words(incident, cost_so_far(state, incident))
        return Episode(name, events, incident, now, severity, incident.since, cost)
    return Episode(name, events, None, now, severity, events[0].data.since.get("at") or 0, "")


def chosen(state: PipelineState, wanted: str) -> Episode:
    """The episode of this id, or of one that begins so. Raises `NotFound` that says which there are."""
    every = episodes(state)
    fits = [one for one in every if one.id == wanted] or [one for one in every if one.id.startswith(wanted)]
    if len(fits) == 1:
        return fits[0]
    there = ", ".join(one.id for one in (fits or every)[:20])
    if fits:
        raise NotFound(f"{wanted!r} may be any of {len(fits)} episodes of {state.name!r}: {there}")
    raise NotFound(
        f"no episode {wanted!r} of {state.name!r} is known here"
        + (f"; there are: {there}" if there else ": nothing was found yet")
    )


# -- what was done -----------------------------------------------------------------------------------------------------------


def placed(state: PipelineState) -> list[Placed]:
    """The commands that were carried out or refused, where the first live model after each one stands.

    What the first known live model already names was carried out some time before it, and is left out.
    """
    sent = {one.command.id: one.command.entry() for one in state.decisions if one.command is not None}
    found: list[Placed] = []
    for number, live in enumerate(state.lived):
        for name in (*live.applied, *live.refused):
            command = sent.pop(name, None)
            if command is not None and number:
                found.append(Placed(live.position, live.at, command))
    return found


def happened(state: PipelineState) -> list[Moment]:
    """Everything that was found, decided, commanded and put in place, as far as it is known here."""
    return moments(told_of(state), placed(state), list(state.lived))


def story_of(incident: Incident, done: Sequence[Moment]) -> list[str]:
    """The story in sentences; what it cost is said elsewhere, with its error."""
    return story(incident, None, done)


def done_of(state: PipelineState, episode: str) -> list[Moment]:
    """What was found, decided, commanded and put in place because of an episode."""
    return done_in(happened(state), episode)


# -- what it cost ------------------------------------------------------------------------------------------------------------


def cost_so_far(state: PipelineState, incident: Incident) -> Cost | None:
    """What it cost up to its end or now, by the hours of the history, or by its blocks where those reach further back."""
    if not incident.timed:
        return None
    stop = incident.until(state.event_at + 1)
    start = incident.since - min(max(stop - incident.since, BEFORE_LEAST_MS), BEFORE_MOST_MS)
    past = state.past
    covered = bool(past.hours) and past.hours[0].since <= max(
        start, past.points[0].since if past.points else 0
    )
    return cost_of(_losses(past.hours if covered else past.points, start, stop), incident.since, stop)


def _losses(points: Sequence[Point], start: int, stop: int) -> Losses:
    """A row for each label of the points of a stretch: the mean of its hour, in the middle of it."""
    inside = [
        (one, one.loss, one.base)
        for one in points
        if one.at > start and one.since < stop and one.loss is not None and one.base is not None
    ]
    labels = [one.labels for one, _, _ in inside]
    at = np.repeat(np.array([(one.since + one.at) // 2 for one, _, _ in inside], np.int64), labels)
    live = np.repeat(np.array([loss for _, loss, _ in inside], np.float64), labels)
    base = np.repeat(np.array([base for _, _, base in inside], np.float64), labels)
    return Losses(at, live, base, np.full(len(at), np.nan))


def cost_lines(incident: Incident, cost: Cost | None) -> list[str]:
    """What it cost in sentences: with its error where it was summed up, else by the hours of the history."""
    said = []
    if incident.measured is not None and incident.summary is not None:
        excess, error = incident.measured
        each = incident.summary.excess_per_label
        said.append(
            f"{excess:+,.0f} ± {error:,.0f} nats beyond what clean data would have cost (± is the standard error)"
            + (f", {each:+.3f} a label over {incident.summary.labels:,} labels." if each is not None else ".")
        )
    if cost is not None:
        line = f"{cost.labels:,} labels came in it, and the live prediction lost {cost.live:.3f} nats by each"
        if cost.before is not None:
            line += f", against {cost.before:.3f} in the {cost.days_before:.0f} days before"
        said.append(f"{line}; the base rate lost {cost.base:.3f}.")
        if incident.measured is None and cost.nats is not None:
            word = "more" if cost.nats >= 0 else "less"
            said.append(
                f"That is {abs(cost.nats):,.0f} nats {word} in all than before it. How sure that is, is known when it is over "
                "and summed up."
            )
    return said


def since_position(incident: Incident) -> int | None:
    """The samples-log offset of its onset."""
    found = [one.data.since for one in incident.events if one.data.state == "firing"]
    at = min(
        (one for one in found if one.get("at") == incident.since),
        key=lambda one: one.get("position") or 0,
        default=None,
    )
    return (at or incident.first.data.since).get("position")

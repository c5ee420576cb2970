"""One episode: its story, its evidence, how inputs lay, what it cost, what was done, what will happen, and the commands.

Laws of this file:
- `shown` is pure; the samples around the onset are read before, by `reading.samples`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from penstock.stream.console.charts import Axis, losses, spans_of
from penstock.stream.console.episodes import (
    Episode,
    chosen,
    cost_lines,
    cost_so_far,
    done_of,
    since_position,
    story_of,
)
from penstock.stream.console.evidence import findings
from penstock.stream.console.next_steps import next_steps
from penstock.stream.console.page import Asked, Chart, Page
from penstock.stream.console.past import DAY_MS, HOUR_MS
from penstock.stream.console.reading.samples import around
from penstock.stream.console.shares import asked_of, bins
from penstock.stream.console.state import PipelineState
from penstock.stream.console.words import short
from penstock.stream.operate.reporting.incidents import length, segment
from penstock.stream.operate.reporting.moments import Moment

AROUND_LEAST_MS, AROUND_MOST_MS = DAY_MS, 14 * DAY_MS
HOURLY_MS = 10 * DAY_MS
ASKED = ("retrain", "rollback", "promote")


def shown(asked: Asked) -> Mapping[str, Any]:
    """Everything of the page."""
    state = asked.state
    one = chosen(state, asked.path["episode"])
    incident = one.incident
    done = done_of(state, one.id)
    newest = next(
        (event for event in reversed(one.events) if event.data.at_stake.get("per_day") is not None), None
    )
    inputs = asked_of(asked.read)
    return {
        "state": state,
        "episode": one,
        "incident": incident,
        "name": f"{one.first.data.kind} of {one.first.subject}",
        "since_position": since_position(incident) if incident else one.first.data.since.get("position"),
        "late": length(incident.found - incident.since) if incident else "",
        "lasted": length(incident.until(state.event_at) - incident.since) if incident else "",
        "story": story_of(incident, done) if incident else [event.data.reason for event in one.events],
        "cost": cost_lines(incident, cost_so_far(state, incident)) if incident else [],
        "stake": newest.data.at_stake if newest is not None and one.open else {},
        "findings": findings(one.events),
        "segment": segment(incident) if incident else "",
        "blamed": next((event.data.segment for event in reversed(one.events) if event.data.segment), None),
        "inputs": inputs,
        "brief": incident is not None and incident.until(state.event_at) - incident.since < DAY_MS,
        "tables": [(share, bins(share)) for share in inputs.shares],
        "done": [_line(each) for each in done],
        "steps": [step for step in next_steps(state, asked.definition) if step.episode == one.id],
        "also": [step for step in next_steps(state, asked.definition) if not step.episode and one.open],
        "commands": list(commands(one, state.name)),
        "charts": {"losses": _chart(state, one)} if incident and incident.timed else {},
    }


def _line(one: Moment) -> dict[str, Any]:
    return {**one._asdict(), "when": "no event time" if one.at is None else short(one.at)}


def _chart(state: PipelineState, one: Episode) -> Chart:
    """What was lost around it, by the hour where it is short."""
    assert one.incident is not None
    over = one.incident.until(state.event_at)
    reach = min(max(over - one.incident.since, AROUND_LEAST_MS), AROUND_MOST_MS)
    axis = Axis(max(one.incident.since - reach, 0), min(over + reach, state.event_at))
    points = [each for each in state.past.since(axis.since) if each.since <= axis.until]
    hours = [each for each in state.past.hours_since(axis.since) if each.since <= axis.until]
    short_one = (
        axis.until - axis.since <= HOURLY_MS and bool(hours) and hours[0].since <= axis.since + HOUR_MS
    )
    bands = [band for band in spans_of(state) if band.until is None or band.until * 1000 >= axis.since]
    bands = [band for band in bands if band.since * 1000 <= axis.until]
    return losses(points, hours if short_one else [], bands, axis)


class Line(NamedTuple):
    """A command to type: what it is for, and the form that asks for the same, where there is one."""

    why: str
    line: str
    form: str = ""


def commands(one: Episode, pipeline: str) -> Iterator[Line]:
    """What its events suggest, newest first, what holds and goes back, and what makes a page of it to keep."""
    told: dict[str, Line] = {}
    reason = f"episode {one.id}"
    for event in reversed(one.events):
        data = event.data
        if data.command:
            given = {"version": data.target_version or "", "reason": reason}
            form = _form(pipeline, data.suggested_action, given) if data.suggested_action in ASKED else ""
            told.setdefault(
                data.command, Line(f"suggested by {data.kind} of {event.subject}", data.command, form)
            )
    yield from told.values()
    if one.open:
        for verb, why in (
            ("hold", "learn nothing more until somebody looks"),
            ("rollback", "go back to the model before it"),
        ):
            yield Line(
                why,
                f'penstock {verb} {pipeline} --reason "{reason}"',
                _form(pipeline, verb, {"reason": reason}),
            )
    if one.incident is not None and one.incident.timed:
        line = f"penstock report FILE --episode {one.id} --out incident.html"
        yield Line("a page of it, to keep with the post-mortem", line)


def _form(pipeline: str, verb: str, given: Mapping[str, str]) -> str:
    query = urlencode({name: value for name, value in given.items() if value})
    return f"/pipelines/{quote(pipeline)}/act/{verb}?{query}"


PAGE = Page("episode", "Episode", "/pipelines/{pipeline}/episodes/{episode}", shown, reads=around)

"""One prediction of the run explained: the one that was most wrong, of those that the incident is about if there was one.

Laws of this file:
- Chosen and explained from the run's own log: the same run gives the same explanation, and `penstock explain` gives it again.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from penstock.examples import flights_data
from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.demo.episode_rows import day
from penstock.stream.demo.measure import Trace
from penstock.stream.explain.explanation import CannotExplain
from penstock.stream.learn.entries import entries
from penstock.stream.log.protocol import Log
from penstock.stream.messages import Sample
from penstock.stream.operate.past import NotThere, explain_past
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start

SHOWN = 4
BROKEN = "dep_delay"
"""What an incident changes is shown, however little it counted: where it was left out, that is the story."""
BAR = 24


def of_incident(log: Log, topic: str, incident: flights_data.Incident) -> set[int]:
    """The positions of an incident's samples: of its days, and of its carrier where one carrier's values changed."""
    first_ms, end_ms = (flights_data.new_york_ms(day) for day in flights_data.INCIDENT_DAYS)
    mark = "" if incident == "labels" else f"-{flights_data.INCIDENT_CARRIER}"
    low, high = log.bounds([(topic, 0)])[(topic, 0)]
    return {
        position
        for position, entry in entries(log, topic, low, high)
        if isinstance(entry, Sample) and first_ms <= entry.at < end_ms and mark in entry.id
    }


def most_wrong(trace: Trace, positions: set[int]) -> int | None:
    """The place of the label that cost most; of those of the samples at `positions`, if there are any."""
    losses = np.array(trace.losses)
    inside = np.isin(trace.position, list(positions))
    if inside.any():
        losses[~inside] = -1.0
    return int(losses.argmax()) if len(losses) else None


def explained(
    definition: str, settings: Settings | None, log: Log | None, guard: bool, position: int, y: bool | float
) -> dict[str, Any] | None:
    """Why the sample at `position`, whose label was `y`, was predicted as it was; None where nobody can say.

    It opens the log at `settings` if there is none, so that it can run in another process.
    """
    pipeline = load(definition)
    opened = log if log is not None else start.open_log(settings or Settings())
    topics = (topology.samples(pipeline.name), topology.predictions(pipeline.name))
    try:
        past = explain_past(pipeline, opened, topics, None, position=position, guard=guard)
    except (CannotExplain, NotThere):
        return None
    finally:
        if log is None:
            opened.close()
    return {
        "id": past.made.id,
        "at": past.made.at,
        "position": position,
        "label": y,
        "version": past.made.version,
        "weight": past.made.weight,
        "recipe": past.recipe,
        "same_as_published": past.same,
        **msgspec.to_builtins(past.why),
    }


def explained_lines(row: dict[str, Any], definition: str, incident: bool) -> list[str]:
    """The explanation as a person reads it."""
    number = row["scale"] == "number"
    form = "+.2f" if number else "+.4f"
    said = f"{row['prediction']:.1f}" if number else f"{row['prediction']:.0%} sure that it would be late"
    came = f"{row['label']:.1f}" if number else "it was late" if row["label"] else "it was on time"
    out = [
        "",
        f"One prediction explained: the one that was most wrong {'in the incident' if incident else 'of all'}",
        f"  {row['id']}, {day(row['at'])}: {said}; {came}",
        f"  {format(row['base'], form):>8}  what the models say of nothing in particular",
    ]
    parts = [*row["contributions"]]
    most = max((abs(one["contribution"]) for one in parts), default=0.0) or 1.0
    shown = [one for place, one in enumerate(parts) if place < SHOWN or one["feature"] == BROKEN]
    for one in shown:
        value = one["value"]
        text = f"{value:.6g}" if isinstance(value, float) else "missing" if value is None else value
        what = f"{one['feature']} = {text}"
        bar = "#" * round(BAR * abs(one["contribution"]) / most)
        out.append(f"  {format(one['contribution'], form):>8}  {what:<34}{bar}".rstrip())
    if rest := [one for one in parts if one not in shown]:
        out.append(
            f"  {format(sum(one['contribution'] for one in rest), form):>8}  all {len(rest)} other inputs together"
        )
    same = {True: "as it was published", False: "NOT as it was published", None: "the published one is gone"}
    out.append(f"  {'= ' + format(row['margin'], form[1:]):>8}  {same[row['same_as_published']]}")
    out.append(
        f"  {row['version']} led with {row['weight']:.0%} of the weight, at position {row['position']:,}, recipe {row['recipe']}"
    )
    out.append(
        f"  again, while this log is there: penstock explain {definition} --position {row['position']}"
    )
    return out

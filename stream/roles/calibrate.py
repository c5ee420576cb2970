"""How often a pipeline would have alarmed on its own history at several budgets. For notebooks, and for `penstock calibrate`.

Laws of this file:
- Reading only: topics are read without a group, and whatever runs does not notice.
- Each budget is a fold of its own, from the log's start, whose policy decides at once: what is found changes who predicts (a
  guard that fires brings a model that leaves values out, a retrain brings another), so no trace of one tells of another.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from penstock.monitors.losses.drift import margin_of
from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.log.protocol import Log
from penstock.stream.operate.attended import Attended
from penstock.stream.operate.calibrating.advice import Stream, advice
from penstock.stream.operate.calibrating.calibration import Calibration, Naive
from penstock.stream.operate.calibrating.carried import Carried, Codes, carried
from penstock.stream.operate.calibrating.fields import Fields, of_events
from penstock.stream.operate.calibrating.naive import AdwinOfLosses, FixedPsi
from penstock.stream.operate.calibrating.tallies import side_by_side
from penstock.stream.operate.control_topics import Told
from penstock.stream.operate.moments import Moment, span_of
from penstock.stream.operate.recipe_change import CannotCompare, change_of
from penstock.stream.operate.reporting.course import Course, Losses
from penstock.stream.operate.reporting.incidents import (
    BEFORE_LEAST_MS,
    BEFORE_MOST_MS,
    DAY_MS,
    Cost,
    Incident,
    cost_of,
    incidents,
)
from penstock.stream.operate.sides import History, Progress, history_of, read_by
from penstock.stream.process.settings import Settings
from penstock.stream.recipes import recipe_of
from penstock.stream.roles import start as start_of
from penstock.stream.roles.what_if import silent
from penstock.stream.shards import check_one

BUDGETS = (1.0, 4.0, 12.0)


class CannotCalibrate(Exception):
    """Why nothing can be said; the message says what to do."""


def calibrate(
    definition: str | Path | Pipeline,
    *,
    start: Moment | None = None,
    stop: Moment | None = None,
    budgets: tuple[float, ...] = BUDGETS,
    log: Log | None = None,
    settings: Settings | None = None,
    progress: Progress = silent,
) -> Calibration:
    """What people would have been told on a pipeline's history, by budget, and the settings which that suggests.

    Args:
        definition: the definition: a file, or a `Pipeline`.
        start: the event time to count alarms from; what came before teaches all the same.
        stop: the event time to count up to, without it.
        budgets: values of `alarms_per_year` to try.
        log: where the topics are, if it is open already.
        settings: where they are otherwise; by default what the environment says.
        progress: hears of (what is done, how far, of how much).

    Raises:
        CannotCalibrate: when there is no history; the message says what to do.

    """
    settings = settings or Settings.from_env()
    span = span_of(start, stop, CannotCalibrate)
    pipeline = definition if isinstance(definition, Pipeline) else load(definition)
    with ExitStack() as closing:
        if log is None:
            log = start_of.open_log(settings)
            closing.callback(log.close)
        check_one(pipeline, "`penstock calibrate` learns from the history of")
        topic = topology.samples(pipeline.name, settings.prefix)
        try:
            history = history_of(log, topic, span, recipe_of(pipeline), progress)
            return _calibrated(pipeline, history, budgets, progress)
        except CannotCompare as error:
            raise CannotCalibrate(str(error).replace(", with --against", "")) from None


def _calibrated(
    pipeline: Pipeline, history: History, budgets: tuple[float, ...], progress: Progress
) -> Calibration:
    span, found = history.span, history.found
    first, newest = found.first_at or 0, (found.newest_at or 0) + 1
    start, stop = max(span.start or first, first), min(span.stop or newest, newest)
    fields = Fields(pipeline.inputs)
    naive = AdwinOfLosses(start, stop), FixedPsi([*pipeline.vector_names, "prediction"], start, stop)
    by_budget: dict[float, list[tuple[Incident, Cost | None]]] = {}
    seconds: dict[float, float] = {}
    least: Course | None = None
    for budget in sorted(set(budgets)):
        began_s = time.monotonic()
        course = Course(start, stop)
        attended = Attended(replace(pipeline, alarms_per_year=budget))
        course.begin(attended.fold)
        for watcher in (fields, *naive) if least is None else ():
            attended.fold.drift.watchers.listen(watcher)
        recompute = change_of(history.recipe, pipeline).recomputes
        what = f"folding with {budget:g} alarm{'' if budget == 1 else 's'} a year"
        for entry in read_by(pipeline, history, what, progress, recompute=recompute, whole=span.stop is None):
            attended.step(entry)
        by_budget[budget] = _costed(attended, course, start, stop)
        least = course if least is None else least
        seconds[budget] = time.monotonic() - began_s
    assert least is not None
    naive[1].end()
    noted = least.noted()
    inside = noted.within(start, stop)
    live, base = (float(one.mean()) if len(one) else None for one in (inside.live, inside.base))
    margin = margin_of(live or 0.0, base or 0.0)
    rows = side_by_side(by_budget, least.losses(), (start, stop), margin)
    known = fields.coded() if rows else {}
    if any(row.worth for row in rows):
        without = [*pipeline.inputs, pipeline.predict.id, pipeline.predict.time]
        known |= of_events(history.log, pipeline.predict, fields.places(), without, progress)
    for row in rows:
        row.carried = _carried(known, noted, row.incident, stop) if row.worth else []
    days = (stop - start) / DAY_MS
    stream = Stream(found.samples, len(inside.at), days, pipeline.labelled)
    return Calibration(
        pipeline=pipeline.name,
        start=start,
        stop=stop,
        stream=stream,
        live=live,
        base=base,
        margin=margin,
        budgets=sorted(by_budget),
        rows=rows,
        naive=Naive(len(naive[0].alarms), naive[1].alarm_days, naive[1].days, dict(naive[1].alarms)),
        advice=advice(rows, sorted(by_budget), stream, pipeline.segments, pipeline.guard),
        notes=_notes(history),
        seconds=seconds,
    )


def _costed(attended: Attended, course: Course, start: int, stop: int) -> list[tuple[Incident, Cost | None]]:
    """The incidents of a fold that lie in the range, each with what it cost."""
    losses = course.losses()
    return [
        (one, cost_of(losses, one.since, one.until(stop)))
        for one in incidents([Told(event, 0) for event in attended.told])
        if start <= one.found < stop
    ]


def _carried(known: dict[str, Codes], noted: Losses, incident: Incident, stop: int) -> list[Carried]:
    over = incident.until(stop)
    length = min(max(over - incident.since, BEFORE_LEAST_MS), BEFORE_MOST_MS)
    before = (noted.at >= incident.since - length) & (noted.at < incident.since)
    inside = (noted.at >= incident.since) & (noted.at < over)
    return carried(known, np.asarray(noted.live), before, inside)


def _notes(history: History) -> list[str]:
    if not history.start:
        return []
    return [
        f"The records 0 to {history.start - 1:,} of {history.topic} are gone: the folds begin after them, with a new model, and "
        "what a new model needs to learn may look like an alarm."
    ]

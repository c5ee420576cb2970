"""A pipeline's history, or one of its incidents, as one page. For notebooks, and for `penstock report`.

Laws of this file:
- Reading only: topics are read without a group, and whatever runs does not notice.
- The samples log is folded again with the commands that stand in it; what was told is read from the control topics.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.commands import REPLACING
from penstock.stream.learn.entries import entries
from penstock.stream.learn.replay import replay
from penstock.stream.log.protocol import Log, UnknownTopic
from penstock.stream.messages import LiveModel
from penstock.stream.models.store import ModelStore
from penstock.stream.operate.control_topics import Told, told_of
from penstock.stream.operate.moments import Moment, span_of
from penstock.stream.operate.reporting.course import Course, Rows
from penstock.stream.operate.reporting.incidents import (
    BEFORE_MOST_MS,
    DAY_MS,
    Incident,
    compared_spans,
    cost_of,
    incidents,
    moment,
)
from penstock.stream.operate.reporting.moments import moments
from penstock.stream.operate.reporting.report import Report
from penstock.stream.operate.reporting.scan import Scanned, scan
from penstock.stream.operate.reporting.shares import compared
from penstock.stream.operate.sides import Progress, told
from penstock.stream.operate.training_set import Span
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start as start_of
from penstock.stream.roles.what_if import silent

MOST_SHARES = 6
AROUND_LEAST_MS, AROUND_MOST_MS = DAY_MS, 14 * DAY_MS


class CannotReport(Exception):
    """Why there is no report; the message says what to do."""


class Compare(NamedTuple):
    """Two stretches to compare: the names of what, the rows before, and the rows in it."""

    names: list[str]
    reference: Rows
    window: Rows


def report(
    definition: str | Path | Pipeline,
    *,
    episode: str | None = None,
    start: Moment | None = None,
    stop: Moment | None = None,
    guard: bool = True,
    log: Log | None = None,
    settings: Settings | None = None,
    progress: Progress = silent,
) -> Report:
    """What happened to a pipeline, as data; `reporting.page.page` makes the page of it.

    Args:
        definition: the definition that runs: a file, or a `Pipeline`.
        episode: one incident, by its episode's id or the beginning of that; without it all of them.
        start: the event time to show from; by default all, and of an incident some time before it.
        stop: the event time to show up to, without it.
        guard: as the learn role runs.
        log: where the topics are, if it is open already.
        settings: where they are otherwise; by default what the environment says.
        progress: hears of (what is done, how far, of how much).

    Raises:
        CannotReport: when there is nothing to show; the message says what to do.

    """
    settings = settings or Settings.from_env()
    asked = span_of(start, stop, CannotReport)
    pipeline = definition if isinstance(definition, Pipeline) else load(definition)
    with ExitStack() as closing:
        if log is None:
            log = start_of.open_log(settings)
            closing.callback(log.close)
        return _report(pipeline, log, settings, episode, asked, guard, progress)


def _report(
    pipeline: Pipeline,
    log: Log,
    settings: Settings,
    episode: str | None,
    asked: Span,
    guard: bool,
    progress: Progress,
) -> Report:
    """Read what was told, fold, and put together."""
    topic = topology.samples(pipeline.name, settings.prefix)
    try:
        low, high = log.bounds([(topic, 0)])[(topic, 0)]
    except UnknownTopic:
        raise CannotReport(
            f"there is no history: topic {topic!r} does not exist. Is this the definition that ran, and the right prefix?"
        ) from None
    found = scan(told(entries(log, topic, low, high), "reading the samples log", low, high, progress))
    said = told_of(log, pipeline.name, settings.prefix)
    every = incidents(said)
    of = None if episode is None else chosen(every, episode, pipeline.name)
    span = shown(found, asked, of, topic)
    here = overlapping(every, span)
    compares = compared_in(pipeline, every, of, span)
    rows = [one for compare in compares for one in (compare.reference, compare.window)]
    keep_from = min([span[0], *(one.since for one in here)]) - BEFORE_MOST_MS
    course = Course(*span, keep_from=keep_from, rows=rows)
    lived: list[LiveModel] = []
    until = found.stop_position(span[1] + pipeline.label_rule.wait_ms + DAY_MS, high)
    fold = replay(
        pipeline,
        log,
        topic,
        stop=until,
        guard=guard,
        progress=lambda position, end: progress("folding it again", position - low, end - low),
        outside=_outside(pipeline, settings, found),
        begun=course.begin,
        changed=lived.append,
    )
    losses = course.losses()
    named = () if of is None else {event.subject for event in of.events}
    shares = [share for compare in compares for share in compared(*compare, named)]
    return Report(
        pipeline=pipeline.name,
        topic=topic,
        positions=(low, until),
        start=span[0],
        stop=span[1],
        of=of,
        incidents=here,
        costs={one.id: cost_of(losses, one.since, one.until(span[1])) for one in here if one.timed},
        losses=losses,
        weights=course.weights,
        shares=shares[:MOST_SHARES],
        moments=moments(said, found.placed, lived),
        live=next((one for one in reversed(lived) if one.at < span[1]), None),
        notes=_notes(pipeline, topic, low, found, fold.live_model() if until == high else None, said),
    )


def chosen(every: list[Incident], episode: str, pipeline: str) -> Incident:
    """The incident of this name, or of one that begins so. Raises `CannotReport` that names those there are."""
    fits = [one for one in every if one.id == episode] or [one for one in every if one.id.startswith(episode)]
    if len(fits) == 1:
        return fits[0]
    if not every:
        raise CannotReport(
            f"the control topics tell of no incident of {pipeline!r}, so there is none {episode!r}"
        )
    named = "; ".join(f"{one.id} ({one.name}, {moment(one.since)})" for one in fits or every)
    if fits:
        raise CannotReport(f"{episode!r} may be any of {len(fits)} incidents of {pipeline!r}: {named}")
    raise CannotReport(f"no incident {episode!r} of {pipeline!r}; there are: {named}")


def shown(found: Scanned, asked: Span, of: Incident | None, topic: str) -> tuple[int, int]:
    """The event times to show: those asked for, or an incident with what lies around it, or all. Raises `CannotReport`."""
    if found.first_at is None or found.newest_at is None:
        raise CannotReport(f"{topic} has no sample: there is nothing to show yet")
    first, last = found.first_at, found.newest_at + 1
    if of is not None:
        if not of.timed:
            raise CannotReport(
                f"incident {of.id!r} is about {of.name}, which has no event times; `penstock watch --from-start` tells of it"
            )
        over = of.until(last)
        around = min(max(over - of.since, AROUND_LEAST_MS), AROUND_MOST_MS)
        first, last = max(first, of.since - around), min(last, over + around)
    start = first if asked.start is None else asked.start
    stop = last if asked.stop is None else min(asked.stop, found.newest_at + 1)
    if start >= stop or stop <= found.first_at or start > found.newest_at:
        raise CannotReport(
            f"{topic} has no sample in this range: its samples are of {moment(found.first_at)} to {moment(found.newest_at)}"
        )
    return max(start, found.first_at), stop


def overlapping(every: list[Incident], span: tuple[int, int]) -> list[Incident]:
    """The incidents of a range: those that have no end may lie anywhere after their beginning."""
    return [one for one in every if one.since < span[1] and one.until(span[1]) >= span[0]]


def compared_in(
    pipeline: Pipeline, every: list[Incident], of: Incident | None, span: tuple[int, int]
) -> list[Compare]:
    """What to compare: of an incident all that was in it with what was before, otherwise the inputs that were found to move."""
    names = [*pipeline.vector_names, "prediction"]
    if of is not None:
        spans = compared_spans(of, span[1])
        return [Compare(names, *(Rows(one, range(len(names))) for one in spans))]
    found = []
    for one in overlapping(every, span):
        for event in one.events:
            params = event.data.detector.get("params", {})
            window, windows = params.get("window_ms"), params.get("reference_windows")
            moved = event.data.kind == "psi" and event.data.state == "firing" and event.subject in names
            if moved and isinstance(window, list) and isinstance(windows, int):
                found.append(
                    (-(event.data.effect or 0.0), event.subject, int(window[0]), int(window[1]), windows)
                )
    compares = []
    for _, subject, first, last, windows in sorted(found)[:MOST_SHARES]:
        place = [names.index(subject)]
        start = first - windows * (last - first)
        compares.append(Compare([subject], Rows((start, first), place), Rows((first, last), place)))
    return compares


def _outside(pipeline: Pipeline, settings: Settings, found: Scanned) -> ModelStore | None:
    """Where versions are that a command took from the store; asked for only if there is such a command."""
    named = any(one.command.verb in REPLACING and one.command.digest is not None for one in found.placed)
    if not named or not settings.secret:
        return None
    return start_of.model_store(pipeline, settings, start_of.open_redis(settings))


def _notes(
    pipeline: Pipeline,
    topic: str,
    low: int,
    found: Scanned,
    end: LiveModel | None,
    said: list[Told],
) -> list[str]:
    """What a reader of the page should know of the log."""
    notes = []
    if low:
        notes.append(
            f"The records 0 to {low - 1:,} of {topic} are gone: the fold begins after them, with a new model, so its losses and "
            "weights are not those that were live."
        )
    others = sum(many for recipe, many in found.recipes.items() if recipe not in ("", pipeline.digest))
    if others:
        notes.append(
            f"{others:,} of {found.samples:,} samples were written under another definition than this file's: what they cost is "
            "not shown."
        )
    shown = [one.message for one in said if isinstance(one.message, LiveModel)]
    if end is not None and shown and shown[-1].committed != end.committed:
        notes.append(
            f"The log folded again ends with {end.committed} committed, and control.models says {shown[-1].committed}: was learn "
            "run with another guard, or with versions that this log does not make?"
        )
    return notes

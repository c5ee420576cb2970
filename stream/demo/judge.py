"""After the run: proofs and comparisons, the long ones side by side in processes of their own.

Laws of this file:
- Each task opens what it needs itself (a log, the definition), so that it can run in another process; on the in-memory log it
  runs here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

from penstock.examples import flights_data
from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.demo.explained import explained, most_wrong, of_incident
from penstock.stream.demo.measure import Trace, after, auc_of, finite, months, weekly_ratio
from penstock.stream.demo.report import Report
from penstock.stream.demo.restart import restarted
from penstock.stream.demo.run import Options, Run, published_events
from penstock.stream.demo.verify import Proof, features_equal, samples_unique
from penstock.stream.learn.entries import entries
from penstock.stream.learn.records import FoldCounts, Traced
from penstock.stream.learn.replay import replay
from penstock.stream.log.protocol import Log, Out
from penstock.stream.models.store import RedisModelStore
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start
from penstock.stream.roles.in_memory import SECRET, MemoryFlow

FEED_RECORDS = 4_000
Folded = tuple[str, FoldCounts, list[Traced]]


def fold_again(
    definition: str, settings: Settings | None, log: Log | None, actions: bool, guard: bool
) -> Folded:
    """Fold the run's samples log from its start: digest, counts, trace."""
    pipeline = load(definition)
    opened = log if log is not None else start.open_log(settings or Settings())
    try:
        fold = replay(
            pipeline, opened, topology.samples(pipeline.name), actions=actions, guard=guard, trace=True
        )
    finally:
        if log is None:
            opened.close()
    return fold.digest(), fold.counts, fold.trace or []


def begun_anew(definition: str, settings: Settings | None, log: Log | None) -> list[Traced]:
    """The run's samples log with one model that is begun anew at ADWIN's alarms."""
    pipeline = load(definition)
    opened = log if log is not None else start.open_log(settings or Settings())
    topic = topology.samples(pipeline.name)
    try:
        low, high = opened.bounds([(topic, 0)])[(topic, 0)]
        return restarted(pipeline, entries(opened, topic, low, high))
    finally:
        if log is None:
            opened.close()


def clean_year(definition: str, options: Options) -> Folded:
    """The same days without the incident, on the in-memory log."""
    flow = MemoryFlow(load(definition))
    flow.settle()
    fold = flow.learn.fold
    assert fold is not None
    fold.trace = []
    batch: list[Out] = []
    for topic, key, value in published_events(replace(options, incident="none")):
        batch.append(Out(topic, key, value))
        if len(batch) >= FEED_RECORDS:
            flow.feed(batch)
            batch = []
            flow.process_batches()
    flow.feed(batch)
    flow.settle()
    return fold.digest(), fold.counts, fold.trace


def judge(pipeline: Pipeline, options: Options, run: Run, report: Report, say: Callable[[str], None]) -> None:
    """Fill the report: proofs, months, and what the incident cost."""
    first = flights_data.INCIDENT_DAYS[0]
    compare = options.incident != "none" and (options.end is None or options.end > first)
    say(
        "verifying: folding the samples log again, with actions and without"
        + (", and the year without the incident" if compare else "")
    )
    live, passive, clean, anew = _folds(options, run, compare, pipeline.kind == "regression")
    digest, counts, rows = live
    trace, idle = Trace.of(rows), Trace.of(passive[2])
    _totals(report, counts, trace, idle, Trace.of(anew) if anew else None)
    proof = Proof("the live model equals a fold of the samples log from its start")
    proof.compared = 1
    if digest != run.digest:
        proof.differ(f"live {run.digest}, replayed {digest}")
    say("verifying: every sample against what was published")
    raw = [(topic, fields, at) for topic, fields, at in _raw(options)]
    predicted, labelled = pipeline.predict, pipeline.label.source
    topic = topology.samples(pipeline.name)
    unique = samples_unique(
        run.log,
        topic,
        [fields[predicted.id] for name, fields, _ in raw if name == predicted.name],
        [fields[labelled.id] for name, fields, _ in raw if name == labelled.name],
    )
    say("verifying: every entity's features against a recomputation from the raw input")
    equal, report.entities = features_equal(pipeline, run.client, raw)
    dead = run.log.bounds([(topology.dead_letters(pipeline.name), 0)])[
        (topology.dead_letters(pipeline.name), 0)
    ][1]
    letters = Proof("every malformed record is a dead letter, and nothing else is")
    letters.compared = max(run.malformed, 1)
    if dead != run.malformed:
        letters.differ(
            f"{run.malformed} malformed records were published, {dead} dead letters stand in the topic"
        )
    report.proofs = {
        "samples_unique": unique,
        "features_equal_reference": equal,
        "model_equal_replay": proof,
        "dead_letters_complete": letters,
    }
    report.dead_letters = dead
    report.events = sum(1 for name, _, _ in raw if name == predicted.name)
    report.outcomes = len(raw) - report.events
    report.predictions = run.log.bounds([(topology.predictions(pipeline.name), 0)])[
        (topology.predictions(pipeline.name), 0)
    ][1]
    secret = run.settings.secret if run.settings is not None else None
    report.versions = _versions(pipeline, run, secret)
    if clean is not None:
        report.incident = _incident(run, trace, idle, Trace.of(clean[2]))
    place = most_wrong(trace, of_incident(run.log, topic, options.incident) if compare else set())
    if place is not None:
        say("explaining the prediction that was most wrong")
        which = (int(trace.position[place]), trace.y[place].item())
        report.explained = explained(options.definition, run.settings, run.log, options.guard, *which)


def _folds(
    options: Options, run: Run, compare: bool, restart: bool
) -> tuple[Folded, Folded, Folded | None, list[Traced] | None]:
    definition = options.definition
    if run.settings is None:
        live = fold_again(definition, None, run.log, True, options.guard)
        passive = fold_again(definition, None, run.log, False, options.guard)
        anew = begun_anew(definition, None, run.log) if restart else None
        return live, passive, clean_year(definition, options) if compare else None, anew
    os.environ["PYTHONHASHSEED"] = "0"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        again = pool.submit(fold_again, definition, run.settings, None, True, options.guard)
        cleaned = pool.submit(clean_year, definition, options) if compare else None
        off = pool.submit(fold_again, definition, run.settings, None, False, options.guard)
        begun = pool.submit(begun_anew, definition, run.settings, None) if restart else None
        found = again.result(), off.result(), cleaned.result() if cleaned else None
        return *found, begun.result() if begun else None


def _totals(report: Report, counts: FoldCounts, trace: Trace, passive: Trace, restart: Trace | None) -> None:
    report.samples, report.labels_joined, report.labels_expired = (
        counts.samples,
        counts.joined,
        counts.expired,
    )
    report.labels_pending = counts.samples - counts.joined - counts.expired
    report.held_back = counts.held_back
    report.months = months(trace, passive, restart)
    report.roc_auc = finite(auc_of(trace.y, trace.p))
    report.loss = float(trace.losses.mean())
    report.baseline_loss = float(trace.base_losses.mean())
    report.passive_loss = float(passive.losses.mean())
    report.restart_loss = None if restart is None else float(restart.losses.mean())


def _raw(options: Options) -> list[tuple[str, dict[str, Any], int]]:
    return [
        (topic, fields, at)
        for topic, _, fields, at in flights_data.events(options.incident, options.start, options.end)
    ]


def _versions(pipeline: Pipeline, run: Run, secret: str | None) -> list[dict[str, Any]]:
    store = RedisModelStore(run.client, pipeline.name, secret or SECRET)
    return [
        {
            "id": v.id,
            "kind": v.kind,
            "parent": v.parent,
            "position": v.position,
            "at": v.at,
            "labels": v.labels,
            "digest": v.digest,
        }
        for v in store.versions()
    ]


def _incident(run: Run, live: Trace, passive: Trace, clean: Trace) -> dict[str, Any]:
    rollbacks = []
    from_ms, to_ms = (flights_data.new_york_ms(day) for day in flights_data.INCIDENT_DAYS)
    for before, model in zip([None, *run.live], run.live, strict=False):
        if model.committed != (before.committed if before is not None else "v0"):
            rollbacks.append(
                {
                    "version": model.committed,
                    "position": model.position,
                    "labels_after_end": int(((live.at >= to_ms) & (live.position < model.position)).sum()),
                    **after(live, clean, passive, model.position),
                }
            )
    return {
        "rollbacks": [row for row in rollbacks if row["labels"]],
        "weeks_live": weekly_ratio(live, clean, from_ms),
        "weeks_passive": weekly_ratio(passive, clean, from_ms),
    }

"""Folds a samples log again, from its start: the proof that the live model is what the log says.

Laws of this file:
- Nothing but the log is read: versions a command names are those the replay itself made, and a retrain is trained again over the
  range its command names. The one exception stands in the log with its digest: a stored version that was named or imported.
- With actions off the same log shows what would have happened without Penstock's decisions.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Generator
from typing import Any

import msgspec

from penstock.stream.definitions import Pipeline
from penstock.stream.learn.commands import REPLACING, job_of
from penstock.stream.learn.entries import entries
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.learner import Trained, at_once, training
from penstock.stream.learn.records import Predicted, Replay, Unusable, lineage
from penstock.stream.learn.tasks import task_of
from penstock.stream.log.protocol import Log
from penstock.stream.messages import Command, Entry, LiveModel, rfc3339
from penstock.stream.models.digest import digest
from penstock.stream.models.store import MemoryModelStore, ModelStore
from penstock.stream.models.version import (
    PENSTOCK,
    RULE,
    BadEnvelope,
    Measured,
    Version,
    dump,
    open_version,
)
from penstock.stream.recipes import RecipeHistory

logger = logging.getLogger("penstock.replay")

BATCH_RECORDS = 10_000
VERSION = r"v\d+(\..*)?"
"""The ids of versions that a fold makes; those of retrain jobs end in their digest."""


def preparation(
    fold: Fold, log: Log, topic: str, store: ModelStore, position: int, command: Command, need: Replay
) -> Generator[int, None, Any]:
    """The model a command needs from outside; None or `Unusable` when it cannot be had: the fold then refuses the command.

    It comes in slices, so that a worker can turn its loop in between: yields how many records each has read.
    """
    if command.verb == "adopt":
        model = yield from _adopted(fold, log, topic, store, command)
    else:
        model = _stored(fold, store, need.version, command.digest)
    if model is None or isinstance(model, Unusable) or need.join_from < 0:
        return model
    start = log.bounds([(topic, 0)])[(topic, 0)][0]
    if start > need.join_from:
        logger.warning(
            "records %d to %d of %s are gone: trained on what follows", need.join_from, start - 1, topic
        )
    start = max(start, need.join_from)
    job = fold.open_jobs.get(job_of(command))
    trained = yield from training(
        model,
        fold.recipes.until(start),
        fold.pipeline,
        entries(log, topic, start, position),
        learn_from=need.learn_from,
        quarantined=fold.quarantine(position),
        since_at=0 if job is None else job.since_at,
        learn=fold.task.learn,
        knows=fold.task.knows,
        at_once=fold.task.at_once,
    )
    return trained.model


def prepare(
    fold: Fold, log: Log, topic: str, store: ModelStore, position: int, command: Command, need: Replay
) -> Any:
    """What `preparation` makes, waited for."""
    return at_once(preparation(fold, log, topic, store, position, command, need))


def _stored(fold: Fold, store: ModelStore, version_id: str | None, pinned: str | None = None) -> Any:
    """A stored version's model; `Unusable` when it may not be opened, None when it is not there or of another recipe or fold.

    Another fold's version is no part of this one: whoever replays the log does not have it, unless the command has its digest
    (`pinned`), and so says what it is wherever it lies.
    """
    other_fold = (
        version_id is not None and re.fullmatch(VERSION, version_id) and not version_id.endswith(fold.lineage)
    )
    if other_fold and pinned is None:
        return None
    try:
        stored = None if version_id is None else store.get(version_id)
        if stored is None or stored[0].recipe != fold.recipe:
            return None
        if pinned is not None and stored[0].digest != pinned:
            return Unusable(
                f"version {version_id!r} is stored as {stored[0].digest}, asked for was {pinned}: ask again"
            )
        return open_version(*stored)
    except BadEnvelope as error:
        logger.warning("version %s is not used: %s", version_id, error)
        return Unusable(str(error))


def _adopted(
    fold: Fold, log: Log, topic: str, store: ModelStore, command: Command
) -> Generator[int, None, Any]:
    """A retrain's product: as stored, or trained again over the range its command names when the store lost it."""
    # without the digest: another one is trained again
    found = _stored(fold, store, command.version)
    unusable = found if isinstance(found, Unusable) else None
    if found is not None and unusable is None and digest(found) == command.digest:
        return found
    job = fold.open_jobs.get(job_of(command))
    if command.from_position is None or command.trained_to is None:
        return unusable
    if job is None and not command.challenger:
        return unusable
    model = fold.pipeline.challengers[command.challenger] if job is None else fold.pipeline.model
    start, stop = command.from_position, command.trained_to
    if log.bounds([(topic, 0)])[(topic, 0)][0] > start:
        return unusable  # what it was trained on is gone
    skip, since_at = ([], 0) if job is None else (job.skip, job.since_at)
    trained = yield from retraining(fold.pipeline, log, topic, start, stop, skip, since_at, model)
    if command.digest is None or digest(trained.model) != command.digest:
        return unusable
    if command.version is not None:  # as the job stored it: a later command may name it
        by = RULE if job is None else job.by
        given = (start, stop, trained, command.digest, by, since_at)
        made = retrained_version(fold.pipeline, command.version, *given)
        if command.challenger:
            made = msgspec.structs.replace(made, kind="challenger", why=command.reason)
        store.put(made, dump(trained.model))
    return trained.model


def retrained_version(
    pipeline: Pipeline,
    version: str,
    start: int,
    stop: int,
    trained: Trained,
    made_digest: str,
    by: str = RULE,
    since_at: int = 0,
) -> Version:
    """The version of a model trained over [start, stop), which `by` asked for; `since_at` is the oldest event time in ms."""
    labels = trained.labels
    window = f", samples from {rfc3339(since_at)} on" if since_at > 0 else ""
    measured = Measured(
        labels=labels,
        loss=trained.loss / max(labels, 1),
        base_loss=trained.base_loss / max(labels, 1),
        start=start,
        stop=stop,
    )
    return Version(
        id=version,
        pipeline=pipeline.name,
        parent=None,
        kind="retrained",
        position=stop,
        join_from=stop if trained.join_from is None else trained.join_from,
        at=trained.at,
        labels=trained.labels,
        recipe=pipeline.digest,
        digest=made_digest,
        why=f"retrained on [{start}, {stop}){window}",
        penstock=PENSTOCK,
        author=by,
        learned_from=start,
        measured=measured if labels else None,
    )


def retraining(
    pipeline: Pipeline,
    log: Log,
    topic: str,
    start: int,
    stop: int,
    skip: list[tuple[int, int]],
    since_at: int = 0,
    model: Any = None,
) -> Generator[int, None, Trained]:
    """A fresh model trained over [start, stop), in slices: what a retrain job makes. `model` is another than the definition's."""
    task = task_of(pipeline)
    return training(
        task.fresh(pipeline.model if model is None else model),
        RecipeHistory(pipeline.digest, pipeline.vector_names),
        pipeline,
        entries(log, topic, start, stop),
        learn_from=start,
        quarantined=skip,
        since_at=since_at,
        measure=task.kind == "binary",
        learn=task.learn,
        knows=task.knows,
        at_once=task.at_once,
    )


def fresh(pipeline: Pipeline, log: Log, topic: str, *, actions: bool = True, guard: bool = True) -> Fold:
    """A fold that stands at the log's start, with the lineage that its versions' ids end in."""
    start = log.bounds([(topic, 0)])[(topic, 0)][0]
    tag = lineage(pipeline, guard=guard, topic_id=log.topic_id(topic), start=start)
    fold = Fold(pipeline, actions=actions, guard=guard, lineage=tag)
    fold.position = fold.experts.first.born_position = start
    fold.experts.first.learned_from = start
    return fold


def replay(
    pipeline: Pipeline,
    log: Log,
    topic: str,
    *,
    stop: int | None = None,
    actions: bool = True,
    guard: bool = True,
    trace: bool = False,
    progress: Callable[[int, int], None] | None = None,
    store: ModelStore | None = None,
    outside: ModelStore | None = None,
    predicted: Callable[[Predicted], None] | None = None,
    begun: Callable[[Fold], None] | None = None,
    changed: Callable[[LiveModel], None] | None = None,
    before: Callable[[int, Entry], None] | None = None,
) -> Fold:
    """Fold [the log's start, `stop`) and give the fold. `trace` keeps every joined label's predictions in `fold.trace`.

    `store`, empty at first, is given every version the replay makes. `outside` has those that a command names with their digest
    and that the log did not make, or makes no longer: imports, and what only a name kept. `predicted` hears of
    every prediction, `changed` whenever something else is live or committed; `begun` is given the fold before its first record,
    `before` hears of every record before it is folded.
    """
    low, high = log.bounds([(topic, 0)])[(topic, 0)]
    stop = high if stop is None else stop
    fold = fresh(pipeline, log, topic, actions=actions, guard=guard)
    if trace:
        fold.trace = []
    if begun is not None:
        begun(fold)
    if store is None:
        store = MemoryModelStore()  # what the replay makes itself, and nothing else
    for position, entry in entries(log, topic, low, stop):
        if before is not None:
            before(position, entry)
        need = fold.needs(entry)
        prepared = None
        if need is not None and isinstance(entry, Command):
            source = store
            if entry.verb in REPLACING and entry.digest is not None and outside is None:
                logger.warning(
                    "%s named a version that the log did not make: without the store it is refused here",
                    entry.id,
                )
            elif entry.verb in REPLACING and entry.digest is not None and outside is not None:
                made = store.get(need.version or "")
                source = store if made is not None and made[0].digest == entry.digest else outside
            prepared = prepare(fold, log, topic, source, position, entry, need)
        fold.step(position, entry, prepared)
        for version, payload in fold.outputs.versions:
            store.put(version, payload)
        store.delete(fold.outputs.dropped)
        fold.outputs.versions.clear()
        fold.outputs.dropped.clear()
        if predicted is not None and fold.outputs.predictions:
            predicted(fold.outputs.predictions.pop())
        if changed is not None and fold.outputs.live:
            for live in fold.outputs.live:
                changed(live)
            fold.outputs.live.clear()
        if position % 5_000 == 0:
            fold.outputs.predictions.clear()
            fold.outputs.live.clear()
            fold.outputs.history.clear()
            fold.drift.requests.clear()
            if progress is not None:
                progress(position, stop)
    fold.outputs.predictions.clear()
    return fold

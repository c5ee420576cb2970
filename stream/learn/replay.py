"""Folds a samples log again, from its start: the proof that the live model is what the log says.

Laws of this file:
- Nothing but the log is read: versions a command names are those the replay itself made, and a retrain is trained again over the
  range its command names.
- With actions off the same log shows what would have happened without Penstock's decisions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from penstock.stream.definitions import Pipeline
from penstock.stream.learn.commands import job_of
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.learner import train
from penstock.stream.learn.records import Replay, Unusable
from penstock.stream.log.protocol import Log
from penstock.stream.messages import Command, Entry, LabelRecord, Sample, decode_entry
from penstock.stream.models.digest import digest
from penstock.stream.models.store import MemoryModelStore, ModelStore
from penstock.stream.models.version import BadEnvelope, Version, dump, open_version, restore
from penstock.stream.recipes import readable

logger = logging.getLogger("penstock.replay")

BATCH_RECORDS = 10_000


def entries(log: Log, topic: str, start: int, stop: int) -> Iterator[tuple[int, Entry]]:
    """(position, entry) of the samples log in [start, stop). Records that are no entry are passed over, as the fold does."""
    if start >= stop:
        return
    reader = log.reader({(topic, 0): start})
    try:
        position = start
        while position < stop:
            for record in reader.poll(BATCH_RECORDS, 1.0):
                position = record.offset + 1
                if record.offset >= stop:
                    break
                entry = entry_of(record.value)
                if entry is not None:
                    yield record.offset, entry
            position = max(position, reader.positions().get((topic, 0), position))
    finally:
        reader.close()


def entry_of(value: bytes | None) -> Entry | None:
    """The entry of one record's bytes; None for bytes that are none (somebody else wrote them)."""
    try:
        entry: Entry = decode_entry(value or b"")
    except ValueError:
        return None
    return entry


def prepare(
    fold: Fold, log: Log, topic: str, store: ModelStore, position: int, command: Command, need: Replay
) -> Any:
    """The model a command needs from outside; None or `Unusable` when it cannot be had: the fold then refuses the command."""
    if need.payload is not None:
        model = restore(need.payload)
    elif command.verb == "adopt":
        model = _adopted(fold, log, topic, store, command)
    else:
        model = _stored(fold, store, need.version)
    if model is None or isinstance(model, Unusable) or need.join_from < 0:
        return model
    start = log.bounds([(topic, 0)])[(topic, 0)][0]
    if start > need.join_from:
        logger.warning(
            "records %d to %d of %s are gone: trained on what follows", need.join_from, start - 1, topic
        )
    start = max(start, need.join_from)
    trained, _ = train(
        model,
        fold.recipes.names_at(start),
        entries(log, topic, start, position),
        read=partial(readable, pipeline=fold.pipeline),
        learn_from=need.learn_from,
        quarantined=fold.quarantine(position),
        expire_ms=fold.wait_ms,
        default=fold.pipeline.label.default,
    )
    return trained


def _stored(fold: Fold, store: ModelStore, version_id: str | None) -> Any:
    """A stored version's model; None when it is not there or belongs to another recipe, `Unusable` when it may not be opened."""
    try:
        stored = None if version_id is None else store.get(version_id)
        if stored is None or stored[0].recipe != fold.recipe:
            return None
        return open_version(*stored)
    except BadEnvelope as error:
        logger.warning("version %s is not used: %s", version_id, error)
        return Unusable(str(error))


def _adopted(fold: Fold, log: Log, topic: str, store: ModelStore, command: Command) -> Any:
    """A retrain's product: as stored, or trained again over the range its command names when the store lost it."""
    found = _stored(fold, store, command.version)
    unusable = found if isinstance(found, Unusable) else None
    if found is not None and unusable is None and digest(found) == command.digest:
        return found
    job = fold.open_jobs.get(job_of(command))
    if job is None or command.from_position is None or command.trained_to is None:
        return unusable
    if log.bounds([(topic, 0)])[(topic, 0)][0] > command.from_position:
        return unusable  # what it was trained on is gone
    start, stop = command.from_position, command.trained_to
    made = retrained(fold, log, topic, start, stop, job[1])
    if command.digest is None or digest(made.model) != command.digest:
        return unusable
    if command.version is not None:  # as the job stored it: a later command may name it
        version = retrained_version(fold.pipeline, command.version, start, stop, made, command.digest)
        store.put(version, dump(made.model))
    return made.model


class Retrained(NamedTuple):
    """A model trained over a stretch of the log, the labels it learned, and the newest event time it met."""

    model: Any
    labels: int
    at: int


def retrained_version(
    pipeline: Pipeline, version: str, start: int, stop: int, made: Retrained, made_digest: str
) -> Version:
    """The version of a model trained over [start, stop)."""
    return Version(
        id=version,
        pipeline=pipeline.name,
        parent=None,
        kind="retrained",
        position=stop,
        join_from=start,
        at=made.at,
        labels=made.labels,
        recipe=pipeline.digest,
        digest=made_digest,
        why=f"retrained on [{start}, {stop})",
    )


def retrained(
    fold: Fold, log: Log, topic: str, start: int, stop: int, skip: list[tuple[int, int]]
) -> Retrained:
    """A fresh model trained over [start, stop): what a retrain job makes."""
    newest = 0

    def noted() -> Iterator[tuple[int, Entry]]:
        nonlocal newest
        for position, entry in entries(log, topic, start, stop):
            if isinstance(entry, Sample | LabelRecord):
                newest = max(newest, entry.at)
            yield position, entry

    model, labels = train(
        fold.pipeline.model.clone(),
        fold.recipes.names_at(start),
        noted(),
        read=partial(readable, pipeline=fold.pipeline),
        learn_from=start,
        quarantined=skip,
        expire_ms=fold.wait_ms,
        default=fold.pipeline.label.default,
    )
    return Retrained(model, labels, newest)


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
) -> Fold:
    """Fold [the log's start, `stop`) and give the fold. `trace` keeps every joined label's predictions in `fold.trace`.

    `store`, empty at first, is given every version the replay makes.
    """
    low, high = log.bounds([(topic, 0)])[(topic, 0)]
    stop = high if stop is None else stop
    fold = Fold(pipeline, actions=actions, guard=guard)
    if trace:
        fold.trace = []
    if store is None:
        store = MemoryModelStore()  # what the replay makes itself, and nothing else
    for position, entry in entries(log, topic, low, stop):
        need = fold.needs(entry)
        prepared = None
        if need is not None and isinstance(entry, Command):
            prepared = prepare(fold, log, topic, store, position, entry, need)
        fold.step(position, entry, prepared)
        for version, payload in fold.outputs.versions:
            store.put(version, payload)
        store.delete(fold.outputs.dropped)
        fold.outputs.versions.clear()
        fold.outputs.dropped.clear()
        if position % 5_000 == 0:
            fold.outputs.predictions.clear()
            fold.outputs.live.clear()
            fold.drift.requests.clear()
            if progress is not None:
                progress(position, stop)
    fold.outputs.predictions.clear()
    return fold

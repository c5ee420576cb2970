"""Replicas on their way from learn to whoever answers: written as signed pieces, at most once a second, and only if wanted.

Laws of this file:
- A replica is written by the owner of the learn task alone, in units of work that a stalled worker's would not pass.
- What did not change since the last one is not written again: frozen models are the bytes that they were made from.
- Writing takes at most a fiftieth of the time, however large the models are. A change of what is live is written at once.
- Nobody pays for what nobody reads: while no serve role says that it is there, nothing but a look at one key a second is done.
"""

from __future__ import annotations

import io
import platform
from collections.abc import Callable
from typing import Any, cast

import river

from penstock.features.redis.keys import replica_key, wanted_key
from penstock.features.redis.store import StateStore
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.experts import Experts
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.replica import Replica, Standing, standing_of
from penstock.stream.learn.snapshot import (
    STATE,
    SnapshotHeader,
    StatePickler,
    StateUnpickler,
    Taken,
    models_of,
)
from penstock.stream.learn.stored_snapshot import StoredSnapshot
from penstock.stream.models.version import BadEnvelope, Secret, dump

REPLICA_EVERY_MS = 1_000
REPLICA_SPACING = 50
PIECES = "replica-piece"


def stored_replica(store: StateStore, deployed: str, secret: Secret) -> StoredSnapshot:
    """Where the replica of a pipeline lies; who only reads needs a store that can `load`."""
    return StoredSnapshot(store, deployed, secret, key=replica_key(deployed), named=PIECES)


def take_replica(fold: Fold, topic_id: str) -> Taken:
    """A fold's standing between two records, as bytes."""
    header = SnapshotHeader(
        pipeline=fold.pipeline.name,
        position=fold.position,
        rescan_from=fold.position,
        topic_id=topic_id,
        recipe=fold.recipe,
        rules=fold.rules,
    )
    models = models_of(fold)
    file = io.BytesIO()
    StatePickler(file, models).dump(tuple(standing_of(fold)))
    parts = {STATE: file.getvalue()}
    for name, (model, payload) in models.items():
        parts[name] = dump(model) if payload is None else payload
    return Taken(header, parts)


def open_replica(pipeline: Pipeline, taken: Taken) -> Replica:
    """The replica of verified bytes. Raises `BadEnvelope` for one of another definition, Python or river."""
    header = taken.header
    here = (pipeline.name, pipeline.digest, platform.python_version(), river.__version__)
    wrote = (header.pipeline, header.recipe, header.python, header.river)
    for what, written, wanted in zip(("pipeline", "recipe", "Python", "river"), wrote, here, strict=True):
        if written != wanted:
            raise BadEnvelope(
                f"learn runs {what} {written} and this process {wanted}: start both from the same definition and installation"
            )

    def standing() -> Standing:
        try:
            return Standing(*cast("tuple[Any, ...]", StateUnpickler(taken.parts).load()))
        except Exception as error:  # whatever a class that changed since may raise
            raise BadEnvelope(f"learn's models do not open here ({type(error).__name__}: {error})") from error

    def experts() -> Experts:
        return standing().experts

    return Replica(standing(), pipeline.vector_names, experts)


class ReplicaWriter:
    """Writes the replicas of one owner of the learn task. `written` counts them; `wall_ms` is its clock."""

    def __init__(
        self, store: StateStore, deployed: str, secret: Secret, wall_ms: Callable[[], int], topic_id: str
    ) -> None:
        self.store, self.wall_ms, self.topic_id = store, wall_ms, topic_id
        self.stored = stored_replica(store, deployed, secret)
        self.wanted = wanted_key(deployed)
        self.due_ms, self.position, self.written = 0, -1, 0
        self.told: tuple[str, str, bool] | None = None
        self.opened = False

    def write(self, base: bytes, fold: Fold, now: int) -> bytes:
        """Write the fold's replica if it is due and wanted, from the store's position `base`; the position after it."""
        if fold.position == self.position:
            return base
        told = (fold.version, fold.why, fold.pinned)
        if now < self.due_ms and told == self.told:
            return base
        self.told, self.due_ms = told, now + REPLICA_EVERY_MS
        if self.store.load([self.wanted])[0] is None:
            return base
        if not self.opened:
            self.opened = True
            try:
                self.stored.load()
            except BadEnvelope:
                pass  # another secret's, or half of one: this one takes its place
        after = self.stored.save(base, take_replica(fold, self.topic_id), b"")
        self.position, self.written = fold.position, self.written + 1
        done = self.wall_ms()
        self.due_ms = max(self.due_ms, done + REPLICA_SPACING * (done - now))
        return after

"""Snapshots of the fold: everything but the vectors of samples that still wait for a label, which the log holds already.

Laws of this file:
- A snapshot restored and rescanned equals the fold it was taken from: every later prediction, decision and digest is the same.
- A snapshot is named parts: the fold's state, and each model once, whatever refers to it. A frozen model's part is the bytes it
  was made from, which never change; predicting with a model must not change it.
- Restored only under the recipe, river and Python that wrote it. Whatever does not open is a `BadEnvelope`, never another error.
"""

from __future__ import annotations

import io
import pickle
import platform
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import river

from penstock.stream.definitions import Pipeline
from penstock.stream.learn.entries import entries_around
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.learner import vector
from penstock.stream.learn.records import Outputs, Pending, rules
from penstock.stream.log.protocol import Log, LogError
from penstock.stream.messages import Sample
from penstock.stream.models.version import BadEnvelope, dump, restore

STATE = "state"
_LEFT_OUT = frozenset({"pipeline", "outputs", "join", "trace"})
_OF_SAMPLES = frozenset({"pending", "defaulted"})


class SnapshotHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot is: `position` is the next record to fold, `rescan_from` the oldest sample that still waits.

    `parts` names the pieces of every part, in order, once the snapshot is stored.
    """

    pipeline: str
    position: int
    rescan_from: int
    topic_id: str
    recipe: str
    rules: str
    python: str = platform.python_version()
    river: str = river.__version__
    parts: dict[str, list[str]] = {}


class SamplesGone(LogError):
    """Records that a snapshot's fold has not seen are gone from the log: it cannot go on from there."""


class Taken(NamedTuple):
    """A snapshot: its header, and its parts by name."""

    header: SnapshotHeader
    parts: dict[str, bytes]


class StoredModel(NamedTuple):
    """A model of the fold; `payload` is what it was made from when it is frozen, else None."""

    model: Any
    payload: bytes | None


def models_of(fold: Fold) -> dict[str, StoredModel]:
    """Every model of the fold by name."""
    return {f"model {one.number}": StoredModel(one.model, one.payload) for one in fold.experts.models}


class StatePickler(pickle.Pickler):
    """Writes a model, and the bytes of a frozen one, as the name of its part."""

    def __init__(self, file: io.BytesIO, models: Mapping[str, StoredModel]) -> None:
        super().__init__(file, protocol=5)
        self.names: dict[int, tuple[str, bool]] = {}
        for name, (model, payload) in models.items():
            self.names[id(model)] = (name, True)
            if payload is not None:
                self.names[id(payload)] = (name, False)

    def persistent_id(self, value: Any) -> Any:
        return self.names.get(id(value))


class StateUnpickler(pickle.Unpickler):
    """Puts models, and the bytes of frozen ones, back where their names stand."""

    def __init__(self, parts: Mapping[str, bytes]) -> None:
        super().__init__(io.BytesIO(parts[STATE]))
        self.parts = parts
        self.models: dict[str, Any] = {}

    def persistent_load(self, named: tuple[str, bool]) -> Any:
        name, is_model = named
        if not is_model:
            return self.parts[name]
        if name not in self.models:
            self.models[name] = restore(self.parts[name])
        return self.models[name]


def take(fold: Fold, topic_id: str) -> Taken:
    """The snapshot of a fold between two records of the samples topic with this id."""
    held = [*fold.join.pending.items(), *fold.join.defaulted.items()]
    rescan_from = min((waits.position for _, waits in held), default=fold.position)
    header = SnapshotHeader(
        pipeline=fold.pipeline.name,
        position=fold.position,
        rescan_from=rescan_from,
        topic_id=topic_id,
        recipe=fold.recipe,
        rules=fold.rules,
    )
    state: dict[str, Any] = {name: value for name, value in vars(fold).items() if name not in _LEFT_OUT}
    state["of_join"] = {name: value for name, value in vars(fold.join).items() if name not in _OF_SAMPLES}
    state["waits"] = {
        waits.position: (
            event_id,
            waits.at,
            waits.number,
            waits.p,
            waits.base,
            waits.answer,
            waits.outside,
            waits.issued,
            waits.segments,
        )
        for event_id, waits in held
    }
    state["defaulted"] = {waits.position for waits in fold.join.defaulted.values()}
    models = models_of(fold)
    file = io.BytesIO()
    StatePickler(file, models).dump(state)
    parts = {STATE: file.getvalue()}
    for name, (model, payload) in models.items():
        parts[name] = dump(model) if payload is None else payload
    return Taken(header, parts)


def restore_fold(pipeline: Pipeline, taken: Taken, log: Log, topic: str, *, guard: bool = True) -> Fold:
    """The fold of a snapshot, its waiting vectors read from the log again.

    Raises `BadEnvelope`, saying what differs, and `SamplesGone` for one that nothing but the log keeps from going on.
    """
    header = taken.header
    _check(pipeline, header, log, topic, guard=guard)
    try:
        state = StateUnpickler(taken.parts).load()
        waits, of_join, defaulted = (state.pop(name) for name in ("waits", "of_join", "defaulted"))
    except Exception as error:  # whatever a class that changed since may raise
        raise BadEnvelope(
            f"the snapshot was written under Python {header.python} and river {header.river} and does not open here "
            f"({type(error).__name__}: {error}): it folds the log anew"
        ) from error
    fold = Fold(pipeline, guard=guard)
    vars(fold).update(state)
    vars(fold.join).update(of_join)
    # They are no part of the recipe, nor of the rules: the definition may have others now.
    fold.triggers.under(pipeline)
    fold.outputs = Outputs()
    join = fold.join
    for position, entry in entries_around(log, topic, waits):
        if isinstance(entry, Sample) and position in waits:
            event_id, at, number, p, base, answer, outside, issued, segments = waits.pop(position)
            names = fold.recipes.at(position).names
            assert names is not None, "what could not be read does not wait"
            x = vector(names, entry.x)
            pending = Pending(x, at, position, number, p, base, answer, outside, issued, segments)
            (join.defaulted if position in defaulted else join.pending)[event_id] = pending
    if waits:
        raise BadEnvelope(
            f"{len(waits)} samples that wait for a label are no longer in {topic!r}: its retention is too short"
        )
    return fold


def _check(pipeline: Pipeline, header: SnapshotHeader, log: Log, topic: str, *, guard: bool) -> None:
    """Refuse a snapshot that this worker, or this log, does not go on from."""
    for what, written, wanted in (
        ("pipeline", header.pipeline, pipeline.name),
        ("recipe", header.recipe, pipeline.digest),
        ("rules", header.rules, rules(pipeline, guard=guard)),
        ("topic id", header.topic_id, log.topic_id(topic)),
        ("river", header.river, river.__version__),
        ("python", header.python, platform.python_version()),
    ):
        if written != wanted:
            raise BadEnvelope(
                f"the snapshot was written under {what} {written}, this worker has {wanted}: it folds the log anew"
            )
    start, end = log.bounds([(topic, 0)])[(topic, 0)]
    if start > header.position:
        raise SamplesGone(
            f"records {header.position} to {start - 1} of {topic!r} are gone, and learn had not read them"
        )
    if start > header.rescan_from:
        raise BadEnvelope(
            f"samples from {header.rescan_from} on still wait and {topic!r} starts at {start}: its retention is too short"
        )
    if end < header.position:
        raise BadEnvelope(
            f"the snapshot was taken at {header.position} and {topic!r} ends at {end}: it folds the log anew"
        )

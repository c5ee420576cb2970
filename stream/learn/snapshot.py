"""Snapshots of the fold: everything but the vectors of samples that still wait for a label, which the log holds already.

Laws of this file:
- A snapshot restored and rescanned equals the fold it was taken from: every later prediction, decision and digest is the same.
- Opened only after its signature was verified, and only under the recipe, river and Python that wrote it.
"""

from __future__ import annotations

import pickle
import platform
from typing import Any

import msgspec
import river

from penstock.stream.definitions import Pipeline
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.learner import vector
from penstock.stream.learn.records import Outputs, Pending, rules
from penstock.stream.learn.replay import entries
from penstock.stream.log.protocol import Log
from penstock.stream.messages import Sample
from penstock.stream.models.version import BadEnvelope, seal, unseal

_LEFT_OUT = frozenset({"pipeline", "outputs", "join", "trace"})


class SnapshotHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot is: `position` is the next record to fold, `rescan_from` the oldest sample that still waits."""

    pipeline: str
    position: int
    rescan_from: int
    topic_id: str
    recipe: str
    rules: str
    python: str = platform.python_version()
    river: str = river.__version__


def take(fold: Fold, secret: str, topic_id: str) -> tuple[SnapshotHeader, bytes]:
    """The sealed snapshot of a fold between two records of the samples topic with this id."""
    rescan_from = min((waits.position for waits in fold.pending.values()), default=fold.position)
    header = SnapshotHeader(
        pipeline=fold.pipeline.name,
        position=fold.position,
        rescan_from=rescan_from,
        topic_id=topic_id,
        recipe=fold.recipe,
        rules=fold.rules,
    )
    state: dict[str, Any] = {name: value for name, value in vars(fold).items() if name not in _LEFT_OUT}
    state["of_join"] = {name: value for name, value in vars(fold.join).items() if name != "pending"}
    state["waits"] = {
        waits.position: (
            event_id,
            waits.at,
            waits.champion,
            waits.base,
            waits.anchor,
            waits.probation,
            waits.candidate,
        )
        for event_id, waits in fold.pending.items()
    }
    return header, seal(header, pickle.dumps(state, protocol=5), secret)


def restore_fold(
    pipeline: Pipeline, sealed: bytes, secret: str, log: Log, topic: str, *, guard: bool = True
) -> Fold:
    """The fold of a snapshot, its waiting vectors read from the log again. Raises `BadEnvelope`, saying what differs."""
    header, payload = unseal(sealed, secret, SnapshotHeader)
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
    if start > header.rescan_from:
        raise BadEnvelope(
            f"samples from {header.rescan_from} on still wait and {topic!r} starts at {start}: its retention is too short"
        )
    if end < header.position:
        raise BadEnvelope(
            f"the snapshot was taken at {header.position} and {topic!r} ends at {end}: it folds the log anew"
        )
    state = pickle.loads(payload)
    waits, of_join = state.pop("waits"), state.pop("of_join")
    fold = Fold(pipeline, guard=guard)
    vars(fold).update(state)
    vars(fold.join).update(of_join)
    fold.outputs = Outputs()
    found: dict[str, Pending] = {}
    for position, entry in entries(log, topic, header.rescan_from, header.position):
        if isinstance(entry, Sample) and position in waits:
            event_id, at, champion, base, anchor, probation, candidate = waits.pop(position)
            names = fold.recipes.at(position).names
            assert names is not None, "what could not be read does not wait"
            pending = Pending(vector(names, entry.x), at, position, champion, base)
            pending.anchor, pending.probation, pending.candidate = anchor, probation, candidate
            found[event_id] = pending
    if waits:
        raise BadEnvelope(
            f"{len(waits)} samples that wait for a label are no longer in {topic!r}: its retention is too short"
        )
    fold.join.pending = found
    return fold

"""The demo's proofs: samples are unique and complete, features equal a recomputation, the live model equals a replay.

Laws of this file:
- What is checked is read from Kafka and Redis; what it is checked against is computed from the raw input, by definition, with
  nothing of the feature engine but the length of a tile.
- A proof that fails names the first few differences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import fsum, isclose
from typing import Any

import msgspec
import redis

from penstock.features.define.view import Feature, View
from penstock.features.redis.keys import entity_of, public_key
from penstock.features.windows.tiles import tile_hop_ms
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.entries import entries
from penstock.stream.log.protocol import Log
from penstock.stream.messages import LabelRecord, Sample

MOST_DIFFERENCES = 5
CHUNK_KEYS = 1_000


class Proof:
    """What one check found: how many things it compared, and the first differences."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.compared = 0
        self.differences: list[str] = []
        self.different = 0

    @property
    def holds(self) -> bool:
        """Whether something was compared and nothing differed."""
        return self.compared > 0 and self.different == 0

    def differ(self, text: str) -> None:
        """Note one difference."""
        self.different += 1
        if len(self.differences) < MOST_DIFFERENCES:
            self.differences.append(text)


def samples_unique(log: Log, topic: str, sample_ids: Sequence[str], label_ids: Iterable[str]) -> Proof:
    """Every valid event gave exactly one sample, every outcome exactly one label, once repeats of one origin are dropped."""
    proof = Proof("samples unique and complete")
    stop = log.bounds([(topic, 0)])[(topic, 0)][1]
    wanted = {"sample": set(sample_ids), "label": set(label_ids)}
    seen: dict[str, dict[str, tuple[str, int, int]]] = {"sample": {}, "label": {}}
    for position, entry in entries(log, topic, 0, stop):
        if not isinstance(entry, Sample | LabelRecord):
            continue
        kind = "sample" if isinstance(entry, Sample) else "label"
        origin = (entry.origin.topic_id, entry.origin.partition, entry.origin.offset)
        before = seen[kind].setdefault(entry.id, origin)
        if before != origin:
            proof.differ(f"{kind} {entry.id} stands twice, the second time at {position}")
        elif entry.id not in wanted[kind]:
            proof.differ(f"{kind} {entry.id} at {position} was never published")
    for kind, ids in wanted.items():
        proof.compared += len(ids)
        for event_id in sorted(ids - seen[kind].keys())[: MOST_DIFFERENCES * 2]:
            proof.differ(f"{kind} {event_id} is missing")
    return proof


def features_equal(
    pipeline: Pipeline, client: redis.Redis, published: Iterable[tuple[str, Mapping[str, Any], int]]
) -> tuple[Proof, int]:
    """Every entity's public document equals the recomputation from `published` (topic, fields, event time); also their number."""
    proof = Proof("features equal a recomputation from the raw input")
    views = {
        source.name: [view for view in pipeline.views if view.source.name == source.name]
        for source in pipeline.sources
    }
    history: dict[tuple[str, str], list[tuple[int, Mapping[str, Any]]]] = {}
    for topic, fields, at in published:
        for view in views.get(topic, ()):
            entity = entity_of(fields, view.key_fields)
            if entity is not None:
                history.setdefault((view.name, entity), []).append((at, fields))
    by_name = {view.name: view for view in pipeline.views}
    wanted = list(history)
    for start in range(0, len(wanted), CHUNK_KEYS):
        chunk = wanted[start : start + CHUNK_KEYS]
        stored: Any = client.mget([public_key(pipeline.name, view, entity) for view, entity in chunk])
        for (name, entity), document in zip(chunk, stored, strict=True):
            proof.compared += 1
            if document is None:
                proof.differ(f"{name} {entity} is not in Redis")
            else:
                _compare(proof, by_name[name], entity, msgspec.json.decode(document), history[(name, entity)])
    return proof, len(wanted)


def _compare(
    proof: Proof, view: View, entity: str, document: Any, events: list[tuple[int, Mapping[str, Any]]]
) -> None:
    for name, feature in view.features.items():
        expected, found = _recomputed(feature, events, document["at"]), document["values"][name]
        same = (
            expected is found
            if expected is None or found is None
            else isclose(expected, found, rel_tol=1e-9, abs_tol=1e-9)
        )
        if not same:
            proof.differ(f"{view.name} {entity} {name}: Redis has {found}, the input gives {expected}")


def _recomputed(feature: Feature, events: list[tuple[int, Mapping[str, Any]]], at: int) -> float | None:
    """One feature by its definition over every event of its entity, as of `at`."""
    if feature.window_ms is not None:
        hop = tile_hop_ms(feature.window_ms)
        oldest = (at - feature.window_ms) // hop
        inside = []
        for event in reversed(events):
            if event[0] // hop < oldest:
                break
            inside.append(event)
        events = inside[::-1]
    if feature.kind == "count":
        return float(len(events))
    if feature.kind == "since_last":
        return (at - max(when for when, _ in events)) / 1000 if events else None
    field = feature.field or ""
    known = [(when, float(fields[field])) for when, fields in events if fields[field] is not None]
    if feature.kind == "last":
        return known[-1][1] if known else None
    numbers = [number for _, number in known]
    if feature.kind == "sum":
        return fsum(numbers)
    if feature.kind == "mean":
        return fsum(numbers) / len(numbers) if numbers else None
    return {"min": min, "max": max}[feature.kind](numbers, default=None)

"""A prediction that was made: what was published, the vector it was made of, and the label that came; and the newest ones.

Laws of this file:
- What is published is found from the newest on, as long as one look may take; from which offset on it was looked for is said.
- A label is a sample's by the join that the fold uses, fed with what can settle this sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from penstock.stream import topology
from penstock.stream.console.reading.backwards import Budget, backwards, portion
from penstock.stream.console.reading.servers import Servers
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.entries import entry_of
from penstock.stream.learn.join import Join, Settled
from penstock.stream.learn.joins import join_of
from penstock.stream.log.protocol import Log
from penstock.stream.messages import LabelRecord, Recipe, Sample, Tick
from penstock.stream.prediction import Prediction, decode_prediction, mentions
from penstock.stream.targets import Target

NEWEST = 50
SEARCH_S = 8.0
SEARCH_BYTES = 400_000_000
LABEL_S = 5.0
LABEL_BYTES = 100_000_000
EARLIER = 5_000
"""A label may stand before its sample: so many records before it are looked at."""
STEP = 20_000


class Searched(NamedTuple):
    """What was found of an id. `others` are positions of further samples with it; all offsets from `since` on were looked at."""

    prediction: Prediction | None
    others: tuple[int, ...]
    since: int
    start: int
    end: int


class LabelFound(NamedTuple):
    """What became of a sample: its label, the one of those without one, neither, or nothing yet.

    `position` is that of the record that settled it; `seen` is how far the log was looked through, `end` where it ends.
    """

    how: Literal["label", "absent", "expired", "corrected", "waits", "unlabelled"]
    y: Target | None
    at: int
    position: int
    seen: int
    end: int


class _Waits(NamedTuple):
    at: int
    position: int
    id: str


def _decoded(value: bytes | None) -> Prediction | None:
    try:
        return None if value is None else decode_prediction(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def newest(servers: Servers, pipeline: str) -> list[Prediction]:
    """The newest predictions, the newest first; a repeat after a crash is there once. Raises `LogError`."""
    topic, log = topology.predictions(pipeline, servers.prefix), servers.log_of(pipeline)
    found: dict[tuple[int, str], Prediction] = {}
    budget = Budget(SEARCH_S)
    for partition in range(log.partitions(topic)):
        part = next(iter(backwards(log, (topic, partition), budget, first=2 * NEWEST)), None)
        for record in part.records if part else ():
            said = _decoded(record.value)
            if said is not None:
                found[said.position, said.id] = said
    return [found[key] for key in sorted(found, reverse=True)[:NEWEST]]


def search(servers: Servers, pipeline: str, event_id: str, position: int | None = None) -> Searched:
    """The newest prediction of this event id, or the one at `position`. Raises `LogError`."""
    topic, log = topology.predictions(pipeline, servers.prefix), servers.log_of(pipeline)
    budget = Budget(SEARCH_S, SEARCH_BYTES)
    looks = {
        partition: backwards(log, (topic, partition), budget) for partition in range(log.partitions(topic))
    }
    bounds = log.bounds([(topic, partition) for partition in looks])
    start, end = sum(low for low, _ in bounds.values()), sum(high for _, high in bounds.values())
    since = end
    while looks:
        found: dict[int, Prediction] = {}
        for partition, look in list(looks.items()):
            part = next(look, None)
            if part is None:
                del looks[partition]
                continue
            since -= part.stop - part.start
            for record in part.records:
                if record.value is not None and mentions(record.value, event_id):
                    said = _decoded(record.value)
                    if said is not None and said.id == event_id:
                        found[said.position] = said
        meant = found.get(position) if position is not None else found[max(found)] if found else None
        if meant is not None:
            others = tuple(sorted(one for one in found if one != meant.position))
            return Searched(meant, others, since, start, end)
    return Searched(None, (), since, start, end)


def sample_at(log: Log, topic: str, position: int) -> Sample | None:
    """The sample at a position of the samples log; None where there is none. Raises `LogError`."""
    low, high = log.bounds([(topic, 0)])[(topic, 0)]
    if not low <= position < high:
        return None
    found = portion(log, (topic, 0), position, position + 1, Budget(SEARCH_S))
    entry = entry_of(found.records[0].value) if found is not None and found.records else None
    return entry if isinstance(entry, Sample) else None


def label_of(servers: Servers, pipeline: Pipeline, sample: Sample, position: int) -> LabelFound:
    """What became of a sample, as far as that can be seen in a moment. Raises `LogError`."""
    topic, log = topology.samples(pipeline.name, servers.prefix), servers.log_of(pipeline.name)
    low, end = log.bounds([(topic, 0)])[(topic, 0)]
    if not pipeline.labelled:
        return LabelFound("unlabelled", None, 0, 0, end, end)
    join: Join[_Waits] = join_of(pipeline.label_rule)
    budget, found = Budget(LABEL_S, LABEL_BYTES), LabelFound("waits", None, 0, 0, position, end)
    waits = _Waits(sample.at, position, sample.id)
    for start in range(max(low, position - EARLIER), end, STEP):
        part = portion(log, (topic, 0), start, min(start + STEP, end), budget)
        if part is None:
            return found
        for record in part.records:
            entry = entry_of(record.value)
            settled: Sequence[Settled] = ()
            if isinstance(entry, LabelRecord):
                theirs = entry.key if pipeline.label_rule.keyed else entry.id
                if theirs == (sample.label_key if pipeline.label_rule.keyed else sample.id):
                    settled = join.label(record.offset, entry)
            elif isinstance(entry, Tick):
                settled = join.tick(entry)
            elif isinstance(entry, Recipe):
                join.recipe(entry)
            elif isinstance(entry, Sample) and record.offset == position:
                settled = join.sample(sample.id, waits, sample.label_key)
            for one in settled:
                if one.waits.position == position:
                    found = LabelFound(one.how, one.y, one.at, record.offset, record.offset, end)
            if found.how in ("label", "corrected", "expired"):
                return found
        found = found._replace(seen=part.stop)
        if found.how == "absent" and not pipeline.label_rule.corrected_ms:
            return found
    return found

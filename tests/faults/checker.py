"""The checker: from raw topics and Redis to counts, against the reference. It knows public formats alone.

Laws of this file:
- The samples log holds what the events give: each once, but for repeats that a reader recognises by their origin; in the order of
  their source partition, and of event time where one task owns all partitions.
- A prediction is that of a model which learned the labels in the order of that log, from its start.
- Whatever is counted is counted where it is first seen; what follows from it may be counted as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isclose
from typing import Any, NamedTuple

import msgspec

from penstock.stream.log.protocol import Record
from tests.faults.asked import check_requests
from tests.faults.counts import Counts
from tests.faults.raw import RawTopics
from tests.faults.reference import NaiveLearner, OrderedFlow, named
from tests.faults.told import check_dead_letters, check_events
from tests.stream.naive_flow import alike

ORIGIN = ("topic_id", "partition", "offset", "sub")
FIELDS = {
    "sample": ("tag", "origin", "id", "key", "at", "x"),
    "label": ("tag", "origin", "id", "at", "y"),
    "command": ("tag", "id", "verb"),
    "recipe": ("tag", "digest", "inputs"),
    "tick": ("tag", "times"),
}


@dataclass
class World:
    """What is looked at: a definition, its topics, its Redis, and what was asked for, by request id.

    `recovered` says that a Redis was lost on the way: what readers saw may then have gone back. `waiver` are kinds of
    counts that the fault's promise leaves open.
    """

    pipeline: Any
    raw: RawTopics
    read: Callable[[str], bytes | None]
    keys: Callable[[str], Iterator[str]]
    asked: dict[str, str] = field(default_factory=dict)
    recovered: bool = False

    @property
    def name(self) -> str:
        """The pipeline's."""
        return str(self.pipeline.name)


class Accepted(NamedTuple):
    """A record of the samples log that a reader takes: at its offset, what it is and says."""

    position: int
    kind: str
    says: Mapping[str, Any]


def check(world: World, flow: OrderedFlow | None = None) -> Counts:
    """Everything at the end of a run."""
    counts = Counts()
    flow = flow or OrderedFlow(world.pipeline, world.raw)
    parts = samples_of(world, flow, counts)
    for shard, accepted in enumerate(parts):
        check_learning(world, shard, len(parts), accepted, counts)
    check_documents(world, flow, counts)
    check_dead_letters(world, flow, counts)
    check_events(world, counts)
    check_requests(world, parts, counts)
    return counts


# -- the samples log -------------------------------------------------------------------------------------------------------


def entry(record: Record) -> Mapping[str, Any]:
    """A record of the samples log by names, its origin too."""
    fields = msgspec.msgpack.decode(record.value or b"")
    found = dict(named(fields, FIELDS[fields[0]]))
    if "origin" in found:
        found["origin"] = named(found["origin"], ORIGIN)
    return found


def samples_of(world: World, flow: OrderedFlow, counts: Counts) -> list[list[Accepted]]:
    """What a reader takes of each partition of the samples log; counts what differs from what the events give."""
    names = {world.raw.topic_id(source.name): source.name for source in world.pipeline.sources}
    seen: dict[tuple[Any, int], tuple[int, Any]] = {}
    read_to: dict[tuple[str, int], int] = {}
    parts: list[list[Accepted]] = []
    for partition, records in enumerate(world.raw.whole(f"{world.name}.samples")):
        accepted: list[Accepted] = []
        newest: dict[Any, tuple[int, int]] = {}
        for record in records:
            found = entry(record)
            if found["tag"] not in ("sample", "label"):
                accepted.append(Accepted(record.offset, found["tag"], found))
                continue
            origin = found["origin"]
            if origin["topic_id"] not in names:
                counts.add("wrong", f"a record at {record.offset} names a topic that there is not: {origin}")
                continue
            place = (names[origin["topic_id"]], origin["partition"], origin["offset"])
            says = {name: value for name, value in found.items() if name not in ("tag", "origin")}
            if (place, origin["sub"]) in seen:
                where, said = seen[(place, origin["sub"])]
                kind = "" if said == says and where == partition else "torn" if said != says else "repeated"
                counts.known_repeats += not kind
                counts.events_back = max(counts.events_back, read_to[place[:2]] - place[2])
                if kind:
                    counts.add(kind, f"{place} gave {said} and, at {record.offset}, {says}")
                continue
            seen[(place, origin["sub"])] = (partition, says)
            read_to[place[:2]] = max(read_to.get(place[:2], -1), place[2])
            _compare(place, found, flow, counts)
            rank = flow.order.get(place, -1)
            within = place[:2] if world.pipeline.partitioned else ()
            here = (rank, origin["sub"])
            if newest.get(within, (-2, 0)) > here:
                counts.add("reordered", f"{place} stands at {record.offset}, after what happened later")
            newest[within] = max(newest.get(within, here), here)
            accepted.append(Accepted(record.offset, found["tag"], found))
        parts.append(accepted)
    for sub, what, expected in ((0, "sample", flow.samples), (1, "label", flow.labels)):
        for place in expected:
            if (place, sub) not in seen:
                counts.add("lost", f"{place} gave no {what}")
    return parts


def _compare(
    place: tuple[str, int, int], found: Mapping[str, Any], flow: OrderedFlow, counts: Counts
) -> None:
    if found["tag"] == "sample":
        wanted = flow.samples.get(place)
        right = (
            wanted is not None and wanted[:2] == (found["id"], found["at"]) and alike(wanted[2], found["x"])
        )
    else:
        wanted = flow.labels.get(place)
        right = wanted == (found["id"], found["at"], found["y"])
    if not right:
        counts.add("wrong", f"{place} gave {dict(found)}, not {wanted}")


# -- learning --------------------------------------------------------------------------------------------------------------


def check_learning(world: World, shard: int, shards: int, accepted: list[Accepted], counts: Counts) -> None:
    """Every prediction of one samples log, and what is told of its model, against the naive learner."""
    recipe = next((one for one in accepted if one.kind == "recipe"), None)
    if recipe is None:
        counts.add("lost", f"the samples log of shard {shard} names no recipe")
        return
    learner, expected = fold(world, recipe.says["inputs"], accepted)
    check_predictions(world.raw.whole(f"{world.name}.predictions")[shard], expected, counts)
    name = world.name if shards == 1 else f"{world.name}.{shard}"
    stored = world.read(f"model:{name}")
    if stored is None:
        counts.add("lost", f"model:{name} is not there")
        return
    check_model(json.loads(stored), learner, counts)


def fold(
    world: World, names: list[str], accepted: list[Accepted]
) -> tuple[NaiveLearner, dict[str, tuple[int, float]]]:
    """The naive learner after these records, and what it predicted of which, by event id."""
    learner = NaiveLearner(names, world.pipeline.model, world.pipeline.label_rule.wait_ms)
    expected: dict[str, tuple[int, float]] = {}
    for position, kind, says in accepted:
        if kind == "sample":
            expected[says["id"]] = (position, learner.sample(position, says["id"], says["at"], says["x"]))
        elif kind == "label":
            learner.label(says["id"], says["at"], says["y"])
        elif kind == "command":
            learner.command(position, says["id"], says["verb"])
    return learner, expected


def check_predictions(
    records: list[Record], expected: Mapping[str, tuple[int, float]], counts: Counts
) -> None:
    """One prediction for each sample, the naive one; a repeat says the same."""
    said: dict[str, Any] = {}
    newest = -1
    for record in records:
        found = json.loads(record.value or b"")
        event_id, position = found["id"], found.get("position", -1)
        if event_id in said:
            counts.known_repeats += said[event_id] == found
            counts.positions_back = max(counts.positions_back, newest - position)
            if said[event_id] != found:
                counts.add("torn", f"{event_id} was predicted as {said[event_id]} and as {found}")
            continue
        said[event_id] = found
        if position < newest:
            counts.add("reordered", f"{event_id} of {position} was predicted after {newest}")
        newest = max(newest, position)
        wanted = expected.get(event_id)
        if wanted is None or wanted[0] != position or not same(wanted[1], found["prediction"]):
            counts.add(
                "wrong", f"{event_id} was predicted as {found['prediction']} at {position}, not {wanted}"
            )
    for event_id in expected.keys() - said.keys():
        counts.add("lost", f"{event_id} was not predicted")


def check_model(document: Mapping[str, Any], learner: NaiveLearner, counts: Counts) -> None:
    """What is told of the model: the labels it learned, and its weight."""
    labels = document["labels"]
    if labels != learner.learned:
        kind = "lost" if labels < learner.learned else "repeated"
        counts.add(kind, f"the model learned {labels} labels, not {learner.learned}")
    weights = [one["weight"] for one in document["experts"] if one["kind"] == "first"]
    if len(weights) != 1 or not isclose(weights[0], learner.weight(), abs_tol=2e-6):
        counts.add("wrong", f"the first model's weight is {weights}, not {learner.weight()}")


def same(one: float, other: Any) -> bool:
    """Equal, but for the rounding of sums in another order."""
    return isinstance(other, int | float) and isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


# -- what is in Redis ------------------------------------------------------------------------------


def check_documents(world: World, flow: OrderedFlow, counts: Counts) -> None:
    """Every entity's document against the features of all its events, as of the document's own moment."""
    expected = {
        f"features:{world.name}:{name}:{entity}": view for (name, entity), view in flow.documents().items()
    }
    for key, view in expected.items():
        stored = world.read(key)
        if stored is None:
            counts.add("lost", f"{key} is not there")
            continue
        document = json.loads(stored)
        wanted = dict(zip(view.view.features, view.values(document["at"]), strict=True))
        found = document["values"]
        newest = max(event.at_ms for event in view.events)
        if document["at"] < newest:
            counts.add("wrong", f"{key} is of {document['at']}, before its newest event of {newest}")
        if found.keys() != wanted.keys() or not alike([*found.values()], [*wanted.values()]):
            counts.add(_how(view, found, wanted), f"{key} is {found}, not {wanted}")
    for key in world.keys(f"features:{world.name}:"):
        if key not in expected:
            counts.add("wrong", f"{key} is of an entity without events")


def _how(view: Any, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What an entity's counts say of its events: some are missing, some counted again, or neither."""
    gaps = {
        found.get(name, 0) - wanted[name]
        for name, feature in view.view.features.items()
        if feature.kind == "count" and isinstance(found.get(name), int | float)
    }
    if gaps and max(gaps) > 0 <= min(gaps):
        return "repeated"
    return "lost" if gaps and min(gaps) < 0 >= max(gaps) else "wrong"

"""The checker itself, on a flow in memory: it finds nothing where nothing is wrong, and what is wrong where something is."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.stream.definition_file import load
from penstock.stream.featurize import expiry, worker
from penstock.stream.learn import births, suspicion
from penstock.stream.log.protocol import Record
from penstock.stream.messages import Command, encode_entry
from penstock.stream.roles.in_memory import MemoryFlow
from tests.faults import bugs
from tests.faults.checker import World, check
from tests.faults.counts import Counts
from tests.faults.flows import FLOWS
from tests.stream.naive_flow import by_partition

Change = Callable[[list[Record]], list[Record]]


class MemoryTopics:
    """The topics of a flow in memory, where `changes` may be made to what is read of one."""

    def __init__(self, log: Any) -> None:
        self.log = log
        self.changes: dict[str, Change] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)

    def whole(self, topic: str) -> list[list[Record]]:
        tps = [(topic, partition) for partition in range(self.log.partitions(topic))]
        found = [by_partition(self.log, tps)[tp] for tp in tps]
        return [self.changes.get(topic.rpartition(".")[2], lambda same: same)(records) for records in found]


def lived(flow: str, folder: Path, records: int) -> World:
    """A flow in memory after its stream."""
    file = folder / "definition.py"
    file.write_text(FLOWS[flow].text.replace("NAME", "here"))
    pipeline = load(file)
    made = MemoryFlow(pipeline, partitions=FLOWS[flow].partitions)
    names = {source.name.partition(".")[2]: source.name for source in pipeline.sources}
    stream = FLOWS[flow].stream(records, 5)
    made.feed([one._replace(topic=names[one.topic.partition(".")[2]]) for one in stream])
    made.settle()
    made.close()
    data = made.server.data
    topics: Any = MemoryTopics(made.log)
    return World(pipeline, topics, data.get, lambda prefix: (key for key in data if key.startswith(prefix)))


@pytest.fixture(scope="module")
def quiet() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(births, "is_due", lambda labels: False)
        patch.setattr(births, "FREEZE_EVERY", 10**9)
        patch.setattr(suspicion, "CLOCK", 10**9)
        yield


@pytest.mark.parametrize("flow", ["cards", "parcels", "shards"])
def test_nothing_is_found_where_nothing_is_wrong(quiet: None, flow: str, tmp_path: Path) -> None:
    counts = check(lived(flow, tmp_path, 900))
    assert counts.bad == {}, counts.notes


@pytest.fixture(scope="module")
def world(quiet: None, tmp_path_factory: pytest.TempPathFactory) -> World:
    return lived("cards", tmp_path_factory.mktemp("cards"), 900)


def found(world: World, topic: str, change: Change) -> Counts:
    topics: Any = world.raw
    topics.changes = {topic: change}
    try:
        return check(world)
    finally:
        topics.changes = {}


def entries(records: list[Record], tag: str) -> list[int]:
    return [n for n, one in enumerate(records) if msgspec.msgpack.decode(one.value or b"")[0] == tag]


def without(number: int) -> Change:
    return lambda records: [*records[:number], *records[number + 1 :]]


def test_a_sample_that_is_missing_is_lost(world: World) -> None:
    counts = found(world, "samples", lambda records: without(entries(records, "sample")[40])(records))
    assert counts.lost >= 1 and "gave no sample" in counts.notes[0]


def test_a_label_that_is_missing_is_lost_and_what_follows_is_wrong(world: World) -> None:
    counts = found(world, "samples", lambda records: without(entries(records, "label")[40])(records))
    assert counts.lost == 1 and counts.wrong > 100 and counts.repeated == 1


def test_a_repeat_with_its_origin_is_known_and_one_that_says_something_else_is_torn(world: World) -> None:
    def again(records: list[Record]) -> list[Record]:
        return [*records, records[entries(records, "sample")[7]]]

    counts = found(world, "samples", again)
    assert counts.bad == {} and counts.known_repeats == 1

    def otherwise(records: list[Record]) -> list[Record]:
        one = again(records)[-1]
        fields = msgspec.msgpack.decode(one.value or b"")
        fields[5][0] += 1.0
        return [*records, one._replace(value=msgspec.msgpack.encode(fields))]

    assert found(world, "samples", otherwise).bad == {"torn": 1}


def test_two_samples_that_changed_places_are_reordered(world: World) -> None:
    def swapped(records: list[Record]) -> list[Record]:
        origins = [msgspec.msgpack.decode(one.value or b"")[1] for one in records]
        samples = entries(records, "sample")
        a = samples[30]
        b = next(n for n in samples if n > a and origins[n][:2] == origins[a][:2])
        records = list(records)
        records[a], records[b] = records[b], records[a]
        return records

    assert found(world, "samples", swapped).reordered >= 1


def test_a_prediction_that_is_missing_is_lost_and_another_one_is_wrong(world: World) -> None:
    assert found(world, "predictions", without(50)).bad == {"lost": 1}

    def other(records: list[Record]) -> list[Record]:
        said = json.loads(records[50].value or b"")
        said["prediction"] += 1e-6
        return [*records[:50], records[50]._replace(value=json.dumps(said).encode()), *records[51:]]

    assert found(world, "predictions", other).bad == {"wrong": 1}
    assert found(world, "predictions", lambda records: [*records, records[5]]).bad == {}
    both = found(world, "predictions", lambda records: [*records, other(records)[50]])
    assert both.bad == {"torn": 1}


def test_a_dead_letter_that_is_missing_is_lost_and_one_that_says_something_else_is_found(
    world: World,
) -> None:
    assert found(world, "dead-letters", without(3)).bad == {"lost": 1}

    def cut(records: list[Record]) -> list[Record]:
        return [*records[:3], records[3]._replace(value=b"?"), *records[4:]]

    assert found(world, "dead-letters", cut).bad == {"wrong": 1}
    assert found(world, "dead-letters", lambda records: [*records, records[3]]).bad == {}
    assert found(world, "dead-letters", lambda records: [*records, cut(records)[3]]).bad == {"torn": 1}


def test_an_event_that_is_told_again_in_other_words_is_torn(world: World) -> None:
    def again(records: list[Record]) -> list[Record]:
        said = json.loads(records[0].value or b"")
        return [*records, records[0]._replace(value=json.dumps({**said, "position": -1}).encode())]

    assert found(world, "history", lambda records: [*records, records[0]]).bad == {}
    assert found(world, "history", again).bad == {"torn": 1}


def test_a_command_that_nobody_asked_for_is_found_whatever_comes_of_it(world: World) -> None:
    command = encode_entry(Command(id="command-hold-7", verb="hold", reason="", by="", wall_ms=0))

    def held(records: list[Record]) -> list[Record]:
        return [*records, records[-1]._replace(offset=records[-1].offset + 1, value=command)]

    assert found(world, "samples", held).bad == {"repeated": 1}


@pytest.mark.parametrize(("by", "kind"), [(1, "repeated"), (-1, "lost")])
def test_a_document_that_counts_an_event_again_or_not_at_all_is_found(
    world: World, by: int, kind: str
) -> None:
    read = world.read
    key = next(key for key in world.keys("features:here:card:"))

    def changed(asked: str) -> bytes | None:
        stored = read(asked)
        if asked != key or stored is None:
            return stored
        document = json.loads(stored)
        document["values"]["n_30d"] += by
        return json.dumps(document).encode()

    world.read = changed
    try:
        assert check(world).bad == {kind: 1}
        world.read = lambda asked: None if asked == key else read(asked)
        assert check(world).bad == {"lost": 1}
    finally:
        world.read = read


@pytest.mark.parametrize(
    ("bug", "flow"),
    [
        ("one event skipped", "cards"),
        ("one event applied twice", "cards"),
        ("two events swapped", "cards"),
        ("state expires too early", "cards"),
        ("labels expire too early", "parcels"),
        ("a label joined to a wrong sample", "parcels"),
    ],
)
def test_a_bug_that_is_planted_in_the_flow_is_found(
    quiet: None, bug: str, flow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrapped(at: str, make: Callable[[Any], Any]) -> None:
        name = at.replace(":", ".")
        monkeypatch.setattr(name, make(pkgutil.resolve_name(at)))

    monkeypatch.setattr(bugs, "wrapped", wrapped)
    monkeypatch.setattr(expiry, "LOOK_EVERY_MS", 0)
    monkeypatch.setattr(worker, "BATCH_RECORDS", 100)
    bugs.BUGS[bug]("")
    assert check(lived(flow, tmp_path, 900)).bad, "nothing was found"

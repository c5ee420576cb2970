"""The topology is what the code does: each role touches the topics and keys that it names, and all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from penstock.features.redis.keys import wanted_key
from penstock.features.redis.store import connect
from penstock.stream import steps, topology
from penstock.stream.cli.picture import describe, picture
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.learn import retrain
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.memory_members import MemoryReader
from penstock.stream.log.protocol import Out, Record
from penstock.stream.messages import OperatorRequest, encode_json
from penstock.stream.operate.control_topics import FOLLOWED
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.topology import EVENT_TOPICS
from tests.stream.generated import card_events, cards, outs, parcel_events, parcels

EXAMPLES = Path(__file__).parents[2] / "examples"
GOLDEN = Path(__file__).parents[1] / "golden"
#: The control role in memory keeps its memory in the process.
ONLY_ON_KAFKA = {"cards.control-policy-changelog", "parcels.control-policy-changelog"}


class Seen:
    """What each role did, by its name; `role` is the one at work."""

    def __init__(self) -> None:
        self.role = ""
        self.read: dict[str, set[str]] = defaultdict(set)
        self.written: dict[str, set[str]] = defaultdict(set)
        self.keys: dict[str, set[str]] = defaultdict(set)


class RecordingLog(MemoryLog):
    """Notes who appends where."""

    def __init__(self, seen: Seen) -> None:
        super().__init__(lambda: 1_800_000_000.0)
        self.seen = seen

    def append(self, outs: Any) -> None:
        self.seen.written[self.seen.role].update(out.topic for out in outs)
        super().append(outs)


class RecordingKeys(dict[str, bytes]):
    """Notes who writes which key of the server."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen

    def __setitem__(self, key: str, value: bytes) -> None:
        self.seen.keys[self.seen.role].add(key)
        super().__setitem__(key, value)


@pytest.fixture(autouse=True)
def frequent_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.stream.learn.births.FREEZE_EVERY", 100)
    monkeypatch.setattr("penstock.stream.learn.replica_snapshot.REPLICA_EVERY_MS", 0)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    found = Seen()
    poll, run_job = MemoryReader.poll, retrain.run_job

    def noted(self: MemoryReader, most: int, timeout_s: float) -> list[Record]:
        records = poll(self, most, timeout_s)
        found.read[found.role].update(record.topic for record in records)
        return records

    def job(*args: Any, **more: Any) -> Any:
        before, found.role = found.role, "retrain"
        try:
            return run_job(*args, **more)
        finally:
            found.role = before

    monkeypatch.setattr(MemoryReader, "poll", noted)
    monkeypatch.setattr(retrain, "run_job", job)
    yield found


def run(pipeline: Pipeline, events: list[Out], seen: Seen) -> MemoryFlow:
    """Everything that can happen, in memory: events, many bad ones, drift, and a person's request."""
    log = RecordingLog(seen)
    for source in pipeline.sources:
        log.create(source.name, 2)
    for topic in topology.owned(pipeline.name):
        log.create(topic.name, topic.partitions)
    clock = iter(range(1_800_000_000_000, 1_900_000_000_000, 10))
    flow = MemoryFlow(pipeline, log=log, clock=lambda: next(clock))
    flow.server.data = RecordingKeys(seen)
    request = OperatorRequest(id="r1", pipeline=pipeline.name, verb="retrain", reason="to see one", by="ann")

    def settle() -> None:
        quiet = 0
        while quiet < 4:
            done = 0
            for role in ("featurize", "learn", "control"):
                seen.role = role
                done += getattr(flow, role).process_batch(0.0)
            quiet = 0 if done else quiet + 1
        seen.role = "outside"

    seen.role = "outside"
    flow.server.put(wanted_key(pipeline.name), b"1")  # as a serve role would
    broken = Out(events[0].topic, b"k", b"no JSON")
    flow.feed([*events, *[broken] * 200])  # enough of them to be told on `control.alerts`
    settle()
    flow.feed([Out(topic, b"other", b"of nobody") for topic in topology.CONTROL_READS])
    flow.feed([Out(topology.CONTROL_COMMANDS, pipeline.name.encode(), encode_json(request))])
    settle()
    for role in ("featurize", "learn", "control"):
        seen.role = role
        getattr(flow, role).close()
    return flow


def compare(found: steps.Topology, seen: Seen, *, all_of_them: bool) -> None:
    """learn stands for what is chained to it."""
    for role in ("featurize", "learn", "retrain", "control"):
        named = [found.step(role)] + ([found.step("watch")] if role == "learn" else [])
        for did, said in (
            (seen.read[role], {topic for step in named for topic in (*step.reads, *step.looks_at)}),
            (seen.written[role], {topic for step in named for topic in step.writes}),
        ):
            assert did <= said, role
            if all_of_them:
                # learn itself appends a command only after a retrain failed three times; for drift see the next test
                rare = {found.step("learn").reads[0], *found.step("watch").writes}
                may = ONLY_ON_KAFKA | (rare if role == "learn" else set())
                assert said - did <= may, role
        if role in ("featurize", "learn"):
            spaces = [space for step in named for space in step.keys]
            for key in seen.keys[role]:
                assert any(space.covers(key) for space in spaces), (role, key)
            for space in spaces:
                # in memory, versions and what workers tell each other lie in the process; the identity was written before
                assert space.name.endswith((":versions", ":identity", ":reached")) or any(
                    map(space.covers, seen.keys[role])
                ), space


def test_each_role_touches_the_topics_and_keys_that_the_topology_names_and_all_of_them(seen: Seen) -> None:
    pipeline = cards()
    run(pipeline, outs(card_events(1_500)), seen)
    compare(steps.of(pipeline), seen, all_of_them=True)


def test_what_is_found_goes_where_the_topology_says() -> None:
    assert set(EVENT_TOPICS.values()) == set(steps.of(cards()).step("watch").writes)


@pytest.mark.parametrize("made", [parcels, cards])
def test_no_role_touches_what_the_topology_does_not_name(made: Any, seen: Seen) -> None:
    pipeline = made()
    run(pipeline, outs(parcel_events(300) if made is parcels else card_events(300)), seen)
    compare(steps.of(pipeline), seen, all_of_them=False)


def test_every_key_on_a_real_server_is_named_and_every_named_space_has_keys(
    valkey: redis.Redis, valkey_url: str
) -> None:
    pipeline = cards()
    flow = MemoryFlow(pipeline, client=connect(valkey_url))
    valkey.set(wanted_key("cards"), b"1")  # as a serve role would
    flow.feed(outs(card_events(600)))
    flow.settle()
    flow.close()
    valkey.delete(wanted_key("cards"))
    found = [key.decode() for key in valkey.keys("*")]  # type: ignore[union-attr]
    spaces = [space for step in steps.of(pipeline).steps for space in step.keys]
    assert found and [key for key in found if not any(space.covers(key) for space in spaces)] == []
    assert [space.name for space in spaces if not any(map(space.covers, found))] == []


def test_the_topics_of_the_topology_are_those_that_are_created_and_all_are_used() -> None:
    found = steps.of(load(EXAMPLES / "flights.py"), "a.")
    named = (*found.steps, *found.tools)
    touched = {topic for step in named for topic in (*step.reads, *step.writes)}
    assert touched == {topic.name for topic in found.topics}
    assert {topic.name for topic in topology.owned("flights", "a.")} <= touched
    assert all(topic in found.sources or topic.startswith("a.") for topic in touched)


def test_watch_follows_every_control_topic() -> None:
    assert set(FOLLOWED) == set(topology.CONTROL_ALL)


@pytest.mark.parametrize("name", ["flights", "cards"])
def test_the_examples_topologies_are_drawn_and_listed_as_they_were(name: str) -> None:
    found = steps.of(load(EXAMPLES / f"{name}.py"))
    text = f"{picture(found)}\n\n{describe(found)}\n"
    assert text == (GOLDEN / f"topology-{name}.v1.txt").read_text()

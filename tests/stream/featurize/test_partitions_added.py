"""Source topics that change: with more partitions, keys lie in others and their state does not; a topic made anew is another."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.featurize.partitions import PartitionsChanged, tasks_of
from penstock.stream.featurize.position import TopicRecreated
from penstock.stream.featurize.source_topics import LOOK_EVERY_MS, SourceTopics, beside, source_partitions
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.log.memory import MemoryLog, Partition
from penstock.stream.log.protocol import LogUnavailable, Out, UnknownTopic
from penstock.stream.roles.in_memory import MemoryFlow
from tests.patience import PATIENCE_S, eventually
from tests.stream.featurize.test_worker import FragileStore, World
from tests.stream.generated import DELIVERED, PAID, SENT, card_events, cards, outs, parcel_events, parcels

KINDS: dict[str, tuple[Callable[[], Pipeline], list[Out]]] = {
    "a task per partition": (cards, outs(card_events(50))),
    "one task": (parcels, outs(parcel_events(50))),
}
SOON = 2 * LOOK_EVERY_MS // 100  # turns within which the world's clock has passed a look


def widen(log: MemoryLog, topic: str) -> None:
    """Add a partition."""
    log._topics[topic][1].append(Partition())


def make_anew(log: MemoryLog, topic: str) -> None:
    """Delete a topic and create it again."""
    partitions = log.partitions(topic)
    log.delete(topic)
    log.create(topic, partitions)


def turn(worker: FeaturizeWorker, turns: int = SOON) -> None:
    for _ in range(turns):
        worker.process_batch(0.0)


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest) -> World:
    """One whose worker is to have stepped all that its sources hold."""
    pipeline, records = KINDS[request.param]
    made = World(pipeline())
    made.log.append(records)
    return made


@pytest.fixture
def worker(world: World) -> FeaturizeWorker:
    made = world.worker()
    world.settle(made)
    world.check()
    return made


def test_a_worker_that_begins_when_there_are_more_refuses_to() -> None:
    flow = MemoryFlow(cards(), partitions=2)
    flow.feed(outs(card_events(50)))
    flow.settle()
    flow.close()
    widen(flow.log, PAID.name)  # type: ignore[arg-type]
    with pytest.raises(PartitionsChanged, match="state was kept for 2, there are 3 now"):
        flow.featurize.__class__(cards(), flow.log, flow.store, lambda: 0, keyspace=flow.featurize.keyspace)


def test_a_worker_that_is_given_one_that_was_not_there_refuses_it() -> None:
    assert tasks_of([("a", 1), ("b", 1), ("a", 0)], 2) == [0, 1]
    with pytest.raises(PartitionsChanged, match="state was kept for 2, there are 3 now"):
        tasks_of([("a", 2)], 2)


def test_partitions_that_are_added_while_a_worker_runs_end_it(world: World, worker: FeaturizeWorker) -> None:
    for source in world.pipeline.sources:
        widen(world.log, source.name)
    with pytest.raises(PartitionsChanged, match="state was kept for 2, there are 3 now"):
        turn(worker)


def test_those_of_one_source_alone_end_it_with_what_it_would_not_begin_for() -> None:
    world = World(parcels())
    worker = world.worker()
    turn(worker)
    widen(world.log, DELIVERED.name)
    with pytest.raises(DefinitionError, match="equal partition counts") as ended:
        turn(worker)
    with pytest.raises(DefinitionError) as refused:
        world.worker()
    assert str(ended.value) == str(refused.value)


def test_a_spare_that_owns_nothing_ends_as_well() -> None:
    """It would go on with those that were there when it began."""
    world = World(parcels())
    store_of = lambda task: FragileStore(world, "parcels", task)  # noqa: E731
    both = [
        FeaturizeWorker(world.pipeline, world.log, store_of, lambda: next(world.wall), instance_id=str(n))
        for n in range(2)
    ]
    world.settle(*both)
    (spare,) = (one for one in both if not one.tasks)
    for source in (SENT, DELIVERED):
        widen(world.log, source.name)
    with pytest.raises(PartitionsChanged):
        turn(spare)


@pytest.mark.parametrize("fed", ["less than was read", "more than was read"])
def test_a_source_that_is_made_anew_while_a_worker_runs_ends_it(
    world: World, worker: FeaturizeWorker, fed: str
) -> None:
    topic = world.pipeline.predict.name
    again = [record._replace(topic=topic) for record in outs(card_events(200))]
    make_anew(world.log, topic)
    world.log.append(again[:1] if fed == "less than was read" else again)
    with pytest.raises(TopicRecreated, match="deleted and created again"):
        turn(worker)


def test_one_that_is_deleted_ends_it_as_missing(world: World, worker: FeaturizeWorker) -> None:
    world.log.delete(world.pipeline.predict.name)
    with pytest.raises(UnknownTopic, match="does not exist"):
        turn(worker)


def test_a_broker_that_does_not_answer_ends_nothing_and_is_asked_again(
    world: World, worker: FeaturizeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: str) -> int:
        raise LogUnavailable("nobody answers")

    with monkeypatch.context() as patch:
        patch.setattr(world.log, "partitions", away)
        widen(world.log, world.pipeline.predict.name)
        turn(worker)
    with pytest.raises(DefinitionError, match="partition"):
        turn(worker)


def test_nothing_is_asked_per_batch(
    world: World, worker: FeaturizeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask = world.log.topic_id
    monkeypatch.setattr(world.log, "topic_id", lambda topic: [asked.append(topic), ask(topic)][1])
    turn(worker, 10 * LOOK_EVERY_MS // 100)
    assert 9 <= asked.count(world.pipeline.predict.name) <= 11


def test_a_look_beside_the_loop_holds_nobody_up_and_what_it_found_ends_the_next_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, answers = World(parcels()), threading.Event()
    topics = SourceTopics(world.pipeline, world.log, source_partitions(world.pipeline, world.log), beside)
    asked: list[str] = []

    def slow(topic: str) -> str:
        asked.append(topic)
        answers.wait(PATIENCE_S)
        return "another"

    monkeypatch.setattr(world.log, "topic_id", slow)
    for number in range(1, 4):  # while one is under way, there is no other
        topics.look_again(number * LOOK_EVERY_MS)
    assert len(asked) <= 1
    answers.set()
    assert eventually(lambda: not topics.looking)
    with pytest.raises(TopicRecreated):
        topics.look_again(3 * LOOK_EVERY_MS)


def test_a_clock_that_jumps_back_puts_no_look_off() -> None:
    world = World(parcels())
    topics = SourceTopics(world.pipeline, world.log, source_partitions(world.pipeline, world.log))
    topics.look_again(10**12)
    make_anew(world.log, SENT.name)
    topics.look_again(10**12 + 1)
    with pytest.raises(TopicRecreated):
        topics.look_again(10**11)

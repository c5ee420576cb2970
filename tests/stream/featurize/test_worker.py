"""The featurize shell under crashes, lost stores, repeats and a second worker: everything as if nothing had happened."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Sequence
from itertools import count as numbers
from typing import Any
from unittest.mock import Mock

import pytest
from river import tree

from penstock.features.redis.keys import private_prefix
from penstock.features.redis.store import MemoryServer, MemoryStateStore, StoreUnavailable, Unit
from penstock.stream import topology
from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.featurize import merge, writing
from penstock.stream.featurize import worker as featurize_worker
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.featurize.writing import Writing
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import TP, AppendFailed, CommitFailed, LogUnavailable, Out, UnknownTopic
from penstock.stream.messages import Recipe, Tick, decode_entry
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.generated import (
    DELIVERED,
    PAID,
    SENT,
    START_MS,
    card_events,
    cards,
    outs,
    parcel_events,
    parcels,
)
from tests.stream.naive_flow import NaiveFlow, everything


class Crash(Exception):
    """The process is gone: nothing catches this."""


class Fragile(MemoryLog):
    """A log that fails as told: `fail(step)` raises before or after an append, or before a commit."""

    def __init__(self) -> None:
        super().__init__()
        self.fail: Callable[[str], None] = lambda step: None

    def append(self, records: Sequence[Out]) -> None:
        self.fail("before append")
        super().append(records)
        self.fail("after append")

    def member(self, *args: Any, **named: Any) -> Any:
        member = super().member(*args, **named)
        commit = member.commit

        def fragile(positions: dict[TP, int]) -> None:
            self.fail("before commit")
            commit(positions)
            self.fail("after commit")

        member.commit = fragile
        return member


class FragileStore(MemoryStateStore):
    """A store that fails as told, between units too."""

    def __init__(self, world: World, name: str, task: str) -> None:
        super().__init__(world.server, name, task)
        self.world = world

    def save(self, units: Sequence[Unit]) -> None:
        self.world.log.fail("before save")
        for unit in units:
            super().save([unit])
            self.world.log.fail("after a unit")


class World:
    """What outlives a worker: the log and the store."""

    def __init__(self, pipeline: Pipeline, partitions: int = 2) -> None:
        self.pipeline = pipeline
        self.log = Fragile()
        self.server = MemoryServer()
        self.wall = numbers(1_000_000, 100)
        for source in pipeline.sources:
            self.log.create(source.name, partitions)
        for topic in topology.owned(pipeline.name):
            self.log.create(topic.name, topic.partitions)
        self.samples = topology.samples(pipeline.name)

    def worker(self) -> FeaturizeWorker:
        store_of = lambda task: FragileStore(self, self.pipeline.name, task)  # noqa: E731
        return FeaturizeWorker(self.pipeline, self.log, store_of, lambda: next(self.wall), instance_id="0")

    def settle(self, *workers: FeaturizeWorker) -> None:
        quiet = 0
        while quiet < 20:
            quiet = 0 if sum(worker.process_batch(0.0) for worker in workers) else quiet + 1

    def check(self, naive: NaiveFlow | None = None) -> None:
        """Everything is as the naive flow has it."""
        naive = naive or NaiveFlow(self.pipeline, self.log)
        assert naive.samples and naive.views
        assert naive.wrong_samples(self.log, self.samples) == []
        assert naive.wrong_documents(self.server.data.get) == []
        assert naive.wrong_dead_letters(self.log, topology.dead_letters(self.pipeline.name)) == set()

    def repeats(self) -> int:
        """How many samples and labels stand in the log more than once."""
        origins = [
            getattr(decode_entry(record.value or b""), "origin", None)
            for record in everything(self.log, self.samples)
        ]
        found = [origin for origin in origins if origin is not None]
        return len(found) - len(set(found))


def spoiled(records: list[Out], seed: int) -> list[Out]:
    """With broken records in between, as many again as one in ten."""
    chance = random.Random(seed)
    broken = [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        None,
        b'{"parcel": 1}',
        b'{"payment": "x", "paid_at": "never"}',
    ]
    found: list[Out] = []
    for record in records:
        if chance.random() < 0.1:
            found.append(record._replace(value=chance.choice(broken)))
        if chance.random() < 0.03 and record.value is not None:
            field = b"sent_at" if b"sent_at" in record.value else b"at"
            found.append(record._replace(value=record.value.replace(field + b'": 17', field + b'": 99')))
        found.append(record)
    return found


@pytest.fixture(params=["one task", "a task per partition"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "one task":
        made = World(parcels())
        made.log.append(spoiled(outs(parcel_events(600)), 3))
    else:
        made = World(cards(), partitions=3)
        made.log.append(spoiled(outs(card_events(900)), 3))
    return made


def test_the_flow_equals_the_naive_one_with_broken_records_in_between(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    world.check()
    naive = NaiveFlow(world.pipeline, world.log)
    assert (
        sum(sum(task.featurize.counts.dead_letters.values()) for task in worker.tasks.values())
        == len(naive.dead)
        > 50
    )
    assert world.repeats() == 0


def test_the_samples_log_opens_with_the_recipe_and_a_restart_does_not_repeat_it(world: World) -> None:
    counts = []
    for _ in range(2):
        worker = world.worker()
        world.settle(worker)
        tasks = len(worker.tasks)
        worker.close()
        entries = [decode_entry(record.value or b"") for record in everything(world.log, world.samples)]
        recipes = [entry for entry in entries if isinstance(entry, Recipe)]
        assert entries[0] == recipes[0]
        assert recipes[0].inputs == world.pipeline.vector_names
        counts.append(len(recipes))
    assert counts == [tasks, tasks], "each task says once under which recipe it writes"


STEPS = ["before append", "after append", "before save", "after a unit", "before commit", "after commit"]


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_leaves_at_worst_repeats(
    world: World, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.stream.featurize.worker.BATCH_RECORDS", 80)
    times = numbers()

    def fail(at: str) -> None:
        if at == step and next(times) % 3 == 1:
            raise Crash

    crashes = 0
    world.log.fail = fail
    while True:
        try:
            worker = world.worker()
            world.settle(worker)
            break
        except Crash:
            crashes += 1
        assert crashes < 500
    world.log.fail = lambda at: None
    world.settle(world.worker())
    assert crashes > 1
    world.check()
    assert world.repeats() > 0 or step not in ("after append", "before save")


@pytest.mark.parametrize(
    "error",
    [
        AppendFailed(1, 2, "told to"),
        LogUnavailable("told to"),
        StoreUnavailable("told to", "here", "wait"),
        CommitFailed("told to"),
    ],
)
def test_a_failed_write_is_loaded_anew_and_goes_on_in_the_same_process(
    world: World, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.stream.featurize.worker.BATCH_RECORDS", 50)
    steps = {
        AppendFailed: "after append",
        LogUnavailable: "before append",
        StoreUnavailable: "after a unit",
        CommitFailed: "before commit",
    }
    times, failures = numbers(), []
    # A batch has a unit of each task, and goes on from what was saved.
    every = 7 if isinstance(error, StoreUnavailable) else 3

    def fail(at: str) -> None:
        if at == steps[type(error)] and next(times) % every == 1:
            failures.append(at)
            raise error

    worker = world.worker()
    world.log.fail = fail
    world.settle(worker)
    assert len(failures) > 1
    world.check()


def test_a_store_that_is_away_while_the_worker_takes_up_its_tasks_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = iter([True] * 3)
    acquire = MemoryStateStore.acquire

    def fragile(store: MemoryStateStore) -> bytes | None:
        if next(away, False):
            raise StoreUnavailable("away", "here", "wait")
        return acquire(store)

    monkeypatch.setattr(MemoryStateStore, "acquire", fragile)
    world.settle(world.worker())
    world.check()


@pytest.mark.parametrize("lost_at", [0.0, 0.4, 1.0])
def test_a_lost_store_is_rebuilt_from_the_log_and_nothing_is_emitted_again(
    world: World, lost_at: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.stream.featurize.worker.BATCH_RECORDS", 100)
    worker = world.worker()
    total = sum(len(everything(world.log, source.name)) for source in world.pipeline.sources)
    stepped = 0
    while stepped < lost_at * total:
        stepped += worker.process_batch(0.0)
    world.server.flushall()
    world.settle(worker)
    world.check()
    in_hand = 2 * 100 if 0.0 < lost_at < 1.0 else 0  # a batch may be appended before its unit finds the loss
    assert world.repeats() <= in_hand


@pytest.mark.parametrize("lost_after", [1, 3, 6])
def test_a_store_lost_under_a_worker_that_keeps_nothing_in_memory_is_not_taken_for_entities_never_seen(
    world: World, lost_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state that is not there reads like an entity without events; its samples would be appended before the loss is found."""
    monkeypatch.setattr("penstock.stream.featurize.worker.BATCH_RECORDS", 50)
    monkeypatch.setattr("penstock.stream.featurize.worker.KEPT_STATES", 0)
    worker = world.worker()
    for _ in range(2 + lost_after):
        worker.process_batch(0.0)
    world.server.flushall()
    world.settle(worker)
    world.check()


def test_a_worker_that_was_overtaken_does_not_take_the_others_states_for_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It slept between its poll and its load; by then the states are those of a later position."""
    monkeypatch.setattr("penstock.stream.featurize.worker.BATCH_RECORDS", 100)
    monkeypatch.setattr("penstock.stream.featurize.worker.KEPT_STATES", 0)
    stalled = world.worker()
    for _ in range(3):
        stalled.process_batch(0.0)
    load, others = MemoryStateStore.load, []

    def sleepy(store: MemoryStateStore, keys: Sequence[str]) -> list[bytes | None]:
        if not others:
            world.log.expel(stalled.member)
            others.append(world.worker())
            monkeypatch.setattr("penstock.stream.featurize.worker.BATCH_RECORDS", 10)
            for _ in range(4):
                others[0].process_batch(0.0)
            monkeypatch.setattr("penstock.stream.featurize.worker.BATCH_RECORDS", 100)
        return load(store, keys)

    monkeypatch.setattr(MemoryStateStore, "load", sleepy)
    while not others:
        stalled.process_batch(0.0)
    stalled.close()
    world.settle(others[0])
    world.check()


def test_an_idle_worker_notices_a_lost_store_by_itself(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    world.server.flushall()
    world.settle(worker)
    world.check()


def test_a_store_restored_from_a_backup_catches_up_without_emitting_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.stream.featurize.worker.BATCH_RECORDS", 100)
    worker = world.worker()
    for _ in range(4):
        worker.process_batch(0.0)
    backup = dict(world.server.data)
    world.settle(worker)
    world.server.data.clear()
    world.server.data.update(backup)
    world.settle(worker)
    world.check()
    assert world.repeats() == 0


def test_half_a_store_is_cleared_and_rebuilt(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    worker.close()
    for key in [key for key in world.server.data if key.endswith(":generation")]:
        del world.server.data[key]
    world.settle(world.worker())
    world.check()


def test_two_workers_share_the_partitions_and_hand_over_when_one_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("penstock.stream.featurize.worker.BATCH_RECORDS", 40)
    world = World(cards(), partitions=4)
    records = outs(card_events(1_200))
    store_of = lambda task: MemoryStateStore(world.server, "cards", task)  # noqa: E731
    workers = [
        FeaturizeWorker(world.pipeline, world.log, store_of, lambda: next(world.wall), instance_id=str(n))
        for n in range(2)
    ]
    world.log.append(records[:600])
    for _ in range(6):
        for worker in workers:
            worker.process_batch(0.0)
    assert [len(worker.tasks) for worker in workers] == [2, 2]
    world.log.append(records[600:])
    for _ in range(3):
        for worker in workers:
            worker.process_batch(0.0)
    workers[0].close()
    world.settle(workers[1])
    assert len(workers[1].tasks) == 4
    world.check()


def test_one_task_over_all_partitions_has_one_owner_and_a_spare() -> None:
    world = World(parcels(), partitions=4)
    world.log.append(outs(parcel_events(200)))
    store_of = lambda task: MemoryStateStore(world.server, "parcels", task)  # noqa: E731
    workers = [
        FeaturizeWorker(world.pipeline, world.log, store_of, lambda: next(world.wall), instance_id=str(n))
        for n in range(2)
    ]
    for _ in range(6):
        for worker in workers:
            worker.process_batch(0.0)
    assert sorted(len(worker.tasks) for worker in workers) == [0, 1]
    owner = next(worker for worker in workers if worker.tasks)
    owner.close()
    world.settle(*[worker for worker in workers if worker is not owner])
    world.check()


def test_a_stalled_worker_that_wakes_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wakes with a batch in its hands, after another took over and went on."""
    monkeypatch.setattr("penstock.stream.featurize.worker.BATCH_RECORDS", 120)
    stalled, other = world.worker(), None
    stalled.process_batch(0.0)
    stalled.process_batch(0.0)

    def fail(at: str) -> None:
        nonlocal other
        if at == "before append" and other is None:
            world.log.expel(stalled.member)
            store_of = lambda task: MemoryStateStore(world.server, world.pipeline.name, task)  # noqa: E731
            other = FeaturizeWorker(
                world.pipeline, world.log, store_of, lambda: next(world.wall), instance_id="1"
            )
            world.settle(other)

    world.log.fail = fail
    for _ in range(3):
        stalled.process_batch(0.0)
    assert other is not None
    stalled.close()
    world.settle(other)
    world.check()
    assert world.repeats() > 0


def test_sources_with_unequal_partitions_are_refused() -> None:
    pipeline = parcels()
    world = World(pipeline)
    world.log.delete(DELIVERED.name)
    world.log.create(DELIVERED.name, 3)
    with pytest.raises(DefinitionError, match="equal partition counts"):
        world.worker()


def test_a_definition_that_featurizes_otherwise_is_refused_with_what_to_do() -> None:
    world = World(parcels())
    world.log.append(outs(parcel_events(20)))
    worker = world.worker()
    world.settle(worker)
    worker.close()
    world.pipeline = parcels(inputs=[])
    with pytest.raises(DefinitionError, match=r"inputs: .* → \[\]\): `penstock backfill FILE`"):
        world.settle(world.worker())


def test_a_definition_with_another_model_goes_on_and_says_its_recipe() -> None:
    world = World(parcels())
    world.log.append(outs(parcel_events(20)))
    worker = world.worker()
    world.settle(worker)
    worker.close()
    world.pipeline = dataclasses.replace(world.pipeline, model=tree.HoeffdingTreeClassifier())
    worker = world.worker()
    world.settle(worker)
    entries = [decode_entry(record.value or b"") for record in everything(world.log, world.samples)]
    last = next(entry for entry in reversed(entries) if not isinstance(entry, Tick))
    assert isinstance(last, Recipe) and last.digest == world.pipeline.digest
    assert next(iter(worker.tasks.values())).featurize.recipe == world.pipeline.digest


def test_a_recreated_source_is_refused() -> None:
    world = World(parcels())
    world.log.append(outs(parcel_events(20)))
    worker = world.worker()
    world.settle(worker)
    worker.close()
    world.log.delete(SENT.name)
    world.log.create(SENT.name, 2)
    with pytest.raises(DefinitionError, match="deleted and created again"):
        world.settle(world.worker())


def test_a_commit_that_failed_is_made_again_though_nothing_new_comes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.log.append(outs(card_events(300) if world.pipeline.name == "cards" else parcel_events(300)))
    worker = world.worker()
    tps = [(source.name, n) for source in world.pipeline.sources for n in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(worker.member, "commit", Mock(side_effect=CommitFailed("told to")))
        world.settle(worker)
        assert not any(world.log.committed(worker.group, tps).values())
    monkeypatch.setattr(writing, "COMMIT_AGAIN_MS", 5)
    world.settle(worker)
    assert world.log.committed(worker.group, tps) == {
        tp: end for tp, (_, end) in world.log.bounds(tps).items()
    }


def test_one_commit_serves_several_batches_and_the_rest_follows_when_nothing_comes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "COMMIT_EVERY_MS", 10_000)
    monkeypatch.setattr(featurize_worker, "BATCH_RECORDS", 50)
    world.log.append(outs(card_events(1_000) if world.pipeline.name == "cards" else parcel_events(1_000)))
    worker = world.worker()
    commits = []
    commit = worker.member.commit
    monkeypatch.setattr(
        worker.member, "commit", lambda positions: (commits.append(positions), commit(positions))
    )
    batches = 0
    for _ in range(100):
        batches += worker.process_batch(0.0) > 0
    assert batches > 15 and 0 < len(commits) < batches / 2
    world.settle(worker)
    tps = [(source.name, n) for source in world.pipeline.sources for n in range(2)]
    committed = world.log.committed(worker.group, tps)
    assert committed == {tp: end for tp, (_, end) in world.log.bounds(tps).items()}


def test_what_waited_for_its_commit_is_not_emitted_again_when_the_store_is_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "COMMIT_EVERY_MS", 10**9)
    monkeypatch.setattr(featurize_worker, "BATCH_RECORDS", 50)
    world.log.append(outs(card_events(1_000) if world.pipeline.name == "cards" else parcel_events(1_000)))
    worker = world.worker()
    for _ in range(20):
        worker.process_batch(0.0)
    assert worker.writing.written != worker.writing.tried
    world.server.flushall()
    world.settle(worker)
    world.check()
    assert world.repeats() <= 2 * 50, "a batch may be appended before its unit finds the loss, no more"


def test_a_silent_source_is_reported_idle_and_does_not_hold_back_the_other() -> None:
    world = World(parcels())
    world.log.append([out for out in outs(parcel_events(50)) if out.topic == SENT.name])
    worker = world.worker()
    for _ in range(100):
        worker.process_batch(0.0)
    ticks = [
        e
        for r in everything(world.log, world.samples)
        for e in [decode_entry(r.value or b"")]
        if hasattr(e, "idle")
    ]
    assert {f"{DELIVERED.name}/0", f"{DELIVERED.name}/1"} <= set(ticks[-1].idle)
    world.check()


def test_a_source_far_ahead_in_event_time_is_paused_and_nothing_of_it_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(merge, "MOST_BUFFERED", 2_000)
    pipeline = parcels()
    flow = MemoryFlow(pipeline, partitions=1)
    sent = [(SENT.name, {"parcel": f"p{n}", "sent_at": START_MS + n * 60_000}) for n in range(8_000)]
    done = [
        (DELIVERED.name, {"parcel": f"p{n}", "done_at": START_MS + n * 600, "late": 1.0})
        for n in range(16_000)
    ]
    common = {"van": "v", "depot": "d", "street": "s", "weight": 1.0}
    flow.feed([Out(topic, b"v", json.dumps({**common, **fields}).encode()) for topic, fields in sent + done])
    most = stepped = 0
    for _ in range(60):
        stepped += flow.featurize.process_batch(0.0)
        (task,) = flow.featurize.tasks.values()
        most = max(most, len(task.merge))
    assert stepped == 24_000, "every record of both sources"
    assert most <= 2_000 + 2 * featurize_worker.BATCH_RECORDS


@pytest.mark.parametrize(
    "missing", [lambda name: f"{name}.dead-letters", lambda name: topology.CONTROL_ALERTS]
)
def test_a_topic_that_is_missing_is_told_at_the_start_and_not_by_its_first_record(
    missing: Callable[[str], str],
) -> None:
    pipeline, log = cards(), MemoryLog()
    gone = missing(pipeline.name)
    for source in pipeline.sources:
        log.create(source.name, 1)
    for topic in topology.owned(pipeline.name):
        if topic.name != gone:
            log.create(topic.name, topic.partitions)
    with pytest.raises(UnknownTopic, match=gone):
        FeaturizeWorker(
            pipeline, log, lambda task: MemoryStateStore(MemoryServer(), "cards", task), lambda: 0
        )


def test_a_commit_that_failed_is_made_at_the_next_start_though_nothing_new_comes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.log.append(outs(card_events(300) if world.pipeline.name == "cards" else parcel_events(300)))
    first = world.worker()
    with monkeypatch.context() as patch:
        patch.setattr(Writing, "commit", lambda self, wall_ms: self.written.clear())
        world.settle(first)
    tps = [(source.name, n) for source in world.pipeline.sources for n in range(2)]
    assert not any(world.log.committed(first.group, tps).values()), "saved, and not committed"
    world.settle(world.worker())
    assert world.log.committed(first.group, tps) == {
        tp: end for tp, (_, end) in world.log.bounds(tps).items()
    }


def test_such_a_commit_is_made_too_where_another_task_is_rebuilt_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(cards())
    world.log.append(outs(card_events(300)))
    told, kept = (PAID.name, 0), (PAID.name, 1)
    first, commit = world.worker(), Writing.commit

    def but_one(self: Writing, wall_ms: int) -> None:
        self.written.pop(kept, None)
        commit(self, wall_ms)

    with monkeypatch.context() as patch:
        patch.setattr(Writing, "commit", but_one)
        world.settle(first)
    assert world.log.committed(first.group, [told, kept]).keys() == {told}
    for key in [key for key in world.server.data if key.startswith(private_prefix("cards", "0:"))]:
        del world.server.data[key]
    world.settle(world.worker())
    assert world.log.committed(first.group, [kept]) == {kept: world.log.bounds([kept])[kept][1]}

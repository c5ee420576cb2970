"""One order of event time for every task of a worker, and a samples log that says the same however fast history is read."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import count as numbers
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.features.redis.store import MemoryServer, MemoryStateStore
from penstock.stream import topology
from penstock.stream.definitions import Label, Pipeline
from penstock.stream.featurize import merge
from penstock.stream.featurize import worker as featurize_worker
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.label_rule import LabelRule
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.join_by_id import JoinById
from penstock.stream.learn.learner import at_once, training
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Entry, LabelRecord, Sample, Tick, decode_entry
from penstock.stream.models.digest import digest
from penstock.stream.operate.training_set import Span, rows
from penstock.stream.recipes import RecipeHistory
from tests.effort import examples
from tests.stream.generated import (
    DELIVERED,
    PAID,
    START_MS,
    card_events,
    cards,
    outs,
    parcel_events,
    parcels,
)
from tests.stream.naive_flow import NaiveFlow, everything


def some_labels(name: str) -> tuple[Pipeline, list[Out]]:
    """A pipeline whose samples without a label within `wait` take a default, and its events."""
    if name == "one task":
        label = Label(DELIVERED, lambda e: e["late"] > 15, wait="1h", fields=("late",), absent=False)
        return parcels(label=label), outs(parcel_events(400))
    label = Label(PAID, lambda e: True if e["fraud"] else None, wait="30m", fields=("fraud",), absent=False)
    return cards(label=label), outs(card_events(700))


class World:
    """A log and a store, and workers over them whose wall clock goes `step_ms` at every look."""

    def __init__(self, pipeline: Pipeline, partitions: int, step_ms: int = 100) -> None:
        self.pipeline, self.partitions = pipeline, partitions
        self.log, self.server = MemoryLog(), MemoryServer()
        self.wall = numbers(1_000_000, step_ms)
        for source in pipeline.sources:
            self.log.create(source.name, partitions)
        for topic in topology.owned(pipeline.name):
            self.log.create(topic.name, topic.partitions)
        self.samples = topology.samples(pipeline.name)

    def worker(self, instance: str = "0") -> FeaturizeWorker:
        store_of = lambda task: MemoryStateStore(self.server, self.pipeline.name, task)  # noqa: E731
        return FeaturizeWorker(
            self.pipeline, self.log, store_of, lambda: next(self.wall), instance_id=instance
        )

    def settle(self, *workers: FeaturizeWorker) -> None:
        quiet = 0
        while quiet < 20:
            quiet = 0 if sum(worker.process_batch(0.0) for worker in workers) else quiet + 1

    def entries(self) -> list[Entry]:
        return [decode_entry(record.value or b"") for record in everything(self.log, self.samples)]

    def ticks(self) -> list[Tick]:
        return [entry for entry in self.entries() if isinstance(entry, Tick)]

    def order(self) -> list[int]:
        return [entry.at for entry in self.entries() if isinstance(entry, Sample | LabelRecord)]


def in_burst(pipeline: Pipeline, records: Sequence[Out], partitions: int = 3) -> World:
    """All of history is there when the worker starts."""
    world = World(pipeline, partitions)
    world.log.append(records)
    world.settle(world.worker())
    return world


def learned(world: World) -> dict[str, Any]:
    """What a fold, a retrain and a training set make of the samples log."""
    fold, log = Fold(world.pipeline, guard=False), list(enumerate(world.entries()))
    fold.trace = []
    for position, entry in log:
        fold.step(position, entry)
    history = RecipeHistory(world.pipeline.digest, world.pipeline.vector_names)
    made = at_once(training(world.pipeline.model.clone(), history, world.pipeline, log, learn_from=0))
    rule = world.pipeline.label_rule
    return {
        "model": digest([one.model for one in fold.experts.models]),
        "counts": replace(fold.counts, repeats=0),
        "joined": [(at, y, p) for at, y, p, _, _ in fold.trace],
        "predictions": [(made.id, made.p) for made in fold.outputs.predictions],
        "waiting": list(fold.pending),
        "retrained": (digest(made.model), made.labels),
        "set": [(row.event_id, row.label, row.label_at) for row in rows(log, Span(), lambda recipe: rule)],
    }


@pytest.mark.parametrize("kind", ["one task", "a task per partition"])
def test_a_default_label_comes_where_its_time_has_passed_not_where_the_reader_is(kind: str) -> None:
    """The same history at once, and as it came: the burst learned no default before its end."""
    pipeline, records = some_labels(kind)
    slow = World(pipeline, 3)
    worker = slow.worker()
    for n in range(0, len(records), 7):
        slow.log.append(records[n : n + 7])
        worker.process_batch(0.0)
        worker.process_batch(0.0)
    slow.settle(worker)
    burst = in_burst(pipeline, records)
    assert learned(slow) == learned(burst)
    fold_counts = learned(burst)["counts"]
    assert fold_counts.learned - fold_counts.labels > 30, "defaults"


@settings(max_examples=examples(25), deadline=None)
@given(
    st.sampled_from(["one task", "a task per partition"]),
    st.integers(1, 5),
    st.integers(1, 400),
    st.sampled_from([0, 1, 300, 7_000]),
    st.lists(st.integers(0, 1_200), max_size=4),
    st.integers(0, 30),
)
def test_any_pace_any_batch_and_any_restart_give_one_samples_log_and_one_model(
    kind: str, partitions: int, batch: int, step_ms: int, cuts: list[int], turns: int
) -> None:
    pipeline, records = some_labels(kind)
    records = records[:500]
    wanted = in_burst(pipeline, records, partitions)
    with patch.object(featurize_worker, "BATCH_RECORDS", batch):
        world = World(pipeline, partitions, step_ms)
        for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), len(records)], strict=True):
            world.log.append(records[start:stop])
            worker = world.worker()
            for _ in range(turns):
                worker.process_batch(0.0)
            world.settle(worker)
            worker.close()
    data = [entry for entry in world.entries() if isinstance(entry, Sample | LabelRecord)]
    one = {world.log.topic_id(source.name): source.name for source in pipeline.sources}
    other = {wanted.log.topic_id(source.name): source.name for source in pipeline.sources}

    def place(entry: Any, names: dict[str, str]) -> tuple[Any, ...]:
        origin = entry.origin
        return names[origin.topic_id], origin.partition, origin.offset, origin.sub, entry.id, entry.at

    again = [entry for entry in wanted.entries() if isinstance(entry, Sample | LabelRecord)]
    assert [place(entry, one) for entry in data] == [place(entry, other) for entry in again]
    assert learned(world) == learned(wanted)


@settings(max_examples=examples(25), deadline=None)
@given(st.integers(1, 9), st.integers(1, 300), st.integers(0, 5), st.integers(1, 60))
def test_one_workers_samples_stand_in_event_time_order_over_all_its_partitions(
    partitions: int, batch: int, seed: int, keys: int
) -> None:
    """The skew is none: what a backlog holds comes in the order in which it happened."""
    world = World(cards(), partitions)
    world.log.append(outs(card_events(600, seed=seed, cards=keys)))
    with patch.object(featurize_worker, "BATCH_RECORDS", batch):
        world.settle(world.worker())
    order = world.order()
    assert len(order) == 1_200 and order == sorted(order)


@pytest.mark.long
def test_a_partition_far_ahead_waits_in_bounded_memory_and_one_at_its_end_holds_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(merge, "MOST_BUFFERED", 300)
    monkeypatch.setattr(featurize_worker, "BATCH_RECORDS", 40)
    world = World(cards(), 4)
    chance = random.Random(5)
    # Its own card a partition: one dense at the start, one at the end, one even, and one that ends at once.
    keys = ["dense", "late", "even", "short"]
    places = {key: topology_partition(key) for key in keys}
    times = {
        "dense": sorted(chance.sample(range(200_000), 1_500)),
        "late": sorted(chance.sample(range(900_000, 1_000_000), 1_500)),
        "even": sorted(chance.sample(range(1_000_000), 1_500)),
        "short": [0, 1, 2],
    }
    for key, ats in times.items():
        event = {"card": key, "amount": 2.0, "fraud": False}
        made = [{**event, "payment": f"{key}{n}", "paid_at": START_MS + at} for n, at in enumerate(ats)]
        world.log.append([Out(PAID.name, b"", json.dumps(one).encode(), (), places[key]) for one in made])
    worker, most = world.worker(), 0
    for _ in range(600):
        worker.process_batch(0.0)
        most = max(most, *(len(task.merge) for task in worker.tasks.values()))
    order = world.order()
    assert len(order) == 2 * 4_503 and order == sorted(order)
    assert most < 4 * (300 + 2 * 40)
    assert NaiveFlow(world.pipeline, world.log).wrong_samples(world.log, world.samples) == []


def topology_partition(key: str) -> int:
    return ["dense", "late", "even", "short"].index(key)


def fold_clock(world: World) -> int:
    join = JoinById[Any](LabelRule(0))
    for tick in world.ticks():
        join.tick(tick)
    return join.clock


def test_a_worker_that_restarts_after_its_last_event_tells_where_it_stands_and_that_it_is_idle() -> None:
    """Otherwise its partitions hold the clock of the fold for ever."""
    world = World(cards(), 2)
    world.log.append(outs(card_events(50)))
    world.settle(world.worker())
    reached, before = fold_clock(world), len(world.ticks())
    worker = world.worker()
    for _ in range(100):
        worker.process_batch(0.0)
    told = world.ticks()[before:]
    assert told and set(told[-1].times) == {f"{PAID.name}/0", f"{PAID.name}/1"}
    assert 0 < min(told[-1].times.values()) <= fold_clock(world) == reached
    assert sorted(told[-1].idle) == [f"{PAID.name}/0", f"{PAID.name}/1"] and told[-1].of == 2


def test_a_partition_whose_worker_restarted_and_has_no_more_events_does_not_hold_the_others_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline, _ = some_labels("a task per partition")
    world = World(pipeline, 2)
    workers = [world.worker(str(n)) for n in range(2)]
    event = {"card": "c", "amount": 1.0, "fraud": False}

    def pay(partition: int, minute: int) -> None:
        paid = {**event, "payment": f"{partition}-{minute}", "paid_at": START_MS + minute * 60_000}
        world.log.append([Out(PAID.name, b"", json.dumps(paid).encode(), (), partition)])

    for partition in (0, 1):
        pay(partition, 0)
    world.settle(*workers)
    quiet = next(worker for worker in workers if "1" in worker.tasks)
    workers[workers.index(quiet)] = world.worker(quiet.member.instance_id)
    for minute in range(1, 200):
        pay(0, minute)
        for worker in workers:
            worker.process_batch(0.0)
    world.settle(*workers)
    fold = Fold(pipeline)
    for position, entry in enumerate(world.entries()):
        fold.step(position, entry)
    assert fold.join.clock >= START_MS + 190 * 60_000
    assert len(fold.pending) < 40


def test_a_task_whose_state_is_rebuilt_does_not_hold_the_others_and_joins_them_again() -> None:
    world = World(cards(), 2)
    records = outs(card_events(900))
    world.log.append(records[:600])
    worker = world.worker()
    world.settle(worker)
    for key in [key for key in world.server.data if ":1:" in key or key.endswith(":1")]:
        del world.server.data[key]
    world.log.append(records[600:])
    world.settle(worker)
    naive = NaiveFlow(world.pipeline, world.log)
    assert naive.wrong_samples(world.log, world.samples) == []
    assert worker.together.tasks == list(worker.tasks.values())

"""Workers that share partitions and catch up at different speeds: they keep abreast in event time, and nobody waits for ever."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.features.redis.keyspace import MemoryKeyspace
from penstock.features.redis.store import MemoryServer, MemoryStateStore, StoreUnavailable
from penstock.stream import topology
from penstock.stream.featurize import worker as featurize_worker
from penstock.stream.featurize.abreast import GONE_MS, STUCK_MS, Abreast, Said, encode, skew_of
from penstock.stream.featurize.pace import ALL
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import LabelRecord, Sample, decode_entry
from tests.effort import examples, first_here
from tests.stream.generated import PAID, START_MS, cards
from tests.stream.naive_flow import NaiveFlow, everything

HOUR = 3_600_000
SKEW_MS = 6 * 60_000  # a tenth of an hour, which is how long labels of `cards` may take


@dataclass
class World:
    """History in so many partitions, and workers whose turns the test gives; a turn takes 10 ms of the wall clock."""

    partitions: int
    skew_ms: int | None = None

    def __post_init__(self) -> None:
        self.pipeline, self.log, self.server = cards(), MemoryLog(), MemoryServer()
        self.log.create(PAID.name, self.partitions)
        for topic in topology.owned(self.pipeline.name):
            self.log.create(topic.name, topic.partitions)
        self.now_ms = 1_700_000_000_000 * 2  # all of it is history
        self.workers: list[FeaturizeWorker] = []
        self.keyspace = MemoryKeyspace(self.server)

    def worker(self) -> FeaturizeWorker:
        store_of = lambda task: MemoryStateStore(self.server, self.pipeline.name, task)  # noqa: E731
        made = FeaturizeWorker(
            self.pipeline, self.log, store_of, lambda: self.now_ms, instance_id=str(len(self.workers)),
            keyspace=self.keyspace, skew_ms=self.skew_ms,
        )  # fmt: skip
        self.workers.append(made)
        return made

    def joined(self, number: int) -> World:
        """So many workers, all of which have their partitions and have read nothing."""
        for _ in range(number):
            self.worker()
        while any(not one.assigned for one in self.workers):
            for one in self.workers:
                self.turn(one)
        return self

    def produce(self, at_of: Sequence[Sequence[int]]) -> None:
        """Events at these minutes, partition by partition, each with its label."""
        for partition, minutes in enumerate(at_of):
            self.log.append(
                [
                    Out(PAID.name, b"c", json.dumps(event).encode(), (), partition)
                    for number, minute in enumerate(minutes)
                    for event in [
                        {
                            "payment": f"{partition}-{number}", "paid_at": START_MS + minute * 60_000,
                            "card": f"c{partition}", "amount": 1.0 + number % 7, "fraud": number % 3 == 0,
                        }
                    ]
                ]
            )  # fmt: skip

    def turn(self, worker: FeaturizeWorker) -> int:
        self.now_ms += 10
        return worker.process_batch(0.0)

    def settle(self, *workers: FeaturizeWorker) -> None:
        quiet = 0
        while quiet < 2 * (GONE_MS + STUCK_MS) // 10:
            quiet = 0 if sum(self.turn(one) for one in workers or self.workers) else quiet + 1

    def stepped(self) -> int:
        """How many events the workers have stepped."""
        return sum(task.featurize.counts.items for one in self.workers for task in one.tasks.values())

    def times(self) -> list[int]:
        entries = [
            decode_entry(record.value or b"")
            for record in everything(self.log, topology.samples(self.pipeline.name))
        ]
        return [one.at for one in entries if isinstance(one, Sample | LabelRecord)]


def worst_disorder(times: Sequence[int]) -> int:
    """How far any entry stands behind one that is newer, in ms."""
    return max(max(times[:n]) - at for n, at in enumerate(times) if n)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(featurize_worker, "BATCH_RECORDS", 5)


def history(partitions: int, number: int, seed: int = 1) -> list[list[int]]:
    chance = random.Random(seed)
    return [sorted(chance.randrange(number) for _ in range(number)) for _ in range(partitions)]


@pytest.mark.parametrize("workers", first_here([2, 3]))
def test_one_that_is_slow_holds_the_others_to_the_skew(workers: int) -> None:
    def disorder(skew_ms: int | None) -> int:
        world = World(4, skew_ms)
        world.produce(history(4, 400))
        world.joined(workers)
        slow, *fast = world.workers
        for turn in range(4_000):
            for one in fast:
                world.turn(one)
            if turn % 8 == 0:
                world.turn(slow)
        world.settle()
        naive = NaiveFlow(world.pipeline, world.log)
        assert naive.wrong_samples(world.log, topology.samples(world.pipeline.name)) == []
        return worst_disorder(world.times())

    assert disorder(None) <= SKEW_MS < HOUR < disorder(0)


def test_gaps_that_all_have_hold_nobody_up() -> None:
    world = World(2)
    # every partition pauses for a day again and again, far longer than the skew
    world.produce([[day * 1_440 + n * 7 + p for day in range(30) for n in range(5)] for p in range(2)])
    world.joined(2)
    began_ms = world.now_ms
    while world.stepped() < 2 * 150:
        for one in world.workers:
            world.turn(one)
        assert world.now_ms - began_ms < GONE_MS, "they wait for each other"
    assert worst_disorder(world.times()) <= SKEW_MS


courses = st.lists(st.lists(st.integers(0, 3_000), max_size=30).map(sorted), min_size=2, max_size=4)


@settings(max_examples=examples(30), deadline=None)
@given(courses, st.integers(2, 4), st.data())
def test_all_is_stepped_and_in_order_whatever_the_speeds(
    at_of: list[list[int]], workers: int, data: st.DataObject
) -> None:
    """Every worker gets turns until all is stepped, some rarely. All that was produced comes out, and no further apart."""
    workers = min(workers, len(at_of))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(featurize_worker, "BATCH_RECORDS", 5)
        world = World(len(at_of))
        world.produce(at_of)
        world.joined(workers)
        every = data.draw(st.lists(st.integers(1, 12), min_size=workers, max_size=workers))
        produced, turn = sum(map(len, at_of)), 0
        while world.stepped() < produced:
            turn += 1
            assert turn < 24 * produced + 500, "they wait for each other"
            for one, rarely in zip(world.workers, every, strict=True):
                if turn % rarely == 0:
                    world.turn(one)
        times = world.times()
    assert len(times) == 2 * produced
    assert not times or worst_disorder([*times, times[-1]]) <= SKEW_MS


@settings(max_examples=examples(30), deadline=None)
@given(courses, st.integers(0, 40), st.booleans())
def test_nobody_waits_for_ever_for_one_that_is_gone_or_stuck(
    at_of: list[list[int]], turns: int, closes: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(featurize_worker, "BATCH_RECORDS", 5)
        world = World(len(at_of))
        world.produce(at_of)
        gone, stays = world.joined(2).workers
        for _ in range(turns):
            world.turn(gone)
            world.turn(stays)
        if closes:
            gone.watermark.close()  # and then nothing more: as where the broker has not noticed yet
        own = {int(name) for name in stays.tasks}
        produced = sum(len(times) for partition, times in enumerate(at_of) if partition in own)
        began_ms = world.now_ms
        while sum(task.featurize.counts.items for task in stays.tasks.values()) < produced:
            world.turn(stays)
            waited_ms = world.now_ms - began_ms
            assert waited_ms <= (0 if closes else GONE_MS) + 200 + 20 * produced, "it waits for ever"


NOW_MS = 10**12


def said(at: int, *, more: bool = True, number: int = 1, stepped: int = 0) -> bytes:
    return encode(Said(number, at, more, stepped))


def hearing(at: int, **more: object) -> Abreast:
    one = Abreast(1_000)
    one.start(["1"], {}, NOW_MS)
    one.hear({"1": said(at, **more)}, NOW_MS)  # type: ignore[arg-type]
    return one


def test_one_at_its_end_is_not_waited_for() -> None:
    assert hearing(5_000).limit(9_000, NOW_MS) == 6_000
    one = hearing(5_000)
    one.limit(9_000, NOW_MS)
    one.hear({"1": said(5_000, more=False, number=2)}, NOW_MS + 900)
    assert one.limit(9_000, NOW_MS + 900) == ALL


def test_one_at_its_end_is_asked_again_where_history_begins_to_come() -> None:
    one = hearing(5_000, more=False)
    assert one.limit(9_000, NOW_MS) == 6_000
    assert one.limit(9_000, NOW_MS + 400) == one.limit(9_000, NOW_MS + 600) == 6_000
    one.hear({"1": said(5_000, more=False, number=2)}, NOW_MS + 700)
    assert one.limit(9_000, NOW_MS + 700) == one.limit(9_000, NOW_MS + 1_500) == ALL
    assert one.limit(9_000, NOW_MS + 9_000) == 6_000, "after a moment of nothing"
    assert one.limit(9_000, NOW_MS + 701 + GONE_MS) == ALL


def test_live_events_are_held_back_by_nobody() -> None:
    one = hearing(5_000)
    assert one.limit(NOW_MS - 1_001, NOW_MS) == 6_000
    assert one.limit(NOW_MS - 1_000, NOW_MS) == one.limit(NOW_MS + 5_000, NOW_MS) == ALL


def test_what_was_said_before_is_not_believed_until_it_changes() -> None:
    one = Abreast(1_000)
    old = said(10**9, more=False)
    one.start(["1"], {"1": old}, 10**12)
    one.hear({"1": old}, 10**12 + 50)
    assert one.limit(9_000, 10**12 + 50) < 9_000
    one.hear({"1": said(8_500, number=2)}, 10**12 + 100)
    assert one.limit(9_000, 10**12 + 100) == 9_500


def test_one_that_has_more_and_does_not_move_is_waited_for_a_while_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    one, start_ms = Abreast(1_000), 10**12
    one.start(["7", "8"], {}, start_ms)
    held = []
    for tick in range(1, (STUCK_MS + 20_000) // 100):
        now_ms = start_ms + tick * 100
        one.hear({"7": said(5_000, number=tick), "8": said(90_000, number=tick, stepped=tick)}, now_ms)
        held.append(one.limit(60_000, now_ms) == 6_000)
    runs = [(kept, len(list(run))) for kept, run in groupby(held)]
    assert runs == [(True, STUCK_MS // 100), (False, len(held) - STUCK_MS // 100)]
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "55 s of event time ahead of partition 7, which another worker reads: waiting for it, 10 s so far",
        "55 s of event time ahead of partition 7, which another worker reads: waiting for it, 20 s so far",
        "partition 7, which another worker reads, has not moved for 30 s: it is not waited for until it does",
    ]
    one.hear({"7": said(6_000, number=10_000, stepped=1)}, start_ms + STUCK_MS + 20_000)
    assert one.limit(60_000, start_ms + STUCK_MS + 20_000) == 7_000


def test_a_worker_with_every_partition_speaks_once_and_waits_for_nobody() -> None:
    world = World(2)
    world.produce(history(2, 30))
    world.joined(1)
    ((_, fields),) = world.server.hashes.items()
    before = dict(fields)
    world.settle()
    assert fields == before and {*fields} == {"0", "1"} and len(world.times()) == 2 * 60


def test_a_store_that_does_not_answer_holds_nobody_up_and_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object) -> dict[str, bytes]:
        raise StoreUnavailable("away", "here", "wait")

    caplog.set_level(logging.WARNING)
    world = World(2)
    world.produce(history(2, 60))
    monkeypatch.setattr(world.keyspace, "exchange", away)
    world.joined(2)
    world.settle()
    assert len(world.times()) == 2 * 120
    assert sum("do not hear of each other" in one.getMessage() for one in caplog.records) == 2, (
        "each worker once"
    )


def test_the_skew_is_a_tenth_of_the_wait_and_at_least_a_second() -> None:
    assert skew_of(36 * HOUR) == 3.6 * HOUR and skew_of(0) == 1_000

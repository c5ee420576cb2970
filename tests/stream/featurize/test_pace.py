"""A year published in seconds, its partitions flushed unevenly: labels do not expire, and nobody waits for long."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.features.redis.store import MemoryServer, MemoryStateStore
from penstock.stream import topology
from penstock.stream.featurize.pace import ALL, Pace
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.learn.fold import Fold
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import LabelRecord, Sample, decode_entry
from tests.effort import examples
from tests.stream.generated import DELIVERED, SENT, START_MS, parcels
from tests.stream.naive_flow import NaiveFlow, everything

HOUR = 3_600_000
COMMON = {"van": "v", "depot": "d", "street": "s", "weight": 1.0}


class Published:
    """Parcels sent every 10 minutes and delivered an hour later, ten days in four seconds; deliveries are flushed late."""

    def __init__(self, patience_ms: int, late_ms: int, turn_ms: int = 20) -> None:
        self.pipeline, self.log, self.server = parcels(), MemoryLog(), MemoryServer()
        for source in self.pipeline.sources:
            self.log.create(source.name, 1)
        for topic in topology.owned(self.pipeline.name):
            self.log.create(topic.name, topic.partitions)
        self.now_ms, self.turn_ms, self.late_ms = 1_000_000, turn_ms, late_ms
        store_of = lambda task: MemoryStateStore(self.server, self.pipeline.name, task)  # noqa: E731
        self.worker = FeaturizeWorker(
            self.pipeline, self.log, store_of, lambda: self.now_ms, patience_ms=patience_ms
        )
        self.samples = topology.samples(self.pipeline.name)

    def publish(self, hours: int = 240, hour_ms: int = 16) -> None:
        due: list[tuple[int, str, list[Out]]] = []
        for hour in range(hours):
            at, wall_ms = START_MS + hour * HOUR, self.now_ms + hour * hour_ms
            sent = [{**COMMON, "parcel": f"{hour}-{n}", "sent_at": at + n * HOUR // 6 + 1} for n in range(6)]
            done = [
                {**COMMON, "parcel": f"{hour - 1}-{n}", "done_at": at + n * HOUR // 6 + 2, "late": n * 5.0}
                for n in range(6)
            ]
            due.append((wall_ms, SENT.name, [out(SENT.name, one) for one in sent]))
            if hour:
                late_ms = self.late_ms * (hour % 20 == 7)  # now and then
                due.append((wall_ms + late_ms, DELIVERED.name, [out(DELIVERED.name, one) for one in done]))
        waiting: dict[str, list[tuple[int, list[Out]]]] = {SENT.name: [], DELIVERED.name: []}
        for wall_ms, topic, outs in due:
            held = waiting[topic]
            held.append((max(wall_ms, held[-1][0] if held else 0), outs))
        while any(waiting.values()):
            for held in waiting.values():
                while held and held[0][0] <= self.now_ms:
                    self.log.append(held.pop(0)[1])
            self.turn()

    def turn(self) -> int:
        self.now_ms += self.turn_ms
        return self.worker.process_batch(0.0)

    def settle(self) -> None:
        for _ in range(100):
            self.turn()

    def expired(self) -> int:
        fold = Fold(self.pipeline)
        for position, record in enumerate(everything(self.log, self.samples)):
            fold.step(position, decode_entry(record.value or b""))
        return fold.counts.expired

    def order(self) -> list[int]:
        entries = [decode_entry(record.value or b"") for record in everything(self.log, self.samples)]
        return [entry.at for entry in entries if isinstance(entry, Sample | LabelRecord)]


def out(topic: str, event: dict[str, object]) -> Out:
    return Out(topic, b"v", json.dumps(event).encode())


@pytest.mark.long
def test_a_partition_flushed_late_costs_labels_where_nobody_waits_and_none_where_it_is_waited_for() -> None:
    """300 ms are 18 hours of these events, and a label may take 6."""
    found = {}
    for patience_ms in (0, 500):
        world = Published(patience_ms, late_ms=300)
        world.publish()
        world.settle()
        naive = NaiveFlow(world.pipeline, world.log)
        assert naive.wrong_documents(world.server.data.get) == []
        assert len(world.order()) == 240 * 6 + 239 * 6
        found[patience_ms] = world.expired(), world.order() == sorted(world.order())
    assert found[0][0] > 50 and not found[0][1]
    # The last hour's parcels are delivered after the end.
    assert found[500] == (0, True)


def test_a_partition_that_has_ended_is_waited_for_once_and_for_the_patience_only() -> None:
    world = Published(500, late_ms=0)
    world.publish(hours=20)
    world.settle()
    before = len(world.order())
    ahead = [{**COMMON, "parcel": f"x{n}", "sent_at": START_MS + (30 + n) * HOUR} for n in range(40)]
    world.log.append([out(SENT.name, one) for one in ahead])
    assert sum(world.turn() for _ in range(3)) == 40, "it had brought nothing for long"
    assert len(world.order()) == before + 40


@settings(max_examples=examples(50), deadline=None)
@given(
    st.lists(st.integers(1, 3_000), min_size=30, max_size=60), st.integers(0, 120_000), st.integers(0, 900)
)
def test_live_events_wait_for_nobody(gaps_ms: list[int], disorder_ms: int, quiet_ms: int) -> None:
    """As soon as a second has shown that event time goes as fast as the clock, whatever comes out of order."""
    pace, now = Pace(500, 1_000), 5_000_000
    for number, gap_ms in enumerate(gaps_ms):
        now += gap_ms
        limit = pace.limit(now, [(now - disorder_ms, now - quiet_ms)], now)
        if sum(gaps_ms[1 : number + 1]) >= 4_000:
            assert limit == ALL


@settings(max_examples=examples(50), deadline=None)
@given(st.integers(0, 10**9), st.integers(-1, 10**9), st.integers(1, 10_000), st.integers(1, 10**7))
def test_what_is_within_the_skew_never_waits_and_nothing_waits_longer_than_the_patience(
    newest_at: int, reached: int, patience_ms: int, skew_ms: int
) -> None:
    pace = Pace(patience_ms, skew_ms)
    assert pace.limit(newest_at, [(reached, 1_000)], 1_000) == reached + skew_ms
    assert pace.limit(newest_at, [(reached, 1_000)], 1_000 + patience_ms) == ALL
    assert Pace(0, skew_ms).limit(newest_at, [(reached, 1_000)], 1_000) == ALL


@pytest.mark.parametrize("late_ms", [100, 400])
def test_whatever_the_lateness_up_to_the_patience_the_log_is_in_order(late_ms: int) -> None:
    world = Published(500, late_ms)
    world.publish(hours=100)
    world.settle()
    assert all(one <= other for one, other in pairwise(world.order()))

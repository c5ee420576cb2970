"""What featurize counts for its health page, against a naive count; and how few writes a hot key costs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import count as numbers
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from penstock.features.redis.store import MemoryServer, MemoryStateStore, StateStore, Unit
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize import worker as featurize_worker
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.process.latency import BUCKETS_S, BatchHistogram
from penstock.stream.roles.metrics import FeaturizeReport, Health
from tests.stream.generated import DAY, DELIVERED, PAID, SENT, START_MS, cards, outs, parcel_events, parcels


class CountingStore(MemoryStateStore):
    """Notes the states of every unit it is given."""

    def __init__(self, place: Place, name: str, task: str) -> None:
        super().__init__(place.server, name, task)
        self.place = place

    def save(self, units: Sequence[Unit]) -> None:
        self.place.saves += 1
        self.place.writes += [len(unit.writes) for unit in units]
        super().save(units)


class Place:
    """A log whose records are stamped 1 s apart, a store that counts, and a health page."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.server, self.health = pipeline, MemoryServer(), Health("featurize")
        stamps = numbers(START_MS // 1000 + 10**6)
        self.log = MemoryLog(clock=lambda: float(next(stamps)))
        self.saves, self.writes = 0, list[int]()
        self.wall_ms = START_MS + 10**12
        for source in pipeline.sources:
            self.log.create(source.name, 1)
        for topic in topology.owned(pipeline.name):
            self.log.create(topic.name, topic.partitions)

    def store(self, task: str) -> StateStore:
        return CountingStore(self, self.pipeline.name, task)

    def worker(self) -> FeaturizeWorker:
        report = FeaturizeReport(self.health)
        report.look_s = float("-inf")
        return FeaturizeWorker(
            self.pipeline, self.log, self.store, lambda: self.wall_ms, instance_id="0", health=report
        )

    def settle(self, worker: FeaturizeWorker) -> None:
        quiet = 0
        while quiet < 10:
            quiet = 0 if worker.process_batch(0.0) else quiet + 1
        assert isinstance(worker.health, FeaturizeReport)
        worker.health._look(worker)  # otherwise once a second

    def value(self, name: str, **labels: str) -> float:
        found = self.health.registry.get_sample_value(name, labels)
        assert found is not None, name
        return found


def some_without_depot(number: int) -> list[tuple[str, str, dict[str, Any]]]:
    events = list(parcel_events(number, depots=9))
    for n, (_, _, event) in enumerate(events):
        if n % 7 == 0:
            event["depot"] = None
    return events


def test_entities_and_defaults_are_those_of_a_naive_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a memory that forgets after every batch, and a second worker that takes over in the middle."""
    monkeypatch.setattr(featurize_worker, "BATCH_RECORDS", 16)
    monkeypatch.setattr(featurize_worker, "KEPT_STATES", 3)
    events, place = some_without_depot(400), Place(parcels())
    known: dict[str, set[Any]] = {"depot": set(), "street": set(), "traffic": set()}
    reads: Counter[str] = Counter()
    for topic, _, event in events:
        depot, street = event["depot"], (event["depot"], event["street"])
        if topic == SENT.name:
            for view, entity in (("depot", depot), ("street", street)):
                reads[view] += 2 * (entity not in known[view])
            reads["traffic"] += 2 * (depot is None)
            known["traffic"] |= {depot} - {None}
        elif depot is not None:
            known["depot"].add(depot)
            known["street"].add(street)
    worker = place.worker()
    for part in (events[:350], events[350:]):
        place.log.append(outs(part))
        place.settle(worker)
        featurize = worker.tasks["all"].featurize
        assert all(
            unseen <= set(kept) for unseen, kept in zip(featurize.unseen, featurize.states, strict=True)
        )
        worker.close()
        worker = place.worker()
    for view, entities in known.items():
        assert place.value("penstock_entities_first_seen_total", view=view) == len(entities) > 5
        assert place.value("penstock_defaults_served_total", view=view) == reads[view] > 20


def test_late_records_are_counted_by_source_and_other_dead_letters_are_not() -> None:
    place = Place(parcels())
    base = {"van": "v", "depot": "d", "street": "s"}
    times = [START_MS, START_MS - DAY - 1, START_MS - DAY, START_MS - 2 * DAY, START_MS]
    sent = [{**base, "parcel": f"p{n}", "sent_at": at, "weight": 1.0} for n, at in enumerate(times)]
    done = [{**base, "parcel": f"p{n}", "done_at": at, "late": 1.0} for n, at in enumerate(times[:2])]
    place.log.append(outs([(SENT.name, "v", event) for event in [*sent, {"parcel": "p9"}]]))
    place.log.append(outs([(DELIVERED.name, "v", event) for event in done]))
    place.settle(place.worker())
    assert place.value("penstock_late_records_total", source=SENT.name) == 2
    assert place.value("penstock_late_records_total", source=DELIVERED.name) == 1
    assert place.value("penstock_out_of_order_records_total", source=SENT.name) == 1
    assert place.value("penstock_out_of_order_records_total", source=DELIVERED.name) == 0
    letters = place.health.dead_letters.collect()[0].samples
    assert sum(one.value for one in letters if one.name.endswith("_total")) == 4


def test_every_record_is_timed_once_and_none_that_is_read_again_after_a_loss() -> None:
    place = Place(parcels())
    records = outs(parcel_events(60))
    for record in records:
        place.log.append([record])
    worker = place.worker()
    place.settle(worker)
    name = "penstock_event_to_readable_seconds"
    # The worker's clock stands still; a record is as old as its own stamp says.
    total_s = sum(10**9 - 10**6 - n for n in range(len(records)))
    assert place.value(name + "_count") == len(records)
    assert place.value(name + "_sum") == total_s
    assert place.value(name + "_bucket", le="3600.0") == 0
    worker.close()
    place.server.flushall()
    again = place.worker()
    place.settle(again)
    assert sum(task.featurize.counts.items for task in again.tasks.values()) == len(records)
    assert place.value(name + "_count") == len(records)


@given(st.lists(st.integers(-10, 5_000_000), max_size=30), st.integers(0, 4_000_000))
def test_a_batch_histogram_is_the_naive_one(times_ms: list[int], now_ms: int) -> None:
    found = BatchHistogram("took", "how long", (), registry=CollectorRegistry())
    found.observe_batch(times_ms[:7], now_ms)
    found.observe_batch(times_ms[7:], now_ms)
    ages_s = [max(0, now_ms - at) / 1000 for at in times_ms]
    limits = [*BUCKETS_S, float("inf")]
    assert found.counts == [sum(age_s <= limit for age_s in ages_s) for limit in limits]
    assert found.sum_s == pytest.approx(sum(ages_s))


def test_a_batch_histogram_has_no_labels() -> None:
    with pytest.raises(ValueError, match="no labels"):
        BatchHistogram("took", "how long", ("view",), registry=CollectorRegistry())


# -- a hot key ---------------------------------------------------------------------------------------------------------


def paid(number: int, start: int = 0) -> list[Out]:
    """Payments of one card, a millisecond apart."""
    return [
        Out(
            PAID.name,
            b"hot",
            json.dumps(
                {
                    "payment": f"p{n}",
                    "paid_at": START_MS + n,
                    "card": "hot",
                    "amount": float(n % 50),
                    "fraud": False,
                }
            ).encode(),
        )
        for n in range(start, start + number)
    ]


def test_a_hot_key_is_written_once_a_batch_however_many_its_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(featurize_worker, "BATCH_RECORDS", 1_000)
    place = Place(cards())
    place.log.append(paid(20_000))
    worker = place.worker()
    place.settle(worker)
    assert worker.tasks["0"].featurize.counts.items == 20_000
    states = sum(place.writes)
    assert states == sum(1 for writes in place.writes if writes), "at most one write a unit"
    assert 20 <= states <= 40, "20 batches"
    assert place.value("penstock_entities_first_seen_total", view="card") == 1


def test_a_hot_key_that_trickles_in_is_written_once_a_poll_and_catches_up_in_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Small polls are small batches: a write each. What came in the meantime is one again."""
    monkeypatch.setattr(featurize_worker, "BATCH_RECORDS", 1_000)
    place = Place(cards())
    worker = place.worker()
    place.settle(worker)
    place.writes.clear()
    for n in range(50):
        place.log.append(paid(3, 3 * n))
        worker.process_batch(0.0)
    assert sum(place.writes) == 50
    place.writes.clear()
    place.log.append(paid(500, 150))
    place.settle(worker)
    assert sum(place.writes) == 1

"""Private state goes by event time, and nothing that anybody reads ever shows that it went."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from penstock import View, count, mean, session, since_last, sum
from penstock.features.redis.keyspace import MemoryKeyspace, RedisKeyspace
from penstock.features.redis.memory import MemoryServer, MemoryStateStore
from penstock.features.redis.store import RedisStateStore
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize import expiry
from penstock.stream.featurize import worker as featurize_worker
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.log.memory import MemoryLog
from penstock.stream.messages import Sample, decode_entry
from tests.stream.generated import DELIVERED, HOUR, MINUTE, SENT, START_MS, outs, parcels
from tests.stream.naive_flow import NaiveFlow, everything

GRACE = "2h"


def pipeline(name: str = "parcels") -> Pipeline:
    """Windows of some hours and a short grace; one view is of all time."""
    sent, delivered = replace(SENT, grace=GRACE), replace(DELIVERED, grace=GRACE)
    views = [
        View("depot", delivered, "depot", {"late_3h": mean("late", "3h"), "done_1h": count("1h")}),
        View("street", delivered, ("depot", "street"), {"visit": sum("late", session("20m"))}),
        View("traffic", sent, "depot", {"sent_1h": count("1h"), "idle": since_last()}),
    ]
    label = replace(parcels().label, source=delivered)
    return parcels(name, views=views, predict=sent, label=label)


def stream(number: int, seed: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Ten days of parcels: each depot is busy for hours and then nearly silent for days; some events come late."""
    chance = random.Random(seed)
    made: list[tuple[int, str, str, dict[str, Any]]] = []
    for n in range(number):
        at = START_MS + n * (240 * HOUR // number)
        depot = f"d{(at - START_MS) // (9 * HOUR) % 7 if chance.random() < 0.8 else chance.randrange(9)}"
        van, street = f"van{chance.randrange(20)}", f"s{chance.randrange(3)}"
        event = {"parcel": f"p{n}", "van": van, "depot": depot, "street": street}
        late = chance.randrange(110) * MINUTE if chance.random() < 0.3 else 0
        made.append((at, SENT.name, van, {**event, "sent_at": at - late, "weight": chance.random()}))
        done = {**event, "done_at": at - late, "late": round(chance.gauss(0, 9), 1)}
        made.append((at + chance.randrange(3), DELIVERED.name, van, done))
    return [(topic, key, event) for _, topic, key, event in sorted(made, key=lambda one: one[0])]


class World:
    """A pipeline worked off in small batches, with or without deleting what expired."""

    def __init__(self, seed: int, keyspace: Any, store: Any, name: str = "parcels") -> None:
        self.pipeline, self.log = pipeline(name), MemoryLog()
        for topic, partitions in (
            (SENT.name, 2),
            (DELIVERED.name, 2),
            *((topic.name, 1) for topic in topology.owned(name)),
        ):
            self.log.create(topic, partitions)
        self.wall = 0
        self.worker = FeaturizeWorker(self.pipeline, self.log, store, self.tick, keyspace=keyspace)
        made = outs(stream(1_500, seed))
        for start in range(0, len(made), 100):
            self.log.append(made[start : start + 100])
            while self.worker.process_batch(0.0):
                pass
        for _ in range(4):
            self.worker.process_batch(0.0)

    def tick(self) -> int:
        self.wall += expiry.LOOK_EVERY_MS
        return self.wall

    def samples(self) -> dict[str, list[Any]]:
        entries = (
            decode_entry(r.value or b"") for r in everything(self.log, f"{self.pipeline.name}.samples")
        )
        return {entry.id: entry.x for entry in entries if isinstance(entry, Sample)}

    def deleted(self) -> int:
        return next(iter(self.worker.expiries.values())).deleted.total()


@pytest.mark.parametrize("seed", range(4))
def test_no_value_depends_on_whether_expired_state_was_deleted(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(featurize_worker, "KEPT_STATES", 3)  # so that states are loaded again and again
    server, plain = MemoryServer(), MemoryServer()
    with_it = World(seed, MemoryKeyspace(server), lambda task: MemoryStateStore(server, "parcels", task))
    without = World(seed, None, lambda task: MemoryStateStore(plain, "parcels", task))
    assert with_it.deleted() > 20
    assert with_it.samples() == without.samples()
    naive = NaiveFlow(with_it.pipeline, with_it.log)
    assert len(with_it.samples()) == len(naive.samples)
    kept = {key for key in server.data if ":state:" in key}
    gone = {key for key in plain.data if ":state:" in key} - kept
    assert gone and all(server.data[key] == plain.data[key] for key in kept)
    assert all(":state:traffic@" not in key for key in gone), "what is remembered for ever stays"
    assert {key for key in server.data if key.startswith("features:")} == {
        key for key in plain.data if key.startswith("features:")
    }, "documents have a time to live of their own"


def test_what_expired_is_gone_from_a_real_server(valkey: redis.Redis, unique: Callable[[str], str]) -> None:
    name = unique("parcels")
    world = World(1, RedisKeyspace(valkey), lambda task: RedisStateStore(valkey, name, task), name=name)
    found: Any = valkey.keys(f"penstock:{name}:*:state:*")
    states = {key.decode().rpartition("state:")[2] for key in found}
    depots = {key for key in states if key.startswith("depot@")}
    assert world.deleted() > 20
    assert len(depots) < 9, "of nine depots only those of the last hours"
    assert len({key for key in states if key.startswith("traffic@")}) == 9


def test_a_partition_that_never_had_an_event_may_still_bring_any_time() -> None:
    server = MemoryServer()
    world = World(1, MemoryKeyspace(server), lambda task: MemoryStateStore(server, "parcels", task))
    expiry_of_depots = next(iter(world.worker.expiries.values()))
    assert expiry_of_depots._floor_ms(0) > START_MS
    world.worker.tasks["all"].featurize.positions[(0, 1)].newest_at = -1
    assert expiry_of_depots._floor_ms(0) == -1

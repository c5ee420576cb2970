"""One task is rebuilt while another goes on: the log's clock waits for it, so that no label that is in time is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from river import linear_model, preprocessing

from penstock import Label, Pipeline, View, count
from penstock.stream.log.protocol import Out, partition_for
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.generated import DELIVERED, MINUTE, SENT, START_MS

VANS = {partition_for(f"van{n}".encode(), 2): f"van{n}" for n in range(50)}
NOW = START_MS + 100 * 60 * MINUTE


def parcels() -> Pipeline:
    return Pipeline(
        "parcels",
        views=[View("van", SENT, key="van", features={"sent_1h": count("1h")})],
        predict=SENT,
        inputs=["weight"],
        label=Label(DELIVERED, lambda e: e["late"] > 15, wait="30m", fields=("late",)),
        model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    )


def sent(partition: int, name: str, at: int) -> Out:
    return of(SENT.name, partition, {"parcel": name, "sent_at": at, "weight": 1.0})


def delivered(partition: int, name: str, at: int) -> Out:
    return of(DELIVERED.name, partition, {"parcel": name, "done_at": at, "late": 20.0})


def of(topic: str, partition: int, event: dict[str, Any]) -> Out:
    event |= {"van": VANS[partition], "depot": "d", "street": "s"}
    return Out(topic, VANS[partition].encode(), json.dumps(event).encode(), (), partition)


class Clocked(MemoryFlow):
    """A flow with a wall clock that the test moves."""

    def __init__(self) -> None:
        self.wall_ms = START_MS
        super().__init__(parcels(), clock=lambda: self.wall_ms)

    def turns(self, number: int, each_ms: int) -> None:
        for _ in range(number):
            self.wall_ms += each_ms
            self.process_batches()


@pytest.mark.parametrize("lost", [False, True])
def test_a_label_of_a_partition_that_was_idle_is_joined_though_its_state_was_lost_and_others_went_on(
    lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.stream.featurize.worker.BATCH_RECORDS", 50)
    flow = Clocked()
    flow.feed([sent(1, f"h{n}", NOW - 5_000_000 + n * 1_000) for n in range(5_000)] + [sent(0, "a", NOW)])
    flow.turns(300, 20)
    flow.feed([sent(1, "waits", NOW + MINUTE), sent(0, "b", NOW + MINUTE)])
    flow.turns(10, 20)
    for second in range(8):  # of which the second partition brings nothing: it is idle
        flow.feed([sent(0, f"c{second}", NOW + MINUTE + 1_000 * second)])
        flow.turns(10, 100)
    fold = flow.learn.fold
    assert fold is not None and "parcels.sent/1" in fold.join.idle and "waits" in fold.join.pending
    if lost:
        flow.server.flushall()
    flow.turns(15, 100)
    for minute in range(45):  # the first partition's task is rebuilt at once, the other's takes long
        flow.feed([sent(0, f"d{minute}", NOW + (2 + minute) * MINUTE)])
        if minute == 9:
            flow.feed([delivered(1, "waits", NOW + (2 + minute) * MINUTE)])
        flow.turns(2, 600)
    flow.turns(300, 100)
    assert flow.learn.fold is not None and flow.learn.fold.counts.joined == 1

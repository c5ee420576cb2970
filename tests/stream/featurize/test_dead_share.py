"""A source most of whose records are dead letters is told once, and once more when it is over; against a naive judge."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.stream import topology
from penstock.stream.featurize.dead_share import WINDOW_RECORDS, DeadShare
from penstock.stream.featurize.decode import Item
from penstock.stream.featurize.position import Position, decode_position
from penstock.stream.log.protocol import Out, Record
from penstock.stream.messages import ControlEvent, decode_control_event
from penstock.stream.operate.control_lines import tell
from tests.effort import examples
from tests.stream.featurize.test_step import Bench, sent
from tests.stream.featurize.test_worker import Crash, World
from tests.stream.generated import SENT, START_MS, outs, parcel_events, parcels

# Runs of records: how many, and of a thousand how many are dead letters.
runs = st.lists(st.tuples(st.integers(1, 260), st.sampled_from([0, 0, 200, 400, 600, 1000])), max_size=8)


def records(script: list[tuple[int, int]], seed: int) -> list[bool]:
    chance = random.Random(seed)
    return [chance.randrange(1000) < dead for many, dead in script for _ in range(many)]


def item(offset: int) -> Item:
    record = Record(SENT.name, offset % 3, offset // 3, START_MS + offset, None, b"", ())
    return Item(START_MS, 0, record.partition, record.offset, START_MS, "", None, None, record)


def naive(dead: list[bool]) -> list[tuple[int, str, int]]:
    """(place, state, dead letters of the window) of every event: from a dead letter on, a hundred records at a time."""
    told, at, firing = [], 0, False
    while at < len(dead):
        if not firing and not dead[at]:
            at += 1
            continue
        window = dead[at : at + WINDOW_RECORDS]
        if len(window) < WINDOW_RECORDS:
            break
        at += WINDOW_RECORDS
        if not firing and sum(window) > 50:
            firing = True
            told.append((at - 1, "firing", sum(window)))
        elif firing and sum(window) <= 25:
            firing = False
            told.append((at - 1, "resolved", sum(window)))
    return told


def judged(dead: list[bool], stops: int = 0) -> list[tuple[int, ControlEvent]]:
    """What the judge says, its state stored in a position document and read again after every `stops` records."""
    share, told = DeadShare("parcels", ["one"]), []
    for n, bad in enumerate(dead):
        if bad or share.windows:
            out = share.take(item(n), f"field {n}: wrong" if bad else None)
            if out is not None:
                told.append((n, decode_control_event(out.value or b"")))
        if stops and n % stops == 0:
            stored = Position("r", {}, None, share.stored()).encode()
            assert Position("r", {}, None, share.stored()).encode() == stored
            share = DeadShare("parcels", ["one"])
            share.start(decode_position(stored).dead)
            assert Position("r", {}, None, share.stored()).encode() == stored
    return told


@settings(max_examples=examples(200), deadline=None)
@given(runs, st.integers(0, 9), st.integers(1, 50))
@example([(100, 0), (100, 1000), (100, 0)], 0, 7)
@example([(300, 600), (500, 400), (300, 200)], 0, 7)
def test_the_judge_equals_a_naive_one_wherever_it_is_stopped(
    script: list[tuple[int, int]], seed: int, stops: int
) -> None:
    dead = records(script, seed)
    told = judged(dead)
    said = [(n, event.data.state, event.data.detector["params"]["dead_letters"]) for n, event in told]
    assert said == naive(dead)
    assert judged(dead, stops) == told
    assert len({event.id for _, event in told}) == len(told)


def test_a_source_without_dead_letters_stores_nothing() -> None:
    share = DeadShare("parcels", ["one"])
    for n in range(150):
        share.take(item(n), "x: y" if n == 20 else None)
    assert share.stored() == {}
    assert Position("r", {}, None, {}).encode() == Position("r", {}).encode()


def notes(found: list[Out]) -> list[ControlEvent]:
    return [decode_control_event(out.value or b"") for out in found if out.topic == topology.CONTROL_ALERTS]


def test_an_operator_is_told_source_share_reason_and_an_example() -> None:
    bench, found = Bench(parcels()), list[Out]()
    for n in range(1, WINDOW_RECORDS + 1):
        bad = {"weight": "heavy"} if n % 10 else {}
        found += bench.give(SENT.name, sent(f"p{n}", 0, **bad), partition=n % 2)
    (event,) = notes(found)
    data = event.data
    assert (event.type, event.subject, data.suggested_action, data.kind) == (
        "penstock.note",
        SENT.name,
        "none",
        "dead-letters",
    )
    assert (data.state, data.severity, data.statistic, data.threshold) == ("firing", "warning", 0.9, 0.5)
    example = data.detector["params"]["example"]
    assert example == {"partition": 1, "offset": 0}
    assert data.detector["params"]["reason"].startswith("Expected `bool | float | null`")
    assert "90 of the last 100 records of 'parcels.sent' are dead letters" in data.reason
    for _ in range(2 * WINDOW_RECORDS):
        found += bench.give(SENT.name, sent("p", 0))
    begins, over = notes(found)
    assert begins == event and over.data.state == "resolved" and over.data.episode == data.episode
    assert [out.key for out in found if out.topic == topology.CONTROL_ALERTS] == [b"parcels"] * 2
    lines = "\n".join(tell(event, START_MS))
    assert "penstock dead-letters" in lines and "partition 1 from offset 0" in lines


@pytest.mark.parametrize("timestamp_ms", [-1, 0, 2**63 - 1, -(2**63)])
def test_a_record_time_that_no_calendar_has_is_told_all_the_same(timestamp_ms: int) -> None:
    share = DeadShare("parcels", ["one"])
    told = [
        share.take(item(n)._replace(record=item(n).record._replace(timestamp_ms=timestamp_ms)), "x")
        for n in range(WINDOW_RECORDS)
    ]
    assert told[-1] is not None and json.loads(told[-1].value or b"")["time"][4] == "-"


def spoiled() -> list[Out]:
    """400 records, of which the second and third hundred are broken."""
    made = list(itertools.islice(outs(parcel_events(400)), 400))
    return [out._replace(value=b"{") if 100 <= n < 300 else out for n, out in enumerate(made)]


@pytest.mark.parametrize("step", ["before append", "after append", "before save", "after a unit"])
def test_a_crash_repeats_what_was_told_and_never_tells_another(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.stream.featurize.worker.BATCH_RECORDS", 37)
    told: list[list[dict[str, Any]]] = []
    for crashes in (False, True):
        world = World(parcels())
        monkeypatch.setattr(world.log, "topic_id", lambda topic: f"id of {topic}")
        monkeypatch.setattr(world.log, "_clock", lambda: START_MS / 1000 + 86_400)
        world.log.append(spoiled())
        countdown = itertools.count()

        def fail(at: str, crashes: bool = crashes, countdown: Any = countdown) -> None:
            if crashes and at == step and next(countdown) % 3 == 2:
                raise Crash

        world.log.fail = fail
        quiet = 0
        worker = world.worker()
        while quiet < 10:
            try:
                quiet = 0 if worker.process_batch(0.0) else quiet + 1
            except Crash:
                worker.member.close()
                worker = world.worker()
        partition = (topology.CONTROL_ALERTS, 0)
        reader = world.log.reader({partition: 0})
        values = [json.loads(record.value or b"") for record in reader.poll(1_000, 0.0)]
        told.append(list({value["id"]: value for value in values}.values()))
        assert all(value in told[-1] for value in values)
    assert told[0] == told[1] and {value["data"]["state"] for value in told[0]} >= {"firing"}

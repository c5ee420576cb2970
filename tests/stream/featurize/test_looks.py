"""Looks at whole events: which, what they say, and that neither crashes nor batches change what is found of them."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import Quality
from penstock.monitors.quality import shape
from penstock.stream.featurize import step
from penstock.stream.featurize.step import Featurize
from penstock.stream.learn.join_by_id import JoinById
from penstock.stream.learn.watching.quality_text import reason_of
from penstock.stream.learn.watching.schema import Schema, declared
from penstock.stream.log.protocol import Out
from penstock.stream.look import LOOK_EVERY, MOST_NAME_CHARACTERS, MOST_NAMES, Look, fields_of
from penstock.stream.messages import ControlEvent, Sample, Tick, decode_control_event, decode_entry
from penstock.stream.operate.status import ticks_of_time
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.topology import CONTROL_ALERTS
from tests.stream.featurize.test_step import Bench, sent
from tests.stream.featurize.test_worker import Crash, World
from tests.stream.generated import DELIVERED, PAID, SENT, card_events, cards, outs, parcels
from tests.stream.naive_flow import everything

SECRET = "hunter2"


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second event is looked at, and forty looks are an epoch: a short stream has enough."""
    monkeypatch.setattr(step, "LOOK_EVERY", 2)
    monkeypatch.setattr(shape, "EPOCH_LOOKS", 40)
    monkeypatch.setattr(shape, "ACCEPTED_LOOKS", 160)


def changing(number: int, at: int, partitions: int = 1) -> list[Out]:
    """Payments that say more than is declared: from event `at` on "channel" is gone, "coupon" is new, "shop" an object."""
    told: list[tuple[str, str, dict[str, Any]]] = []
    for n, (topic, key, event) in enumerate(card_events(number)):
        more: dict[str, Any] = (
            {"channel": SECRET, "shop": 7} if n < at else {"coupon": SECRET, "shop": {"id": 7}}
        )
        told.append((topic, key, {**event, **more}))
    return outs(told)


def looks_in(world: World) -> list[Look]:
    entries = [decode_entry(record.value or b"") for record in everything(world.log, world.samples)]
    return [one.look for one in entries if isinstance(one, Tick) and one.look is not None]


def test_the_last_of_sixty_four_events_of_a_partition_is_looked_at_behind_its_sample() -> None:
    bench = Bench(parcels())
    given = [
        bench.entries(SENT.name, sent(f"p{n}", n, note=None, tags=[{"a": 1}])) for n in range(2 * LOOK_EVERY)
    ]
    assert [n for n, entries in enumerate(given) if len(entries) > 1] == [63, 127]
    sample, tick = given[63]
    assert isinstance(sample, Sample) and isinstance(tick, Tick) and tick.look is not None
    look = tick.look
    assert (look.topic, look.topic_id, look.partition, look.offset) == (
        SENT.name,
        f"id of {SENT.name}",
        0,
        63,
    )
    assert look.at == sample.at and tick.times == {} and tick.idle == []
    assert list(look.fields) == sorted(sent("p", 0, note=None, tags=[]))
    assert (look.fields["note"], look.fields["tags"], look.fields["weight"]) == ("null", "list", "number")


def test_who_watches_no_schema_or_builds_beside_a_task_looks_at_nothing(often: None) -> None:
    bench = Bench(parcels(quality=Quality(schema="off")))
    assert all(len(bench.entries(SENT.name, sent(f"p{n}", n))) == 1 for n in range(9))
    ids = {source.name: source.name for source in parcels().sources}
    assert Featurize(parcels(), ids, "all", building=[0]).looks == -1


json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(), inner, max_size=2)),
)
TYPE_NAMES = {
    str: "text", int: "number", float: "number", bool: "true/false", type(None): "null", dict: "object", list: "list",
}  # fmt: skip


@given(st.dictionaries(st.text(max_size=120), json_values, max_size=8), st.sampled_from([None, 2]))
def test_a_look_says_the_names_and_types_that_json_has(event: dict[str, Any], indent: int | None) -> None:
    raw = json.dumps(event, ensure_ascii=False, indent=indent).encode(errors="surrogatepass")
    cut = {name[:MOST_NAME_CHARACTERS]: TYPE_NAMES[type(value)] for name, value in event.items()}
    assert fields_of(raw) == cut


def test_a_look_is_bounded_and_an_event_whose_names_are_no_text_is_a_sample_without_one(often: None) -> None:
    wide = fields_of(json.dumps({f"{n:05}" + "x" * 300: n for n in range(900)}).encode())
    assert len(wide) == MOST_NAMES and {len(name) for name in wide} == {MOST_NAME_CHARACTERS}
    bench = Bench(parcels())
    for n in range(4):
        raw = json.dumps(sent(f"p{n}", n)).encode()[:-1] + b', "\xff": 2}'
        assert [type(decode_entry(out.value or b"")) for out in bench.give(SENT.name, raw)] == [Sample]


def test_what_the_definition_names_is_declared_and_all_else_is_not() -> None:
    names = {"parcel", "sent_at", "van", "depot", "street", "weight"}
    assert declared(parcels(), SENT) == names
    assert declared(parcels(), DELIVERED) == {"parcel", "done_at", "van", "depot", "street", "late"}
    assert declared(cards(), PAID) == {"payment", "paid_at", "card", "amount", "fraud"}


def read(looks: list[Look]) -> list[tuple[str, str, int, Any]]:
    """What the watcher finds, and at which record."""
    watch, found = Schema(cards()), []
    for position, look in enumerate(looks):
        for one in watch.look(position, look):
            found.append(
                (one.transition.subject, one.transition.state, look.offset, one.transition.detail["fields"])
            )
    return found


def expected(records: list[Out], topic_id: str) -> list[Look]:
    """Naively: every second record of the only partition."""
    events = [json.loads(record.value or b"") for record in records]
    return [
        Look(PAID.name, topic_id, 0, n, event["paid_at"], {name: TYPE_NAMES[type(event[name])] for name in sorted(event)})
        for n, event in enumerate(events)
        if n % 2 == 1
    ]  # fmt: skip


@settings(max_examples=10)
@given(
    st.lists(st.integers(20, 400), min_size=1, max_size=5),
    st.lists(st.integers(1, 25), max_size=5),
    st.integers(0, 99),
)
@pytest.mark.usefixtures("often")
def test_any_batches_and_crashes_give_the_same_findings(
    chunks: list[int], crashes: list[int], seed: int
) -> None:
    chance, steps = random.Random(seed), iter(crashes)
    world, records = World(cards(), partitions=1), changing(440, 320)
    left = next(steps, 10_000)

    def fail(at: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            left = next(steps, 10_000)
            raise Crash

    worker, rest, quiet = world.worker(), records, 0
    while rest or quiet < 20:
        if rest and chance.random() < 0.5:
            world.log.fail = lambda at: None
            size = chance.choice(chunks)
            world.log.append(rest[:size])
            rest = rest[size:]
            world.log.fail = fail
        try:
            quiet = 0 if worker.process_batch(0.0) else quiet + 1
        except Crash:
            worker, quiet = world.worker(), 0
    told = looks_in(world)
    naive = expected(records, told[0].topic_id)
    firsts = list({look.offset: look for look in reversed(told)}.values())[::-1]
    assert sorted(firsts, key=lambda look: look.offset) == naive
    assert read(told) == read(naive)
    assert [one[:2] for one in read(naive)] == [
        (f"{PAID.name}: {kind}", "firing") for kind in ("new", "type", "lost")
    ]


def test_in_the_whole_flow_people_read_names_and_types_and_never_a_value(often: None) -> None:
    flow = MemoryFlow(cards(), partitions=2)
    flow.feed(changing(700, 540))
    flow.settle()
    alerts = everything(flow.log, CONTROL_ALERTS)
    events: list[ControlEvent] = [decode_control_event(record.value or b"") for record in alerts]
    told = {one.data.reason.partition(" since ")[0]: one for one in events if one.data.kind == "schema"}
    assert set(told) == {
        f"{PAID.name}: new field 'coupon' (text)",
        f"{PAID.name}: field 'shop' was number, is now object",
        f"{PAID.name}: field 'channel' (text) is gone",
    }
    assert {one.type for one in told.values()} == {"penstock.note"}
    assert {one.data.severity for one in told.values()} == {"info"}
    written = [*alerts, *everything(flow.log, flow.featurize.samples_topic)]
    assert not any(SECRET.encode() in (record.value or b"") for record in written)
    assert flow.learn.fold is not None and flow.learn.fold.counts.samples == 700


def test_a_look_does_not_move_the_clock_before_every_partition_was_heard_of() -> None:
    join = JoinById[Any](parcels().label_rule)
    assert join.tick(Tick({"sent/0": 500}, [], 0, 2)) == []
    assert join.tick(Tick({}, [], 0, 0, Look(SENT.name, "id", 0, 63, 1 << 40, {}))) == []
    assert join.clock == 0
    join.tick(Tick({"sent/1": 400}, [], 0, 2))
    assert join.clock == 400


def test_status_takes_no_look_for_the_newest_tick() -> None:
    tick = Tick({"sent/0": 500}, [], 7, 2)
    assert ticks_of_time([tick, Tick({}, [], 0, 0, Look(SENT.name, "id", 0, 63, 9, {}))]) == [tick]


def test_the_end_of_an_episode_is_told_and_why(often: None) -> None:
    watch, looks = Schema(cards()), expected(changing(1_100, 500), "id")
    found = [one for position, look in enumerate(looks) for one in watch.look(position, look)]
    over = [one for one in found if one.transition.state == "resolved"]
    assert (
        over[0].reason == f"what was told of fields ({PAID.name}: new) is over: it lasts: this is usual now"
    )
    assert {one.verb for one in found} == {"note"} and len(over) == 3


def test_with_fork_the_finding_is_an_alert_that_keeps_the_leading_model(often: None) -> None:
    looks = expected(changing(700, 500), "id")
    watch = Schema(dataclasses.replace(cards(), quality=Quality(schema="fork")))
    found = [one for position, look in enumerate(looks) for one in watch.look(position, look)]
    assert found and all(one.forks and one.verb == "alert" for one in found)
    assert found[0].reason == reason_of(found[0].transition, forks=True)
    assert "labels decide which is believed" in found[0].reason

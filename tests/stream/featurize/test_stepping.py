"""What featurize does with ordinary records in C is what it does in Python: every item, byte, count and position."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import linear_model, preprocessing

from penstock import View, count, distinct, last, mean, since_last
from penstock.features.redis.store import MemoryServer, MemoryStateStore
from penstock.stream import topology
from penstock.stream.definitions import Label, Pipeline, Source
from penstock.stream.featurize import dead_share
from penstock.stream.featurize.compiled import compiled
from penstock.stream.featurize.decode import SourceDecoder
from penstock.stream.featurize.merge import Head
from penstock.stream.featurize.order import Together
from penstock.stream.featurize.task import Task
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Record
from tests.effort import examples
from tests.stream.generated import DELIVERED, PAID, SENT, START_MS, cards, parcels

pytestmark = pytest.mark.skipif(compiled() is None, reason="it was not built")


@pytest.fixture(autouse=True, scope="module")
def short() -> Iterator[None]:
    """While dead letters are counted Python steps every record: here that is soon over."""
    with patch.object(dead_share, "WINDOW_RECORDS", 2):
        yield


SHOWN = Source("shop.shown", id="show", time="at", key=("shop", "shelf"), grace="1h")


def shown(event: Any) -> Any:
    """A label that is a number, none, or an error."""
    return None if event["sold"] is None else 10 / event["sold"]


def shop() -> Pipeline:
    """Keys of two parts, text and whole numbers as inputs, more than fifteen values, and a label that is a number."""
    wide = {f"n_{hours}h": count(f"{hours}h") for hours in range(1, 16)}
    return Pipeline(
        "shop",
        views=[
            View("shelf", SHOWN, key=("shop", "shelf"), features={**wide, "kinds": distinct("kind", "1d")}),
            View("kind", SHOWN, key="kind", features={"price": last("price"), "idle": since_last()}),
        ],
        predict=SHOWN,
        inputs=["price", "shelf"],
        label=Label(SHOWN, shown, wait="1h", fields=("sold",)),
        model=preprocessing.StandardScaler() | linear_model.LinearRegression(),
    )


MADE = {"cards": cards, "parcels": parcels, "shop": shop}
GOOD: dict[str, dict[str, Any]] = {
    PAID.name: {"payment": "p", "paid_at": START_MS, "card": "c", "amount": 2.5, "fraud": True},
    SENT.name: {"parcel": "p", "sent_at": START_MS, "van": "v", "depot": "d", "weight": 1.5},
    DELIVERED.name: {
        "parcel": "p", "done_at": START_MS, "van": "v", "depot": "d", "street": "s 1|", "late": 20.0,
    },
    SHOWN.name: {"show": "s", "at": START_MS, "shop": "x", "shelf": 7, "kind": "k", "price": 3, "sold": 4},
}  # fmt: skip
EDGES = [b + d for n in (5, 7, 8, 15, 16, 31, 32, 63) for b in (2**n, -(2**n)) for d in (-1, 0, 1)]
whole = st.one_of(st.integers(-(2**63), 2**64), st.sampled_from(EDGES))
text = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        ["a" * 31, "b" * 32, "c" * 255, "é" * 128, "d" * 512, "f" * 513, "a b", "B6", "é", "", "\x00"]
    ),
)
anything = st.one_of(
    st.none(), st.booleans(), whole, text, st.floats(), st.just([]), st.just({"a": 1}), st.just(10**600)
)
apart_ms = st.sampled_from([0, 1, 7, 1_000, -1_000, 61_000, -4_000_000, 10**9])


@st.composite
def streams(draw: st.DrawFn, topics: list[str]) -> list[Record]:
    """Records of two partitions a topic; most events are good but for a field or two."""
    found: list[Record] = []
    offsets: dict[tuple[str, int], int] = {}
    at = START_MS
    for number in range(draw(st.integers(0, 40))):
        topic, partition = draw(st.sampled_from(topics)), draw(st.integers(0, 1))
        at += draw(apart_ms)
        event = {name: at if value == START_MS else value for name, value in GOOD[topic].items()}
        event[next(iter(event))] = f"e{number}"
        for name in draw(st.lists(st.sampled_from(sorted(event)), max_size=2)):
            event[name] = draw(anything)
        if draw(st.integers(0, 30)) == 0:
            del event[draw(st.sampled_from(sorted(event)))]
        value: bytes | None = json.dumps(event).encode()
        if draw(st.integers(0, 30)) == 0:
            value = draw(st.sampled_from([None, b"", b"{", b"[]", b"\xff", b'"' + b"x" * 900_001 + b'"']))
        offset = offsets.get((topic, partition), 0) + draw(st.sampled_from([0, 0, 0, 1, 61]))
        offsets[(topic, partition)] = offset + 1
        stamp = draw(st.sampled_from([at, at, at, at - 10**8, -1]))
        found.append(Record(topic, partition, offset, stamp, b"k", value, ()))
    return found


def items_in(pipeline: Pipeline, records: list[Record], *, native: bool) -> list[Any]:
    found: list[Any] = []
    for source in pipeline.sources:
        decoder = SourceDecoder(pipeline, source)
        decoder._compiled = decoder._compiled if native else None
        for partition in (0, 1):
            here = [r for r in records if (r.topic, r.partition) == (source.name, partition)]
            found += decoder.items(here, -1)
        found.append(decoder.out_of_order)
    return found


@settings(max_examples=examples(150), deadline=None)
@given(st.sampled_from(sorted(MADE)), st.data())
def test_records_become_the_same_items(name: str, data: st.DataObject) -> None:
    pipeline = MADE[name]()
    records = data.draw(streams([source.name for source in pipeline.sources]))
    assert SourceDecoder(pipeline, pipeline.predict)._compiled is not None
    native, python = (items_in(pipeline, records, native=native) for native in (True, False))
    assert repr(native) == repr(python)
    assert [type(one) for one in native] == [type(one) for one in python]


def stepped(pipeline: Pipeline, records: list[Record], batch: int, *, native: bool) -> list[Any]:
    """Everything that comes of these records, read in batches."""
    log, server = MemoryLog(), MemoryServer()
    log.topic_id = lambda topic: f"id of {topic}"  # type: ignore[method-assign]
    for topic in pipeline.sources:
        log.create(topic.name, 2)
    for owned in topology.owned(pipeline.name):
        log.create(owned.name, owned.partitions)
    sources = range(len(pipeline.sources))
    groups: list[list[Head]] = (
        [[(s, p) for s in sources] for p in (0, 1)]
        if pipeline.partitioned
        else [[(s, p) for s in sources for p in (0, 1)]]
    )
    together, tasks, found = Together(pipeline, 2), [], []
    for number, heads in enumerate(groups):
        store = MemoryStateStore(server, pipeline.name, str(number))
        task = Task(pipeline, log, store, str(number), heads, "")
        task.take_up("group")
        assert task.featurize.stepper is not None
        if not native:
            task.featurize.stepper = None
        tasks.append(task)
        together.add(task)
    heads_of = {head: task for task in tasks for head in task.heads}
    index_of = {source.name: index for index, source in enumerate(pipeline.sources)}
    for at in range(0, len(records), batch):
        for record in records[at : at + batch]:
            heads_of[index_of[record.topic], record.partition].enqueue([record], 1)
        done = together.step(set(heads_of), at, batch)
        for task, units in done.units.items():
            task.store.save([unit.unit for unit in units])
        found += [done.outs, [(task.featurize.task, units) for task, units in done.units.items()]]
    for task in tasks:
        of = task.featurize
        found += [of.position(), vars(of.counts), of.now_at, of.dirty, of.unseen, of.outs, of.out_bytes]
    return found


@settings(max_examples=examples(150), deadline=None)
@given(st.sampled_from(sorted(MADE)), st.sampled_from([1, 3, 50]), st.data())
def test_a_batch_gives_the_same_in_every_byte(name: str, batch: int, data: st.DataObject) -> None:
    pipeline = MADE[name]()
    records = data.draw(streams([source.name for source in pipeline.sources]))
    native, python = (stepped(pipeline, records, batch, native=native) for native in (True, False))
    assert repr(native) == repr(python)


def test_every_length_and_every_size_of_a_number_is_written_as_msgspec_writes_it() -> None:
    texts = ["a" * n for n in (1, 31, 32, 255, 256, 512)] + ["é" * n for n in (15, 16, 127, 128, 512)]
    records = []
    edges = [edge for edge in EDGES if abs(edge) < 2**63]  # others are dead letters, which Python counts
    for n, (shelf, name) in enumerate([(edge, "s") for edge in edges] + [(1, name) for name in texts]):
        event = {**GOOD[SHOWN.name], "show": f"{n}{name}"[:512], "shelf": shelf, "shop": name}
        offset = 2 ** (n % 40) + n
        records.append(Record(SHOWN.name, 0, offset, START_MS, None, json.dumps(event).encode(), ()))
    records.sort(key=lambda record: record.offset)
    native, python = (stepped(shop(), records, 1_000, native=native) for native in (True, False))
    assert repr(native) == repr(python)


def test_units_end_at_the_same_events() -> None:
    """More entities than a unit holds, in one batch of two tasks."""
    chance, records = random.Random(1), []
    for n in range(1_500):
        event = {
            **GOOD[PAID.name],
            "payment": f"p{n}",
            "card": f"c{chance.randrange(900)}",
            "paid_at": START_MS + n,
        }
        value = json.dumps(event).encode()
        records.append(Record(PAID.name, n % 2, n // 2, START_MS + n, None, value, ()))
    native, python = (stepped(cards(), records, 1_000, native=native) for native in (True, False))
    assert repr(native) == repr(python)
    assert repr(native).count("FeaturizeUnit(") > 8


def test_what_a_run_did_stands_in_the_featurize_when_it_raises() -> None:
    """A run that ends by an error leaves the `Featurize` as far as it came: what is stepped again starts from a snapshot."""
    pipeline = cards(views=[View("card", PAID, key="card", features={"mean": mean("amount", "1d")})])
    log = MemoryLog()
    for topic in (PAID.name, *(owned.name for owned in topology.owned(pipeline.name))):
        log.create(topic)
    task = Task(pipeline, log, MemoryStateStore(MemoryServer(), "cards", "0"), "0", [(0, 0)], "")
    task.take_up("group")
    native, featurize = compiled(), task.featurize
    assert native is not None
    values = [json.dumps({**GOOD[PAID.name], "card": card}).encode() for card in ("a", "b", "c")]
    records = [Record(PAID.name, 0, n, START_MS, None, value, ()) for n, value in enumerate(values)]
    items = task.decoders[0].items(records, -1)
    for entity in ("a", "b"):
        featurize.put(0, entity, None)
    outs: list[Any] = []
    with pytest.raises(KeyError):
        native.run({0: featurize.stepper}, items, [["a"], ["b"], ["c"]], 0, 1 << 62, outs, {})
    assert (featurize.positions[0, 0].offset, featurize.counts.items, len(outs)) == (3, 3, 4)

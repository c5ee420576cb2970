"""Whatever a record provokes, it is a dead letter, and the rest goes on as if it had been one from the start."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.features.engine.compute import CompiledView
from penstock.stream import topology
from penstock.stream.featurize.decode import SourceDecoder
from penstock.stream.log.protocol import MAX_RECORD_BYTES, Record, record_bytes
from tests.effort import examples
from tests.stream import naive_flow
from tests.stream.featurize.provoked import raising
from tests.stream.featurize.test_step import Bench
from tests.stream.featurize.test_worker import World
from tests.stream.generated import PAID, SENT, START_MS, card_events, cards, outs, parcel_events, parcels
from tests.stream.naive_flow import NaiveFlow, everything

PROVOKING = {f"p{n}" for n in (3, 4, 5, 77, 199)}


@pytest.mark.parametrize(("pipeline", "events"), [(parcels(), parcel_events), (cards(), card_events)])
@pytest.mark.parametrize("when", ["before the state changes", "after the state has changed"])
@pytest.mark.parametrize("engine", ["native", "python"])
def test_a_record_that_a_step_raises_on_is_buried_and_leaves_no_trace(
    pipeline: Any, events: Any, when: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    valid = naive_flow.valid

    def valid_but(pipeline: Any, wanted: Any, *rest: Any) -> Any:
        event = valid(pipeline, wanted, *rest)
        return None if event is None or event[wanted.source.id] in PROVOKING else event

    monkeypatch.setenv("PENSTOCK_ENGINE", engine)
    error, after = ZeroDivisionError("provoked"), when.startswith("after")
    told = raising(lambda event, _: not PROVOKING.isdisjoint(event.values()), error, after=after)
    monkeypatch.setattr(CompiledView, "__init__", told)
    monkeypatch.setattr(naive_flow, "valid", valid_but)
    world = World(pipeline)
    world.log.append(outs(events(200)))
    worker = world.worker()
    world.settle(worker)
    naive = NaiveFlow(world.pipeline, world.log)
    world.check(naive)
    letters = everything(world.log, topology.dead_letters(pipeline.name))
    assert len(letters) == len(naive.dead) >= len(PROVOKING)
    assert {dict(letter.headers)["penstock-reason"] for letter in letters} == {b"ZeroDivisionError: provoked"}
    counts = [task.featurize.counts for task in worker.tasks.values()]
    assert sum(count.items for count in counts) == len(naive.samples | naive.labels) + len(naive.dead)


def test_a_decoder_that_raises_on_a_record_rejects_it(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = SourceDecoder(parcels(), SENT)

    def raising(value: bytes) -> Any:
        raise MemoryError("provoked")

    decoder.decode_event = raising
    found = decoder.items([Record(SENT.name, 0, n, START_MS, None, b"{}", ()) for n in range(2)], 5)
    assert [(item.offset, item.at, item.reject) for item in found] == [
        (0, 5, "MemoryError: provoked"),
        (1, 5, "MemoryError: provoked"),
    ]


text = st.one_of(st.none(), st.binary(max_size=20), st.just(b"\xff" * 600), st.just(b""))
headers = st.lists(st.tuples(st.text(max_size=8), text), max_size=4).map(tuple)
stamps = st.one_of(st.integers(-(2**63), 2**63 - 1), st.just(-1), st.just(START_MS))
anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from([10**600, -(10**30), 2**64, 1.7e308, 1e75, START_MS]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=3,
)
names = ["payment", "paid_at", "card", "amount", "fraud"]
GOOD = {"payment": "p", "paid_at": START_MS, "card": "c", "amount": 2, "fraud": True}
values = st.one_of(
    st.none(),
    st.binary(max_size=30),
    st.fixed_dictionaries({}, optional=dict.fromkeys(names, anything)).map(
        lambda e: json.dumps({**GOOD, **e}).encode()
    ),
)


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.tuples(text, values, headers, stamps, st.integers(0, 1)), max_size=8), st.booleans())
def test_any_records_at_all_each_give_a_sample_or_a_dead_letter_and_everything_can_be_written(
    given_records: list[Any], keyed_input: bool
) -> None:
    """Keys, headers, timestamps and values; with the key of the view as an input, too."""
    bench = Bench(cards(inputs=["amount", "card", "payment"] if keyed_input else ["amount"]))
    featurize = bench.featurize
    for key, value, kept, stamp, partition in given_records:
        place = featurize.positions[(0, partition)]
        record = Record(PAID.name, partition, place.offset, stamp, key, value, kept)
        (item,) = bench.decoders[0].items([record], place.newest_at)
        entities = featurize.entities(item)
        for number, entity in featurize.missing([item], [entities]):
            featurize.put(number, entity, None)
        before = len(featurize.outs)
        featurize.step(item, entities)
        made = featurize.outs[before:]
        assert 1 <= len(made) <= 2 and (item.event is not None or len(made) == 1)
        assert all(record_bytes(out) <= MAX_RECORD_BYTES for out in made)
    bench.close()

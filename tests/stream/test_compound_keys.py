"""A source with a compound key: several fields name its entity, in the record's key, the partition and the state."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock import View, count
from penstock.features.redis.keys import record_key
from penstock.stream import topology
from penstock.stream.definitions import DefinitionError, Label, Pipeline, Source
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Sample, decode_entry
from penstock.stream.recipes import changes, definition_document
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.generated import START_MS, cards
from tests.stream.naive_flow import NaiveFlow, everything

SOLD = Source("shops.sold", id="sale", time="at", key=("city", "street"))


def shops(source: Source = SOLD, key: Any = ("city", "street")) -> Pipeline:
    return cards(
        "shops",
        views=[View("shop", source, key=key, features={"sold_1h": count("1h")})],
        predict=source,
        label=Label(source, lambda e: e["fraud"], wait="1h", fields=("fraud",)),
    )


def sales(number: int) -> list[Out]:
    made = []
    for n in range(number):
        event = {
            "sale": f"s{n}",
            "at": START_MS + n * 60_000,
            "city": n % 3,
            "street": f"s {n % 5}|",
            "amount": 1.0,
        }
        key = record_key(event, SOLD.key_fields)
        assert key is not None
        made.append(Out(SOLD.name, key.encode(), json.dumps({**event, "fraud": n % 2 == 0}).encode()))
    return made


def test_a_pipeline_keyed_by_several_fields_scales_by_partition_and_is_the_naive_flow() -> None:
    pipeline = shops()
    assert pipeline.partitioned
    flow = MemoryFlow(pipeline, partitions=3, clock=lambda: START_MS)
    flow.feed(sales(200))
    flow.settle()
    naive = NaiveFlow(pipeline, flow.log)
    assert len(naive.samples) == 200
    assert naive.wrong_samples(flow.log, topology.samples("shops")) == []
    assert naive.wrong_documents(flow.server.data.get) == []
    assert "features:shops:shop:1|s%201%7C" in flow.server.data


def test_a_sample_names_the_entity_of_a_compound_key() -> None:
    flow = MemoryFlow(shops(), clock=lambda: START_MS)
    flow.feed(sales(7))
    flow.settle()
    entries = [decode_entry(r.value or b"") for r in everything(flow.log, topology.samples("shops"))]
    assert {one.key for one in entries if isinstance(one, Sample)} >= {"1|s%201%7C", "2|s%202%7C"}


def test_the_order_of_a_key_is_part_of_it() -> None:
    assert not shops(key=("street", "city")).partitioned


def test_a_tuple_of_one_field_is_that_field() -> None:
    one = Source("a", id="id", time="at", key=("card",))
    assert one == Source("a", id="id", time="at", key="card") and one.key_fields == ("card",)


@pytest.mark.parametrize("key", [(), ("a", ""), ("a", "a"), 7, ("a", 7), ""])
def test_a_key_that_names_no_entity_is_one_clear_line(key: Any) -> None:
    with pytest.raises(
        DefinitionError, match="key must name a field of its events, or be a tuple of different fields"
    ):
        Source("a.b", id="id", time="at", key=key)


def test_a_stored_definition_with_a_compound_key_is_read_again_as_it_was() -> None:
    said = json.loads(definition_document(shops()))
    assert not any(changes(said, shops()))
    other = Source(SOLD.name, id="sale", time="at", key=("street", "city"))
    assert changes(said, shops(other)).others

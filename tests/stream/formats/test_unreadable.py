"""What cannot be read, and what is said of it."""

from __future__ import annotations

import io
import json
import sys
import tempfile
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.stream.definitions import DefinitionError
from penstock.stream.featurize.decode import Item, SourceDecoder
from penstock.stream.formats.avro import AvroReader, UnusableSchema
from penstock.stream.formats.protobuf import ProtobufFile
from penstock.stream.formats.reading import check_readable, reader_of
from penstock.stream.formats.registry import Schema
from penstock.stream.formats.schemas import Schemas
from penstock.stream.formats.unread import RegistryUnavailable, Unreadable
from penstock.stream.formats.wire import framed, message_place
from tests.stream.formats.paid import (
    AVRO_1,
    PROTOBUF,
    START_MS,
    Known,
    as_avro,
    as_json,
    as_json_schema,
    as_protobuf,
    pipeline,
    record,
    source,
)

EVENT = {"id": "p1", "at": START_MS, "card": "c", "amount": 3.5, "online": True, "fraud": False}
UUID = "a1b2c3d4-0000-0000-0000-000000000001"
WRITE = {"avro": as_avro, "protobuf": as_protobuf, "jsonschema": as_json_schema}


def items(form: str, *values: bytes | None, registry: Known | None = None, **more: Any) -> list[Item]:
    of = source(form, **more)
    found = SourceDecoder(pipeline(of), of, reader_of(of, Schemas(registry or Known())))
    return found.items([record(value, offset) for offset, value in enumerate(values)], -1)


def reason(form: str, value: bytes | None, **more: Any) -> str | None:
    (item,) = items(form, value, **more)
    assert (item.event is None) == (item.reject is not None)
    return item.reject


def test_an_avro_record_that_is_cut_anywhere_is_no_event_and_says_under_which_schema() -> None:
    whole = as_avro(EVENT)
    for length in range(len(whole)):
        said = reason("avro", whole[:length])
        assert said is not None and ("schema 1" in said or "too short" in said), said
    assert reason("avro", whole) is None
    assert "goes on after its end" in (reason("avro", whole + b"\0") or "")


@given(st.binary(max_size=40), st.sampled_from(sorted(WRITE)))
def test_whatever_stands_behind_an_id_is_an_event_or_a_reason(body: bytes, form: str) -> None:
    number = {"avro": AVRO_1, "protobuf": PROTOBUF, "jsonschema": 4}[form]
    (item,) = items(form, framed(number, body))
    assert (item.event is None) == (item.reject is not None)


@pytest.mark.parametrize(
    ("form", "value", "says"),
    [
        ("avro", as_json(EVENT), "it looks like plain JSON"),
        ("avro", b"", "0 bytes: too short for a schema's id"),
        ("avro", b"\1\0\0\0\1abc", "the first byte is 0x01 and should be 0x00"),
        ("avro", framed(99, b"x"), "the registry knows no schema 99"),
        ("avro", as_protobuf(EVENT), "schema 3 cannot be used: it is of type PROTOBUF, and topic 'paid' is declared as AVRO"),
        ("protobuf", as_avro(EVENT), "schema 1 cannot be used: it is of type AVRO"),
        ("protobuf", framed(PROTOBUF, b"", (7,)), "its schema has no message at place [7]"),
        ("protobuf", framed(PROTOBUF, b"", (1, 0)), "its schema has no message at place [1, 0]"),
        ("protobuf", b"\0\0\0\0\3\xff\xff\xff\xff\xff\xff", "within the message's place"),
        ("protobuf", framed(PROTOBUF, b"\x0a\xff", (1,)), "not readable under schema 3: it is no shop.Payment"),
        ("protobuf", framed(PROTOBUF, b"", (0,)), "missing required field"),
        ("jsonschema", framed(4, b"{"), "not a JSON object: Input data was truncated (schema 4)"),
        ("jsonschema", framed(4, b"[1]"), "Expected `object`, got `array` (schema 4)"),
        ("avro", None, "null value (a tombstone)"),
        ("avro", framed(1, b"x" * 900_000), "above the limit"),
        ("avro", as_avro({**EVENT, "amount": float("nan")}), "at `$.amount` (schema 1)"),
    ],
)  # fmt: skip
def test_what_is_no_event_is_told_in_words(form: str, value: bytes | None, says: str) -> None:
    assert says in (reason(form, value) or "")


def test_a_declared_field_that_the_writers_schema_lacks_is_told_with_the_schema() -> None:
    short = {"type": "record", "name": "Payment", "fields": [{"name": "id", "type": "string"}]}
    known = Known(Schema(8, "AVRO", json.dumps(short), {}))
    said = reason("avro", framed(8, b"\x04p1"), registry=known)
    assert said is not None and "missing required field" in said and said.endswith("(schema 8)")


def test_a_registry_that_does_not_answer_makes_no_dead_letter_and_is_asked_once_for_a_batch() -> None:
    known = Known()
    known.away = RegistryUnavailable("away")
    with pytest.raises(RegistryUnavailable):
        items("avro", as_avro(EVENT), registry=known)
    known.away = None
    good = items("avro", *[as_avro(EVENT)] * 50, framed(99, b"x"), registry=known)
    assert [item.reject is None for item in good] == [True] * 50 + [False]
    assert known.asked == [1, 1, 99]


@pytest.mark.parametrize(("form", "library"), [("avro", "fastavro"), ("protobuf", "grpc_tools")])
def test_a_library_that_is_missing_is_told_at_the_start_and_makes_no_dead_letter(
    form: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    for check in (lambda of: reader_of(of, Schemas(Known())), check_readable):
        with pytest.raises(
            DefinitionError, match=rf"{library}, which is not installed: pip install 'penstock\[formats\]'"
        ):
            check(source(form))


def test_a_machine_that_cannot_compile_a_schema_waits_and_buries_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    with pytest.raises(RegistryUnavailable, match="schema 3 cannot be compiled here.*No space left"):
        items("protobuf", as_protobuf(EVENT))
    monkeypatch.undo()
    assert items("protobuf", as_protobuf(EVENT))[0].event is not None


def full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_no_record_takes_memory_or_the_stack_out_of_proportion() -> None:
    for items_of in (
        "null",
        {"type": "fixed", "name": "F", "size": 0},
        {"type": "record", "name": "E", "fields": []},
    ):
        bomb = {
            "type": "record",
            "name": "B",
            "fields": [{"name": "x", "type": {"type": "array", "items": items_of}}],
        }
        with pytest.raises(UnusableSchema, match="take no bytes"):
            AvroReader(json.dumps(bomb))
    fields = [{"name": f"f{n}", "type": "null"} for n in range(20)]
    text = {"type": "record", "name": "R0", "fields": fields}
    for n in range(1, 8):
        text = {"type": "record", "name": f"R{n}", "fields": [{"name": "a", "type": text}] + [
            {"name": f"f{m}", "type": f"R{n - 1}"} for m in range(20)]}  # fmt: skip
    with pytest.raises(UnusableSchema, match="more than 10,000 values"):
        AvroReader(json.dumps(text))
    node = {"type": "record", "name": "N", "fields": [{"name": "next", "type": ["null", "N"]}]}
    with pytest.raises(Unreadable, match="RecursionError"):
        AvroReader(json.dumps(node)).value(b"\2" * 900_000)
    assert AvroReader(json.dumps(node)).value(b"\2\0") == {"next": {"next": None}}


def written(schema: Any, value: Any) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), value)
    return body.getvalue()


@pytest.mark.parametrize(
    ("kind", "value", "becomes"),
    [
        ({"type": "long", "logicalType": "timestamp-millis"}, 1_500, 1_500),
        ({"type": "long", "logicalType": "timestamp-micros"}, 1_500_500, 1_500),
        ({"type": "long", "logicalType": "timestamp-micros"}, 1_501_500, 1_502),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, 1_500, "1970-01-01T00:00:01.500000"),
        ({"type": "int", "logicalType": "date"}, 15_000, "2011-01-26"),
        ({"type": "int", "logicalType": "time-millis"}, 5, 5),
        ({"type": "long", "logicalType": "time-micros"}, 5_000, 5),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, Decimal("-19.99"), -19.99),
        ({"type": "bytes", "logicalType": "decimal", "precision": 38}, Decimal(10**20 + 7), 10**20 + 7),
        ({"type": "fixed", "name": "D", "size": 8, "logicalType": "decimal", "precision": 9, "scale": 3}, Decimal("1.5"), 1.5),
        ({"type": "string", "logicalType": "uuid"}, UUID, UUID),
        ("bytes", b"\xff\0", "/wA="),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B", "B"),
        ({"type": "array", "items": {"type": "int", "logicalType": "date"}}, [0, 1], ["1970-01-01", "1970-01-02"]),
        ({"type": "map", "values": "bytes"}, {"a": b"x"}, {"a": "eA=="}),
        (["null", {"type": "int", "logicalType": "date"}, "string"], 1, "1970-01-02"),
        (["null", {"type": "int", "logicalType": "date"}, "string"], "x", "x"),
        (["null", {"type": "long", "connect.name": "io.debezium.time.MicroTimestamp"}], 7_000, 7),
        ({"type": "float"}, 0.1, 0.10000000149011612),
    ],
)  # fmt: skip
def test_each_type_of_avro_becomes_the_value_that_is_stated(kind: Any, value: Any, becomes: Any) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": kind}]}
    plain = json.loads(json.dumps(schema).replace("logicalType", "x-logical"))
    found = AvroReader(json.dumps(schema)).value(
        written(schema if isinstance(value, Decimal) else plain, {"x": value})
    )
    assert found == {"x": becomes} and type(found["x"]) is type(becomes)


def test_a_union_of_records_is_told_apart_by_their_names() -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": [
        {"type": "record", "name": "A", "fields": [{"name": "d", "type": {"type": "int", "logicalType": "date"}}]},
        {"type": "record", "name": "B", "fields": [{"name": "d", "type": "int"}]}, "null"]}]}  # fmt: skip
    reader = AvroReader(json.dumps(schema))
    assert reader.value(b"\0\2") == {"x": {"d": "1970-01-02"}}
    assert reader.value(b"\2\2") == {"x": {"d": 1}}
    assert reader.value(b"\4") == {"x": None}


def test_branches_of_one_form_and_two_meanings_are_read_by_none() -> None:
    kinds = [{"type": "int", "logicalType": "date"}, "long"]
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "x", "type": kinds}, {"name": "y", "type": "int"}],
    }
    reader = AvroReader(json.dumps(schema))
    with pytest.raises(Unreadable, match="not told apart"):
        reader.value(b"\0\2\2")
    reader.only(["y"])
    assert reader.value(b"\0\2\2")["y"] == 1


def test_a_readers_schema_gives_defaults_and_follows_aliases() -> None:
    old = {"type": "record", "name": "R", "fields": [{"name": "sum", "type": "int"}]}
    new = {"type": "record", "name": "R", "fields": [
        {"name": "amount", "type": "double", "aliases": ["sum"]},
        {"name": "shop", "type": "string", "default": "none"},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}, "default": 0},
    ]}  # fmt: skip
    reader = AvroReader(json.dumps(old), None, json.dumps(new))
    assert reader.value(b"\4") == {"sum": 2, "amount": 2, "shop": "none", "day": "1970-01-01"}
    assert AvroReader(json.dumps(new), None, json.dumps(new)).value(
        written(json.loads(json.dumps(new)), {"amount": 1.5, "shop": "a", "day": 1})
    ) == {"amount": 1.5, "shop": "a", "day": "1970-01-02"}


def test_a_schema_may_build_on_others() -> None:
    card = {
        "type": "record",
        "name": "Card",
        "namespace": "shop",
        "fields": [{"name": "number", "type": "string"}],
    }
    whole = {
        "type": "record",
        "name": "P",
        "fields": [{"name": "a", "type": "shop.Card"}, {"name": "b", "type": "shop.Card"}],
    }
    reader = AvroReader(json.dumps(whole), {"shop.Card": json.dumps(card)})
    assert reader.value(b"\x021\x022") == {"a": {"number": "1"}, "b": {"number": "2"}}
    card_proto = 'syntax = "proto3"; package shop; message Card { string number = 1; }'
    proto = 'syntax = "proto3"; import "shop/card.proto"; message P { shop.Card a = 1; }'
    file = ProtobufFile(proto, {"shop/card.proto": card_proto})
    assert file.reader((0,)).value(b"\x0a\x03\x0a\x01x") == {"a": {"number": "x"}}
    outside = 'syntax = "proto3"; import "/etc/hostname"; message P { string a = 1; }'
    for referred in ({}, {"../card.proto": card_proto}):
        with pytest.raises(UnusableSchema):
            ProtobufFile(outside, referred)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=6))
def test_the_place_of_a_message_is_read_as_it_was_written(place: list[int]) -> None:
    value = framed(5, b"body", place)
    found, start = message_place(value)
    assert list(found) == place and value[start:] == b"body"

"""Change events of a database, and events whose fields are in the key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.stream.definitions import DefinitionError, Source
from penstock.stream.featurize.decode import Item, SourceDecoder
from penstock.stream.formats.reading import reader_of
from penstock.stream.formats.registry import Schema
from penstock.stream.formats.schemas import Schemas
from penstock.stream.formats.wire import framed
from penstock.stream.log.protocol import Record
from tests.stream.formats.paid import START_MS, V1, Known, pipeline, record, source
from tests.stream.formats.test_unreadable import EVENT, written

ENVELOPE: dict[str, Any] = {
    "type": "record", "name": "Envelope", "namespace": "db.paid", "fields": [
        {"name": "before", "type": ["null", {**V1, "name": "Value"}], "default": None},
        {"name": "after", "type": ["null", "shop.Value"], "default": None},
        {"name": "source", "type": {"type": "record", "name": "Source", "fields": [{"name": "ts_ms", "type": "long"}]}},
        {"name": "op", "type": "string"},
        {"name": "ts_ms", "type": ["null", "long"], "default": None},
    ],
}  # fmt: skip
KNOWN = Schemas(Known(Schema(1, "AVRO", json.dumps(ENVELOPE), {}), Schema(2, "AVRO", json.dumps(V1), {})))


def change(op: str, before: Any = None, after: Any = None) -> dict[str, Any]:
    return {"op": op, "before": before, "after": after, "ts_ms": START_MS + 5, "source": {"ts_ms": START_MS}}


def item(of: Source, value: bytes | None, key: bytes | None = b"c") -> Item:
    (found,) = SourceDecoder(pipeline(of), of, reader_of(of, KNOWN)).items([record(value, key=key)], -1)
    return found


def both(said: dict[str, Any]) -> list[tuple[str, bytes]]:
    plain = json.dumps(said).encode()
    connect = json.dumps({"schema": {"type": "struct"}, "payload": said}).encode()
    return [("json", plain), ("json", connect), ("avro", framed(1, written(ENVELOPE, said)))]


@pytest.mark.parametrize("op", ["c", "u", "r"])
def test_the_row_after_a_change_is_the_event(op: str) -> None:
    for form, value in both(change(op, after=EVENT)):
        found = item(source(form, envelope="debezium"), value)
        assert found.event == EVENT and found.at == START_MS, found.reject


def test_a_deleted_row_is_passed_over_or_is_an_event_as_it_was_as_the_source_says() -> None:
    for form, value in both(change("d", before=EVENT)):
        passed = item(source(form, envelope="debezium"), value)
        assert (passed.event, passed.reject) == (None, None)
        assert item(source(form, envelope="debezium", deletes="event"), value).event == EVENT
    for form, value in both(change("d")):
        assert "REPLICA IDENTITY" in (
            item(source(form, envelope="debezium", deletes="event"), value).reject or ""
        )


def test_what_is_about_no_row_is_passed_over_and_so_is_a_tombstone() -> None:
    for op in ("t", "m"):
        for form, value in both(change(op)):
            found = item(source(form, envelope="debezium"), value)
            assert (found.event, found.reject) == (None, None)
    found = item(source(envelope="debezium"), None)
    assert (found.event, found.reject) == (None, None)
    assert "tombstone" in (item(source(envelope="debezium", nulls="dead-letter"), None).reject or "")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b'{"after": {}}', "no field 'op'"),
        (b"[1]", "no envelope"),
        (b'{"op": "x"}', "op 'x', which is none of Debezium's"),
        (b'{"op": "c", "after": null}', "no row in 'after'"),
        (b"{", "not JSON"),
        (b'{"schema": 1, "payload": 5}', "no field 'op'"),
    ],
)
def test_what_is_no_envelope_is_a_dead_letter(value: bytes, says: str) -> None:
    assert says in (item(source(envelope="debezium"), value).reject or "")


def test_a_definition_may_name_when_the_database_changed_a_row_and_what_it_did() -> None:
    of = Source("paid", id="__position", time="__source_ts_ms", key="card", envelope="debezium")
    row = {"card": "c", "amount": 2.0, "online": False, "fraud": None}
    found = item(of, json.dumps(change("u", after=row)).encode())
    assert found.event is not None and found.at == START_MS and found.id == "0-0"


def test_an_event_may_stand_in_the_key_alone() -> None:
    for form, key in (("json", json.dumps(EVENT).encode()), ("avro", framed(2, written(V1, EVENT)))):
        assert item(source(form, nulls="key"), None, key).event == EVENT
    seen = Source("paid", id="__position", time="__timestamp", key="card", nulls="key")
    of = pipeline(seen)
    decoder = SourceDecoder(of, seen, reader_of(seen))
    reader = decoder.reader
    assert reader is not None
    reader.only(None)
    said = reader.event(Record("paid", 3, 7, START_MS, b"4000", None, ()))
    assert said == {"card": "4000", "__timestamp": START_MS, "__position": "3-7"}
    assert reader.event(Record("paid", 3, 7, START_MS, b"no json", None, ()))["card"] == "no json"
    connect = json.dumps({"schema": {}, "payload": {"card": "c7"}}).encode()
    assert reader.event(Record("paid", 3, 7, START_MS, connect, None, ()))["card"] == "c7"
    assert "no key to take fields from" in (item(source(nulls="key"), None, None).reject or "")
    assert "a key that is no text" in (item(source(nulls="key"), None, b"\xff").reject or "")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"format": "xml"}, "format must be one of json, avro, protobuf, jsonschema"),
        ({"envelope": "canal"}, 'envelope must be "debezium"'),
        ({"deletes": "event"}, 'give envelope="debezium"'),
        ({"deletes": "yes", "envelope": "debezium"}, "deletes must be"),
        ({"nulls": "none"}, "nulls must be one of"),
        ({"schema": "{}"}, "schema says nothing of json"),
        ({"format": "avro", "schema": "{"}, "its text is no JSON"),
        ({"format": "avro", "schema": "[]"}, "type record"),
        ({"format": "avro", "schema": 5}, "must be the text of a schema"),
        ({"format": "avro", "registry": False}, "needs the text of the schema"),
        ({"format": "jsonschema", "registry": False}, 'say format="json"'),
        ({"format": "avro", "registry": 1}, "registry must be True or False"),
        ({"format": "protobuf", "schema": "x"}, "schema says nothing of protobuf"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused_in_words(more: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError, match="Source 'paid'") as refused:
        Source("paid", id="id", time="at", key="card", **more)
    assert says in str(refused.value)


def test_a_source_of_plain_json_has_the_digest_that_it_always_had_and_another_format_another() -> None:
    assert source().describe() == {
        "name": "paid", "id": "id", "time": "at", "key": "card", "grace": "1d", "ahead": "1h",
    }  # fmt: skip
    forms: list[dict[str, Any]] = [
        {}, {"format": "avro"}, {"format": "protobuf"}, {"envelope": "debezium"}, {"nulls": "key"},
        {"envelope": "debezium", "deletes": "event"}, {"format": "avro", "schema": json.dumps(V1)},
        {"format": "avro", "schema": json.dumps(V1), "registry": False},
    ]  # fmt: skip
    made = [Source("paid", id="id", time="at", key="card", **more) for more in forms]
    assert len({pipeline(one).digest for one in made}) == len(forms)
    assert [Source(**one.describe()) for one in made] == made


def test_without_a_registry_every_record_is_read_under_the_schema_of_the_definition() -> None:
    avro = source("avro", schema=json.dumps(V1), registry=False)
    assert item(avro, written(V1, EVENT)).event == EVENT
    text = (
        'syntax = "proto3"; message P { string id = 1; int64 at = 2; string card = 3; double amount = 4; '
        "bool online = 5; optional bool fraud = 6; }"
    )
    proto = source("protobuf", schema=text, registry=False)
    found = item(proto, b"\x0a\x01p\x10" + b"\x05" + b"\x1a\x01c")
    assert found.event is not None and found.event["card"] == "c" and found.event["amount"] == 0.0
    with pytest.raises(DefinitionError, match="no Protobuf schema"):
        reader_of(source("protobuf", schema="nonsense", registry=False))

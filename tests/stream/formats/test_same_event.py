"""One event, however it was written, is one event."""

from __future__ import annotations

from math import isfinite
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.stream.featurize.decode import Item, SourceDecoder
from penstock.stream.formats.reading import reader_of
from penstock.stream.formats.schemas import Schemas
from tests.stream.formats.paid import (
    AVRO_2,
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

EVENTS = st.fixed_dictionaries(
    {
        "id": st.text(min_size=1, max_size=600),
        "at": st.integers(-5, START_MS + 9_000_000),
        "card": st.text(max_size=20),
        "amount": st.none() | st.floats(),
        "online": st.booleans(),
        "fraud": st.none() | st.booleans(),
    }
)
KNOWN = Schemas(Known())


def decoder(form: str, **more: Any) -> SourceDecoder:
    of = source(form, **more)
    return SourceDecoder(pipeline(of), of, reader_of(of, KNOWN))


DECODERS = {form: decoder(form) for form in ("json", "avro", "protobuf", "jsonschema")}


def item(form: str, value: bytes) -> Item:
    (found,) = DECODERS[form].items([record(value)], -1)
    return found


@given(EVENTS)
def test_json_avro_of_either_schema_and_protobuf_give_the_same_event_or_all_none(
    event: dict[str, Any],
) -> None:
    usual = item("json", as_json(event))
    for form, value in (
        ("avro", as_avro(event)),
        ("avro", as_avro({**event, "shop": "s"}, AVRO_2)),
        ("protobuf", as_protobuf(event)),
        ("jsonschema", as_json_schema(event)),
    ):
        found = item(form, value)
        assert found.event == usual.event, form
        assert (found.at, found.id, found.newest_at) == (usual.at, usual.id, usual.newest_at)
        assert (found.reject is None) == (usual.reject is None), (found.reject, usual.reject)
        types = {name: type(one) for name, one in (found.event or {}).items()}
        assert types == {name: type(one) for name, one in (usual.event or {}).items()}


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.fixed_dictionaries(
        {}, optional={name: PLAIN for name in ("id", "at", "card", "amount", "online", "fraud")}
    )
)
def test_what_is_no_event_in_json_is_none_in_json_with_a_schema_for_the_same_reason(
    event: dict[str, Any],
) -> None:
    usual, found = item("json", as_json(event)), item("jsonschema", as_json_schema(event))
    assert found.event == usual.event
    assert (found.reject or "").removesuffix(" (schema 4)") == (usual.reject or "")


@given(EVENTS.filter(lambda event: event["amount"] is None or isfinite(event["amount"])))
def test_a_look_names_the_same_fields_in_every_format(event: dict[str, Any]) -> None:
    usual = DECODERS["json"].fields(record(as_json(event)))
    for form, value in (
        ("avro", as_avro(event)),
        ("jsonschema", as_json_schema(event)),
        ("protobuf", as_protobuf(event)),
    ):
        found = DECODERS[form].fields(record(value))
        assert {name: kind for name, kind in found.items() if name in usual} == usual
        assert set(found) - set(usual) <= {"__timestamp", "__position", "shop"}

"""Targets: what comes on users' topics in other formats than JSON, and in envelopes.

Laws of this file:
- In Avro and Protobuf without an envelope it is a decoder made by hand that says which bytes are an event, and which one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.fuzz.target import Target, only

if TYPE_CHECKING:  # else they are imported before they can be instrumented
    from penstock.stream.featurize.decode import Item
    from penstock.stream.log.protocol import Record
    from penstock.stream.source import Source


def _of_format(form: str) -> Callable[[], Callable[[bytes], object]]:
    def make() -> Callable[[bytes], object]:
        from penstock.stream.featurize.decode import SourceDecoder
        from penstock.stream.formats.reading import reader_of
        from penstock.stream.formats.schemas import Schemas
        from tests.flood.avro import avro_event_of
        from tests.flood.protobuf import protobuf_event_of
        from tests.stream.formats import paid

        reference: Any = {"avro": avro_event_of, "protobuf": protobuf_event_of}.get(form)
        decoders = []
        for more in (
            {},
            {"nulls": "key"},
            {"envelope": "debezium"},
            {"envelope": "debezium", "deletes": "event"},
        ):
            of: Any = paid.source(form, **more)
            decoder = SourceDecoder(paid.pipeline(of), of, reader_of(of, Schemas(paid.Known())))
            decoders.append((of, decoder))

        def one(data: bytes) -> None:
            records = [paid.record(data, 0), paid.record(None, 1, data)]
            for source, decoder in decoders:
                newest = -1
                for item in decoder.items(records, -1):
                    if reference is None or source.envelope is not None:
                        _is_event_or_reject(source, item)
                    else:
                        _is_as_wanted(source, item, reference, newest)
                    newest = item.newest_at
                    if item.event is not None:
                        only(lambda d=decoder, r=item.record: d.fields(r), ValueError)

        return one

    return make


def _is_event_or_reject(source: Source, item: Item) -> None:
    said = (item.event is not None) + (item.reject is not None)
    assert said == 1 or (said == 0 and source.envelope and _says_nothing(source, item.record))


def _is_as_wanted(source: Source, item: Item, reference: Callable[..., Any], newest: int) -> None:
    """The reference finds an event exactly where there is one, and the same: its key's, of a record whose value is null."""
    record = item.record
    of_key = record.value is None and source.nulls == "key"
    wanted = reference(record.key if of_key else record.value, record.timestamp_ms, newest)
    assert (item.event is None) == (item.reject is not None)
    assert (wanted is None) == (item.event is None), f"{item.reject or item.event}, not {wanted}"
    if wanted is not None and item.event is not None:
        fields = _declared(wanted.fields)
        assert item.event.keys() == fields.keys()
        assert repr(_declared(item.event)) == repr(fields), f"{item.event}, not {fields}"
        assert (item.at, item.id) == (wanted.at, wanted.fields["id"]), f"{item}, not {wanted}"


def _declared(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that a payment's definition names. A number is a float in an event, whatever it was written as."""
    amount = fields["amount"]
    fields = {**fields, "amount": float(amount) if type(amount) is int else amount}
    return {name: fields[name] for name in ("id", "at", "card", "amount", "online", "fraud")}


def _says_nothing(source: Source, record: Record) -> bool:
    """Whether a record in an envelope may be passed over: it is null, or about no row, or about a deleted one."""
    if record.value is None:
        return True
    if source.format in ("avro", "protobuf"):
        return False  # these schemas have no envelope
    found = json.loads(record.value[5:] if source.format == "jsonschema" else record.value)
    if "op" not in found:
        found = found["payload"]
    return found is None or found["op"] in ("t", "m") or (found["op"] == "d" and source.deletes == "ignore")


def _format_seeds(form: str) -> Callable[[], list[bytes]]:
    def seeds() -> list[bytes]:
        from penstock.stream.formats.wire import framed
        from tests.stream.formats import paid

        event = {"id": "p1", "at": paid.START_MS, "card": "c", "amount": 3.5, "online": True, "fraud": False}
        as_json = json.dumps(event).encode()
        debezium = json.dumps({"before": None, "after": event, "op": "c", "source": {}, "ts_ms": 1}).encode()
        made = {
            "json": [as_json, debezium, json.dumps({"schema": {}, "payload": json.loads(debezium)}).encode()],
            "avro": [
                paid.as_avro({**event, **more}, number)
                for number in (paid.AVRO_1, paid.AVRO_2)
                for more in (
                    {},
                    {"shop": "s", "amount": None, "fraud": None},
                    {"amount": -7e70, "card": "é☃"},
                )
            ],
            "protobuf": [
                paid.as_protobuf(event),
                paid.as_protobuf({**event, "shop": "s", "online": False, "fraud": None}),
                paid.as_protobuf(event)
                + b"\x12\x02\x10\x05\x1a\x01d\x4b\x08\x01\x4c\x45abcd",  # merged, twice, and unknown
            ],
            "jsonschema": [paid.as_json_schema(event), framed(paid.JSON, debezium)],
        }[form]
        return [*made, b"", made[0][:9], made[0] + b"\0", framed(9, b"x")]

    return seeds


TARGETS = [
    *(
        Target(
            f"records in {form}",
            "a naive decoder finds the same events",
            _of_format(form),
            _format_seeds(form),
        )
        for form in ("avro", "protobuf")
    ),
    *(
        Target(name, "each is an event or has a reason", _of_format(form), _format_seeds(form))
        for name, form in (("records in jsonschema", "jsonschema"), ("envelopes in JSON", "json"))
    ),
]

"""The flights' events as producers of each format write them, their schemas registered under TopicNameStrategy."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import fastavro
import msgspec
from google.protobuf.message_factory import GetMessageClass

from penstock.stream.formats.proto_files import file_of
from penstock.stream.formats.registry import Registry
from penstock.stream.formats.wire import framed
from penstock.stream.log.protocol import Out

FORMATS = ("json", "avro", "protobuf", "jsonschema")
TIMES = ("departs_at", "landed_at")
_AVRO = {bool: "boolean", int: "long", float: "double", str: "string", type(None): "null"}
_PROTO = {bool: "bool", int: "int64", float: "double", str: "string"}
Event = tuple[str, str | None, dict[str, Any], int]


class Written(NamedTuple):
    """Records in one format, in order, and how many schemas they name."""

    format: str
    records: list[Out]
    schemas: int


def written(form: str, events: Sequence[Event], registry: Registry) -> Written:
    """The events in a format. Their fields' types are those that the events have."""
    kinds = _kinds(events)
    made = {topic: _writers(form, topic, kinds[topic], registry) for topic in kinds}
    records = []
    for number, (topic, key, fields, _) in enumerate(events):
        of_topic = made[topic]
        write = of_topic[number * len(of_topic) // len(events)]
        records.append(Out(topic, key.encode() if key else None, write(fields)))
    return Written(form, records, 0 if form == "json" else sum(map(len, made.values())))


def _kinds(events: Iterable[Event]) -> dict[str, dict[str, set[type]]]:
    """The types that each field of each topic has."""
    found: dict[str, dict[str, set[type]]] = {}
    for topic, _, fields, _ in events:
        of_topic = found.setdefault(topic, {})
        for name, value in fields.items():
            of_topic.setdefault(name, set()).add(type(value))
    return found


def _writers(
    form: str, topic: str, kinds: dict[str, set[type]], registry: Registry
) -> list[Callable[[dict[str, Any]], bytes]]:
    """What writes a topic's events: for Avro two, of which the second takes over in the middle."""
    subject = f"{topic}-value"
    if form == "json":
        return [msgspec.json.encode]
    if form == "jsonschema":
        number = registry.register(subject, "JSON", json.dumps({"type": "object", "required": sorted(kinds)}))
        return [lambda fields: framed(number, msgspec.json.encode(fields))]
    if form == "protobuf":
        return [_protobuf(subject, kinds, registry)]
    return [_avro(subject, kinds, registry, newer) for newer in (False, True)]


def _avro(
    subject: str, kinds: dict[str, set[type]], registry: Registry, newer: bool
) -> Callable[[dict[str, Any]], bytes]:
    unit = "micros" if newer else "millis"
    fields: list[Any] = []
    for name, types in kinds.items():
        union = [_AVRO[one] for one in sorted(types, key=lambda one: one.__name__)]
        moment = {"type": "long", "logicalType": f"timestamp-{unit}"}
        fields.append({"name": name, "type": moment if name in TIMES else union})
    if newer:
        fields = [*reversed(fields), {"name": "gate", "type": ["null", "string"], "default": None}]
    schema = {"type": "record", "name": "Flight", "namespace": "flights", "fields": fields}
    number = registry.register(subject, "AVRO", json.dumps(schema))
    parsed, times = fastavro.parse_schema(schema), [name for name in TIMES if name in kinds]

    def encode(event: dict[str, Any]) -> bytes:
        body = io.BytesIO()
        if newer:
            event = {**event, **{name: event[name] * 1_000 for name in times}}
        fastavro.schemaless_writer(body, parsed, event)
        return framed(number, body.getvalue())

    return encode


def _protobuf(
    subject: str, kinds: dict[str, set[type]], registry: Registry
) -> Callable[[dict[str, Any]], bytes]:
    lines = []
    for place, (name, types) in enumerate(kinds.items(), 1):
        kind = max(
            (_PROTO[one] for one in types if one is not type(None)),
            key=["bool", "int64", "double", "string"].index,
        )
        lines.append(
            f"  {'google.protobuf.Timestamp' if name in TIMES else f'optional {kind}'} {name} = {place};"
        )
    body = "\n".join(lines)
    text = f'syntax = "proto3";\nimport "google/protobuf/timestamp.proto";\nmessage Flight {{\n{body}\n}}\n'
    number = registry.register(subject, "PROTOBUF", text)
    make = GetMessageClass(file_of(text, {}).message_types_by_name["Flight"])
    times = [name for name in TIMES if name in kinds]

    def encode(event: dict[str, Any]) -> bytes:
        message = make(**{name: one for name, one in event.items() if one is not None and name not in times})
        for name in times:
            getattr(message, name).FromMilliseconds(event[name])
        return framed(number, message.SerializeToString(), (0,))

    return encode


def first_differences(expected: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """What differs, by key."""
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            yield f"{key}: {expected.get(key)!r} and {found.get(key)!r}"

"""A topic of card payments in every format, and the pipeline over it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import fastavro
from river import linear_model, preprocessing

from penstock import Label, Pipeline, Source, View, count, mean
from penstock.stream.formats.protobuf import ProtobufFile
from penstock.stream.formats.registry import Schema
from penstock.stream.formats.wire import framed
from penstock.stream.log.protocol import Record

START_MS = 1_735_689_600_000
TOPIC = "paid"
V1: dict[str, Any] = {
    "type": "record", "name": "Payment", "namespace": "shop", "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "card", "type": "string"},
        {"name": "amount", "type": ["null", "double"]},
        {"name": "online", "type": "boolean"},
        {"name": "fraud", "type": ["null", "boolean"]},
    ],
}  # fmt: skip
#: Another order, a field more, the amount wider, and microseconds.
V2: dict[str, Any] = {
    **V1, "fields": [
        {"name": "fraud", "type": ["boolean", "null"]},
        {"name": "shop", "type": "string", "default": "none"},
        {"name": "card", "type": "string"},
        {"name": "amount", "type": ["double", "long", "null"]},
        {"name": "online", "type": "boolean"},
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    ],
}  # fmt: skip
PROTO = """syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
message Refund { string id = 1; }
message Payment {
  string id = 1; google.protobuf.Timestamp at = 2; string card = 3; optional double amount = 4; bool online = 5;
  optional bool fraud = 6; string shop = 7;
}
"""
JSON_SCHEMA = json.dumps({"type": "object", "properties": {"id": {"type": "string"}}})
AVRO_1, AVRO_2, PROTOBUF, JSON = 1, 2, 3, 4
SCHEMAS = [
    Schema(AVRO_1, "AVRO", json.dumps(V1), {}),
    Schema(AVRO_2, "AVRO", json.dumps(V2), {}),
    Schema(PROTOBUF, "PROTOBUF", PROTO, {}),
    Schema(JSON, "JSON", JSON_SCHEMA, {}),
]
PARSED = {AVRO_1: fastavro.parse_schema(V1), AVRO_2: fastavro.parse_schema(V2)}
PAYMENT = ProtobufFile(PROTO, {}).file.message_types_by_name["Payment"]


class Known:
    """A registry in memory. `away` is the error that it answers with."""

    def __init__(self, *schemas: Schema) -> None:
        self.schemas = {one.number: one for one in schemas or SCHEMAS}
        self.away: Exception | None = None
        self.asked: list[int] = []

    def schema(self, number: int) -> Schema | None:
        self.asked.append(number)
        if self.away is not None:
            raise self.away
        return self.schemas.get(number)

    def register(self, subject: str, kind: str, text: str) -> int:
        raise NotImplementedError


def source(form: str = "json", **more: Any) -> Source:
    return Source(TOPIC, id="id", time="at", key="card", format=form, **more)  # type: ignore[arg-type]


def pipeline(paid: Source) -> Pipeline:
    card = View("card", paid, key="card", features={"paid_1h": count("1h"), "mean_1h": mean("amount", "1h")})
    return Pipeline(
        "paid",
        views=[card],
        predict=paid,
        inputs=["amount", "online"],
        label=Label(paid, "fraud", wait="1h"),
        model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    )


def as_json(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event).encode()


def as_avro(event: Mapping[str, Any], number: int = AVRO_1) -> bytes:
    body = io.BytesIO()
    at = event["at"] * (1_000 if number == AVRO_2 else 1)
    fastavro.schemaless_writer(body, PARSED[number], {**event, "at": at})
    return framed(number, body.getvalue())


def as_protobuf(event: Mapping[str, Any]) -> bytes:
    from google.protobuf.message_factory import GetMessageClass

    message = GetMessageClass(PAYMENT)(**{k: v for k, v in event.items() if k != "at" and v is not None})
    message.at.FromMilliseconds(event["at"])
    return framed(PROTOBUF, message.SerializeToString(), (1,))


def as_json_schema(event: Mapping[str, Any]) -> bytes:
    return framed(JSON, as_json(event))


def record(value: bytes | None, offset: int = 0, key: bytes | None = b"c") -> Record:
    return Record(TOPIC, 0, offset, START_MS + 60_000, key, value, ())

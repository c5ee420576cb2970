"""The fields of a record in Avro behind its schema's id, read by hand as the specification has it.

Laws of this file:
- No library reads anything here, and nothing of Penstock's.
- Only what the schemas of `paid` hold is known here, without any other reader: records, unions, text, long, double and boolean.
- Where the specification says nothing of bytes that no writer makes, they mean what fastavro takes them for: a union's branch
  below 0 is counted from the last one, any byte but 0 is true, and of a number that is too long the bits run round in 64.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from functools import partial
from typing import Any

from tests.flood.decoder import Bad, event_of
from tests.stream.formats.paid import AVRO_1, AVRO_2, V1, V2

SCHEMAS = {AVRO_1: V1, AVRO_2: V2}
BITS = 64


class Body:
    """Bytes that are taken one after the other."""

    def __init__(self, left: bytes) -> None:
        self.left = left

    def take(self, count: int) -> bytes:
        """The next so many."""
        if not 0 <= count <= len(self.left):
            raise Bad(f"{count} bytes of {len(self.left)}")
        taken, self.left = self.left[:count], self.left[count:]
        return taken

    def long(self) -> int:
        """A zigzag number: seven bits a byte, the lowest first."""
        number = shift = 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift % BITS
            shift += 7
            if byte < 0x80:
                number %= 1 << BITS
                return number >> 1 if number % 2 == 0 else -(number >> 1) - 1

    def of(self, schema: Any) -> Any:
        """A value of this type; a moment in whole milliseconds."""
        if isinstance(schema, list):
            branch = self.long()
            if not -len(schema) <= branch < len(schema):
                raise Bad(f"no branch {branch}")
            return self.of(schema[branch])
        if isinstance(schema, dict) and schema["type"] == "record":
            return {field["name"]: self.of(field["type"]) for field in schema["fields"]}
        if isinstance(schema, dict):
            parts = {"timestamp-millis": 1, "timestamp-micros": 1_000}[schema["logicalType"]]
            return round(Fraction(self.of(schema["type"]), parts))
        if schema == "null":
            return None
        if schema == "string":
            return self.take(self.long()).decode()
        if schema == "double":
            return struct.unpack("<d", self.take(8))[0]
        return {"long": self.long, "boolean": lambda: self.take(1) != b"\0"}[schema]()


def fields_of(value: bytes) -> dict[str, Any]:
    """The fields of a record. Raises `ValueError` where there are none."""
    body = Body(value)
    if body.take(1) != b"\0":
        raise Bad("no zero byte before the id")
    schema = SCHEMAS.get(int.from_bytes(body.take(4), "big"))
    if schema is None:
        raise Bad("no such schema in Avro")
    fields: dict[str, Any] = body.of(schema)
    if body.left:
        raise Bad("it goes on after its end")
    return fields


avro_event_of = partial(event_of, read=fields_of, event_id="id", time="at")
"""As `decoder.event_of`."""

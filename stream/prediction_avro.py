"""Predictions in Avro: their one schema, and its binary form, written and read without a library or a registry.

Laws of this file:
- Pure. A new field stands behind all others and has a default, so that an older body, which ends before it, still reads, and a
  newer one is read as far as it is known; `model` stays as it is. Then any of our readers needs no registry: the schema's id is
  passed over.
- What is none of these bodies raises `msgspec.DecodeError`, as JSON that is none does.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import msgspec

HEADER_BYTES = 5
SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "Prediction",
        "namespace": "penstock",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "prediction", "type": ["null", "double", "string"]},
            {
                "name": "model",
                "type": {
                    "type": "record",
                    "name": "ModelRef",
                    "fields": [{"name": "version", "type": "string"}, {"name": "weight", "type": "double"}],
                },
            },
            {"name": "recipe", "type": "string"},
            {"name": "position", "type": "long", "default": -1},
            {"name": "classes", "type": ["null", {"type": "map", "values": "double"}], "default": None},
            {"name": "rank", "type": ["null", "double"], "default": None},
            {"name": "alert", "type": ["null", "boolean"], "default": None},
            {"name": "calibrated", "type": ["null", "double"], "default": None},
            {"name": "set", "type": ["null", {"type": "array", "items": "string"}], "default": None},
            {
                "name": "interval",
                "type": ["null", {"type": "array", "items": ["null", "double"]}],
                "default": None,
            },
        ],
    }
)
_double = struct.Struct("<d")
_NULL, _SOME, _TEXT = b"\0", b"\2", b"\4"


def encoded(number: int, said: Any) -> bytes:
    """A `Prediction` under the schema's id, as serializers for a registry write it."""
    value = said.prediction
    parts = [
        b"\0" + number.to_bytes(4, "big"),
        _text(said.id),
        _long(said.at),
        _NULL if value is None else _TEXT + _text(value) if isinstance(value, str) else _some(value),
        _text(said.model.version),
        _double.pack(said.model.weight),
        _text(said.recipe),
        _long(said.position),
    ]
    if said.classes is None:
        parts.append(_NULL)
    else:
        items = [_text(name) + _double.pack(p) for name, p in said.classes.items()]
        parts += [_SOME, _block(items)]
    parts.append(_some(said.rank))
    parts.append(_NULL if said.alert is None else _SOME + (b"\1" if said.alert else b"\0"))
    parts.append(_some(said.calibrated))
    parts += [_NULL] if said.set is None else [_SOME, _block([_text(one) for one in said.set])]
    parts += [_NULL] if said.interval is None else [_SOME, _block([_some(one) for one in said.interval])]
    return b"".join(parts)


def decoded(value: bytes) -> dict[str, Any]:
    """The fields of a prediction behind its schema's id."""
    body = _Body(value)
    try:
        found: dict[str, Any] = {
            "id": body.text(),
            "at": body.long(),
            "prediction": body.union(body.double, body.text),
            "model": {"version": body.text(), "weight": body.double()},
            "recipe": body.text(),
        }
        for name, read in (
            ("position", body.long),
            ("classes", lambda: body.union(lambda: dict(body.items(lambda: (body.text(), body.double()))))),
            ("rank", lambda: body.union(body.double)),
            ("alert", lambda: body.union(body.boolean)),
            ("calibrated", lambda: body.union(body.double)),
            ("set", lambda: body.union(lambda: body.items(body.text))),
            ("interval", lambda: body.union(lambda: body.items(lambda: body.union(body.double)))),
        ):
            if body.at == len(value):
                break
            found[name] = read()
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise msgspec.DecodeError(f"no prediction in Avro: {error}") from None
    return found


def _text(text: str) -> bytes:
    data = text.encode()
    return _long(len(data)) + data


def _some(number: float | None) -> bytes:
    return _NULL if number is None else _SOME + _double.pack(number)


def _block(items: list[bytes]) -> bytes:
    return b"".join([_long(len(items)), *items, b"\0"]) if items else b"\0"


def _long(number: int) -> bytes:
    left = (number << 1) ^ (number >> 63)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


class _Body:
    """Reads one body from its start to its end."""

    def __init__(self, value: bytes) -> None:
        self.value, self.at = value, HEADER_BYTES

    def long(self) -> int:
        number = shift = 0
        while True:
            byte = self.value[self.at]
            self.at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (number >> 1) ^ -(number & 1)
            shift += 7
            if shift > 63:
                raise IndexError("a number without end")

    def text(self) -> str:
        size = self.long()
        end = self.at + size
        if size < 0 or end > len(self.value):
            raise IndexError("it ends within a text")
        found = self.value[self.at : end].decode()
        self.at = end
        return found

    def double(self) -> float:
        (found,) = _double.unpack_from(self.value, self.at)
        self.at += _double.size
        return float(found)

    def boolean(self) -> bool:
        self.at += 1
        return self.value[self.at - 1] != 0

    def union(self, *branches: Any) -> Any:
        """The value of a union whose first branch is null."""
        branch = self.long()
        if branch == 0:
            return None
        if not 0 < branch <= len(branches):
            raise IndexError("a union without such a branch")
        return branches[branch - 1]()

    def items(self, read: Any) -> list[Any]:
        """The items of an array or a map, each of at least a byte."""
        found: list[Any] = []
        while count := self.long():
            if count < 0:  # with the size of the block behind it
                count = -count
                self.long()
            if count > len(self.value):
                raise IndexError("more items than bytes")
            found += [read() for _ in range(count)]
        return found

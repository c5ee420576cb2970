"""Avro's binary form under one writer's schema → plain values.

Laws of this file:
- A body that ends early, or goes on after its record, is `Unreadable`: one byte is added behind it, and reading must end before
  that byte. fastavro by itself takes a text that is cut for a shorter one.
- No body can take memory or the stack out of proportion to its size. An array of items that take no bytes is refused with its
  schema, and under a schema that refers to itself the reader in Python is used, whose recursion is bounded (the other's is not:
  a record nested without end would end the process).
- Fields are found by name: what the writer's schema has more is left out; what it lacks is taken from the reader's schema, if
  there is one: a default, or the field under an alias.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from penstock.stream.formats.avro_types import Conversions, Shape, without_meaning
from penstock.stream.formats.missing import extra
from penstock.stream.formats.unread import Unreadable
from penstock.stream.formats.values import Convert

Read = Callable[[bytes], Mapping[str, Any]]


class UnusableSchema(ValueError):
    """A schema that no record can be read under; the message says why."""


def parsed(
    text: str, referred: Mapping[str, str] | None = None, *, meaning: bool = True
) -> tuple[Any, dict[str, Any]]:
    """A schema's text, and those it refers to in the order in which they build on each other → the schema and its named types.

    Without `meaning` logical types are left out. Raises `UnusableSchema`.
    """
    fastavro = extra("fastavro")
    named: dict[str, Any] = {}
    try:
        for one in (referred or {}).values():
            fastavro.parse_schema(_schema(one, meaning), named)
        schema = fastavro.parse_schema(_schema(text, meaning), named)
    except UnusableSchema:
        raise
    except Exception as error:  # whatever a schema provokes is that schema's
        raise UnusableSchema(f"no Avro schema: {type(error).__name__}: {str(error)[:200]}") from None
    return schema, named


def _schema(text: str, meaning: bool) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        if text.isalpha():  # a primitive, without the quotes that JSON wants
            return text
        raise UnusableSchema("no Avro schema: its text is no JSON") from None
    return found if meaning else without_meaning(found)


class AvroReader:
    """Reads bodies written under one schema. `reader` is the text of the reader's schema."""

    def __init__(self, text: str, referred: Mapping[str, str] | None = None, reader: str = "") -> None:
        schema, named = parsed(text, referred)
        self.schema, self.named = schema, named
        self.is_record = isinstance(schema, dict) and schema.get("type") in ("record", "error")
        shape = Shape(schema, named)
        if shape.refused:
            raise UnusableSchema(shape.refused)
        self.plain, _ = parsed(text, referred, meaning=False)
        self.read = extra("fastavro._read_py" if shape.recursive else "fastavro").schemaless_reader
        self.named_records = shape.several  # a value of such a union comes with its record's name
        conversions = Conversions(named)
        self.fields: list[tuple[str, Convert | None]] = []
        self.convert: Convert | None = None
        if self.is_record:
            self.fields = [(one["name"], conversions.of(one["type"])) for one in schema["fields"]]
        else:
            self.convert = conversions.of(schema)
        self.renamed: list[tuple[str, str]] = []
        self.defaults: dict[str, Any] = {}
        if reader and self.is_record:
            self._resolve(reader)
        self.changed = [(name, convert) for name, convert in self.fields if convert is not None]

    def _resolve(self, text: str) -> None:
        """What the writer's schema lacks and the reader's has."""
        schema, named = parsed(text)
        conversions = Conversions(named)
        written = {name for name, _ in self.fields}
        for one in schema.get("fields", ()) if isinstance(schema, dict) else ():
            name = one["name"]
            if name in written:
                continue
            former = next((alias for alias in one.get("aliases", ()) if alias in written), None)
            if former is not None:
                self.renamed.append((former, name))
            elif "default" in one:
                convert = conversions.of(one["type"])
                value = one["default"]
                if isinstance(value, str) and _is_bytes(one["type"]):
                    value = value.encode("latin-1")
                self.defaults[name] = value if convert is None or value is None else convert(value)

    def only(self, names: Iterable[str] | None) -> None:
        """Convert the values of these fields only; the others are left as they lie."""
        wanted = None if names is None else {*names, *(old for old, new in self.renamed if new in set(names))}
        self.changed = [
            (name, convert)
            for name, convert in self.fields
            if convert is not None and (wanted is None or name in wanted)
        ]

    def value(self, body: bytes) -> Any:
        """What a body holds: a dict for a record. Raises `Unreadable`."""
        stream = io.BytesIO(body + b"\0")
        try:
            value = self.read(stream, self.plain, None, self.named_records, self.named_records)
        except Exception as error:  # whatever a body provokes is that record's
            raise Unreadable(_why(error)) from None
        if stream.tell() != len(body):
            raise Unreadable("it ends early, or goes on after its end")
        if self.convert is not None:
            return self.convert(value)
        for name, convert in self.changed:
            value[name] = convert(value[name])
        for former, name in self.renamed:
            value[name] = value[former]
        return {**self.defaults, **value} if self.defaults else value

    whole = value


def _is_bytes(schema: Any) -> bool:
    of = schema[0] if isinstance(schema, list) and schema else schema
    kind = of.get("type") if isinstance(of, dict) else of
    return kind in ("bytes", "fixed")


def _why(error: Exception) -> str:
    said = str(error)[:120]
    return f"it ends early, or is none of its records ({type(error).__name__}{': ' + said if said else ''})"

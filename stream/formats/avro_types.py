"""What the types of an Avro schema mean: how their values become an event's, and what a body may make of them.

Laws of this file:
- Pure functions of a parsed schema. Logical types that are not listed count as the type that they stand on.
- Debezium's and Connect's names for moments (`connect.name`) mean what they mean there.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from penstock.stream.formats import values
from penstock.stream.formats.unread import Unreadable
from penstock.stream.formats.values import Convert

_LOGICAL: dict[tuple[str, str], Convert] = {
    ("long", "timestamp-micros"): values.millis_of_micros,
    ("long", "timestamp-nanos"): values.millis_of_nanos,
    ("long", "local-timestamp-millis"): values.local_moment(1_000),
    ("long", "local-timestamp-micros"): values.local_moment(1_000_000),
    ("long", "local-timestamp-nanos"): values.local_moment(1_000_000_000),
    ("int", "date"): values.day,
    ("long", "time-micros"): values.millis_of_micros,
    ("fixed", "uuid"): values.uuid,
}
_CONNECT: dict[tuple[str, str], Convert] = {
    ("long", "io.debezium.time.MicroTimestamp"): values.millis_of_micros,
    ("long", "io.debezium.time.NanoTimestamp"): values.millis_of_nanos,
    ("int", "io.debezium.time.Date"): values.day,
    ("long", "io.debezium.time.MicroTime"): values.millis_of_micros,
    ("long", "io.debezium.time.NanoTime"): values.millis_of_nanos,
}
MOST_NODES = 10_000
_VARIABLE_SCALE = "io.debezium.data.VariableScaleDecimal"
_BOXES: dict[str, tuple[type, ...]] = {
    "null": (type(None),), "boolean": (bool,), "int": (int,), "long": (int,), "float": (float,), "double": (float,),
    "bytes": (bytes,), "fixed": (bytes,), "string": (str,), "enum": (str,), "array": (list,), "map": (dict,),
    "record": (dict,), "error": (dict,),
}  # fmt: skip


def kind_of(schema: Any, named: Mapping[str, Any]) -> tuple[str, Any]:
    """The name of a type that is no union, and its definition with a name followed."""
    if isinstance(schema, str) and schema in named:
        schema = named[schema]
    if isinstance(schema, dict):
        inner = schema["type"]
        if isinstance(inner, dict | list) or inner in named:
            return kind_of(inner, named)
        return inner, schema
    return schema, {}


def union_of(schema: Any) -> list[Any] | None:
    """The branches of a union; None of another type."""
    while isinstance(schema, dict) and isinstance(schema.get("type"), dict | list):
        schema = schema["type"]
    return schema if isinstance(schema, list) else None


class Conversions:
    """Makes the conversion of each type; one of a record that holds itself is made once."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self.named = named
        self.made: dict[str, Convert | None] = {}

    def of(self, schema: Any) -> Convert | None:
        """How a value of this type becomes an event's; None where it is one already."""
        if (branches := union_of(schema)) is not None:
            return self._union(branches)
        kind, definition = kind_of(schema, self.named)
        if kind in ("record", "error"):
            return self._record(definition)
        if kind == "array":
            return _each(self.of(definition["items"]))
        if kind == "map":
            return _each_value(self.of(definition["values"]))
        return _of_plain(kind, definition)

    def _record(self, definition: Any) -> Convert | None:
        name = definition["name"]
        if name in self.made:
            return self.made[name]
        if definition.get("connect.name") == _VARIABLE_SCALE:
            self.made[name] = _variable_scale
            return _variable_scale
        self.made[name] = partial(self._again, name)  # for a record that holds itself
        fields = [(one["name"], self.of(one["type"])) for one in definition["fields"]]
        self.made[name] = made = _fields([(at, convert) for at, convert in fields if convert is not None])
        return made

    def _again(self, name: str, value: Any) -> Any:
        convert = self.made[name]
        return value if convert is None else convert(value)

    def _union(self, branches: list[Any]) -> Convert | None:
        """By the type of the value; where two branches give values of one type and mean different things, by none."""
        records: dict[str, Convert | None] = {}
        by_type: dict[type, Convert | None] = {}
        unclear: set[type] = set()
        for branch in branches:
            kind, definition = kind_of(branch, self.named)
            convert = self.of(branch)
            if kind in ("record", "error"):
                records[definition["name"]] = convert
            for box in _BOXES.get(kind, ()):
                if box in by_type and by_type[box] is not convert:
                    unclear.add(box)
                by_type[box] = convert
        if len(records) > 1:  # such a value comes with its record's name
            unclear.discard(dict)
            by_type.pop(dict, None)
        elif not unclear and not any(by_type.values()):
            return None

        def convert_branch(value: Any) -> Any:
            if type(value) is tuple:
                value, inner = value[1], records.get(value[0])
                return value if inner is None else inner(value)
            if type(value) in unclear:
                raise Unreadable(
                    "a union has branches of one form and different meanings, which are not told apart"
                )
            inner = by_type.get(type(value))
            return value if inner is None else inner(value)

        return convert_branch


def _of_plain(kind: str, definition: Any) -> Convert | None:
    logical = definition.get("logicalType") if isinstance(definition, dict) else None
    if logical == "decimal" and kind in ("bytes", "fixed"):
        return values.decimal(int(definition.get("scale", 0)))
    if isinstance(logical, str) and (kind, logical) in _LOGICAL:
        return _LOGICAL[kind, logical]
    connect = definition.get("connect.name") if isinstance(definition, dict) else None
    if isinstance(connect, str) and (kind, connect) in _CONNECT:
        return _CONNECT[kind, connect]
    return values.base64 if kind in ("bytes", "fixed") else None


def _each(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda value: [convert(one) for one in value]


def _each_value(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda value: {name: convert(one) for name, one in value.items()}


def _fields(changed: list[tuple[str, Convert]]) -> Convert | None:
    if not changed:
        return None

    def convert(value: dict[str, Any]) -> dict[str, Any]:
        for name, inner in changed:
            value[name] = inner(value[name])
        return value

    return convert


def _variable_scale(value: dict[str, Any]) -> int | float:
    return values.scaled(int.from_bytes(value["value"], "big", signed=True), value["scale"])


class Shape:
    """What bodies under a schema may make of a process: `refused` says why none may be read, if so.

    `recursive` is whether a value may hold another of its own type, `several` whether a union has several records.
    Each named type is looked at once.
    """

    def __init__(self, schema: Any, named: Mapping[str, Any]) -> None:
        self.named = named
        self.recursive = self.several = False
        self.refused = ""
        self.open: set[str] = set()
        self.seen: dict[str, tuple[int, int]] = {}
        _, nodes = self._least(schema)
        if nodes > MOST_NODES:
            self.refused = f"one record of it has more than {MOST_NODES:,} values"

    def _least(self, schema: Any) -> tuple[int, int]:
        """Whether the smallest value takes bytes (1) or none (0), and how many values it is made of."""
        if (branches := union_of(schema)) is not None:
            kinds = [kind_of(one, self.named)[0] for one in branches]
            self.several = self.several or sum(kind in ("record", "error") for kind in kinds) > 1
            return 1, max((self._least(one)[1] for one in branches), default=0)
        kind, definition = kind_of(schema, self.named)
        if kind in ("array", "map"):
            size, nodes = self._least(definition["items" if kind == "array" else "values"])
            if kind == "array" and not size:
                self.refused = (
                    "it has an array whose items take no bytes, so that a few bytes could fill the memory"
                )
            return 1, nodes
        if kind in ("record", "error"):
            return self._record(definition)
        if kind == "fixed":
            return min(int(definition["size"]), 1), 1
        return (0 if kind == "null" else 1), 1

    def _record(self, definition: Any) -> tuple[int, int]:
        name = definition["name"]
        if name in self.open:
            self.recursive = True
            return 1, 0  # there is a union, an array or a map between, or no value would ever end
        if name not in self.seen:
            self.open.add(name)
            parts = [self._least(one["type"]) for one in definition["fields"]]
            self.open.discard(name)
            nodes = 1 + sum(nodes for _, nodes in parts)
            self.seen[name] = max((size for size, _ in parts), default=0), min(nodes, MOST_NODES + 1)
        return self.seen[name]


def without_meaning(schema: Any) -> Any:
    """A schema as it was written, without logical types: what is read under it are the values themselves."""
    if isinstance(schema, list):
        return [without_meaning(one) for one in schema]
    if isinstance(schema, dict):
        return {
            name: one if name == "default" else without_meaning(one)
            for name, one in schema.items()
            if name != "logicalType"
        }
    return schema

"""What a user writes of a topic: which fields of its events say what.

Laws of this file:
- A source holds no state and does no I/O. Every mistake is one `DefinitionError` that names the place.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from penstock.features.define.durations import milliseconds
from penstock.stream.definition_error import DefinitionError, duration_ms

Format = Literal["json", "avro", "protobuf", "jsonschema"]
Nulls = Literal["dead-letter", "ignore", "key"]
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}\Z")


@dataclass(frozen=True)
class Source:
    """A Kafka topic of events, owned by its producers: JSON objects, unless `format` says otherwise.

    `id` names the field that identifies an event (a sample and its label share it), `time` the event time (milliseconds since
    the epoch or RFC 3339), `key` the entity: a field, or a tuple of fields for a compound key. The key of a topic's records is
    that field's text, or a compound key's parts, percent-encoded and joined by `|`. A record more than `grace` behind its own
    partition's newest event time is a dead letter, and so is one more than `ahead` after its own Kafka timestamp.

    `format` is json, or avro, protobuf or jsonschema as serializers write that register their schemas: each record begins with
    its schema's id. `schema` is the text of a reader's schema in Avro, whose defaults and aliases fill in what an older schema
    lacks; with `registry=False` it is the schema that every record was written under without an id, in Avro or Protobuf (the
    first message of the file). `envelope="debezium"` takes the row out of a change event; with `deletes="event"` a deleted row is
    an event as well, otherwise it is passed over. `nulls` says what a null value is: a dead letter (without an envelope), nothing
    ("ignore", with an envelope), or an event whose fields are in the record's key ("key").
    """

    name: str
    id: str
    time: str
    key: str | tuple[str, ...]
    grace: str = "1d"
    ahead: str = "1h"
    format: Format = "json"
    schema: str = ""
    registry: bool = True
    envelope: Literal["debezium"] | None = None
    deletes: Literal["ignore", "event"] = "ignore"
    nulls: Nulls | None = None

    def __post_init__(self) -> None:
        if not _TOPIC.match(self.name):
            raise DefinitionError(
                f"Source {self.name!r}: not a Kafka topic name (letters, digits, '.', '_' and '-')"
            )
        for part in ("id", "time"):
            if not isinstance(getattr(self, part), str) or not getattr(self, part):
                raise DefinitionError(f"Source {self.name!r}: {part} must name a field of its events")
        self._check_key()
        duration_ms(self.grace, f"Source {self.name!r}, grace")
        duration_ms(self.ahead, f"Source {self.name!r}, ahead")
        self._check_format()

    def _check_key(self) -> None:
        """Refuse a key that names no entity; a list, as JSON has it, becomes a tuple, and a tuple of one its field."""
        parts = (self.key,) if isinstance(self.key, str) else self.key
        named = isinstance(parts, tuple | list) and parts and all(isinstance(p, str) and p for p in parts)
        if not named or len(set(parts)) != len(parts):
            raise DefinitionError(
                f"Source {self.name!r}: key must name a field of its events, or be a tuple of different fields, not {self.key!r}"
            )
        object.__setattr__(self, "key", parts[0] if len(parts) == 1 else tuple(parts))

    def _check_format(self) -> None:
        """Refuse what cannot be read; `nulls` becomes what it is without a word."""
        where = f"Source {self.name!r}"
        wrong = ""
        if self.format not in get_args(Format):
            wrong = f"format must be one of {', '.join(get_args(Format))}, not {self.format!r}"
        elif not isinstance(self.registry, bool):
            wrong = f"registry must be True or False, not {self.registry!r}"
        elif self.envelope not in (None, "debezium"):
            wrong = f'envelope must be "debezium" or None, not {self.envelope!r}'
        elif self.deletes not in ("ignore", "event"):
            wrong = f'deletes must be "ignore" or "event", not {self.deletes!r}'
        elif self.deletes != "ignore" and self.envelope is None:
            wrong = 'deletes is said of rows in an envelope: give envelope="debezium"'
        elif self.nulls not in (None, *get_args(Nulls)):
            wrong = f"nulls must be one of {', '.join(get_args(Nulls))}, not {self.nulls!r}"
        elif not isinstance(self.schema, str):
            wrong = 'schema must be the text of a schema, such as Path(__file__).with_name("card.avsc").read_text()'
        elif self.schema and not (self.format == "avro" or (self.format == "protobuf" and not self.registry)):
            wrong = f"schema says nothing of {self.format} with these settings: it is Avro's, or Protobuf's with registry=False"
        elif not self.registry and self.format in ("json", "jsonschema"):
            wrong = 'without a registry plain JSON has no schema at all: leave registry out, and say format="json"'
        elif not self.registry and not self.schema:
            wrong = "registry=False needs the text of the schema that every record was written under: give schema="
        elif self.format == "avro" and self.schema:
            wrong = _no_avro(self.schema)
        if wrong:
            raise DefinitionError(f"{where}: {wrong}")
        if self.nulls is None:
            object.__setattr__(self, "nulls", "dead-letter" if self.envelope is None else "ignore")

    @property
    def plain(self) -> bool:
        """Whether its records are JSON objects, as they stand."""
        return self.format == "json" and self.envelope is None and self.nulls == "dead-letter"

    @property
    def by_id(self) -> bool:
        """Whether each record begins with the id of its schema in a registry."""
        return self.format != "json" and self.registry

    @property
    def sentence(self) -> str:
        """What its records are, in words."""
        names = {"json": "JSON objects", "avro": "Avro", "protobuf": "Protobuf", "jsonschema": "JSON objects"}
        said = names[self.format]
        if self.by_id:
            said += " behind the id of their schema in the registry"
        elif self.format != "json":
            said += " under the schema of the definition"
        if self.envelope is not None:
            deleted = (
                "a deleted row is an event" if self.deletes == "event" else "deleted rows are passed over"
            )
            said += f", in Debezium's envelopes ({deleted})"
        if self.nulls == "key":
            said += "; a null value's fields are in its key"
        return said

    def describe(self) -> dict[str, Any]:
        """The source as plain data; of how it is read only what is not as usual."""
        said = {one.name: getattr(self, one.name) for one in fields(self)}
        said["key"] = self.key if isinstance(self.key, str) else list(self.key)
        usual = {one.name: one.default for one in fields(self) if one.name in _READING}
        usual["nulls"] = "dead-letter" if self.envelope is None else "ignore"
        return {name: value for name, value in said.items() if name not in usual or usual[name] != value}

    @property
    def key_fields(self) -> tuple[str, ...]:
        """The fields that name the entity, in order."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def grace_ms(self) -> int:
        """How far behind its partition's newest event a record may be, in ms."""
        return milliseconds(self.grace)

    @property
    def ahead_ms(self) -> int:
        """How far an event time may lie after the record's own timestamp, in ms."""
        return milliseconds(self.ahead)


_READING = ("format", "schema", "registry", "envelope", "deletes", "nulls")


def _no_avro(text: str) -> str:
    """Why a text is no schema of records, as far as JSON tells; empty if it may be one."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return "schema is no Avro schema: its text is no JSON"
    record = (
        isinstance(found, dict) and found.get("type") == "record" and isinstance(found.get("fields"), list)
    )
    return "" if record else "schema must be an Avro schema of type record, with fields"

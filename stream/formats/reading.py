"""The reader of a source: its format, where its schemas come from, its envelope, and what its null values mean.

Laws of this file:
- One reader is made for each schema, and kept. What cannot be read says under which schema.
- Beside its fields an event may have `__timestamp`, its record's own time in Kafka in ms, and `__position`, which no other
  record of the topic has: "partition-offset".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from penstock.stream.definition_error import DefinitionError
from penstock.stream.formats.avro import AvroReader, UnusableSchema
from penstock.stream.formats.debezium import unwrapped
from penstock.stream.formats.missing import extra
from penstock.stream.formats.nesting import MOST_NESTED, TOO_DEEP, too_deep
from penstock.stream.formats.protobuf import ProtobufFile, ProtobufReader
from penstock.stream.formats.registry import Schema
from penstock.stream.formats.schemas import Schemas, own_schemas
from penstock.stream.formats.unread import EventReader, Ignored, RegistryUnavailable, Unreadable
from penstock.stream.formats.wire import HEADER_BYTES, message_place, schema_id, schema_id_of
from penstock.stream.log.protocol import Record
from penstock.stream.source import Source

_KINDS = {"avro": "AVRO", "protobuf": "PROTOBUF", "jsonschema": "JSON"}
_LIBRARIES = {"avro": ("fastavro",), "protobuf": ("google.protobuf.message_factory", "grpc_tools")}
_decode_json = msgspec.json.decode
_CONNECT = {"schema", "payload"}  # as Connect's JSON converter wraps a value
TIMESTAMP, POSITION = "__timestamp", "__position"
Body = Callable[[bytes], Any]


def reader_of(source: Source, schemas: Schemas | None = None) -> EventReader | None:
    """What reads a source's records; None for plain JSON, which is decoded as it is.

    Without `schemas` ids are asked for at the registry that the environment names. Raises `SettingError` where it names none,
    or a library is missing, and `DefinitionError` for a schema of the source's own that is none.
    """
    if source.plain:
        return None
    _check_libraries(source)
    try:
        return SourceReader(source, own_schemas() if source.by_id and schemas is None else schemas)
    except UnusableSchema as error:
        raise DefinitionError(f"Source {source.name!r}: schema: {error}") from None


def check_readable(source: Source) -> None:
    """Refuse what no registry could help: a schema of the source's own that is none, a library that is missing.

    Raises `DefinitionError`.
    """
    if source.by_id:
        _check_libraries(source)
    else:
        reader_of(source)


def _check_libraries(source: Source) -> None:
    for module in _LIBRARIES.get(source.format, ()):
        extra(module)


class SourceReader:
    """Reads the records of one source; see `EventReader`."""

    def __init__(self, source: Source, schemas: Schemas | None) -> None:
        self.source, self.schemas = source, schemas
        self.wanted: frozenset[str] | None = None
        self.made: dict[int, Any] = {}
        self.readers: dict[tuple[int, tuple[int, ...]], Any] = {}
        self.seen: set[int] = set()
        self.fixed: Any = None
        if source.format in ("avro", "protobuf") and not source.by_id:
            self.fixed = self._reader(self._made(Schema(0, _KINDS[source.format], source.schema, {})), (0,))
        self.timestamp = self.position = True
        #: A JSON object behind an id is decoded by whoever knows its fields, as long as no field is added to it.
        self.in_json = False
        self.headers: set[bytes] = set()
        #: The short way of records in Avro that are events as they stand, by the header of each schema.
        self.straight = False
        self.by_header: dict[bytes, Body] = {}

    def only(self, names: Iterable[str] | None) -> None:
        """Read these fields and no others from now on."""
        self.wanted = None if names is None else frozenset(names)
        self.timestamp = self.wanted is None or TIMESTAMP in self.wanted
        self.position = self.wanted is None or POSITION in self.wanted
        as_it_stands = (
            self.wanted is not None
            and self.source.envelope is None
            and not self.timestamp
            and not self.position
        )
        self.in_json = as_it_stands and self.source.format == "jsonschema"
        self.straight = as_it_stands and self.source.format == "avro" and self.source.by_id
        for one in [*self.readers.values(), self.fixed]:
            if isinstance(one, AvroReader | ProtobufReader):
                one.only(self._of_rows)

    @property
    def _of_rows(self) -> frozenset[str] | None:
        """The fields of a body that are needed: of an envelope all, since a row lies inside."""
        return None if self.source.envelope else self.wanted

    def prepare(self, records: Iterable[Record]) -> None:
        """Learn every schema that these records were written under."""
        if not self.source.by_id or self.schemas is None:
            return
        found = {schema_id_of(record.value) for record in records}
        if self.source.nulls == "key":
            found |= {schema_id_of(record.key) for record in records if record.value is None}
        new = [number for number in found if number is not None and number not in self.seen]
        if new:
            self.schemas.learn(sorted(new))
            for number in new:
                if number in self.schemas.known:
                    self._prepare(number)
                    self.seen.add(number)

    def _prepare(self, number: int) -> None:
        """Make what reads a schema. What this machine lacks for it is no record's fault: raises `RegistryUnavailable`."""
        try:
            self._schema(number)
        except Unreadable:
            pass  # told with each of its records
        except OSError as error:
            raise RegistryUnavailable(
                f"schema {number} cannot be compiled here ({error}): there must be room in the folder of temporary files"
            ) from None

    def body(self, value: bytes) -> bytes | None:
        """The JSON object that stands in a value behind its schema's id, where it is one; see `EventReader`."""
        if not self.in_json:
            return None
        if value[:HEADER_BYTES] not in self.headers:
            self._reader_of(schema_id(value), ())
            self.headers.add(value[:HEADER_BYTES])
        return value[HEADER_BYTES:]

    def event(self, record: Record) -> Mapping[str, Any]:
        """A record's event in plain values."""
        value = record.value
        if self.straight and value is not None:
            read = self.by_header.get(value[:HEADER_BYTES])
            if read is not None:
                try:
                    found: Mapping[str, Any] = read(value[HEADER_BYTES:])
                except Unreadable as error:
                    raise Unreadable(f"not readable under schema {schema_id(value)}: {error}") from None
                return found
        return self._event(record)

    def whole(self, record: Record) -> Mapping[str, Any]:
        """The same with all fields."""
        return self._event(record, whole=True)

    def _event(self, record: Record, *, whole: bool = False) -> dict[str, Any]:
        if record.value is None:
            event = self._of_null(record, whole)
        else:
            event = self._value(record.value, whole)
            if self.source.envelope is not None:
                if not isinstance(event, Mapping):
                    raise Unreadable("no envelope of Debezium's: its value is no object")
                event = unwrapped(event, deletes=self.source.deletes == "event")
        if not isinstance(event, dict):
            raise Unreadable(f"an event is an object with fields, and this is {type(event).__name__}")
        if self.timestamp:
            event[TIMESTAMP] = record.timestamp_ms
        if self.position:
            event[POSITION] = f"{record.partition}-{record.offset}"
        return event

    def _of_null(self, record: Record, whole: bool) -> Any:
        """What a null value says, as the source declares it."""
        if self.source.nulls == "ignore":
            raise Ignored
        if self.source.nulls != "key":
            raise Unreadable(
                'null value (a tombstone); the source says nothing of them, such as nulls="ignore"'
            )
        if record.key is None:
            raise Unreadable("null value and no key to take fields from")
        parts = self.source.key_fields
        found = self._of_key(record.key, whole)
        if isinstance(found, dict):
            inner = found.get("payload") if found.keys() == _CONNECT else None
            return found if inner is None else inner
        if len(parts) > 1:
            raise Unreadable(
                f"null value and a key that is one value; the source's key has {len(parts)} parts"
            )
        return {parts[0]: found}

    def _of_key(self, key: bytes, whole: bool) -> Any:
        """What a key holds; in plain JSON, what is neither an object nor text in quotes is taken for text as it stands."""
        try:
            found = self._value(key, whole)
            if self.source.format != "json" or isinstance(found, dict | str):
                return found
        except Unreadable:
            if self.source.format != "json":
                raise
        try:
            return key.decode()
        except UnicodeDecodeError:
            raise Unreadable("null value and a key that is no text") from None

    def _value(self, value: bytes, whole: bool) -> Any:
        """What a value or a key holds."""
        if not self.source.by_id:
            if self.fixed is None:
                return _json(value)
            return self.fixed.whole(value) if whole else self.fixed.value(value)
        number, start = schema_id(value), HEADER_BYTES
        place: tuple[int, ...] = ()
        if self.source.format == "protobuf":
            place, start = message_place(value)
        reader = self._reader_of(number, place)
        if isinstance(reader, AvroReader) and reader.is_record:
            self.by_header[value[:HEADER_BYTES]] = reader.value
        try:
            return reader.whole(value[start:]) if whole else reader.value(value[start:])
        except Unreadable as error:
            raise Unreadable(f"not readable under schema {number}: {error}") from None

    def _reader_of(self, number: int, place: tuple[int, ...]) -> Any:
        """The reader of one schema, and for Protobuf of one of its messages."""
        reader = self.readers.get((number, place))
        if reader is None:
            made = self._schema(number)
            try:
                reader = self.readers[number, place] = self._reader(made, place)
            except Unreadable as error:
                raise Unreadable(f"not readable under schema {number}: {error}") from None
        return reader

    def _schema(self, number: int) -> Any:
        """What was made of a schema; why nothing could be made of it is kept, too, and raised again."""
        made = self.made.get(number)
        if made is None:
            assert self.schemas is not None
            try:
                made = self._made(self.schemas.of(number))
            except UnusableSchema as error:
                made = error
            self.made[number] = made
        if isinstance(made, UnusableSchema):
            raise Unreadable(f"schema {number} cannot be used: {made}")
        return made

    def _made(self, schema: Schema) -> Any:
        """A reader of one schema, or for Protobuf its file, whose messages have readers of their own."""
        wanted = _KINDS[self.source.format]
        if schema.kind != wanted:
            raise UnusableSchema(
                f"it is of type {schema.kind}, and topic {self.source.name!r} is declared as {wanted}"
            )
        if wanted == "AVRO":
            return AvroReader(schema.text, schema.referred, self.source.schema if self.source.by_id else "")
        return ProtobufFile(schema.text, schema.referred) if wanted == "PROTOBUF" else JsonReader()

    def _reader(self, made: Any, place: Sequence[int]) -> Any:
        found = made.reader(place) if isinstance(made, ProtobufFile) else made
        if isinstance(found, AvroReader | ProtobufReader):
            found.only(self._of_rows)
        return found


class JsonReader:
    """Reads bodies of JSON."""

    def value(self, body: bytes) -> Any:
        """What a body holds. Raises `Unreadable`."""
        return _json(body)

    whole = value


def _json(value: bytes) -> Any:
    try:
        found = _decode_json(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(f"not JSON: {error}") from None
    except RecursionError:
        raise Unreadable(f"not JSON: {TOO_DEEP}") from None
    if len(value) > MOST_NESTED and too_deep(value):
        raise Unreadable(f"not JSON: {TOO_DEEP}")
    return found

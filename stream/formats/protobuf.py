"""Protobuf's binary form under one message of one file → plain values.

| Written as                                        | In the event                                              |
|---------------------------------------------------|-----------------------------------------------------------|
| a field without presence that is not written      | its default: 0, false, "", an empty list (as Protobuf has it) |
| a field with presence (`optional`, a message, one of a oneof) that is not written | null, or the default that proto2 gives it |
| an enumeration                                    | its name; the number of a value that the schema lacks     |
| Timestamp, Duration                               | whole milliseconds, the nearest, halves to even           |
| the wrappers, such as DoubleValue                 | their value, or null                                      |
| Struct, Value, ListValue                          | what they hold                                            |
| Confluent's Decimal                               | as Avro's decimal                                         |

Fields have the names of the `.proto` file. Fields that the schema lacks are left out.

Laws of this file:
- A body that is none of this message is `Unreadable`, as far as Protobuf can tell: one that is cut between two fields is a
  shorter message, whose missing fields have their defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from penstock.stream.formats import values
from penstock.stream.formats.missing import extra
from penstock.stream.formats.proto_files import file_of
from penstock.stream.formats.unread import Unreadable
from penstock.stream.formats.values import Convert

_WRAPPERS = {
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String")
}
_PLAIN_JSON = {"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"}


class ProtobufFile:
    """The messages of one file. Raises `UnusableSchema`."""

    def __init__(self, text: str, referred: Mapping[str, str]) -> None:
        self.file = file_of(text, referred)

    def reader(self, place: Sequence[int]) -> ProtobufReader:
        """The reader of the message at this place. Raises `Unreadable` where there is none."""
        messages, found = list(self.file.message_types_by_name.values()), None
        for step in place:
            if not 0 <= step < len(messages):
                raise Unreadable(f"its schema has no message at place {list(place)}")
            found = messages[step]
            messages = list(found.nested_types)
        return ProtobufReader(found)


class ProtobufReader:
    """Reads bodies of one message."""

    def __init__(self, message: Any) -> None:
        self.message = message
        self.parse = extra("google.protobuf.message_factory").GetMessageClass(message).FromString
        self.errors = (extra("google.protobuf.message").DecodeError, ValueError, RecursionError)
        self.required = any(field.is_required for field in message.fields)
        self.conversions = Conversions()
        self.fields = self.conversions.fields(message)
        self.every = self.fields

    def only(self, names: Iterable[str] | None) -> None:
        """Read these fields and no others from now on."""
        wanted = None if names is None else frozenset(names)
        self.fields = [one for one in self.every if wanted is None or one[0] in wanted]

    def value(self, body: bytes) -> dict[str, Any]:
        """What a body holds. Raises `Unreadable`."""
        try:
            message = self.parse(body)
        except self.errors as error:
            raise Unreadable(f"it is no {self.message.full_name} ({str(error)[:120]})") from None
        if self.required and not message.IsInitialized():
            raise Unreadable(
                f"a {self.message.full_name} without {', '.join(message.FindInitializationErrors())}"
            )
        return read(message, self.fields)

    def whole(self, body: bytes) -> dict[str, Any]:
        """The same with all fields."""
        return read(self.parse(body), self.every)


Field = tuple[str, bool, Convert | None]


def read(message: Any, fields: Iterable[Field]) -> dict[str, Any]:
    """These fields of a message."""
    event: dict[str, Any] = {}
    for name, may_lack, convert in fields:
        if may_lack and not message.HasField(name):
            event[name] = None
            continue
        value = getattr(message, name)
        event[name] = value if convert is None else convert(value)
    return event


class Conversions:
    """Makes the conversion of each message once."""

    def __init__(self) -> None:
        self.made: dict[str, list[Field]] = {}

    def fields(self, message: Any) -> list[Field]:
        """The fields of a message, with how each is read."""
        if message.full_name not in self.made:
            found = self.made[message.full_name] = []
            for field in message.fields:
                may_lack = field.has_presence and not field.has_default_value
                found.append((field.name, may_lack, self._of(field)))
        return self.made[message.full_name]

    def _of(self, field: Any) -> Convert | None:
        of = field.message_type
        if of is not None and of.GetOptions().map_entry:
            inner = self._of_one(of.fields_by_name["value"])
            return lambda value: {
                str(name): one if inner is None else inner(one) for name, one in value.items()
            }
        convert = self._of_one(field)
        if field.is_repeated:
            return list if convert is None else lambda value: [convert(one) for one in value]
        return convert

    def _of_one(self, field: Any) -> Convert | None:
        if field.type == field.TYPE_BYTES:
            return values.base64
        if field.type == field.TYPE_ENUM:
            names = {number: one.name for number, one in field.enum_type.values_by_number.items()}
            return lambda value: names.get(value, value)
        return None if field.message_type is None else self._of_message(field.message_type)

    def _of_message(self, message: Any) -> Convert:
        name = message.full_name
        if name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
            return lambda value: values.whole(value.seconds * 1_000_000_000 + value.nanos, 1_000_000)
        if name in _WRAPPERS:
            return _value_of
        if name == "google.protobuf.BytesValue":
            return lambda value: values.base64(value.value)
        if name in _PLAIN_JSON:
            as_json: Callable[[Any], Any] = extra("google.protobuf.json_format").MessageToDict
            return as_json
        if name == "confluent.type.Decimal":
            return lambda value: values.scaled(int.from_bytes(value.value, "big", signed=True), value.scale)
        fields = self.fields(message)  # the list that is filled, also of a message that holds itself
        return lambda value: read(value, fields)


def _value_of(wrapper: Any) -> Any:
    return wrapper.value

"""Bytes of a user's topic → a checked event, or the reason why it cannot be used.

Laws of this file:
- Every record becomes exactly one item; nothing raises. What is wrong is said in words a producer understands.
- A number, of an input or of a field that features compute with, is finite and at most 1e75 (`kinds.MOST_FIELD` says why). There
  JSON's true and false are the numbers 1 and 0; both engines take them as such, and an input keeps its own in the sample.
- Lateness is judged against the record's own partition's newest event time, so it is a function of that partition's log alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from math import isfinite
from typing import Annotated, Any, NamedTuple, TypedDict

import msgspec

from penstock.features.define.kinds import MOST_FIELD
from penstock.stream.definitions import DefinitionError, Pipeline, Source
from penstock.stream.featurize.compiled import compiled
from penstock.stream.featurize.model_trial import text_inputs
from penstock.stream.featurize.units_of_time import hint
from penstock.stream.formats.nesting import MOST_NESTED, TOO_DEEP, too_deep
from penstock.stream.formats.unread import EventReader, Ignored, Unreadable
from penstock.stream.formats.wire import schema_id_of
from penstock.stream.log.protocol import Record
from penstock.stream.look import fields_in, fields_of
from penstock.stream.shards import shard_field

MAX_EVENT_BYTES = 900_000
MAX_KEY_CHARACTERS = 512
_KEY_NUMBERS_END = 10**MAX_KEY_CHARACTERS
LATE = "(grace) behind the partition's newest"  # in the reason of a late record, which is counted by it
BEFORE = "older than where the topics take over from files"  # what is skipped, as no dead letter
END_OF_TIME_MS = 253_402_300_800_000  # the year 10000, past which RFC 3339 has no dates
MOST_WHOLE_INPUT = 2**63 - 1
Event = dict[str, Any]


class Item(NamedTuple):
    """One source record, ready for the merge.

    `at` is its event time (for a rejected record, its partition's newest so far, so that it stays in its place); `newest_at` the
    partition's newest event time including it; at most one of `event` and `reject` is set, neither where a record says nothing.
    """

    at: int
    source: int
    partition: int
    offset: int
    newest_at: int
    id: str
    event: Event | None
    reject: str | None
    record: Record


class Rejected(ValueError):
    """Why a record cannot be used, in a producer's words."""


class SourceDecoder:
    """Decodes and checks the records of one source of a pipeline. Between calls it holds a count for the health page.

    With `asked` they are events that somebody asks about, in JSON: nobody can know their labels yet, so the label's fields may be
    missing. `reader` reads what is not plain JSON; with `rows` everything is, as rows of files are, whatever the topic's format.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        source: Source,
        reader: EventReader | None = None,
        *,
        asked: bool = False,
        rows: bool = False,
    ) -> None:
        self.source, self.reader = source, None if asked or rows else reader
        if not (asked or rows or source.plain or reader):
            raise DefinitionError(f"topic {source.name!r} is not in plain JSON, and this reads nothing else")
        self.index = pipeline.sources.index(source)
        types = field_types(pipeline, source, asked=asked)
        self.texts = [name for name, kind in types.items() if kind in (_KEY, _NUMBER_KEY, _ID)]
        carried = pipeline.carried if source == pipeline.predict else []
        self.texts += [name for name in carried if name not in self.texts]
        inputs = pipeline.inputs if source == pipeline.predict else ()
        of_samples = (*inputs, *carried)
        self.named_inputs = [name for name in of_samples if types[name] in (_KEY, _NUMBER_KEY, _ID, _TIME)]
        labels_anything = not asked and pipeline.label.source == source and pipeline.label.reads_any_field
        self.decode_any = msgspec.json.Decoder(dict[str, Any]).decode if labels_anything else None
        self.type = _event_type(types)
        self.decode_event: Callable[[bytes], Event] = msgspec.json.Decoder(self.type).decode
        if self.reader is not None:
            self.reader.only(None if labels_anything else types)
        self.time, self.grace_ms = source.time, source.grace_ms
        self.ahead_ms = source.ahead_ms
        self.out_of_order = 0
        # Records whose other fields are read, too, or that are not plain JSON, are few pipelines'.
        self._compiled = compiled() if self.decode_any is None and self.reader is None else None

    def items(self, records: Iterable[Record], newest_at: int) -> list[Item]:
        """The records of one partition, in offset order, given the partition's newest event time before them (-1 if none).

        Raises `RegistryUnavailable` where nobody can say what a schema is; nothing is counted then.
        """
        if self._compiled is not None:
            native: list[Item] = self._compiled.items(self, records, newest_at)
            return native
        if self.reader is not None:
            records = list(records)
            self.reader.prepare(records)
        found: list[Item] = []
        for record in records:
            item = self.item(record, newest_at)
            newest_at = item.newest_at
            found.append(item)
        return found

    def item(self, record: Record, newest_at: int) -> Item:
        """One record's, given its partition's newest event time before it."""
        index = self.index
        try:
            event, at = self.decode(record, newest_at)
            event_id = event[self.source.id]
            text = event_id if type(event_id) is str else str(event_id)
        # Whatever a record provokes is that record's: the worker goes on with the next.
        except Exception as error:
            why: str | None = f"{type(error).__name__}: {error}"
            if type(error) in (Rejected, Ignored):
                why = str(error) if type(error) is Rejected else None
            return Item(newest_at, index, record.partition, record.offset, newest_at, "", None, why, record)
        if at > newest_at:
            newest_at = at
        elif at < newest_at:
            self.out_of_order += 1
        return Item(at, index, record.partition, record.offset, newest_at, text, event, None, record)

    def decode(self, record: Record, newest_at: int) -> tuple[Event, int]:
        """One record's event and event time in ms; raises `Rejected` with the reason, or `Ignored`."""
        value = record.value if self.reader is None else self._json(record)
        if value is None and self.reader is not None:
            event = self._read(record)
        else:
            if value is None:
                raise Rejected("null value (a tombstone), and no view of this source declares what to delete")
            if len(value) > MAX_EVENT_BYTES:
                raise Rejected(f"{len(value)} bytes, above the limit of {MAX_EVENT_BYTES}")
            try:
                event = self.decode_event(value)
                if self.decode_any is not None:
                    event = {**self.decode_any(value), **event}
            except msgspec.ValidationError as error:
                raise Rejected(f"{error}{self._under(record)}") from None
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise Rejected(f"not a JSON object: {error}{self._under(record)}") from None
            except RecursionError:
                raise Rejected(f"not a JSON object: {TOO_DEEP}{self._under(record)}") from None
            if len(value) > MOST_NESTED and too_deep(value):
                raise Rejected(f"not a JSON object: {TOO_DEEP}{self._under(record)}")
        for name in self.texts:
            text = event[name]
            if type(text) is str and len(text) > MAX_KEY_CHARACTERS:
                raise Rejected(
                    f"field {name!r} has {len(text)} characters, above the limit of {MAX_KEY_CHARACTERS}"
                )
            if type(text) is int and not -_KEY_NUMBERS_END < text < _KEY_NUMBERS_END:
                raise Rejected(f"field {name!r} has more than {MAX_KEY_CHARACTERS} digits")
        for name in self.named_inputs:
            if type(event[name]) is int and abs(event[name]) > MOST_WHOLE_INPUT:
                raise Rejected(
                    f"field {name!r} is an input or a segment and has more digits than a model's numbers"
                )
        at = event[self.time]
        if type(at) is not int or not 0 <= at < END_OF_TIME_MS:
            at = event_time(at, self.time)
        if at > record.timestamp_ms + self.ahead_ms:
            raise Rejected(
                f"event time {at} lies more than {self.source.ahead} after the record's own timestamp {record.timestamp_ms}"
            )
        if at < newest_at - self.grace_ms:
            raise Rejected(f"event time {at} is more than {self.source.grace} {LATE}, {newest_at}{hint(at)}")
        return event, at

    def fields(self, record: Record) -> dict[str, str]:
        """The names and JSON types of all fields of a record that gave an event; raises `ValueError` where it gives none."""
        return fields_of(record.value or b"") if self.reader is None else fields_in(self.reader.whole(record))

    def _json(self, record: Record) -> bytes | None:
        """The JSON object in a record that begins with its schema's id; None of what else is not plain JSON."""
        value = record.value
        if value is None or self.reader is None:
            return None
        if len(value) > MAX_EVENT_BYTES:
            raise Rejected(f"{len(value)} bytes, above the limit of {MAX_EVENT_BYTES}")
        try:
            return self.reader.body(value)
        except Unreadable as error:
            raise Rejected(str(error)) from None

    def _under(self, record: Record) -> str:
        """Under which schema a record was written, as a reason says it."""
        by_id = self.source.by_id and self.reader is not None
        return f" (schema {schema_id_of(record.value or record.key)})" if by_id else ""

    def _read(self, record: Record) -> Event:
        """The declared fields of what is not JSON, and all others where the label may read them."""
        assert self.reader is not None
        try:
            found = self.reader.event(record)
        except Unreadable as error:
            raise Rejected(str(error)) from None
        try:
            event: Event = msgspec.convert(found, self.type)
        except msgspec.ValidationError as error:
            raise Rejected(f"{error}{self._under(record)}") from None
        return event if self.decode_any is None else {**found, **event}


_ID = str | int
_TIME = int | float | str
_KEY = str | int | None
_NUMBER_KEY = int | None  # of an input in which the model takes no text
_FINITE = Annotated[float, msgspec.Meta(ge=-MOST_FIELD, le=MOST_FIELD)]
_NUMBER = _FINITE | bool | None
_ANY = _FINITE | str | bool | None
_FIELD_KINDS: dict[str, Any] = {"number": _NUMBER, "text": str | None, "any": _ANY}


def _event_type(types: dict[str, Any]) -> Any:
    """A TypedDict of these fields, all required: msgspec decodes into a plain dict and checks it."""
    return TypedDict("Event", types)  # type: ignore[operator]


def field_types(pipeline: Pipeline, source: Source, *, asked: bool = False) -> dict[str, Any]:
    """The declared fields of one source and what each may hold. An input is text only if the model takes text there.

    Those of its label are left out with `asked`.
    """
    types: dict[str, Any] = {}
    if source == pipeline.label.source and not asked:
        types.update({name: Any for name in pipeline.label.fields})
    texts = text_inputs(pipeline) if source == pipeline.predict else set()
    numbers = set(pipeline.inputs) - texts if source == pipeline.predict else set()
    if source == pipeline.predict:
        types.update({name: _ANY if name in texts else _NUMBER for name in pipeline.inputs})
    for view in pipeline.views:
        if view.source.name == source.name:
            for name, kind in view.field_types.items():
                types[name] = _NUMBER if kind == "any" and name in numbers else _FIELD_KINDS[kind]
    for view in pipeline.views:
        if view.source.name == source.name or source == pipeline.predict:
            types.update({name: _KEY for name in view.key_fields})
    if source in (pipeline.predict, pipeline.label.source):
        types.update(dict.fromkeys(pipeline.label.key_fields, _KEY))
    types.update(dict.fromkeys(source.key_fields, _KEY))
    if (sharded := shard_field(pipeline, source)) is not None:
        types[sharded] = _KEY
    if source == pipeline.predict:
        types.update({name: _ANY for name in pipeline.carried if types.get(name, Any) is Any})
    types.update({name: _NUMBER_KEY for name in numbers if types[name] is _KEY})
    types[source.time] = _TIME
    types[source.id] = _ID
    return types


def event_time(value: int | float | str, name: str) -> int:
    """Milliseconds since the epoch of a number or RFC 3339 text; raises `Rejected`, naming the field."""
    if type(value) is int:
        at = value
    elif isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise Rejected(
                f"field {name!r}: {value[:40]!r} is neither milliseconds since the epoch nor RFC 3339"
            ) from None
        if moment.tzinfo is None:
            raise Rejected(f"field {name!r}: {value!r} has no time zone; write it with Z or an offset")
        at = round(moment.timestamp() * 1000)
    elif isfinite(value):
        at = round(value)
    else:
        raise Rejected(f"field {name!r} is not a finite number")
    if not 0 <= at < END_OF_TIME_MS:
        raise Rejected(
            f"field {name!r}: {at} ms is not between 1970 and 9999{hint(at) or '; is it in another unit?'}"
        )
    return at

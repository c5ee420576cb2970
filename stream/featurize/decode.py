"""Bytes of a user's topic → a checked event, or the reason why it cannot be used.

Laws of this file:
- Every record becomes exactly one item; nothing raises. What is wrong is said in words a producer understands.
- Lateness is judged against the record's own partition's newest event time, so it is a function of that partition's log alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from math import isfinite
from typing import Any, NamedTuple, TypedDict

import msgspec

from penstock.stream.definitions import Pipeline, Source
from penstock.stream.featurize.units_of_time import hint
from penstock.stream.log.protocol import Record

MAX_EVENT_BYTES = 900_000
MAX_KEY_CHARACTERS = 512
LATE = "(grace) behind the partition's newest"  # in the reason of a late record, which is counted by it
END_OF_TIME_MS = 253_402_300_800_000  # the year 10000, past which RFC 3339 has no dates
Event = dict[str, Any]


class Item(NamedTuple):
    """One source record, ready for the merge.

    `at` is its event time (for a rejected record, its partition's newest so far, so that it stays in its place); `newest_at` the
    partition's newest event time including it; exactly one of `event` and `reject` is set.
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
    """Decodes and checks the records of one source of a pipeline. Between calls it holds a count for the health page."""

    def __init__(self, pipeline: Pipeline, source: Source) -> None:
        self.source = source
        self.index = pipeline.sources.index(source)
        types = field_types(pipeline, source)
        counted = {name for view in pipeline.views if view.source.name == source.name for name in view.fields}
        self.booleans = [name for name in counted if types[name] is _NUMERIC_INPUT]
        self.texts = [name for name, kind in types.items() if kind in (_KEY, _ID)]
        labels_anything = pipeline.label.source == source and not pipeline.label.fields
        self.decode_any = msgspec.json.Decoder(dict[str, Any]).decode if labels_anything else None
        self.decode_event: Callable[[bytes], Event] = msgspec.json.Decoder(_event_type(types)).decode
        self.time, self.grace_ms = source.time, source.grace_ms
        self.ahead_ms = source.ahead_ms
        self.out_of_order = 0

    def items(self, records: Iterable[Record], newest_at: int) -> list[Item]:
        """The records of one partition, in offset order, given the partition's newest event time before them (-1 if none)."""
        found: list[Item] = []
        index = self.index
        for record in records:
            try:
                event, at = self.decode(record, newest_at)
            except Rejected as error:
                why = str(error)
                found.append(
                    Item(newest_at, index, record.partition, record.offset, newest_at, "", None, why, record)
                )
                continue
            if at > newest_at:
                newest_at = at
            elif at < newest_at:
                self.out_of_order += 1
            event_id = event[self.source.id]
            text = event_id if type(event_id) is str else str(event_id)
            found.append(
                Item(at, index, record.partition, record.offset, newest_at, text, event, None, record)
            )
        return found

    def decode(self, record: Record, newest_at: int) -> tuple[Event, int]:
        """One record's event and event time in ms; raises `Rejected` with the reason."""
        value = record.value
        if value is None:
            raise Rejected("null value (a tombstone), and no view of this source declares what to delete")
        if len(value) > MAX_EVENT_BYTES:
            raise Rejected(f"{len(value)} bytes, above the limit of {MAX_EVENT_BYTES}")
        try:
            event = self.decode_event(value)
            if self.decode_any is not None:
                event = {**self.decode_any(value), **event}
        except msgspec.ValidationError as error:
            raise Rejected(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Rejected(f"not a JSON object: {error}") from None
        for name in self.booleans:
            if type(event[name]) is bool:
                event[name] = float(event[name])
        for name in self.texts:
            text = event[name]
            if type(text) is str and len(text) > MAX_KEY_CHARACTERS:
                raise Rejected(
                    f"field {name!r} has {len(text)} characters, above the limit of {MAX_KEY_CHARACTERS}"
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


_ID = str | int
_TIME = int | float | str
_KEY = str | int | None
_NUMBER = float | None
_INPUT = float | str | bool | None
_FIELD_KINDS: dict[str, Any] = {"number": float | None, "text": str | None, "any": _INPUT}
_NUMERIC_INPUT = float | bool | None


def _event_type(types: dict[str, Any]) -> Any:
    """A TypedDict of these fields, all required: msgspec decodes into a plain dict and checks it."""
    return TypedDict("Event", types)  # type: ignore[operator]


def field_types(pipeline: Pipeline, source: Source) -> dict[str, Any]:
    """The declared fields of one source and what each may hold. An input is text only if the model takes text there."""
    types: dict[str, Any] = {}
    if source == pipeline.label.source:
        types.update({name: Any for name in pipeline.label.fields})
    inputs = set(pipeline.inputs) if source == pipeline.predict else set()
    if source == pipeline.predict:
        texts = text_inputs(pipeline)
        types.update({name: _INPUT if name in texts else _NUMERIC_INPUT for name in pipeline.inputs})
    for view in pipeline.views:
        if view.source.name == source.name:
            for name, kind in view.field_types.items():
                # What is also an input may be true or false; an aggregate counts it as 1 or 0.
                types[name] = _NUMERIC_INPUT if kind == "number" and name in inputs else _FIELD_KINDS[kind]
    for view in pipeline.views:
        if view.source.name == source.name or source == pipeline.predict:
            types.update({name: _KEY for name in view.key_fields})
    types.update(dict.fromkeys(source.key_fields, _KEY))
    types[source.time] = _TIME
    types[source.id] = _ID
    return types


def text_inputs(pipeline: Pipeline) -> set[str]:
    """The inputs in which the model takes text, tried on clones; all of them when it does not take numbers everywhere either."""
    numbers: dict[str, Any] = dict.fromkeys(pipeline.vector_names, 1.0)
    if not _takes(pipeline.model, numbers):
        return set(pipeline.inputs)
    return {name for name in pipeline.inputs if _takes(pipeline.model, {**numbers, name: "text"})}


def _takes(model: Any, x: dict[str, Any]) -> bool:
    """Whether a fresh copy of the model learns and predicts this vector without an error."""
    try:
        model = model.clone()
        for y in (True, False):
            model.learn_one(x, y)
            model.predict_proba_one(x)
    except Exception:
        return False
    return True


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

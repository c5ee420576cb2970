"""Which records of the flooded topic are events, decided by Python's own `json` and by what the pages say: nothing of Penstock's.

Laws of this file:
- A value is an event if it is a JSON object in UTF-8 (RFC 8259) of at most 900,000 bytes whose declared fields hold what they
  may, at a time that its record and its partition allow. Every other one is a dead letter.
- Of a record in another format the fields are told (`read`); what may be in them, and when, is judged here for every format.
- Fields that nobody declared must be JSON; their text is not looked at, so it need not be UTF-8. Half a surrogate pair is no text
  anywhere. Of a field that stands there twice the last one counts, and each of them must hold what the field may.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from math import isfinite
from typing import Any, NamedTuple

MOST_BYTES, MOST_CHARACTERS, MOST_NUMBER = 900_000, 512, 1e75
END_MS = 253_402_300_800_000
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
TEXT_OR_WHOLE, TIME, NUMBER = (str, int), (str, int, float), (int, float, bool, type(None))
FIELDS: dict[str, tuple[type, ...] | None] = {
    "payment": TEXT_OR_WHOLE,
    "paid_at": TIME,
    "card": (*TEXT_OR_WHOLE, type(None)),
    "amount": NUMBER,
    "fraud": None,
}
"""The declared fields of the flooded topic: what each may hold. The label may be anything, as far as decoding goes."""

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_MOST_DIGITS = 4_000  # what Python itself turns into a number without being asked twice


class Event(NamedTuple):
    """A good record: its event as it counts, and its event time in ms."""

    fields: dict[str, Any]
    at: int


class Bad(ValueError):
    """The record is no event."""


def event_of(
    value: bytes | None,
    timestamp_ms: int,
    newest_ms: int,
    read: Callable[[bytes], dict[str, Any]] | None = None,
    event_id: str = "payment",
    time: str = "paid_at",
) -> Event | None:
    """The event of a record, given the newest event time of its partition before it (-1 if none); None if it is a dead letter.

    `read` gives the fields of what is not JSON, and raises `ValueError` where there are none; `event_id` and `time` name two.
    """
    try:
        if value is None or len(value) > MOST_BYTES:
            raise Bad("nothing, or too much")
        fields = (read or _object)(value)
        _check_text(fields, event_id)
        _check_number(fields["amount"])
        at = _time(fields[time])
        if not newest_ms - DAY_MS <= at <= timestamp_ms + HOUR_MS:
            raise Bad("too late, or ahead of its record")
        _check_label(fields["fraud"])
    except (ValueError, KeyError, RecursionError, OverflowError):
        return None
    return Event(fields, at)


def _object(value: bytes) -> dict[str, Any]:
    text = value.decode("utf-8", "surrogateescape")
    _check_surrogates(text)
    found = json.loads(text, object_pairs_hook=_Pairs, parse_constant=_constant, parse_int=_whole)
    if not isinstance(found, _Pairs):
        raise Bad("no object")
    fields: dict[str, Any] = {}
    for name, one in found:
        if name in FIELDS:
            fields[name] = _checked(name, one)
    return fields


class _Pairs(list[tuple[str, Any]]):
    """An object's fields as they stand, each as often as it stands there."""


def _checked(name: str, value: Any) -> Any:
    kinds = FIELDS[name]
    if kinds is not None and type(value) not in kinds:
        raise Bad(f"{name} is {type(value)}")
    if kinds is NUMBER:
        _check_number(value)
    if isinstance(value, str):
        value.encode()  # raises where a byte of it was no UTF-8
    return value


def _check_surrogates(text: str) -> None:
    if "\\u" not in text:
        return
    high_until = -1
    for escape in _ESCAPE.finditer(text):
        code = int(escape[1] or "0", 16)
        is_low = 0xDC00 <= code < 0xE000
        if is_low != (high_until == escape.start()):
            raise Bad("half a surrogate pair")
        if high_until >= 0 and not is_low:
            raise Bad("half a surrogate pair")
        high_until = escape.end() if 0xD800 <= code < 0xDC00 else -1
    if high_until >= 0:
        raise Bad("half a surrogate pair")


def _constant(name: str) -> Any:
    raise Bad(name)


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float("inf")


def _check_number(value: float | None) -> None:
    if value is not None and not (isfinite(value) and abs(value) <= MOST_NUMBER):
        raise Bad("a number is too large")


def _check_text(fields: dict[str, Any], event_id: str) -> None:
    for name in (event_id, "card"):
        value = fields[name]
        digits = abs(value) if type(value) is int else 0
        if digits >= 10**MOST_CHARACTERS or (isinstance(value, str) and len(value) > MOST_CHARACTERS):
            raise Bad(f"{name} is too long")


def _time(value: Any) -> int:
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise Bad("no time zone")
        value = moment.timestamp() * 1000
    at = round(value)
    if not 0 <= at < END_MS:
        raise Bad("no time")
    return at


def _check_label(value: Any) -> None:
    if value is not None and not (type(value) in (bool, int, float) and value in (0, 1)):
        raise Bad("no label")

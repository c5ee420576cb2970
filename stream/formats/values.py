"""How what JSON has no word for becomes a value of an event: moments, decimals, bytes.

| Written as                                  | In the event                                                              |
|---------------------------------------------|---------------------------------------------------------------------------|
| a moment (timestamp in ms, µs or ns)        | whole milliseconds since the epoch, the nearest, halves to even           |
| a moment without a zone (local timestamp)   | text without a zone, so that nobody takes it for event time               |
| a date                                      | text, such as "2013-05-13"                                                |
| a time of day, a duration                   | whole milliseconds, the nearest                                           |
| a decimal without decimal places            | the whole number, exactly                                                 |
| another decimal                             | the nearest float                                                         |
| bytes                                       | text in base64                                                            |
| a UUID, a symbol of an enumeration          | text                                                                      |
| a float of 32 bits                          | the same number as a float of 64 bits: 0.1 is 0.10000000149011612         |

Laws of this file:
- Pure. What no value can be made of raises `Unreadable`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from penstock.stream.formats.unread import Unreadable

Convert = Callable[[Any], Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY = date(1970, 1, 1).toordinal()


def whole(number: int, unit: int) -> int:
    """The whole number nearest to `number / unit`, halves to even.

    >>> whole(1500, 1000), whole(2500, 1000), whole(-1501, 1000)
    (2, 2, -2)
    """
    quotient, rest = divmod(number, unit)
    if 2 * rest > unit or (2 * rest == unit and quotient % 2):
        return quotient + 1
    return quotient


def millis_of_micros(value: int) -> int:
    """Microseconds as whole milliseconds."""
    return whole(value, 1_000)


def millis_of_nanos(value: int) -> int:
    """Nanoseconds as whole milliseconds."""
    return whole(value, 1_000_000)


def day(value: int) -> str:
    """Days since the epoch as a date."""
    try:
        return date.fromordinal(_FIRST_DAY + value).isoformat()
    except (ValueError, OverflowError):
        raise Unreadable(f"{value} days from 1970 is no date") from None


def local_moment(unit: int) -> Convert:
    """A moment without a zone, of which `unit` are a second, as text."""

    def text(value: int) -> str:
        seconds, rest = divmod(value, unit)
        try:
            moment = _EPOCH + timedelta(seconds=seconds, microseconds=whole(rest * 1_000_000, unit))
        except OverflowError:
            raise Unreadable(f"{value} is no moment between the years 1 and 9999") from None
        return moment.replace(tzinfo=None).isoformat()

    return text


def decimal(scale: int) -> Convert:
    """A decimal's bytes (two's complement, big-endian) as a number."""

    def number(value: bytes) -> int | float:
        return scaled(int.from_bytes(value, "big", signed=True), scale)

    return number


def scaled(unscaled: int, scale: int) -> int | float:
    """`unscaled / 10**scale`: exactly where it has no decimal places, otherwise the nearest float.

    >>> scaled(1999, 2), scaled(12345678901234567890, 0)
    (19.99, 12345678901234567890)
    """
    try:
        if scale <= 0:
            return unscaled * int(10**-scale)
        return float(unscaled / 10**scale)
    except OverflowError:
        raise Unreadable("a decimal is larger than any number a model could use") from None


def base64(value: bytes) -> str:
    """Bytes as text."""
    return b64encode(value).decode()


def uuid(value: bytes) -> str:
    """The sixteen bytes of a UUID as text."""
    text = value.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

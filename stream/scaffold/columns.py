"""A CSV file's columns: what each holds, and its texts as values that JSON has.

Laws of this file:
- Pure: rows of text in. A value that is not of its column's kind stays text, so that featurize says of it what it says of any
  wrong value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from penstock.stream.scaffold.answers import BadAnswer

WHOLE, NUMBER, TRUTH, TIME, TEXT, EMPTY = "whole number", "number", "true or false", "time", "text", "empty"
_TRUTHS = {"true": True, "false": False, "yes": True, "no": False, "t": True, "f": False}
_NULLS = {"", "na", "n/a", "nan", "null", "none"}
TIMES = ("time", "date", "timestamp", "ts", "at", "when", "created", "datetime")
#: Seconds, milliseconds, microseconds since the epoch, by the size of numbers between 2001 and 2100.
EPOCHS = (
    (1e9, 4.2e9, 1_000.0, "seconds"),
    (1e12, 4.2e12, 1.0, "milliseconds"),
    (1e15, 4.2e15, 0.001, "microseconds"),
)


class Column(NamedTuple):
    """One column: what it holds, how many different values of how many, and of times what they are written as."""

    name: str
    kind: str
    distinct: int
    filled: int
    rows: int
    written: str = ""

    @property
    def unique(self) -> bool:
        """Whether it tells every row apart."""
        return self.filled == self.rows == self.distinct


def columns_of(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Column]:
    """What each column holds. Raises `BadAnswer` for a file without columns, rows, or with two columns of one name."""
    if not names or not rows:
        raise BadAnswer("--from-csv: the file has no rows under a line with the columns' names")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or "" in names:
        raise BadAnswer(
            f"--from-csv: each column needs a name of its own, and {twice or 'an empty name'!r} is not"
        )
    return [_column(name, [row[n] if n < len(row) else "" for row in rows]) for n, name in enumerate(names)]


def _column(name: str, texts: Sequence[str]) -> Column:
    values = [text.strip() for text in texts if text.strip().lower() not in _NULLS]
    counts = (len(set(values)), len(values), len(texts))
    if not values:
        return Column(name, EMPTY, *counts)
    if all(value.lower() in _TRUTHS for value in values):
        return Column(name, TRUTH, *counts)
    if all(_whole(value) for value in values):
        size = [abs(int(value)) for value in values]
        for low, high, _, unit in EPOCHS:
            if named(name, TIMES) and all(low <= one < high for one in size):
                return Column(name, TIME, *counts, unit)
        return Column(name, WHOLE, *counts)
    if all(_number(value) is not None for value in values):
        return Column(name, NUMBER, *counts)
    moments = [_moment(value) for value in values]
    if all(moment is not None for moment in moments):
        zone = all(moment is not None and moment.tzinfo is not None for moment in moments)
        return Column(name, TIME, *counts, "with a zone" if zone else "without a zone, taken as UTC")
    return Column(name, TEXT, *counts)


def converters(columns: Sequence[Column]) -> list[Callable[[str], Any]]:
    """For each column, what makes of its text the value that an event has."""
    return [partial(value_of, one) for one in columns]


def value_of(column: Column, text: str) -> Any:
    """A text of this column as a value in JSON: times as RFC 3339 in UTC, or as ms since the epoch; null for none."""
    text = text.strip()
    if text.lower() in _NULLS:
        return None
    if column.kind == TRUTH:
        return _TRUTHS.get(text.lower(), text)
    if column.kind == WHOLE:
        return int(text) if _whole(text) else text
    if column.kind == NUMBER:
        found = _number(text)
        return text if found is None else found
    return time_of(column, text) if column.kind == TIME else text


def time_of(column: Column, text: str) -> int | str:
    """A time: ms since the epoch where the file has numbers, else RFC 3339 in UTC; as it stands where it is none."""
    for _, _, factor, unit in EPOCHS:
        if column.written == unit:
            return round(int(text) * factor) if _whole(text) else text
    moment = _moment(text)
    if moment is None:
        return text
    utc = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return utc.isoformat(timespec="milliseconds" if utc.microsecond else "seconds").replace("+00:00", "Z")


def _whole(text: str) -> bool:
    """A whole number that a number keeps: no zeros in front, as zip codes have them, and at most 18 digits."""
    return re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", text) is not None


def _number(text: str) -> float | None:
    if not re.fullmatch(r"[-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?", text) or re.match(r"-?0[0-9]", text):
        return None
    found = float(text)
    return found if math.isfinite(found) else None


def _moment(text: str) -> datetime | None:
    """A moment that is written with its year first; other orders of day and month cannot be told apart."""
    if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def words(name: str) -> list[str]:
    """A column's name as lower-case words.

    >>> words("paidAt_UTC")
    ['paid', 'at', 'utc']
    """
    return [
        word for word in re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()) if word
    ]


def named(name: str, hints: Sequence[str]) -> bool:
    """Whether one of a name's words is one of these."""
    return any(word in hints for word in words(name))


def is_id(name: str) -> bool:
    """Whether a column is named like something that tells things apart."""
    found = words(name)
    return bool(found) and (found[-1] in ("id", "uuid", "guid", "number", "no") or found == ["key"])

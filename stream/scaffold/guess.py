"""Rows of a CSV file → what its columns are, which of them are id, time, key and answer, and the rows as events.

Laws of this file:
- Pure: rows of text in. Every guess is told with its reason, and an answer that is given is never guessed.
- A value that is not of its column's kind stays text, so that featurize says of it what it says of any wrong value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from penstock.stream.scaffold.answers import BadAnswer
from penstock.stream.task_kind import Kind

WHOLE, NUMBER, TRUTH, TIME, TEXT, EMPTY = "whole number", "number", "true or false", "time", "text", "empty"
ROW = "row"
MOST_CLASSES = 20
_TRUTHS = {"true": True, "false": False, "yes": True, "no": False, "t": True, "f": False}
_NULLS = {"", "na", "n/a", "nan", "null", "none"}
_TIMES = ("time", "date", "timestamp", "ts", "at", "when", "created", "datetime")
_KEYS = (
    "card", "customer", "user", "account", "client", "member", "device", "machine", "sensor", "host", "store", "shop", "station",
    "vehicle", "merchant", "player", "patient", "tail", "ip", "symbol", "entity", "key",
)  # fmt: skip
_ANSWERS = (
    "label", "target", "outcome", "answer", "class", "y", "fraud", "churn", "churned", "click", "clicked", "default", "defaulted",
    "late", "failed", "failure", "converted", "bought", "purchased", "cancelled", "canceled", "returned", "spam", "anomaly",
    "rating", "won",
)  # fmt: skip
#: Seconds, milliseconds, microseconds since the epoch, by the size of numbers between 2001 and 2100.
_EPOCHS = (
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


class Guess(NamedTuple):
    """What the columns are taken for. `said` has a line for each guess. `id` may be `ROW`, a number that is added."""

    id: str
    time: str
    key: str
    label: str
    task: Kind
    inputs: tuple[str, ...]
    said: tuple[str, ...]


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
        for low, high, _, unit in _EPOCHS:
            if _named(name, _TIMES) and all(low <= one < high for one in size):
                return Column(name, TIME, *counts, unit)
        return Column(name, WHOLE, *counts)
    if all(_number(value) is not None for value in values):
        return Column(name, NUMBER, *counts)
    moments = [_moment(value) for value in values]
    if all(moment is not None for moment in moments):
        zone = all(moment is not None and moment.tzinfo is not None for moment in moments)
        return Column(name, TIME, *counts, "with a zone" if zone else "without a zone, taken as UTC")
    return Column(name, TEXT, *counts)


def guess(columns: Sequence[Column], given: Mapping[str, Any]) -> Guess:
    """Take columns for what they seem to be; what is `given` (id, time, key, label, task, inputs) is taken as it is.

    Raises `BadAnswer` where nothing can be the time, and for a column that is not there.
    """
    by_name = {one.name: one for one in columns}
    named = [given[what] for what in ("id", "time", "key", "label") if given.get(what)]
    if missing := [name for name in [*named, *given.get("inputs", ())] if name not in by_name]:
        raise BadAnswer(f"--from-csv: there is no column {missing[0]!r}; there are: {', '.join(by_name)}")
    said: list[str] = []
    time = given.get("time") or _time(columns, said)
    left = [one for one in columns if one.name != time]
    label = given["label"] if given.get("label") is not None else _label(left, given, said)
    left = [one for one in left if one.name != label]
    event_id = given.get("id") or _id(left, said)
    left = [one for one in left if one.name != event_id]
    key = given.get("key") or _key(left, event_id, said)
    left = [one for one in left if one.name != key]
    task = given.get("task") or _task(by_name.get(label), said)
    inputs = tuple(given.get("inputs") or _inputs(left, said))
    return Guess(event_id, time, key, "" if task == "unlabelled" else label, task, inputs, tuple(said))


def _time(columns: Sequence[Column], said: list[str]) -> str:
    times = [one for one in columns if one.kind == TIME and one.filled == one.rows]
    if not times:
        raise BadAnswer(
            "--from-csv: no column holds a time in every row (RFC 3339 such as 2026-01-31T12:00:00Z, or seconds, milliseconds "
            "or microseconds since 1970 under a name such as time): rewrite it, or name it with --time"
        )
    found = min(times, key=lambda one: (not _named(one.name, _TIMES), -one.distinct))
    said.append(f"time    {found.name}: {_written(found)}")
    return found.name


def _written(column: Column) -> str:
    known = {unit for *_, unit in _EPOCHS}
    return f"{column.written} since 1970" if column.written in known else f"times {column.written}"


def _label(columns: Sequence[Column], given: Mapping[str, Any], said: list[str]) -> str:
    if given.get("task") == "unlabelled":
        return ""
    full = [one for one in columns if one.kind not in (TIME, EMPTY) and not (one.unique and one.kind == TEXT)]
    for one in full:
        if one.kind == TEXT and one.distinct > MOST_CLASSES:
            continue
        if _words(one.name)[-1:] and (_words(one.name)[-1] in _ANSWERS or _words(one.name)[0] == "is"):
            said.append(f"label   {one.name}: it is named like an answer, and holds {_held(one)}")
            return one.name
    if full and full[-1] is columns[-1] and full[-1].distinct == 2 and full[-1].kind in (TRUTH, WHOLE):
        said.append(f"label   {full[-1].name}: the last column, of two values")
        return full[-1].name
    said.append("label   none: no column is named like an answer (--label names one)")
    return ""


def _id(columns: Sequence[Column], said: list[str]) -> str:
    unique = [one for one in columns if one.unique and one.kind in (TEXT, WHOLE)]
    found = min(unique, key=lambda one: (not _is_id(one.name), one.kind != TEXT), default=None)
    if found is None or (found.kind == WHOLE and not _is_id(found.name)):
        said.append(
            f"id      {ROW}: no column tells every row apart, so each event gets the number of its row"
        )
        return ROW
    said.append(f"id      {found.name}: different in every row")
    return found.name


def _key(columns: Sequence[Column], event_id: str, said: list[str]) -> str:
    usable = [one for one in columns if one.kind in (TEXT, WHOLE) and 2 <= one.distinct < one.filled]
    named = [one for one in usable if _is_id(one.name) or (_words(one.name) or [""])[-1] in _KEYS]
    texts = [one for one in usable if one.kind == TEXT and one.distinct <= one.filled // 2]
    for found, why in (
        (named, "named like somebody or something"),
        (texts, "text that comes again and again"),
    ):
        if found:
            one = max(found, key=lambda one: one.distinct)
            said.append(f"key     {one.name}: {why}, {one.distinct:,} different in {one.filled:,} rows")
            return one.name
    said.append(
        f"key     {event_id}: no column says whom a row is about, so there are no features of anybody (--key names one)"
    )
    return event_id


def _task(label: Column | None, said: list[str]) -> Kind:
    if label is None:
        said.append("task    unlabelled: how unusual an event is")
        return "unlabelled"
    if label.distinct <= 2 and label.kind in (TRUTH, WHOLE):
        said.append(f"task    binary: {label.name} is {_held(label)}")
        return "binary"
    if label.kind == TEXT:
        said.append(f"task    multiclass: {label.name} names one of {label.distinct:,} classes")
        return "multiclass"
    said.append(f"task    regression: {label.name} is a number")
    return "regression"


def _inputs(columns: Sequence[Column], said: list[str]) -> list[str]:
    found = [
        one.name
        for one in columns
        if one.kind in (WHOLE, NUMBER, TRUTH) and one.distinct > 1 and not _is_id(one.name)
    ]
    texts = [one.name for one in columns if one.kind == TEXT]
    said.append(f"inputs  {', '.join(found) or 'none'}: the other columns of numbers")
    if same := [one.name for one in columns if one.kind in (WHOLE, NUMBER, TRUTH) and one.distinct == 1]:
        said.append(f"        {', '.join(same)}: one value in every row, so not read")
    if texts:
        said.append(
            f"        {', '.join(texts)}: text, which this model does not take; they stay in the events"
        )
    return found


def _held(column: Column) -> str:
    if column.kind == TRUTH or (column.kind == WHOLE and column.distinct <= 2):
        return "true or false" if column.kind == TRUTH else "two values"
    return f"{column.distinct:,} classes" if column.kind == TEXT else "numbers"


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
    for _, _, factor, unit in _EPOCHS:
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


def _words(name: str) -> list[str]:
    return [
        word for word in re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()) if word
    ]


def _named(name: str, hints: Sequence[str]) -> bool:
    return any(word in hints for word in _words(name))


def _is_id(name: str) -> bool:
    words = _words(name)
    return bool(words) and (words[-1] in ("id", "uuid", "guid", "number", "no") or words == ["key"])

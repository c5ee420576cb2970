"""Columns of a CSV file → which of them are id, time, key, answer and inputs.

Laws of this file:
- Pure. Every guess is told with its reason, and an answer that is given is never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from penstock.stream.operate.tells_alone import tells_alone
from penstock.stream.scaffold.answers import BadAnswer
from penstock.stream.scaffold.columns import (
    EMPTY,
    EPOCHS,
    NUMBER,
    TEXT,
    TIME,
    TIMES,
    TRUTH,
    WHOLE,
    Column,
    is_id,
    named,
    value_of,
    words,
)
from penstock.stream.task_kind import Kind

ROW = "row"
MOST_CLASSES = 20
_KEYS = (
    "card", "customer", "user", "account", "client", "member", "device", "machine", "sensor", "host", "store", "shop", "station",
    "vehicle", "merchant", "player", "patient", "tail", "ip", "symbol", "entity", "key",
)  # fmt: skip
_ANSWERS = (
    "label", "target", "outcome", "answer", "class", "y", "fraud", "churn", "churned", "click", "clicked", "default", "defaulted",
    "late", "failed", "failure", "converted", "bought", "purchased", "cancelled", "canceled", "returned", "spam", "anomaly",
    "rating", "won",
)  # fmt: skip


class Guess(NamedTuple):
    """What the columns are taken for. `said` has a line for each guess. `id` may be `ROW`, a number that is added."""

    id: str
    time: str
    key: str
    label: str
    task: Kind
    inputs: tuple[str, ...]
    said: tuple[str, ...]


def guess(columns: Sequence[Column], given: Mapping[str, Any], rows: Sequence[Sequence[str]] = ()) -> Guess:
    """Take columns for what they seem to be; what is `given` (id, time, key, label, task, inputs) is taken as it is.

    With `rows`, no column becomes an input that says the answer of every row by itself.

    Raises `BadAnswer` where nothing can be the time, and for a column that is not there.
    """
    by_name = {one.name: one for one in columns}
    asked = [given[what] for what in ("id", "time", "key", "label") if given.get(what)]
    if missing := [name for name in [*asked, *given.get("inputs", ())] if name not in by_name]:
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
    told = _tellers(columns, label, rows) if "inputs" not in given else {}
    inputs = tuple(given.get("inputs") or _inputs(left, told, said))
    return Guess(event_id, time, key, "" if task == "unlabelled" else label, task, inputs, tuple(said))


def _time(columns: Sequence[Column], said: list[str]) -> str:
    times = [one for one in columns if one.kind == TIME and one.filled == one.rows]
    if not times:
        raise BadAnswer(
            "--from-csv: no column holds a time in every row (RFC 3339 such as 2026-01-31T12:00:00Z, or seconds, milliseconds "
            "or microseconds since 1970 under a name such as time): rewrite it, or name it with --time"
        )
    found = min(times, key=lambda one: (not named(one.name, TIMES), -one.distinct))
    said.append(f"time    {found.name}: {_written(found)}")
    return found.name


def _written(column: Column) -> str:
    known = {unit for *_, unit in EPOCHS}
    return f"{column.written} since 1970" if column.written in known else f"times {column.written}"


def _label(columns: Sequence[Column], given: Mapping[str, Any], said: list[str]) -> str:
    if given.get("task") == "unlabelled":
        return ""
    full = [one for one in columns if one.kind not in (TIME, EMPTY) and not (one.unique and one.kind == TEXT)]
    for one in full:
        if one.kind == TEXT and one.distinct > MOST_CLASSES:
            continue
        if words(one.name)[-1:] and (words(one.name)[-1] in _ANSWERS or words(one.name)[0] == "is"):
            said.append(f"label   {one.name}: it is named like an answer, and holds {_held(one)}")
            return one.name
    if full and full[-1] is columns[-1] and full[-1].distinct == 2 and full[-1].kind in (TRUTH, WHOLE):
        said.append(f"label   {full[-1].name}: the last column, of two values")
        return full[-1].name
    said.append("label   none: no column is named like an answer (--label names one)")
    return ""


def _id(columns: Sequence[Column], said: list[str]) -> str:
    unique = [one for one in columns if one.unique and one.kind in (TEXT, WHOLE)]
    found = min(unique, key=lambda one: (not is_id(one.name), one.kind != TEXT), default=None)
    if found is None or (found.kind == WHOLE and not is_id(found.name)):
        said.append(
            f"id      {ROW}: no column tells every row apart, so each event gets the number of its row"
        )
        return ROW
    said.append(f"id      {found.name}: different in every row")
    return found.name


def _key(columns: Sequence[Column], event_id: str, said: list[str]) -> str:
    usable = [one for one in columns if one.kind in (TEXT, WHOLE) and 2 <= one.distinct < one.filled]
    like_these = [one for one in usable if is_id(one.name) or (words(one.name) or [""])[-1] in _KEYS]
    texts = [one for one in usable if one.kind == TEXT and one.distinct <= one.filled // 2]
    for found, why in (
        (like_these, "named like somebody or something"),
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


def _tellers(columns: Sequence[Column], label: str, rows: Sequence[Sequence[str]]) -> dict[str, None]:
    """The columns of numbers that say every answer by themselves."""
    places = {one.name: place for place, one in enumerate(columns)}
    if label not in places or not rows:
        return {}

    def values(name: str) -> list[Any]:
        place = places[name]
        return [value_of(columns[place], row[place] if place < len(row) else "") for row in rows]

    answers = values(label)
    numbers = (one.name for one in columns if one.kind in (WHOLE, NUMBER, TRUTH) and one.name != label)
    return dict.fromkeys(name for name in numbers if tells_alone(values(name), answers))


def _inputs(columns: Sequence[Column], told: Mapping[str, None], said: list[str]) -> list[str]:
    numbers = [one for one in columns if one.kind in (WHOLE, NUMBER, TRUTH) and one.distinct > 1]
    found = [one.name for one in numbers if not is_id(one.name) and one.name not in told]
    texts = [one.name for one in columns if one.kind == TEXT]
    said.append(f"inputs  {', '.join(found) or 'none'}: the other columns of numbers")
    if alone := [one.name for one in numbers if one.name in told]:
        said.append(
            f"        {', '.join(alone)}: says the answer of every row by itself, as what is filled in afterwards does, so it is "
            "left out (--inputs takes it)"
        )
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

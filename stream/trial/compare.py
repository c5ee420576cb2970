"""What should have come and what came → the differences, in words.

Laws of this file:
- Pure. Lines are matched by what they are about (a sample by its event's id), never by their place, so one that is missing does
  not make the others wrong. Of several about the same thing the first belongs to the first.
- Samples and dead letters are compared whole: one that nobody expects is a difference. Predictions and documents are compared
  where they are expected. A column that a line leaves out is not compared.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import isclose
from typing import Any, NamedTuple

from penstock.stream.trial.wire import Expected, flat

TOLERANCE = 1e-9
#: What names each kind of line; the other columns are what is said of it.
NAMED_BY: dict[str, tuple[str, ...]] = {
    "sample": ("sample",),
    "dead_letter": ("dead_letter", "topic"),
    "prediction_of": ("prediction_of",),
    "document": ("document", "entity"),
}
ALWAYS = ("sample", "dead_letter")
Identity = tuple[Any, ...]


class Got(NamedTuple):
    """One line that came: what it is about, the line itself, and which line of the events made it (0: none alone did)."""

    kind: str
    line: dict[str, Any]
    event: int = 0


class Column(NamedTuple):
    """One column that differs."""

    name: str
    expected: str
    got: str


class Difference(NamedTuple):
    """One thing that is not as expected: `wrong` columns, or that it is `missing`, or that nobody expected it (`unexpected`)."""

    about: str
    expected_line: int
    event_line: int
    wrong: tuple[Column, ...] = ()
    missing: str = ""
    unexpected: str = ""


def differences(
    wanted: Sequence[Expected], found: Sequence[Got], tolerance: float = TOLERANCE
) -> list[Difference]:
    """What is not as expected, in the order of the expected file; what nobody expected comes last."""
    kinds = {*ALWAYS, *(one.kind for one in wanted)}
    came = {name: one for name, one in _named((one.kind, flat(one.line), one) for one in found)}
    told: list[Difference] = []
    for name, one in _named((one.kind, one.columns, one) for one in wanted):
        got = came.pop(name, None)
        if got is None:
            told.append(Difference(_about(name), one.line, 0, missing=_why(name, came.values())))
            continue
        columns = flat(got.line)
        wrong = [
            Column(column, _shown(value), _shown(columns[column]) if column in columns else "no such column")
            for column, value in one.columns.items()
            if column not in columns or not alike(value, columns[column], tolerance)
        ]
        if wrong:
            told.append(Difference(_about(name), one.line, got.event, tuple(wrong)))
    for name, got in came.items():
        if got.kind in kinds:
            line = json.dumps(got.line, ensure_ascii=False)
            told.append(Difference(_about(name), 0, got.event, unexpected=line))
    return told


def _named(lines: Iterable[tuple[str, dict[str, Any], Any]]) -> list[tuple[Identity, Any]]:
    """Each line by what it is about, and which one of those about the same it is."""
    seen: Counter[Identity] = Counter()
    found = []
    for kind, columns, one in lines:
        about: Identity = (kind, *(str(columns.get(name)) for name in NAMED_BY[kind]))
        seen[about] += 1
        found.append(((*about, seen[about]), one))
    return found


def _about(name: Identity) -> str:
    """What a line is about, in words."""
    kind, *parts, number = name
    again = f" (number {number})" if number > 1 else ""
    return f"{kind.replace('_', ' ')} {' '.join(parts)}{again}"


def _why(name: Identity, came: Iterable[Got]) -> str:
    """What to say of an expected line that did not come."""
    if name[0] == "sample":
        for one in came:
            if one.kind == "dead_letter" and str(one.line["dead_letter"]) == name[1]:
                return f"did not come: its event became a dead letter ({one.line['reason']})"
    return "did not come"


def alike(one: Any, other: Any, tolerance: float = TOLERANCE) -> bool:
    """Equal, but for the rounding of numbers; true and false are no numbers here.

    >>> alike(0.1 + 0.2, 0.3), alike(True, 1), alike([1, None], [1.0, None])
    (True, False, True)
    """
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(alike(a, b, tolerance) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[n], other[n], tolerance) for n in one)
    return bool(one == other)


def _shown(value: Any) -> str:
    """A value as the file writes it."""
    return json.dumps(value, ensure_ascii=False)


def as_text(told: Sequence[Difference], expected_name: str, events_name: str) -> list[str]:
    """The differences for people: where each is, then a line for each column."""
    lines: list[str] = []
    for one in told:
        of = f" ({events_name}:{one.event_line})" if one.event_line else ""
        if one.unexpected:
            lines += [
                f"{one.about}{of} came, and no line of {expected_name} expects it:",
                f"    {one.unexpected}",
            ]
            continue
        where = f"{expected_name}:{one.expected_line}  {one.about}{of}"
        if one.missing:
            lines.append(f"{where} {one.missing}")
            continue
        lines.append(where)
        width: Callable[[Iterable[str]], int] = lambda texts: max(len(text) for text in texts)  # noqa: E731
        names = width(column.name for column in one.wrong)
        wanted = width(column.expected for column in one.wrong)
        lines += [
            f"    {column.name:<{names}}   expected {column.expected:<{wanted}}   got {column.got}"
            for column in one.wrong
        ]
    return lines


def never_compared(wanted: Sequence[Expected], found: Sequence[Got]) -> list[str]:
    """Columns of samples that no expected line names, though lines expect samples: a feature that was added, say."""
    named = {column for one in wanted if one.kind == "sample" for column in one.columns}
    there = {column: None for one in found if one.kind == "sample" for column in flat(one.line)}
    return [column for column in there if column not in named] if named else []

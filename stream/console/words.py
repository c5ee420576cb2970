"""Numbers, times and states as people read them: the filters of the templates.

Laws of this file:
- Pure. Times are UTC and say so; event time and wall time are never mixed in one sentence.
- A state is a word with a shape and a tone: colour alone says nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from penstock.stream.operate.control_lines import moment
from penstock.stream.operate.status_lines import age

__all__ = [
    "WORDS",
    "Word",
    "age",
    "count",
    "day",
    "iso",
    "moment",
    "nats",
    "percent",
    "position",
    "short",
    "version",
]


class Word(NamedTuple):
    """A state: what it is called, its shape and its tone (a class of the style sheet)."""

    text: str
    shape: str
    tone: str


WORDS = {
    "well": Word("all is well", "●", "well"),
    "note": Word("note", "◆", "note"),
    "warning": Word("warning", "▲", "warning"),
    "critical": Word("critical", "■", "critical"),
    "wrong": Word("something is wrong", "■", "critical"),
    "unknown": Word("not known yet", "○", "unknown"),
    "firing": Word("firing", "▲", "warning"),
    "suspected": Word("suspected", "△", "note"),
    "resolved": Word("resolved", "●", "well"),
    "withdrawn": Word("withdrawn", "○", "unknown"),
    "over": Word("over", "●", "well"),
    "info": Word("note", "◆", "note"),
    "accepted": Word("accepted", "●", "well"),
    "carried out": Word("carried out", "●", "well"),
    "no decision yet": Word("no decision yet", "○", "unknown"),
    "taken": Word("taken by rule", "◆", "note"),
    "refused": Word("refused", "✕", "warning"),
    "waits for approval": Word("waits for a person", "▲", "warning"),
    "runs": Word("runs", "●", "well"),
    "nobody": Word("nobody runs it", "■", "critical"),
}
"""States by the word that a message or a function says."""


def word(state: str) -> Word:
    """The word of a state; an unknown one stands for itself."""
    return WORDS.get(state, Word(state, "○", "unknown"))


def iso(at_ms: int | None) -> str:
    """A time for programs, empty for none or one beyond the calendar."""
    if at_ms is None:
        return ""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return ""


def short(at_ms: int | None) -> str:
    """A time without seconds: `13 May 2013 09:55`."""
    return moment(at_ms)[:-3] if at_ms is not None and iso(at_ms) else moment(at_ms)


def day(at_ms: int | None) -> str:
    """A date."""
    return short(at_ms)[:-6] if at_ms is not None and iso(at_ms) else moment(at_ms)


def count(number: float | None) -> str:
    """A whole number with separators; a dash for none."""
    return "–" if number is None else f"{number:,.0f}"


def nats(loss: float | None) -> str:
    """A loss with the four digits of `penstock status`."""
    return "–" if loss is None else f"{loss:.4f}"


def percent(share: float | None) -> str:
    """A share in per cent."""
    return "–" if share is None else f"{share:.0%}"


def position(offset: int | None) -> str:
    """A samples-log offset: what a number was computed at."""
    return "–" if offset is None else f"@{offset:,}"


def version(name: str) -> str:
    """A version's id without its fold's lineage, which is the same for all that are shown beside it: `v12`."""
    return name.partition(".")[0]

"""Two sides' predictions of the same samples, paired with the label that came: what a comparison is made of.

Laws of this file:
- A prediction is found by the origin of its sample, or by its position in the samples log: never by an id that may come twice.
- Labels are joined by the export's own rule (`training_set`), under the rule of the recipe that the history was lived under.
- A pair is a sample of the range that both sides predicted and that got its label; what is none is counted.
- Nothing said is not a number (`unsaid`), whatever the task says.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Any, NamedTuple, Protocol

from penstock.stream.messages import Entry, Origin, Recipe, Sample
from penstock.stream.operate.training_set import Row, RuleOf, Span, rows
from penstock.stream.targets import Target

Predicted = Callable[[int, Sample], Any]
"""What one side said of the sample at this position: a number or each class's probability; not a number where it said nothing."""


def unsaid(said: Any) -> bool:
    """Whether a side said nothing. A probability for each of no classes, before any label, is an answer.

    >>> unsaid(nan), unsaid(0.0), unsaid({})
    (True, False, False)
    """
    return bool(said != said)


class Kept(Protocol):
    """What was said, by offset."""

    def put(self, offset: int, value: Any) -> None:
        """Keep the newest value of an offset."""

    def get(self, offset: int) -> Any:
        """Its value, or not a number."""


class ByOffset:
    """A number for each of many offsets, which mostly grow by little; those before the first are not kept."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.values = array("d")

    def put(self, offset: int, value: float) -> None:
        """Keep the newest value of an offset."""
        place = offset - self.first
        if place >= len(self.values):
            self.values.extend([nan] * (place - len(self.values)))
            self.values.append(value)
        elif place >= 0:
            self.values[place] = value

    def get(self, offset: int) -> float:
        """Its value, or not a number."""
        place = offset - self.first
        return self.values[place] if 0 <= place < len(self.values) else nan


class ClassesByOffset:
    """A probability of each class for each of many offsets: eight bytes a class."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.classes: dict[str, ByOffset] = {}
        self.known = ByOffset(first)

    def put(self, offset: int, value: Mapping[str, float]) -> None:
        """Keep the newest probabilities of an offset."""
        if self.known.get(offset) == 1.0:
            for of in self.classes.values():
                of.put(offset, nan)
        self.known.put(offset, 1.0)
        for name, p in value.items():
            if name not in self.classes:
                self.classes[name] = ByOffset(self.first)
            self.classes[name].put(offset, p)

    def get(self, offset: int) -> dict[str, float] | float:
        """Its probabilities by class, or not a number."""
        if unsaid(self.known.get(offset)):
            return nan
        found = {name: of.get(offset) for name, of in self.classes.items()}
        return {name: p for name, p in found.items() if not unsaid(p)}


class ByOrigin:
    """What was predicted of the events of a topic, by where they stand there."""

    def __init__(self, kept: Callable[[int], Kept] = ByOffset) -> None:
        self.of: dict[tuple[str, int], Kept] = {}
        self.kept = kept

    def put(self, origin: Origin, p: Any) -> None:
        """Keep a prediction."""
        place = (origin.topic_id, origin.partition)
        if place not in self.of:
            self.of[place] = self.kept(origin.offset)
        self.of[place].put(origin.offset, p)

    def said(self, _position: int, sample: Sample) -> Any:
        """What was said of a sample."""
        of = self.of.get((sample.origin.topic_id, sample.origin.partition))
        return nan if of is None else of.get(sample.origin.offset)


class ByPosition:
    """What was predicted, by the sample's position in the samples log; of another event at that position it is not taken."""

    def __init__(self, first: int, kept: Callable[[int], Kept] = ByOffset) -> None:
        self.p, self.at = kept(first), ByOffset(first)

    def put(self, position: int, p: Any, at: int) -> None:
        """Keep a prediction of the event at event time `at`."""
        self.p.put(position, p)
        self.at.put(position, at)

    def said(self, position: int, sample: Sample) -> Any:
        """What was said of a sample."""
        return self.p.get(position) if self.at.get(position) == sample.at else nan


class Pair(NamedTuple):
    """A sample with its label, and what both sides said."""

    row: Row
    origin: Origin
    y: Target
    live: Any
    changed: Any


@dataclass
class Left:
    """The samples of the range that are no pair, by the first reason that holds."""

    samples: int = 0
    not_live: int = 0
    not_changed: int = 0
    unlabelled: int = 0
    waiting: int = 0


@dataclass
class Pairing:
    """Makes pairs of a history, and counts what is left. `knows` says whether a label is one of the task."""

    live: Predicted
    changed: Predicted
    knows: Callable[[Target], bool]
    left: Left = field(default_factory=Left)

    def pairs(
        self,
        entries: Iterable[tuple[int, Entry]],
        span: Span,
        rule_at: RuleOf,
        *,
        opening: Recipe | None = None,
        last_position: int | None = None,
    ) -> Iterator[Pair]:
        """The pairs of a range, in the order of the samples log; arguments as of `training_set.rows`."""
        noted: dict[int, tuple[Origin, Any, Any]] = {}
        for row in rows(
            self._noted(entries, span, noted), span, rule_at, opening=opening, last_position=last_position
        ):
            origin, live, changed = noted.pop(row.position)
            self.left.samples += 1
            if unsaid(live):
                self.left.not_live += 1
            elif unsaid(changed):
                self.left.not_changed += 1
            elif row.label is None:
                self.left.unlabelled += row.settled
                self.left.waiting += not row.settled
            elif not self.knows(row.label):
                self.left.unlabelled += 1
            else:
                yield Pair(row, origin, row.label, live, changed)

    def _noted(
        self, entries: Iterable[tuple[int, Entry]], span: Span, noted: dict[int, tuple[Origin, Any, Any]]
    ) -> Iterator[tuple[int, Entry]]:
        """The same entries; what both sides said of a sample is looked up while it is at hand."""
        for position, entry in entries:
            if isinstance(entry, Sample) and span.holds(entry.at):
                noted[position] = entry.origin, self.live(position, entry), self.changed(position, entry)
            yield position, entry

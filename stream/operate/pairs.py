"""Two sides' predictions of the same samples, paired with the label that came: what a comparison is made of.

Laws of this file:
- A prediction is found by the origin of its sample, or by its position in the samples log: never by an id that may come twice.
- Labels are joined by the export's own rule (`training_set`), under the rule of the recipe that the history was lived under.
- A pair is a sample of the range that both sides predicted and that got its label; what is none is counted.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import isnan, nan
from typing import Any, NamedTuple

from penstock.stream.messages import Entry, Origin, Recipe, Sample
from penstock.stream.operate.training_set import Row, RuleOf, Span, rows

Predicted = Callable[[int, Sample], float]
"""What one side said of the sample at this position; not a number where it said nothing."""


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


class ByOrigin:
    """What was predicted of the events of a topic, by where they stand there."""

    def __init__(self) -> None:
        self.of: dict[tuple[str, int], ByOffset] = {}
        self.count = 0

    def put(self, origin: Origin, p: float) -> None:
        """Keep a prediction."""
        place = (origin.topic_id, origin.partition)
        if place not in self.of:
            self.of[place] = ByOffset(origin.offset)
        self.of[place].put(origin.offset, p)
        self.count += 1

    def said(self, _position: int, sample: Sample) -> float:
        """What was said of a sample."""
        of = self.of.get((sample.origin.topic_id, sample.origin.partition))
        return nan if of is None else of.get(sample.origin.offset)


class ByPosition:
    """What was predicted, by the sample's position in the samples log; of another event at that position it is not taken."""

    def __init__(self, first: int) -> None:
        self.p, self.at = ByOffset(first), ByOffset(first)

    def put(self, position: int, p: float, at: int) -> None:
        """Keep a prediction of the event at event time `at`."""
        self.p.put(position, p)
        self.at.put(position, at)

    def said(self, position: int, sample: Sample) -> float:
        """What was said of a sample."""
        return self.p.get(position) if self.at.get(position) == sample.at else nan


class Pair(NamedTuple):
    """A sample with its label, and the probabilities of both sides."""

    row: Row
    origin: Origin
    y: bool
    live: float
    changed: float


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
    """Makes pairs of a history, and counts what is left."""

    live: Predicted
    changed: Predicted
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
        noted: dict[int, tuple[Origin, float, float]] = {}
        for row in rows(
            self._noted(entries, span, noted), span, rule_at, opening=opening, last_position=last_position
        ):
            origin, live, changed = noted.pop(row.position)
            self.left.samples += 1
            if isnan(live):
                self.left.not_live += 1
            elif isnan(changed):
                self.left.not_changed += 1
            elif row.label is None:
                self.left.unlabelled += row.settled
                self.left.waiting += not row.settled
            else:
                yield Pair(row, origin, bool(row.label), live, changed)

    def _noted(
        self, entries: Iterable[tuple[int, Entry]], span: Span, noted: dict[int, tuple[Any, float, float]]
    ) -> Iterator[tuple[int, Entry]]:
        """The same entries; what both sides said of a sample is looked up while it is at hand."""
        for position, entry in entries:
            if isinstance(entry, Sample) and span.holds(entry.at):
                noted[position] = entry.origin, self.live(position, entry), self.changed(position, entry)
            yield position, entry

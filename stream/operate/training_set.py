"""The samples log → training rows: every vector as it was logged and served, with the label it got.

Laws of this file:
- Pure: (position, entry) pairs in, rows out. The join is the fold's own (`stream/learn/join.py`), so a row has the
  label that the live model learned from, under the same rule; one that was corrected has the correction.
- A row is a sample of the range, once: repeats of a crash are dropped. Rows come in the order of their positions.
- Samples outside the range are joined and left out, so that a range gives the rows that a wider one gives for it.
- What is in memory is what still waits for its label, or its correction, and what came after it.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from penstock.stream.label_rule import LabelRule, rule_of
from penstock.stream.learn.join import Join, Settled
from penstock.stream.learn.joins import join_of
from penstock.stream.learn.learner import Seen
from penstock.stream.messages import Entry, LabelRecord, Recipe, Sample, Tick, Value
from penstock.stream.targets import Target


class CannotExport(Exception):
    """Why there is no such training set; the message says what is missing and what to do."""


class Span(NamedTuple):
    """Event times [start, stop) in ms; None is open."""

    start: int | None = None
    stop: int | None = None

    def holds(self, at: int) -> bool:
        """Whether an event time lies inside."""
        return (self.start is None or self.start <= at) and (self.stop is None or at < self.stop)


RuleOf = Callable[[Recipe | None], LabelRule]


def label_rule(recipe: Recipe) -> LabelRule | None:
    """How a recipe's own text says that samples and labels find each other; None when it says nothing.

    >>> label_rule(Recipe("5188d1dfaa7f", ["hour"], '{"label": {"wait": "36h", "absent": false}}'))
    LabelRule(wait_ms=129600000, absent=False, corrected_ms=0, keyed=False, after_ms=0)
    """
    try:
        return rule_of(json.loads(recipe.source)["label"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


@dataclass(slots=True, eq=False)
class Row:
    """One sample and the label it got.

    `x` is in the order of the inputs of its `recipe`. `label` is None while none came; `label_at`, the label's event time in ms,
    is None for an `absent` one, too. `settled` says that no later record changes the row, `wanted` that it lies in the range.
    """

    event_id: str
    key: str
    at: int
    position: int
    recipe: Recipe
    x: list[Value]
    wanted: bool
    label: Target | None = None
    label_at: int | None = None
    settled: bool = False

    def take(self, found: Settled, corrected: bool) -> None:
        """Take the label, or None when it will never come; one that is `absent` may be `corrected` yet."""
        self.label, self.label_at = found.y, None if found.how in ("absent", "expired") else found.at
        self.settled = not (corrected and found.how == "absent")

    def end(self) -> None:
        """Nothing more will come."""
        self.settled = True


@dataclass(slots=True)
class Survey:
    """What a range of the log holds, before anything is written.

    `columns` maps every input logged in it to whether text was; `recipes` every recipe of its samples, by digest; `label_types`
    are those of all labels in the log. `first_at` and `newest_at` are event times of the log's first and of its newest sample,
    inside the range or not.
    """

    samples: int = 0
    last_position: int = -1
    label_types: set[type] = field(default_factory=set)
    columns: dict[str, bool] = field(default_factory=dict)
    recipes: dict[str, Recipe] = field(default_factory=dict)
    first_at: int | None = None
    newest_at: int | None = None


def survey(entries: Iterable[tuple[int, Entry]], span: Span, opening: Recipe | None = None) -> Survey:
    """Look at a range: its columns and its last sample. `opening` is the recipe before the log's first one.

    Raises `CannotExport` for samples whose recipe is not known.
    """
    found, seen, recipe = Survey(), Seen(), opening
    known = {} if opening is None else {opening.digest: opening}
    for position, entry in entries:
        if isinstance(entry, Recipe):
            recipe = known[entry.digest] = entry
        elif isinstance(entry, LabelRecord):
            seen.is_repeat(entry.origin)
            found.label_types.add(type(entry.y))
        elif isinstance(entry, Sample) and not seen.is_repeat(entry.origin):
            found.first_at = entry.at if found.first_at is None else found.first_at
            found.newest_at = entry.at if found.newest_at is None else max(entry.at, found.newest_at)
            if span.holds(entry.at):
                of = _checked(position, entry, recipe, known)
                if of.digest not in found.recipes:
                    found.recipes[of.digest] = of
                    found.columns.update((name, False) for name in of.inputs if name not in found.columns)
                found.samples += 1
                found.last_position = position
                if any(type(value) is str for value in entry.x):
                    texts = (
                        name for name, value in zip(of.inputs, entry.x, strict=True) if type(value) is str
                    )
                    found.columns.update((name, True) for name in texts)
    return found


def rows(
    entries: Iterable[tuple[int, Entry]],
    span: Span,
    rule_at: RuleOf,
    *,
    opening: Recipe | None = None,
    last_position: int | None = None,
) -> Iterator[Row]:
    """The rows of a range, in the order of their positions; those that still wait at the end of `entries` come without a label.

    `entries` begin where the log does, whatever the range. `rule_at` is asked at each recipe. After `last_position` (that of
    the range's last sample, from `survey`) no more is read than the labels of these rows need.
    """
    seen, recipe, waiting = Seen(), opening, deque[Row]()
    known = {} if opening is None else {opening.digest: opening}
    join: Join[Row] = join_of(rule_at(opening), on_gone=Row.end)
    for position, entry in entries:
        found: Sequence[Settled] = ()
        if isinstance(entry, Sample):
            if not seen.is_repeat(entry.origin):
                row = _row(position, entry, recipe, known, span.holds(entry.at))
                found = join.sample(entry.id, row, entry.label_key)
                # one whose id waits already never gets a label: the fold learns nothing from it
                row.settled = not found and join.pending.get(entry.id) is not row
                if row.wanted:
                    waiting.append(row)
        elif isinstance(entry, LabelRecord):
            found = () if seen.is_repeat(entry.origin) else join.label(position, entry)
        elif isinstance(entry, Tick):
            found = join.tick(entry)
        elif isinstance(entry, Recipe):
            recipe = known[entry.digest] = entry
            join = _under(join, rule_at(entry))
            join.recipe(entry)
        for settled in found:
            settled.waits.take(settled, bool(join.rule.corrected_ms))
        while waiting and waiting[0].settled:
            yield waiting.popleft()
        if last_position is not None and position >= last_position and not waiting:
            return
    yield from waiting


def _under(join: Join[Row], rule: LabelRule) -> Join[Row]:
    """The join under another recipe's rule. From ids to keys or back nothing that waits can find its label any more."""
    if rule.keyed == join.rule.keyed:
        join.rule = rule
        return join
    for row in (*join.pending.values(), *join.defaulted.values()):
        row.end()
    other: Join[Row] = join_of(rule, on_gone=Row.end)
    other.times, other.idle, other.clock = join.times, join.idle, join.clock
    return other


_OUTSIDE = Recipe("", [], "")


def _row(
    position: int, sample: Sample, recipe: Recipe | None, known: Mapping[str, Recipe], wanted: bool
) -> Row:
    if not wanted:  # joined like any other, and nothing more is kept of it
        return Row(sample.id, "", sample.at, position, _OUTSIDE, [], wanted)
    of = _checked(position, sample, recipe, known)
    return Row(sample.id, sample.key, sample.at, position, of, sample.x, wanted)


def _checked(position: int, sample: Sample, recipe: Recipe | None, known: Mapping[str, Recipe]) -> Recipe:
    """The recipe of a sample: of those `known` the one it names, or else the log's here.

    Raises `CannotExport` when it is not known or cannot be this sample's.
    """
    if sample.recipe and (recipe is None or sample.recipe != recipe.digest):
        recipe = known.get(sample.recipe)
    if recipe is None:
        raise CannotExport(
            f"the recipe of the sample at position {position:,}, which names its inputs, is gone from the log: "
            "give the definition FILE in place of the name"
        )
    if len(recipe.inputs) != len(sample.x):
        raise CannotExport(
            f"the sample at position {position:,} has {len(sample.x)} values, recipe {recipe.digest} names "
            f"{len(recipe.inputs)} inputs: give the definition FILE that the log was written under"
        )
    return recipe


@dataclass
class Summary:
    """What was written, and of what. `waiting` rows have no label yet, `unlabelled` ones will have none."""

    rows: int = 0
    labelled: int = 0
    true: int = 0
    defaults: int = 0
    unlabelled: int = 0
    waiting: int = 0
    left_out: int = 0
    first_at: int | None = None
    last_at: int | None = None
    recipes: Counter[str] = field(default_factory=Counter)

    def kept(self, found: Iterable[Row], *, labelled: bool) -> Iterator[Row]:
        """Count rows on their way, and leave out those without a label if asked to."""
        for row in found:
            if row.label is None and labelled:
                self.left_out += 1
                continue
            self.rows += 1
            if row.label is None:
                self.unlabelled += row.settled
                self.waiting += not row.settled
            else:
                self.labelled += 1
                self.true += row.label is True
                self.defaults += row.label_at is None
            self.first_at = row.at if self.first_at is None else min(self.first_at, row.at)
            self.last_at = row.at if self.last_at is None else max(self.last_at, row.at)
            self.recipes[row.recipe.digest] += 1
            yield row

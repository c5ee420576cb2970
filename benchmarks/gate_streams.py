"""The streams of `benchmarks.gate`: rows of a file or of a generator as the samples log would hold them, and their hard variants.

Laws of this file:
- A row is a sample; its label comes right after the sample that is `delay` rows later, or never if it is missing or the stream
  ends before. What is true of a row is known here whether its label comes or not: every row is judged.
- The same arguments give the same entries: noise and missing labels are drawn from `random.Random(7)`.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from river import linear_model
from river.datasets import synth

from penstock.stream.definitions import Label, Pipeline, Source
from penstock.stream.featurize.decode import Rejected, event_time
from penstock.stream.featurize.ticks import Ticks
from penstock.stream.label_rule import LabelRule
from penstock.stream.learn.join_by_id import JoinById
from penstock.stream.messages import Entry, LabelRecord, Origin, Sample, Tick

START_MS = 1_704_067_200_000
MINUTE_MS = 60_000
DAY_MS = 86_400_000
CONCEPT_ROWS = 10_000
CONCEPTS = 4
SEED = 7
OCCURRED = Source("gate.occurred", id="id", time="at", key="id")
KNOWN = Source("gate.known", id="id", time="at", key="id")


class CannotRead(ValueError):
    """A file that is no stream: which, where and why, in one line."""


class Variant(NamedTuple):
    """What makes a stream harder or shorter. `rows` 0: all. `noise` and `missing` are shares of inputs and of labels."""

    skip: int = 0
    rows: int = 0
    delay: int = 0
    missing: float = 0.0
    noise: float = 0.0


class Row(NamedTuple):
    """One row: its inputs by name, what is true of it, and its event time in ms (None: a minute after the last)."""

    x: dict[str, float | None]
    y: bool
    at: int | None = None


class Opened(NamedTuple):
    """A stream that is read: its entries without a recipe, the outcome and event time of each sample in order, drifts.

    An outcome is None where nobody knows it. `drifts` are the numbers of the samples at which the concept changes.
    """

    entries: list[Entry]
    truth: list[bool | None]
    at: list[int]
    drifts: list[int]
    pipeline: Callable[[Any], Pipeline]


class Stream(NamedTuple):
    """A stream by name, read when its turn comes."""

    name: str
    open: Callable[[], Opened]


def pipeline_of(inputs: list[str], wait_ms: int, model: Any) -> Pipeline:
    """A definition with these inputs and no views, everything else as it comes."""
    label = Label(KNOWN, outcome, wait=f"{wait_ms}ms", fields=("outcome",))
    return Pipeline("gate", views=[], predict=OCCURRED, label=label, model=model, inputs=inputs)


def outcome(event: dict[str, Any]) -> bool:
    """What a label says; nothing calls it, since the entries are made here."""
    return bool(event["outcome"])


def opened(rows: Iterable[Row], variant: Variant, drifts: Iterable[int] = ()) -> Opened:
    """Read `rows` as the samples log would hold them: samples, labels by the variant's delay, ticks."""
    stop = variant.skip + variant.rows if variant.rows else None
    chance = random.Random(SEED)
    taken, told, at = [], [], START_MS - MINUTE_MS
    for row in islice(rows, variant.skip, stop):
        x = noisy(row.x, variant.noise, chance) if variant.noise else row.x
        told.append(not (variant.missing and chance.random() < variant.missing))
        at = at + MINUTE_MS if row.at is None else row.at
        taken.append(Row(x, row.y, at))
    if not taken:
        raise CannotRead("no rows are left of it")
    times = [row.at or 0 for row in taken]
    longest_ms = max(
        (late - early for early, late in zip(times, times[variant.delay :], strict=False)), default=0
    )
    names, wait_ms = list(taken[0].x), longest_ms + DAY_MS
    define = partial(pipeline_of, names, wait_ms)
    shifted = [row - variant.skip for row in drifts]
    inside = [row for row in shifted if 0 < row < len(taken)]
    ticks = Ticks(define(linear_model.LogisticRegression()), 2)
    return Opened(
        list(entries(taken, told, variant.delay, ticks)), [row.y for row in taken], times, inside, define
    )


def entries(rows: list[Row], told: list[bool], delay: int, ticks: Ticks) -> Iterator[Entry]:
    """The rows in order: what the ticks say, the sample, and the label of the row `delay` before."""
    ticks.add([f"{OCCURRED.name}/0", f"{KNOWN.name}/0"], rows[0].at or 0)
    for number, row in enumerate(rows):
        at = row.at or 0
        if at >= ticks.line.next_at:
            yield ticks.reach(at, 0)
        yield Sample(Origin(OCCURRED.name, 0, number), str(number), str(number), at, list(row.x.values()))
        due = number - delay
        if due >= 0 and told[due]:
            yield LabelRecord(Origin(KNOWN.name, 0, due, 1), str(due), at, rows[due].y)


def noisy(x: dict[str, float | None], share: float, chance: random.Random) -> dict[str, float | None]:
    """Multiply about this share of the values by Student's t with 3 degrees of freedom: heavy tails, and signs that flip."""
    made = dict(x)
    for name, value in x.items():
        if chance.random() < share and value is not None:
            normal, squares = chance.gauss(0, 1), sum(chance.gauss(0, 1) ** 2 for _ in range(3))
            made[name] = value * normal / math.sqrt(squares / 3)
    return made


def lessons(log: Iterable[Entry], wait_ms: int) -> Iterator[tuple[int, bool | None]]:
    """The number of each sample as it comes, with None, and again with its outcome when its label has come: as the fold joins."""
    join: JoinById[_Numbered] = JoinById(LabelRule(wait_ms))
    number = -1
    for position, entry in enumerate(log):
        if isinstance(entry, Sample):
            number += 1
            yield number, None
            for found in join.sample(entry.id, _Numbered(entry.at, position, number)):
                yield number, bool(found.y)
        elif isinstance(entry, LabelRecord):
            for found in join.label(position, entry):
                yield found.waits.number, bool(entry.y)
        elif isinstance(entry, Tick):
            join.tick(entry)


class _Numbered(NamedTuple):
    at: int
    position: int
    number: int


# -- files ---------------------------------------------------------------------------------------------------------------------


def file_rows(path: Path, label: str | None = None, time: str | None = None) -> list[Row]:
    """The rows of a CSV file: `label` (the last column) is true above 0.5, `time` an event time that puts them in order.

    All other columns are numbers; an empty cell is a missing value. Raises `CannotRead`.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or ())
            label = label or (names[-1] if names else "")
            for wanted in filter(None, (label, time)):
                if wanted not in names:
                    raise CannotRead(f"{path}: no column {wanted!r}; there are: {', '.join(names)}")
            inputs = [name for name in names if name not in (label, time)]
            rows = [_row(path, reader.line_num, cells, inputs, label, time) for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CannotRead(f"{path}: {error}") from None
    if not rows or not inputs:
        raise CannotRead(f"{path}: no {'rows' if inputs else 'inputs'}; a stream has a header and rows")
    return sorted(rows, key=lambda row: row.at or 0) if time else rows


def _row(
    path: Path, line: int, cells: dict[str, Any], inputs: list[str], label: str, time: str | None
) -> Row:
    def number(name: str) -> float | None:
        try:
            return float(cells[name]) if cells[name] else None
        except ValueError:
            raise CannotRead(f"{path}:{line}: column {name!r} is no number: {cells[name]!r}") from None

    y, at = number(label), None
    if y is None:
        raise CannotRead(f"{path}:{line}: column {label!r} is empty; every row needs its label")
    if time:
        text = cells[time] or ""
        try:
            at = event_time(float(text) if text.replace(".", "", 1).isdigit() else text, time)
        except Rejected as error:
            raise CannotRead(f"{path}:{line}: {error}") from None
    return Row({name: number(name) for name in inputs}, y > 0.5, at)


def drifts_every(concept_rows: int) -> range:
    """The rows at which the second, third and fourth stretch begin."""
    return range(concept_rows, CONCEPTS * concept_rows, concept_rows)


def folder(path: Path, variant: Variant) -> list[Stream]:
    """Each *.csv of a folder. In those named abrupt or gradual, the concept changes after 10, 20 and 30 thousand rows."""
    found = sorted(path.glob("*.csv"))
    if not found:
        raise CannotRead(f"{path}: no *.csv files there")
    return [Stream(one.stem, partial(_open_file, one, variant)) for one in found]


def _open_file(path: Path, variant: Variant) -> Opened:
    rows = file_rows(path)
    known = "abrupt" in path.stem or "gradual" in path.stem
    return opened(rows, variant, drifts_every(CONCEPT_ROWS) if known else ())


def one_file(path: Path, label: str, time: str | None, variant: Variant) -> Stream:
    """The stream of one file."""
    return Stream(path.stem, lambda: opened(file_rows(path, label, time), variant))


# -- generators ----------------------------------------------------------------------------------------------------------------


def generated(variant: Variant, concept_rows: int = CONCEPT_ROWS) -> list[Stream]:
    """River's generators, the concept changing abruptly every `concept_rows`, four stretches; and one that never changes.

    Where the last stretch has the first one's concept, its rows are new ones all the same.
    """
    made: dict[str, list[Any]] = {
        "sea": [synth.SEA(variant=which, noise=0.1, seed=which) for which in range(4)],
        "stagger": [synth.STAGGER(which, seed=which) for which in range(3)],
        "agrawal": [synth.Agrawal(which, seed=which, perturbation=0.05) for which in (0, 3, 6)],
        "hyperplane": [synth.Hyperplane(seed=which) for which in (1, 2, 3)],
        "led": [synth.LEDDrift(which, 0.1, True, moved) for which, moved in enumerate((0, 3, 7))],
        "stationary": [synth.Hyperplane(seed=9, noise_percentage=0.2)],
    }
    return [
        Stream(name, partial(_open_generated, name, datasets, variant, concept_rows))
        for name, datasets in made.items()
    ]


def _open_generated(name: str, datasets: list[Any], variant: Variant, concept_rows: int) -> Opened:
    drifts = drifts_every(concept_rows) if len(datasets) > 1 else ()
    return opened(generated_rows(datasets, concept_rows, below=5 if name == "led" else None), variant, drifts)


def generated_rows(datasets: list[Any], concept_rows: int, below: int | None = None) -> Iterator[Row]:
    """Four stretches of these concepts, in turn. Of several classes, the question is whether it is one `below` a number."""
    goes_on = [iter(dataset) for dataset in datasets]
    for stretch in range(CONCEPTS):
        for x, y in islice(goes_on[stretch % len(goes_on)], concept_rows):
            true = y < below if below is not None else bool(y)
            yield Row({str(name): float(value) for name, value in x.items()}, true)

"""The scoring of one file: its rows in, the same rows with their predictions out.

Laws of this file:
- As many rows come out as went in, in their order. A row without a prediction says why in `error`.
- The whole file is answered by the same models: they are loaded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from penstock.features.engine.compute import CompiledView
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import Rejected
from penstock.stream.log.protocol import Log
from penstock.stream.prediction import Prediction
from penstock.stream.score.history import AsOf
from penstock.stream.score.models import Scorer, columns_of
from penstock.stream.score.reading import Batch, CannotScore, Table, form_of, open_table
from penstock.stream.score.vectors import Events, Given, Reads
from penstock.stream.score.writing import Whole
from penstock.stream.serve.vectors import Asked

Features = Literal["columns", "history", "now"]
Progress = Callable[[str, int, int | None], None]
"""Hears of (what is done, how far, of how much if that is known)."""
Found = Prediction | str
"""A row's prediction, or why it has none."""


@dataclass
class Summary:
    """What became of the rows.

    `errors` has the first rows without a prediction, by number from 0, and why; `notes` what a reader of the file should know.
    """

    rows: int = 0
    predicted: int = 0
    errors: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, number: int, found: Found) -> None:
        """One row's."""
        self.rows += 1
        if isinstance(found, Prediction):
            self.predicted += 1
        elif len(self.errors) < 3:
            self.errors[number] = found


@dataclass(frozen=True)
class Job:
    """What is asked for: which file, to where, and where its features come from; `now_ms` is the moment of `now`."""

    pipeline: Pipeline
    source: str
    out: str
    features: Features
    now_ms: int = 0


def score(job: Job, scorer: Scorer, *, log: Log | None, reads: Reads | None, progress: Progress) -> Summary:
    """Score the file. `log` is where the source topics are, for history, `reads` where states are, for now.

    Raises `CannotScore`, and what the two raise. Then the file at `job.out` is what it was before.
    """
    form_of(job.out, "--out")
    if job.source == job.out:
        raise CannotScore("--out is --in: write the predictions to another file")
    table, summary = open_table(job.source), Summary()
    found: Callable[[], Iterator[tuple[Batch, list[Found]]]]
    if job.features == "columns":
        given = Given(job.pipeline, table)
        found = lambda: _of_columns(given, table, scorer)  # noqa: E731
    elif job.features == "now":
        assert reads is not None, "features as of now are read from states"
        there = reads
        events = Events(job.pipeline, table, there.compiled, timed=False)
        found = lambda: _of_now(events, table, scorer, there, job.now_ms)  # noqa: E731
    else:
        assert log is not None, "features as of the past are made from the source topics"
        views = {view.name: CompiledView(view) for view in job.pipeline.views}
        events = Events(job.pipeline, table, views.__getitem__, timed=True)
        answers = _of_history(job.pipeline, log, events, table, scorer, progress, summary)
        found = lambda: _by_number(table, answers)  # noqa: E731
    _write(job, table, scorer, found(), progress, summary)
    return summary


def _write(
    job: Job,
    table: Table,
    scorer: Scorer,
    found: Iterator[tuple[Batch, list[Found]]],
    progress: Progress,
    summary: Summary,
) -> None:
    columns = columns_of(job.pipeline)
    types = {name: one.kind for name, one in columns.items()}
    added = {**types, "model_version": str, "position": int, "recipe": str, "error": str}
    about = {"pipeline": job.pipeline.name, "features": job.features, **scorer.about}
    with Whole(job.out, table, added, about) as out:
        for batch, answers in found:
            for number, one in enumerate(answers, summary.rows):
                summary.add(number, one)
            said = [one if isinstance(one, Prediction) else None for one in answers]
            values: dict[str, list[Any]] = {
                name: [None if one is None else column.of(one) for one in said]
                for name, column in columns.items()
            }
            values["model_version"] = [None if one is None else one.model.version for one in said]
            values["position"] = [None if one is None else one.position for one in said]
            values["recipe"] = [None if one is None else one.recipe for one in said]
            values["error"] = [one if isinstance(one, str) else None for one in answers]
            out.write(batch, values)
            progress("scored", summary.rows, table.count)


def _answer(scorer: Scorer, id_: str, at: int, vector: Any) -> Found:
    try:
        return scorer.answer(id_, at, vector)
    except ValueError as error:
        return str(error)


def _of_columns(given: Given, table: Table, scorer: Scorer) -> Iterator[tuple[Batch, list[Found]]]:
    for batch in table.batches(given.wanted):
        answers: list[Found] = []
        for number, row in enumerate(batch.rows):
            try:
                answers.append(batch.bad.get(number) or _answer(scorer, "", 0, given.vector(row)))
            except Rejected as error:
                answers.append(str(error))
        yield batch, answers


def _read(
    events: Events, batch: Batch, first: int, now_ms: int | None
) -> tuple[dict[int, Asked], dict[int, Found]]:
    """The rows of a batch as events by their place, and why those are none that are none."""
    asked: dict[int, Asked] = {}
    bad: dict[int, Found] = dict(batch.bad)
    for place, row in enumerate(batch.rows):
        if place in bad:
            continue
        try:
            asked[place] = events.asked(row, first + place, now_ms)
        except Rejected as error:
            bad[place] = str(error)
        except Exception as error:  # as in featurize: whatever a row provokes is that row's
            bad[place] = f"{type(error).__name__}: {error}"
    return asked, bad


def _of_now(
    events: Events, table: Table, scorer: Scorer, reads: Reads, now_ms: int
) -> Iterator[tuple[Batch, list[Found]]]:
    first = 0
    for batch in table.batches(events.wanted):
        asked, found = _read(events, batch, first, now_ms)
        vectors = events.vectors_now(list(asked.values()), reads)
        for (place, one), vector in zip(asked.items(), vectors, strict=True):
            found[place] = _answer(scorer, one.id, one.at, vector)
        first += len(batch.rows)
        yield batch, [found[place] for place in range(len(batch.rows))]


def _of_history(
    pipeline: Pipeline,
    log: Log,
    events: Events,
    table: Table,
    scorer: Scorer,
    progress: Progress,
    summary: Summary,
) -> dict[int, Found]:
    """The answer to every row, by its number."""
    rows: list[tuple[int, Asked]] = []
    answers: dict[int, Found] = {}
    first = 0
    for batch in table.batches(events.wanted):
        asked, bad = _read(events, batch, first, None)
        rows += [(first + place, one) for place, one in asked.items()]
        answers.update((first + place, why) for place, why in bad.items())
        first += len(batch.rows)

    def told(number: int, asked: Asked, vector: list[Any]) -> None:
        answers[number] = _answer(scorer, asked.id, asked.at, vector)

    read = partial(progress, "events read")
    flow = AsOf(pipeline, log, rows, events.vectors, told, read)
    flow.run()
    summary.notes += [
        f"records 0 to {many - 1:,} of {topic}/{partition} are gone: no feature has seen them"
        for (topic, partition), many in flow.gone.items()
    ]
    return answers


def _by_number(table: Table, answers: dict[int, Found]) -> Iterator[tuple[Batch, list[Found]]]:
    first = 0
    for batch in table.batches([]):
        yield batch, [answers[first + place] for place in range(len(batch.rows))]
        first += len(batch.rows)

"""The scoring of one table: its rows in, the same rows with their predictions out.

Laws of this file:
- As many rows come out as went in, in their order. A row without a prediction says why in `error`.
- The whole table is answered by the same models, which are loaded once; or each row by those that were live at its time, in one
  fold of the log.
- What is in memory is a batch; of history, and of the models of then, the rows with their vectors or answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from penstock.features.engine.compute import CompiledView
from penstock.stream.definitions import Pipeline
from penstock.stream.files.reading import Batch, Table, form_of, open_table
from penstock.stream.files.writing import Whole
from penstock.stream.log.protocol import Log
from penstock.stream.prediction import Prediction
from penstock.stream.score.models import Scorer, columns_of
from penstock.stream.score.refusal import CannotScore
from penstock.stream.score.rows import Found, Row, Rows, of_columns, of_log, of_now, tell_history
from penstock.stream.score.then import Then
from penstock.stream.score.vectors import Events, Given, Reads

Features = Literal["columns", "logged", "history", "now"]
Progress = Callable[[str, int, int | None], None]
"""Hears of (what is done, how far, of how much if that is known)."""
Answers = Iterator[tuple[Batch, list[Found]]]


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
    """What is asked for: which rows (an address, or a table), to where, and where their features come from.

    `now_ms` is the moment of `now`. `logged` features are those of a table of samples.
    """

    pipeline: Pipeline
    source: str | Table
    out: str
    features: Features
    now_ms: int = 0


def score(
    job: Job, scorer: Scorer | Then, *, log: Log | None, reads: Reads | None, progress: Progress
) -> Summary:
    """Score the rows. `log` is where the source topics are, for history, `reads` where states are, for now.

    Raises `CannotScore`, and what the two raise. Then the file at `job.out` is what it was before.
    """
    form_of(job.out, "--out")
    if job.source == job.out:
        raise CannotScore("--out is --in: write the predictions to another file")
    then = isinstance(scorer, Then)
    if then and job.features == "now":
        raise CannotScore(
            "features as of now go with models as of now: leave --models out, or take --features history for rows of the past"
        )
    summary = Summary()
    table = open_table(job.source) if isinstance(job.source, str) else job.source
    answers: dict[int, Found] = {}
    if job.features == "history":
        assert log is not None, "features as of the past are made from the source topics"
        views = {view.name: CompiledView(view) for view in job.pipeline.views}
        events = Events(job.pipeline, table, views.__getitem__, timed=True)
        collected = _Collected(scorer, answers)
        summary.notes += tell_history(job.pipeline, log, events, table, collected.hear, progress)
        collected.end(progress)
        found = _by_number(table, answers)
    elif isinstance(scorer, Then):
        collected = _Collected(scorer, answers)
        for _, rows in _rows(job, table, reads, timed=True):
            for one in rows:
                collected.hear(collected.heard, one)
        collected.end(progress)
        found = _by_number(table, answers)
    else:
        found = _answered(_rows(job, table, reads, timed=False), scorer)
    _write(job, table, scorer, found, progress, summary)
    return summary


def _rows(job: Job, table: Table, reads: Reads | None, *, timed: bool) -> Rows:
    if job.features == "columns":
        return of_columns(Given(job.pipeline, table), table, timed=timed)
    if job.features == "logged":
        return of_log(table)
    assert reads is not None, "features as of now are read from states"
    events = Events(job.pipeline, table, reads.compiled, timed=False)
    return of_now(events, table, reads, job.now_ms)


class _Collected:
    """Rows as they are told, in any order: answered at once, or all together by the models of then."""

    def __init__(self, scorer: Scorer | Then, answers: dict[int, Found]) -> None:
        self.scorer, self.answers = scorer, answers
        self.rows: list[Row] = []
        self.heard = 0

    def hear(self, number: int, one: Row | str) -> None:
        """One row, or why it has no vector."""
        self.heard += 1
        if isinstance(one, str):
            self.answers[number] = one
        elif isinstance(self.scorer, Then):
            self.rows.append(one)
        else:
            self.answers[number] = _answer(self.scorer, one)

    def end(self, progress: Progress) -> None:
        """All rows were told."""
        if isinstance(self.scorer, Then):
            self.scorer.answer_all(
                self.rows, self.answers.__setitem__, partial(progress, "records of the samples log folded")
            )


def _answer(scorer: Scorer, row: Row) -> Found:
    try:
        return scorer.answer(row.id, row.at, row.values)
    except ValueError as error:
        return str(error)


def _answered(rows: Rows, scorer: Scorer) -> Answers:
    for batch, of_batch in rows:
        yield batch, [one if isinstance(one, str) else _answer(scorer, one) for one in of_batch]


def _by_number(table: Table, answers: dict[int, Found]) -> Answers:
    first = 0
    for batch in table.batches([]):
        yield batch, [answers[first + place] for place in range(len(batch.rows))]
        first += len(batch.rows)


def _write(
    job: Job,
    table: Table,
    scorer: Scorer | Then,
    found: Answers,
    progress: Progress,
    summary: Summary,
) -> None:
    columns = columns_of(job.pipeline)
    types = {name: one.kind for name, one in columns.items()}
    added = {**table.beside, **types, "model_version": str, "position": int, "recipe": str, "error": str}
    about = {"pipeline": job.pipeline.name, "features": job.features, **scorer.about}
    with Whole(job.out, table, added, about) as out:
        for batch, answers in found:
            for number, one in enumerate(answers, summary.rows):
                summary.add(number, one)
            said = [one if isinstance(one, Prediction) else None for one in answers]
            values: dict[str, list[Any]] = {name: batch.beside[name] for name in table.beside}
            for name, column in columns.items():
                values[name] = [None if one is None else column.of(one) for one in said]
            values["model_version"] = [None if one is None else one.model.version for one in said]
            values["position"] = [None if one is None else one.position for one in said]
            values["recipe"] = [None if one is None else one.recipe for one in said]
            values["error"] = [one if isinstance(one, str) else None for one in answers]
            out.write(batch, values)
            progress("scored", summary.rows, table.count)

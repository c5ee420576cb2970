"""The rows of a table with their vectors: as they stand in its columns, as they were logged, as of now, or as of their own time.

Laws of this file:
- Every row of the table comes once: with its vector, or with a sentence why it has none.
- Only history needs more than a batch in memory: its rows are told in the order of time, not of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import Rejected, event_time
from penstock.stream.files.reading import Batch, Table
from penstock.stream.log.protocol import Log
from penstock.stream.messages import Value
from penstock.stream.prediction import Prediction
from penstock.stream.score.history import AsOf
from penstock.stream.score.refusal import CannotScore
from penstock.stream.score.vectors import Events, Given, Reads
from penstock.stream.serve.vectors import Asked


class Row(NamedTuple):
    """A row with its vector, in the order of the definition's; `number` counts rows from 0, `at` is its time in ms."""

    number: int
    id: str
    at: int
    values: Sequence[Value]


Found = Prediction | str
"""A row's prediction, or why it has none."""
Rows = Iterator[tuple[Batch, list[Row | str]]]
"""Batches of a table with their rows' vectors, or why there is none."""
ID, AT, X = "event_id", "at", "x"
"""As `penstock export` calls an event's id and time; what a logged row has of its vector."""


def of_columns(given: Given, table: Table, *, timed: bool) -> Rows:
    """Vectors that stand in the columns. If they are `timed`, each row has its event's id and time, too, as an export does.

    Raises `CannotScore` for a table without these.
    """
    missing = [name for name in (ID, AT) if timed and name not in table.columns]
    if missing:
        raise CannotScore(
            f"the file has no column {', '.join(missing)}: the models that were live then are found by a row's {ID} and {AT} "
            "(ms or RFC 3339), as `penstock export` writes them; or take --models live-now"
        )
    wanted, number = [*given.wanted, *((ID, AT) if timed else ())], 0
    for batch in table.batches(wanted):
        vectors = given.vectors(batch)
        if timed:
            found = [
                _timed(number + place, *one)
                for place, one in enumerate(zip(vectors, batch.rows, strict=True))
            ]
        else:
            found = [
                one if isinstance(one, str) else Row(number + place, "", 0, one)
                for place, one in enumerate(vectors)
            ]
        number += len(found)
        yield batch, found


def _timed(number: int, vector: Sequence[Value] | str, row: dict[str, Any]) -> Row | str:
    if isinstance(vector, str):
        return vector
    try:
        return Row(number, *_named(row), vector)
    except Rejected as error:
        return str(error)


def _named(row: dict[str, Any]) -> tuple[str, int]:
    at = row.get(AT)
    if at is None:
        raise Rejected(f"column {AT!r} is empty: nothing says which models were live then")
    return str(row.get(ID)), event_time(int(at) if str(at).isdigit() else at, AT)


def of_log(table: Table) -> Rows:
    """Vectors as they were logged."""
    number = 0
    for batch in table.batches((ID, AT, X)):
        yield (
            batch,
            [
                batch.bad.get(place) or Row(number + place, row[ID], row[AT], row[X])
                for place, row in enumerate(batch.rows)
            ],
        )
        number += len(batch.rows)


def _read(
    events: Events, batch: Batch, first: int, now_ms: int | None
) -> tuple[dict[int, Asked], dict[int, str]]:
    """The rows of a batch as events by their place, and why those are none that are none."""
    asked: dict[int, Asked] = {}
    bad: dict[int, str] = dict(batch.bad)
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


def of_now(events: Events, table: Table, reads: Reads, now_ms: int) -> Rows:
    """Vectors as of this moment, from the states that `reads` gives."""
    first = 0
    for batch in table.batches(events.wanted):
        asked, bad = _read(events, batch, first, now_ms)
        found: dict[int, Row | str] = dict(bad)
        vectors = events.vectors_now(list(asked.values()), reads)
        for (place, one), vector in zip(asked.items(), vectors, strict=True):
            found[place] = Row(first + place, one.id, one.at, vector)
        first += len(batch.rows)
        yield batch, [found[place] for place in range(len(batch.rows))]


def tell_history(
    pipeline: Pipeline,
    log: Log,
    events: Events,
    table: Table,
    told: Callable[[int, Row | str], None],
    progress: Callable[[str, int, int | None], None],
) -> list[str]:
    """Tell every row, by its number, with its vector as of its own time; what a reader should know of them."""
    rows: list[tuple[int, Asked]] = []
    first = 0
    for batch in table.batches(events.wanted):
        asked, bad = _read(events, batch, first, None)
        rows += [(first + place, one) for place, one in asked.items()]
        for place, why in bad.items():
            told(first + place, why)
        first += len(batch.rows)

    def with_vector(number: int, asked: Asked, vector: list[Any]) -> None:
        told(number, Row(number, asked.id, asked.at, vector))

    flow = AsOf(pipeline, log, rows, events.vectors, with_vector, partial(progress, "events read"))
    flow.run()
    return [
        f"records 0 to {many - 1:,} of {topic}/{partition} are gone: no feature has seen them"
        for (topic, partition), many in flow.gone.items()
    ]

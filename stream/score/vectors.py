"""A row → the vector that models read: from its own columns, or as an event whose features are read as of a moment.

Laws of this file:
- What is wrong with a row is that row's: it is said in the words of a dead letter, and the others go on.
- A value of a CSV is a number where the model, a view or the source's time wants one, and text where text is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, Protocol, cast

import msgspec

from penstock.features.engine.compute import CompiledView, State
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import END_OF_TIME_MS, Rejected, field_types
from penstock.stream.featurize.model_trial import text_inputs
from penstock.stream.files.reading import Batch, Table
from penstock.stream.files.values import number_in
from penstock.stream.messages import Value
from penstock.stream.score.refusal import CannotScore
from penstock.stream.serve.vectors import Asked, Vectors


class Reads(Protocol):
    """What is needed of a `FeatureReader` that has the definitions."""

    def states(self, wanted: Sequence[tuple[str, str]]) -> list[State | None]:
        """Private states of (view, entity), the caller's own."""

    def compiled(self, view: str) -> CompiledView:
        """What evaluates them."""


class Given:
    """Vectors that stand in the columns of the file, as `penstock export` writes them."""

    def __init__(self, pipeline: Pipeline, table: Table) -> None:
        self.texts = text_inputs(pipeline)
        names = pipeline.vector_names
        self.column_of = {
            name: f"input.{name}" if f"input.{name}" in table.columns else name for name in names
        }
        missing = [name for name, column in self.column_of.items() if column not in table.columns]
        if missing:
            raise CannotScore(
                f"the file has no column {', '.join(missing)}: give every input of the model as a column, as `penstock export` "
                "does, or --features history or now, which read them as of each row's own time, or as of now"
            )
        self.wanted = list(self.column_of.values())

    def vectors(self, batch: Batch) -> list[Sequence[Value] | str]:
        """The values of every row, in the definition's order, or why it has none."""
        columns = [batch.numbers.get(column) for column in self.column_of.values()]
        if columns and None not in columns:
            return [*zip(*cast("list[list[Value]]", columns), strict=True)]
        found: list[Sequence[Value] | str] = []
        for place, row in enumerate(batch.rows):
            try:
                found.append(batch.bad.get(place) or self.vector(row))
            except Rejected as error:
                found.append(str(error))
        return found

    def vector(self, row: Mapping[str, Any]) -> list[Value]:
        """The values of one row, in the definition's order. Raises `Rejected`."""
        return [self._value(name, row.get(column)) for name, column in self.column_of.items()]

    def _value(self, name: str, value: Any) -> Value:
        if isinstance(value, str) and name not in self.texts:
            value = number_in(value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            if isfinite(value):
                return value
            if value != value:  # how tables say that there is none
                return None
        elif isinstance(value, str) and name in self.texts:
            return value
        raise Rejected(
            f"column {self.column_of[name]!r} is {value!r:.60}, and the model takes {self._takes(name)}"
        )

    def _takes(self, name: str) -> str:
        return "text and finite numbers" if name in self.texts else "a finite number"


class Events:
    """Rows as events of the predicted source: its own fields are columns. `number` names rows that have no id."""

    def __init__(
        self, pipeline: Pipeline, table: Table, compiled: Callable[[str], CompiledView], *, timed: bool
    ) -> None:
        source = pipeline.predict
        types = field_types(pipeline, source, asked=True)
        self.source, self.vectors, self.timed = source, Vectors(pipeline, compiled), timed
        self.wanted = [name for name in types if name in table.columns]
        self.texts = {name for name, kind in types.items() if str in getattr(kind, "__args__", ())} - {
            source.time
        }
        free = {source.id} if timed else {source.id, source.time}
        missing = [name for name in types if name not in table.columns and name not in free]
        if missing:
            raise CannotScore(
                f"the file has no column {', '.join(missing)}: rows must have the fields of the events of {source.name!r}, but "
                f"for their label{' and id' if timed else ', id and time'}"
            )
        self.of_csv = table.form == "csv"

    def asked(self, row: Mapping[str, Any], number: int, now_ms: int | None) -> Asked:
        """One row as its topic would take it; as of `now_ms` if that is given, else of its own time. Raises `Rejected`."""
        event = dict(row)
        if self.of_csv:
            for name, value in event.items():
                if isinstance(value, str) and name not in self.texts:
                    event[name] = number_in(value)
        if event.get(self.source.id) is None:
            event[self.source.id] = f"row {number}"
        if now_ms is not None:
            event[self.source.time] = now_ms
        try:
            return self.vectors.asked(msgspec.json.encode(event), END_OF_TIME_MS)
        except (TypeError, msgspec.MsgspecError) as error:
            raise Rejected(str(error)) from None

    def vectors_now(self, asked: Sequence[Asked], reads: Reads) -> list[list[Any]]:
        """Their vectors, from states as they are now, read all at once."""
        found = self.vectors.vectors(asked, reads.states(self.vectors.wanted(asked)))
        return [values for values, _ in found]

"""Training rows → a parquet, CSV or JSON-lines file, a batch at a time.

Laws of this file:
- A file's columns are fixed when it is opened: the seven of every row, then one per input of any recipe in the range.
- Number columns are 64-bit floats (true is 1, false 0); an input that was text anywhere in the range is text in all of it. What a
  row's recipe does not name is null there. The label's column is of the labels' own type, text where they are of several.
- CSV and JSON have times in milliseconds since the epoch, as Penstock's topics do; parquet has timestamps in UTC.
"""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import msgspec

from penstock.stream.messages import Value
from penstock.stream.operate.training_set import CannotExport, Row

FIXED = ("event_id", "key", "at", "position", "recipe", "label", "label_at")
#: By the suffix of a file's name.
FORMATS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
#: Rows that are written together: a row group of a parquet file.
BATCH_ROWS = 32_768


class Columns:
    """Where each input goes: `names` of the columns, the fixed ones first, and a row's values in that order.

    An input that has the name of a fixed column is called `input.<name>`. `label_types` are those of the labels there are.
    """

    def __init__(self, inputs: Mapping[str, bool], label_types: Collection[type] = ()) -> None:
        self.inputs = dict(inputs)
        self.label_types = frozenset(label_types) or {bool}
        taken = {*FIXED}
        self.of_input: dict[str, str] = {}
        for name in self.inputs:
            column = name
            while column in taken:
                column = f"input.{column}"
            taken.add(column)
            self.of_input[name] = column
        self.names = [*FIXED[:5], *self.of_input.values(), *FIXED[5:]]
        self._places: dict[tuple[str, ...], list[int | None]] = {}

    def values(self, row: Row) -> list[Any]:
        """One row, a value for each of `names`."""
        inputs = tuple(row.recipe.inputs)
        places = self._places.get(inputs)
        if places is None:
            places = [inputs.index(name) if name in inputs else None for name in self.inputs]
            self._places[inputs] = places
        x = row.x
        vector = [
            None if place is None else _as_text(x[place]) if text else _as_number(x[place])
            for place, text in zip(places, self.inputs.values(), strict=True)
        ]
        fixed = (row.event_id, row.key, row.at, row.position, row.recipe.digest)
        return [*fixed, *vector, row.label, row.label_at]


def _as_number(value: Value) -> float | None:
    assert not isinstance(value, str), "the survey found no text in this column"
    return None if value is None else float(value)


def _as_text(value: Value) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return ("true" if value else "false") if isinstance(value, bool) else repr(value)


class RowFile(Protocol):
    """A file that takes rows until its `with` block ends."""

    def write(self, rows: Sequence[Row]) -> None:
        """Append a batch."""

    def __enter__(self) -> RowFile: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_rows(path: Path, form: str, columns: Columns, about: Mapping[str, Any]) -> RowFile:
    """Open a file in one of `FORMATS`' formats; `about` goes into a parquet file's metadata, as JSON under `penstock`.

    Raises `OSError` for a path that cannot be written, `CannotExport` for parquet without pyarrow.
    """
    if form == "parquet":
        return _Parquet(path, columns, about)
    return _Csv(path, columns) if form == "csv" else _JsonLines(path, columns)


def arrow() -> tuple[Any, Any]:
    """The modules `pyarrow` and `pyarrow.parquet`, the extra `export`; raises `CannotExport` without it."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise CannotExport(
            f"parquet needs pyarrow, which is not here ({error}): `pip install pyarrow`, or choose --format csv or jsonl"
        ) from None
    return pyarrow, parquet


class _Text(ABC):
    """A file of lines."""

    def __init__(self, path: Path, columns: Columns) -> None:
        self.file = path.open("w", encoding="utf-8", newline="")
        self.columns = columns

    def __enter__(self) -> RowFile:
        return self

    @abstractmethod
    def write(self, rows: Sequence[Row]) -> None: ...

    def __exit__(self, *_: object) -> None:
        self.file.close()


class _Csv(_Text):
    """A header, then a line a row; null is nothing between the commas."""

    def __init__(self, path: Path, columns: Columns) -> None:
        super().__init__(path, columns)
        self.writer = csv.writer(self.file, lineterminator="\n")
        self.writer.writerow(columns.names)

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            *values, label, label_at = self.columns.values(row)
            self.writer.writerow([*values, _as_text(label), label_at])


class _JsonLines(_Text):
    """An object a line, with every column."""

    def write(self, rows: Sequence[Row]) -> None:
        encode, names = msgspec.json.encode, self.columns.names
        for row in rows:
            line = encode(dict(zip(names, self.columns.values(row), strict=True)))
            self.file.write(line.decode() + "\n")


class _Parquet:
    """A row group a batch."""

    def __init__(self, path: Path, columns: Columns, about: Mapping[str, Any]) -> None:
        self.arrow, parquet = arrow()
        self.columns = columns
        pa = self.arrow
        time, text = pa.timestamp("ms", tz="UTC"), pa.string()
        kinds = [text, text, time, pa.int64(), text]
        kinds += [text if is_text else pa.float64() for is_text in columns.inputs.values()]
        # bool is an int to Python, and to no reader of the file
        labels = {
            frozenset({bool}): pa.bool_(),
            frozenset({int}): pa.int64(),
            frozenset({float}): pa.float64(),
        }
        self.label_text = columns.label_types not in labels
        kinds += [labels.get(frozenset(columns.label_types), text), time]
        fields = [pa.field(name, kind) for name, kind in zip(columns.names, kinds, strict=True)]
        self.schema = pa.schema(fields, metadata={b"penstock": msgspec.json.encode(about)})
        self.writer = parquet.ParquetWriter(path, self.schema, compression="zstd")

    def write(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        pa = self.arrow
        values = [self.columns.values(row) for row in rows]
        if self.label_text:
            values = [[*row[:-2], _as_text(row[-2]), row[-1]] for row in values]
        by_column = zip(*values, strict=True)
        arrays = [
            pa.array(values, type=field.type) for values, field in zip(by_column, self.schema, strict=True)
        ]
        self.writer.write_table(pa.Table.from_arrays(arrays, schema=self.schema))

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()

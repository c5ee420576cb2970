"""The rows of a file with columns that are added: every row as it came, whole or not at all.

Laws of this file:
- It is written beside its name (`.part`) and renamed when it is complete: whoever looks at the name sees the former file, none,
  or all of the new one, wherever the writer was killed. What a killed writer left is overwritten by the next.
- In the format that it came in a row keeps its own bytes, text or types. In another it has the same values.
- A column that is added has another name where the file has that one already: `scored.<name>`, or behind another `before`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol

import fsspec
import msgspec

from penstock.stream.files.reading import Batch, CannotUse, Table, arrow, form_of, packing
from penstock.stream.files.values import plain

GROUP_BATCHES = 8
"""Batches that make a row group of a Parquet file: a footer of many small ones would be read by whoever opens it."""
Added = dict[str, list[Any]]
"""Values of the added columns, one for each row of a batch."""


def renamed(added: Mapping[str, type], there: Sequence[str]) -> dict[str, str]:
    """The name of each added column in a file that has these.

    >>> renamed({"prediction": float, "position": int}, ["id", "position"])
    {'prediction': 'prediction', 'position': 'scored.position'}
    """
    names: dict[str, str] = {}
    for one in added:
        name = one
        while name in there:
            name = f"scored.{name}"
        names[one] = name
    return names


class _Writer(Protocol):
    """Writes batches to an open file."""

    def write(self, batch: Batch, added: Added) -> None:
        """Append rows."""

    def end(self) -> None:
        """What stands at a file's end."""


class Whole:
    """A file that is there when its `with` block ended well, and as it was before when it did not.

    `added` are the types of the columns that are added, `about` goes into a Parquet file's metadata as JSON under `penstock`.
    Raises `CannotUse` for a place that cannot be written.
    """

    def __init__(
        self, address: str, table: Table, added: Mapping[str, type], about: Mapping[str, Any]
    ) -> None:
        self.address, self.form = address, form_of(address, "--out")
        self.names = renamed(added, table.columns)
        self.table, self.types, self.about = table, dict(added), dict(about)
        self.rows = 0
        if self.form == "parquet":
            arrow()  # what is missing is said before anything is written
        try:
            self.files, self.path = fsspec.url_to_fs(address)
            self.part = f"{self.path}.part"
            self.file = self.files.open(self.part, "wb")
        except (OSError, ValueError, ImportError) as error:
            raise CannotUse(f"--out {address} cannot be written: {error}") from None
        self.writer: _Writer = self._writer()

    def _writer(self) -> _Writer:
        if self.form == "parquet":
            return _Parquet(self)
        if packing(self.address):
            packed = fsspec.utils.infer_compression(self.path)
            self.packed = fsspec.compression.compr[packed](self.file, mode="wb")
        else:
            self.packed = self.file
        return _Csv(self) if self.form == "csv" else _JsonLines(self)

    def write(self, batch: Batch, added: Added) -> None:
        """Append rows with their added values."""
        self.rows += len(batch.rows)
        self.writer.write(batch, added)

    def __enter__(self) -> Whole:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._drop()
            return
        try:
            self._close()
        except BaseException:
            self._drop()
            raise
        self.files.mv(self.part, self.path)

    def _close(self) -> None:
        self.writer.end()
        if self.form != "parquet" and self.packed is not self.file:
            self.packed.close()
        self.file.close()

    def _drop(self) -> None:
        """Nothing is left of it; what a broken file says when it is closed does not matter any more."""
        with suppress(Exception):
            self._close()
        with suppress(Exception):
            self.file.close()
        self.files.rm_file(self.part)


def records(table: Table, batch: Batch) -> list[dict[str, Any]]:
    """Rows with all their columns, for another format than their own."""
    if table.form == "rows":
        return list(batch.raw)
    if table.form == "parquet":
        return [{name: plain(value) for name, value in row.items()} for row in batch.raw.to_pylist()]
    if table.form == "csv":
        return [
            {n: cell or None for n, cell in zip(table.columns, cells, strict=True)} for cells in batch.raw
        ]
    return [{} if n in batch.bad else msgspec.json.decode(line) for n, line in enumerate(batch.raw)]


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return msgspec.json.encode(value).decode() if isinstance(value, list | dict) else value


class _Csv:
    def __init__(self, whole: Whole) -> None:
        self.whole = whole
        self.lines = csv.writer(_Encoded(whole.packed), lineterminator="\n")
        self.lines.writerow([*whole.table.columns, *whole.names.values()])

    def write(self, batch: Batch, added: Added) -> None:
        table = self.whole.table
        if table.form == "csv":
            rows = batch.raw
        else:
            rows = [[_cell(row.get(name)) for name in table.columns] for row in records(table, batch)]
        more = zip(*(map(_cell, added[name]) for name in self.whole.names), strict=True)
        self.lines.writerows([*cells, *values] for cells, values in zip(rows, more, strict=True))

    def end(self) -> None:
        pass


class _Encoded:
    """A binary file as `csv` wants one."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, text: str) -> None:
        self.file.write(text.encode())


class _JsonLines:
    def __init__(self, whole: Whole) -> None:
        self.whole = whole

    def write(self, batch: Batch, added: Added) -> None:
        table, names = self.whole.table, self.whole.names
        values = zip(*(added[name] for name in names), strict=True)
        ends = [msgspec.json.encode(dict(zip(names.values(), row, strict=True))) for row in values]
        if table.form == "jsonl":
            whole = [b"{}" if n in batch.bad else line for n, line in enumerate(batch.raw)]
        else:
            whole = [msgspec.json.encode(row) for row in records(table, batch)]
        for line, end in zip(whole, ends, strict=True):
            head = line[:-1].rstrip()
            self.whole.packed.write(head + (b"" if head == b"{" else b",") + end[1:] + b"\n")

    def end(self) -> None:
        pass


class _Parquet:
    def __init__(self, whole: Whole) -> None:
        self.whole, self.arrow = whole, arrow()
        pa, table = self.arrow, whole.table
        kinds = {float: pa.float64(), int: pa.int64(), str: pa.string(), bool: pa.bool_()}
        own = table.schema
        if own is None:
            of_json: Mapping[str, set[type]] = getattr(table, "kinds", {})
            fields = [(name, _kind(kinds, of_json.get(name, {str}))) for name in table.columns]
            own = pa.schema(fields)
        self.own = own
        added = [pa.field(whole.names[name], kinds[kind]) for name, kind in whole.types.items()]
        about = {**(own.metadata or {}), b"penstock": msgspec.json.encode(whole.about)}
        self.schema = pa.schema([*own, *added], metadata=about)
        self.writer = pa.parquet.ParquetWriter(whole.file, self.schema, compression="zstd")
        self.waiting: list[Any] = []

    def write(self, batch: Batch, added: Added) -> None:
        pa, table = self.arrow, self.whole.table
        if table.form == "parquet":
            arrays = list(batch.raw.columns)
        else:
            rows = records(table, batch)
            arrays = [
                pa.array([_typed(field.type, row.get(field.name)) for row in rows], field.type)
                for field in self.own
            ]
        more = [self.schema.field(name).type for name in self.whole.names.values()]
        arrays += [pa.array(added[name], kind) for name, kind in zip(self.whole.names, more, strict=True)]
        self.waiting.append(pa.RecordBatch.from_arrays(arrays, schema=self.schema))
        if len(self.waiting) == GROUP_BATCHES:
            self._write()

    def _write(self) -> None:
        """One row group of what waits."""
        if self.waiting:
            self.writer.write_table(self.arrow.Table.from_batches(self.waiting))
            self.waiting = []

    def end(self) -> None:
        self._write()
        self.writer.close()


def _kind(kinds: Mapping[type, Any], found: set[type]) -> Any:
    """The column type of JSON values of these types: text where they are of several, or nested."""
    held = found - {type(None)}
    if held == {int, float}:
        return kinds[float]
    return kinds[next(iter(held))] if len(held) == 1 and next(iter(held)) in kinds else kinds[str]


def _typed(kind: Any, value: Any) -> Any:
    if value is None or str(kind) != "string" or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()

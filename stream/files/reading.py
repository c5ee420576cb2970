"""A file of rows: Parquet, CSV or JSON lines at any fsspec address, a batch at a time.

Laws of this file:
- Rows come in the file's order, each once, however often the file is read.
- What a row holds is kept beside what is read of it: Parquet's columns, CSV's own text, the line of JSON as it stands.
- A row that cannot be read is a row all the same, with the reason. A file that cannot be read is a `CannotUse`.
"""

from __future__ import annotations

import codecs
import csv
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple, Protocol, overload

import fsspec
import msgspec

from penstock.stream.files.values import numbers_of, plain

BATCH_ROWS = 4_096
FORMATS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
"""By the end of a file's name; CSV and JSON lines may be compressed (`.gz`, `.bz2`, `.xz`, `.zst`) beside."""
PACKED = (".gz", ".bz2", ".xz", ".zst")


class CannotUse(Exception):
    """Why a file cannot be read or written, and nothing was; the message says what to do."""


class Batch(NamedTuple):
    """Rows in order: what was read of each by column, what it is as it stands, and why those cannot be read that cannot.

    `beside` has the values of the table's columns of that name. `numbers` are columns of finite numbers and null alone, so that
    nobody need look at each value.
    """

    rows: Sequence[dict[str, Any]]
    raw: Any
    bad: dict[int, str]
    beside: Mapping[str, list[Any]] = {}
    numbers: Mapping[str, list[Any]] = {}


Kinds = Mapping[str, set[type]]
"""The types of the values of each column, of a table that has no schema."""


class Table(Protocol):
    """A file of rows, or a range of a topic. `columns` are all that rows have; `schema` is Parquet's own, None for text."""

    form: str
    columns: list[str]
    schema: Any

    @property
    def beside(self) -> Mapping[str, type]:
        """Columns of what is known of a row and does not stand in it, with their types."""

    @property
    def count(self) -> int | None:
        """How many rows there are."""

    def batches(self, wanted: Sequence[str]) -> Iterator[Batch]:
        """All rows, with the values of `wanted` columns; a column that a row lacks is no part of it."""


def form_of(address: str, option: str) -> str:
    """The format that an address names. Raises `CannotUse`.

    >>> form_of("s3://bucket/rows.csv.gz", "--in"), form_of("rows.parquet", "--in")
    ('csv', 'parquet')
    """
    name = address.lower()
    packed = next((end for end in PACKED if name.endswith(end)), "")
    form = FORMATS.get("." + name.removesuffix(packed).rpartition(".")[2])
    if form is None or (packed and form == "parquet"):
        raise CannotUse(
            f"{option} {address}: its name must end in {', '.join(FORMATS)}; text may be compressed ({', '.join(PACKED)})"
        )
    return form


def packing(address: str) -> str | None:
    """How fsspec is to unpack or pack the file of this name."""
    return "infer" if address.lower().endswith(PACKED) else None


def arrow() -> Any:
    """The module `pyarrow`, with `pyarrow.parquet` loaded; raises `CannotUse` without it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise CannotUse(
            f"parquet needs pyarrow, which is not here ({error}): `pip install 'penstock[export]'`, or take CSV or JSON lines"
        ) from None
    return pyarrow


def open_table(address: str) -> Table:
    """The table at an address. Raises `CannotUse`."""
    form = form_of(address, "--in")
    makes: dict[str, Callable[[str], Table]] = {"parquet": _Parquet, "csv": _Csv, "jsonl": _JsonLines}
    with said(address):
        return makes[form](address)


@contextmanager
def said(address: str) -> Iterator[None]:
    """Whatever a file that is none of its kind, torn or not there provokes, as `CannotUse`."""
    try:
        yield
    except (OSError, ValueError, ImportError, EOFError, csv.Error, zlib.error) as error:
        raise CannotUse(f"{address} cannot be read: {error}") from None


class _Parquet:
    """Columns of their own types, read by row groups."""

    form = "parquet"
    beside: ClassVar[Mapping[str, type]] = {}

    def __init__(self, address: str) -> None:
        self.address, self.parquet = address, arrow().parquet
        with fsspec.open(address, "rb") as file:
            found = self.parquet.ParquetFile(file)
            self.schema, self.count = found.schema_arrow, found.metadata.num_rows
        self.columns = list(self.schema.names)
        if len(set(self.columns)) != len(self.columns):
            raise CannotUse(f"{address}: two columns have one name")

    def batches(self, wanted: Sequence[str]) -> Iterator[Batch]:
        names = [name for name in self.columns if name in set(wanted)]
        with said(self.address), fsspec.open(self.address, "rb") as file:
            # with its default it would keep all that it has read
            for raw in self.parquet.ParquetFile(file, pre_buffer=False).iter_batches(BATCH_ROWS):
                numbers = {name: numbers_of(raw.column(name)) for name in names}
                values = {
                    name: [plain(one) for one in raw.column(name).to_pylist()] if found is None else found
                    for name, found in numbers.items()
                }
                clean = {name: found for name, found in numbers.items() if found is not None}
                yield Batch(_Columns(values, raw.num_rows), raw, {}, numbers=clean)


class _Columns(Sequence[dict[str, Any]]):
    """Rows that are made of columns when somebody asks for them."""

    def __init__(self, values: dict[str, list[Any]], number: int) -> None:
        self.values, self.number = values, number

    def __len__(self) -> int:
        return self.number

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, place: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(place, slice):
            return [self[one] for one in range(self.number)[place]]
        return {name: values[range(self.number)[place]] for name, values in self.values.items()}


class _Csv:
    """A header, then text: a value is text until somebody needs a number, and nothing between commas is null."""

    form = "csv"
    schema = None
    beside: ClassVar[Mapping[str, type]] = {}
    count: int | None = None

    def __init__(self, address: str) -> None:
        self.address = address
        with self._open() as file:
            self.columns = next(csv.reader(file), [])
        if not self.columns or len(set(self.columns)) != len(self.columns):
            raise CannotUse(f"{address}: the first line must name every column, each by another name")

    def _open(self) -> Any:
        return fsspec.open(
            self.address, "rt", compression=packing(self.address), encoding="utf-8-sig", newline=""
        )

    def batches(self, wanted: Sequence[str]) -> Iterator[Batch]:
        width = len(self.columns)
        places = [(name, self.columns.index(name)) for name in wanted if name in self.columns]
        with said(self.address), self._open() as file:
            lines = csv.reader(file)
            next(lines, None)
            rows: list[dict[str, Any]] = []
            batch = Batch(rows, [], {})
            for line in lines:
                if not line:
                    continue
                if len(line) != width:
                    batch.bad[len(batch.rows)] = f"the row has {len(line)} values and the header {width}"
                cells = (line + [""] * width)[:width]
                batch.raw.append(cells)
                rows.append({name: cells[place] or None for name, place in places})
                if len(rows) == BATCH_ROWS:
                    yield batch
                    rows = []
                    batch = Batch(rows, [], {})
            if rows:
                yield batch


class _JsonLines:
    """An object a line. Which columns there are is known when all lines were read."""

    form = "jsonl"
    schema = None
    beside: ClassVar[Mapping[str, type]] = {}

    def __init__(self, address: str) -> None:
        self.address = address
        self.kinds: dict[str, set[type]] = {}
        self.count: int | None = 0
        for line in json_lines(self.address):
            self.count += 1
            for name, value in (_object(line) or {}).items():
                self.kinds.setdefault(name, set()).add(type(value))
        self.columns = list(self.kinds)

    def batches(self, wanted: Sequence[str]) -> Iterator[Batch]:
        rows: list[dict[str, Any]] = []
        batch = Batch(rows, [], {})
        for line in json_lines(self.address):
            found = _object(line)
            if found is None:
                batch.bad[len(batch.rows)] = "the line is no JSON object"
            batch.raw.append(line)
            rows.append({name: found[name] for name in wanted if found is not None and name in found})
            if len(rows) == BATCH_ROWS:
                yield batch
                rows = []
                batch = Batch(rows, [], {})
        if rows:
            yield batch


def json_lines(address: str) -> Iterator[bytes]:
    """The lines of a file that are not empty."""
    with said(address), fsspec.open(address, "rb", compression=packing(address)) as file:
        for number, line in enumerate(file):
            text = (line if number else line.removeprefix(codecs.BOM_UTF8)).strip()
            if text:
                yield text


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None

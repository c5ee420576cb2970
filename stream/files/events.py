"""Files of events: which files hold a topic's events, in which pieces they are read, and each row as its topic would have it.

Laws of this file:
- The files of one `--source` are in the order in which they are given, those of a pattern or folder in the order of their names:
  together they are one partition of the topic. Its events keep the order that they have there.
- A row becomes the JSON object that a producer would have sent: a line of JSON as it stands, a row of Parquet or CSV by its
  columns. Times with a zone are milliseconds, what is no number (or infinite) is null, and a cell of a CSV is a number where its
  field takes no text.
- A file is read in pieces (row groups of a Parquet file, or all of it), so that several processes can share it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import fsspec
import msgspec

from penstock.stream.files.avro import avro_rows, is_avro
from penstock.stream.files.reading import BATCH_ROWS, CannotUse, arrow, form_of, json_lines, open_table, said
from penstock.stream.files.values import number_in, values_of

_encode = msgspec.json.Encoder().encode

PIECE_ROWS = 500_000
"""Row groups of a Parquet file are read together up to so many rows."""


class Piece(NamedTuple):
    """A part of a file that is read by itself: `groups` are row groups of a Parquet file. `rows` may be unknown: None."""

    address: str
    form: str
    groups: tuple[int, ...] = ()
    rows: int | None = None


def partitions_of(options: Sequence[str], topics: Collection[str]) -> dict[str, list[list[str]]]:
    """What `--source TOPIC=FILES` says, once for each partition: by topic, the files of every partition in order.

    FILES are addresses, patterns or folders, with commas between them. Raises `CannotUse`.

    >>> partitions_of(["cards.paid=memory://a.csv,memory://b.csv"], ["cards.paid"])
    {'cards.paid': [['memory://a.csv', 'memory://b.csv']]}
    """
    found: dict[str, list[list[str]]] = {}
    for option in options:
        topic, equals, files = option.partition("=")
        if not equals or not files:
            raise CannotUse(
                f"--source {option}: write it as TOPIC=FILES, such as cards.payments=paid/*.parquet"
            )
        if topic not in topics:
            raise CannotUse(
                f"--source {option}: there is no topic {topic!r} here, only {', '.join(sorted(topics))}"
            )
        found.setdefault(topic, []).append([one for given in files.split(",") for one in addresses(given)])
    return found


def addresses(given: str) -> list[str]:
    """The files that an address, a pattern or a folder names, in the order of their names. Raises `CannotUse`."""
    with said(given):
        files, path = fsspec.url_to_fs(given)
        if "*" in given or "?" in given or "[" in given:
            found = sorted(one for one in files.glob(path) if not files.isdir(one))
        elif files.isdir(path):
            found = sorted(one for one in files.find(path) if _named_well(one))
        else:
            return [given]
    if not found:
        raise CannotUse(f"--source: no file is named {given}")
    return [str(files.unstrip_protocol(one)) for one in found]


def _named_well(path: str) -> bool:
    """Whether a file in a folder is one of rows: others lie beside them, such as _SUCCESS."""
    try:
        if not is_avro(path):
            form_of(path, "")
    except CannotUse:
        return False
    return not path.rpartition("/")[2].startswith(("_", "."))


def pieces(address: str) -> list[Piece]:
    """The pieces of one file, in its order. Raises `CannotUse`."""
    if is_avro(address):
        return [Piece(address, "avro")]
    form = form_of(address, "--source")
    if form != "parquet":
        return [Piece(address, form)]
    with said(address), fsspec.open(address, "rb") as file:
        about = arrow().parquet.ParquetFile(file).metadata
    found: list[Piece] = []
    groups: list[int] = []
    rows = 0
    for group in range(about.num_row_groups):
        groups.append(group)
        rows += about.row_group(group).num_rows
        if rows >= PIECE_ROWS:
            found.append(Piece(address, form, tuple(groups), rows))
            groups, rows = [], 0
    return [*found, Piece(address, form, tuple(groups), rows)] if groups else found


class Rows:
    """Reads pieces of one topic's files as the values of records. `types` are its fields and what each may hold.

    `time` is the field of the event time. With `every_column`, columns beside those fields are read, too.
    """

    def __init__(self, types: Mapping[str, Any], time: str, *, every_column: bool = False) -> None:
        self.types, self.every_column = types, every_column
        self.texts = {name for name, kind in types.items() if str in getattr(kind, "__args__", ())} - {time}

    def values(self, piece: Piece) -> Iterator[list[bytes]]:
        """The rows of a piece in order, each as a JSON object, some thousands at a time. Raises `CannotUse`."""
        if piece.form == "jsonl":
            lines = json_lines(piece.address)
            while batch := list(islice(lines, BATCH_ROWS)):
                yield batch
        elif piece.form == "csv":
            yield from self._of_csv(piece.address)
        elif piece.form == "avro":
            rows = avro_rows(piece.address)
            while found := list(islice(rows, BATCH_ROWS)):
                names = self._wanted(list(found[0]))
                yield [_encode({name: row[name] for name in names}) for row in found]
        else:
            yield from self._of_parquet(piece)

    def _wanted(self, columns: Sequence[str]) -> list[str]:
        return [name for name in columns if self.every_column or name in self.types]

    def _of_csv(self, address: str) -> Iterator[list[bytes]]:
        table, texts = open_table(address), self.texts
        for batch in table.batches(self._wanted(table.columns)):
            found = []
            for place, row in enumerate(batch.rows):
                event = {
                    name: number_in(cell) if cell is not None and name not in texts else cell
                    for name, cell in row.items()
                }
                found.append(b"" if place in batch.bad else _encode(event))
            yield found

    def _of_parquet(self, piece: Piece) -> Iterator[list[bytes]]:
        with said(piece.address), fsspec.open(piece.address, "rb") as file:
            found = arrow().parquet.ParquetFile(file, pre_buffer=False)
            names = self._wanted(found.schema_arrow.names)
            for batch in found.iter_batches(BATCH_ROWS, piece.groups, names):
                columns = zip(*(values_of(batch.column(name)) for name in names), strict=True)
                yield [_encode(dict(zip(names, row, strict=True))) for row in columns]

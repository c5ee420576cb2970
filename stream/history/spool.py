"""Rows by bucket in temporary files: written in any order by one process, read back whole by another.

Laws of this file:
- A writer keeps at most `MOST_ROWS` rows in memory over all its buckets, whatever their number.
- What was put into a bucket first is read from it first; writers of one name are read one after the other.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

MOST_ROWS = 200_000
Row = tuple[Any, ...]


class Spool:
    """Takes rows of one writer; `name` says what they are, `number` which writer it is."""

    def __init__(self, folder: Path, name: str, number: int = 0) -> None:
        self.folder, self.name, self.number = folder, name, number
        self.held: dict[int, list[Row]] = {}
        self.rows = 0

    def put(self, bucket: int, row: Row) -> None:
        """Put a row into a bucket."""
        rows = self.held.get(bucket)
        if rows is None:
            rows = self.held[bucket] = []
        rows.append(row)
        self.rows += 1
        if self.rows == MOST_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        for bucket, rows in self.held.items():
            with (self.folder / f"{self.name}-{bucket}-{self.number}").open("ab") as file:
                marshal.dump(rows, file)
        self.held, self.rows = {}, 0


def read(
    folder: Path, name: str, bucket: int, writers: Iterable[int] = (0,)
) -> Iterator[tuple[int, list[Row]]]:
    """The rows of a bucket, some at a time, each with its writer's number."""
    for number in writers:
        path = folder / f"{name}-{bucket}-{number}"
        if not path.exists():
            continue
        with path.open("rb") as file:
            while True:
                try:
                    rows = marshal.load(file)
                except EOFError:
                    break
                yield number, rows

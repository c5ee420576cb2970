"""Looks at the files before anything is written: which there are, how many rows, of which times, and in which order.

Laws of this file:
- Only the event times are read, of Parquet only their column.
- What is said of lateness holds for reading: a row is late by the newest row before it in its own run of files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import fsspec
import msgspec
import numpy as np

from penstock.stream.bootstrap.plan import CannotBootstrap, File, Looked, SourceFiles
from penstock.stream.definitions import Pipeline, Source
from penstock.stream.featurize.decode import END_OF_TIME_MS, Rejected, event_time
from penstock.stream.files.events import Piece, Rows, addresses, pieces
from penstock.stream.files.reading import CannotUse, arrow, said

Times = "np.ndarray[Any, np.dtype[np.int64]]"
Hear = Callable[[str, int, int], None]


def sources_of(pipeline: Pipeline, options: Sequence[str]) -> list[SourceFiles]:
    """What `--source TOPIC=FILES` says: each option is a run of files. Raises `CannotBootstrap`."""
    topics = [source.name for source in pipeline.sources]
    runs: dict[str, list[list[File]]] = {topic: [] for topic in topics}
    for option in options:
        topic, _, given = option.partition("=")
        if not given:
            raise CannotBootstrap(
                f"--source {option}: write it as TOPIC=FILES, such as {topics[0]}='s3://bucket/{topics[0]}/*.parquet'"
            )
        if topic not in runs:
            raise CannotBootstrap(
                f"--source {option}: {pipeline.name!r} has no source {topic!r}, only {', '.join(topics)}"
            )
        try:
            runs[topic].append([_file(one) for part in given.split(",") for one in addresses(part)])
        except CannotUse as error:
            raise CannotBootstrap(str(error)) from None
    for topic, found in runs.items():
        if not found:
            raise CannotBootstrap(f"say with --source {topic}=FILES where the history of {topic!r} is")
        named = [file.address for run in found for file in run]
        twice = sorted({one for one in named if named.count(one) > 1}) if len(set(named)) < len(named) else []
        if twice:
            raise CannotBootstrap(f"--source {topic}: {twice[0]} is named twice, its rows would count twice")
    return [SourceFiles(topic=topic, runs=found) for topic, found in runs.items()]


def _file(address: str) -> File:
    files, path = fsspec.url_to_fs(address)
    with said(address):
        size = files.info(path).get("size")
    return File(str(files.unstrip_protocol(path)), -1 if size is None else int(size))


def looked_at(pipeline: Pipeline, given: SourceFiles, until_ms: int, hear: Hear) -> SourceFiles:
    """The same files, with what is in them. Rows from `until_ms` on (-1: none) are left out. Raises `CannotBootstrap`."""
    source = next(one for one in pipeline.sources if one.name == given.topic)
    tally = _Tally(source.grace_ms, until_ms)
    try:
        for run in given.runs:
            tally.begin()
            for file in run:
                for piece in pieces(file.address):
                    for times in _times(source, piece):
                        tally.add(times)
                        hear(f"looking at {given.topic}", tally.seen, 0)
    except CannotUse as error:
        raise CannotBootstrap(str(error)) from None
    return msgspec.structs.replace(given, looked=tally.looked)


class _Tally:
    """Counts the event times of a source, run by run; -1 is a row without a usable one."""

    def __init__(self, grace_ms: int, until_ms: int) -> None:
        self.grace_ms, self.until_ms = grace_ms, until_ms
        self.looked, self.newest, self.seen = Looked(), -1, 0

    def begin(self) -> None:
        """Another run of files begins."""
        self.newest = -1

    def add(self, times: Any) -> None:
        """The next rows of this run."""
        was = self.looked
        self.seen += len(times)
        unusable = int((times < 0).sum())
        after = 0 if self.until_ms < 0 else int((times >= self.until_ms).sum())
        kept = times[(times >= 0) & ((times < self.until_ms) | (self.until_ms < 0))]
        rows = was.rows + len(kept) + unusable
        late, behind_ms, oldest, newest = was.late, was.behind_ms, was.oldest_at, was.newest_at
        if len(kept):
            reached = np.maximum.accumulate(np.concatenate(([self.newest], kept)))
            behind = reached[:-1] - kept
            self.newest = int(reached[-1])
            late += int((behind > self.grace_ms).sum())
            behind_ms = max(behind_ms, int(behind[behind <= self.grace_ms].max(initial=0)))
            oldest = int(kept.min()) if oldest < 0 else min(oldest, int(kept.min()))
            newest = max(newest, self.newest)
        self.looked = Looked(
            rows=rows,
            after=was.after + after,
            unusable=was.unusable + unusable,
            late=late,
            oldest_at=oldest,
            newest_at=newest,
            # One that is unusable for another reason makes nothing late when rows are read, as it may have done here.
            behind_ms=self.grace_ms if late else behind_ms,
        )


def _times(source: Source, piece: Piece) -> Iterator[Any]:
    """The event times of a piece in ms, some thousands at a time; -1 where there is no usable one."""
    if piece.form == "parquet":
        found = _column(source, piece)
        if found is not None:
            yield from found
            return
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for values in Rows({source.time: int | float | str}, source.time).values(piece):
        yield np.array([_time(decode, value, source.time) for value in values], dtype=np.int64)


def _time(decode: Callable[[bytes], dict[str, Any]], value: bytes, name: str) -> int:
    try:
        return event_time(decode(value)[name], name)
    except (Rejected, msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        return -1


def _column(source: Source, piece: Piece) -> Iterator[Any] | None:
    """The time column of a Parquet piece, where it is whole numbers or times with a zone; None where it is another."""
    pyarrow = arrow()
    kinds = pyarrow.types
    with said(piece.address), fsspec.open(piece.address, "rb") as file:
        schema = pyarrow.parquet.ParquetFile(file).schema_arrow
    if source.time not in schema.names:
        raise CannotBootstrap(
            f"{piece.address} has no column {source.time!r}, the event time of {source.name!r}: it has {', '.join(schema.names)}"
        )
    kind = schema.field(source.time).type
    if kinds.is_timestamp(kind) and kind.tz is None:
        raise CannotBootstrap(
            f"{piece.address}: column {source.time!r} is a time without a zone, so nobody knows which moment it names: write it "
            "with one (UTC), or as milliseconds since the epoch"
        )
    zoned = kinds.is_timestamp(kind) and kind.unit in ("s", "ms")
    return _numbers(piece, source.time) if zoned or kinds.is_integer(kind) else None


def _numbers(piece: Piece, name: str) -> Iterator[Any]:
    pyarrow = arrow()
    compute = __import__("pyarrow.compute").compute
    with said(piece.address), fsspec.open(piece.address, "rb") as file:
        found = pyarrow.parquet.ParquetFile(file, pre_buffer=False)
        for raw in found.iter_batches(65_536, piece.groups or None, columns=[name]):
            column = raw.column(name)
            if pyarrow.types.is_timestamp(column.type):
                column = compute.cast(column, pyarrow.timestamp("ms", column.type.tz))
                column = compute.cast(column, pyarrow.int64())
            times = compute.fill_null(compute.cast(column, pyarrow.int64(), safe=False), -1).to_numpy(
                zero_copy_only=False
            )
            yield np.where((times < 0) | (times >= END_OF_TIME_MS), -1, times)

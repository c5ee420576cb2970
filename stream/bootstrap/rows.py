"""The rows of one source's files → items, as if a producer had published them: each in its key's partition, at an own offset.

Laws of this file:
- A run of files keeps its order; runs are merged by event time, ties to the earlier run. So a source is one sequence of rows, and
  a function of its files alone, wherever reading was begun.
- A row is decoded and checked by the very code that decodes the topic's records. Late is what is more than the source's grace
  behind the newest row before it in its own run.
- A row lies in the partition that Kafka's hash gives to its key, one without a key (or that nobody can read) in partition 0.
  Offsets count the rows of a partition.
- Rows that are the topic's to tell (from the plan's end on) have no offset, and move nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from heapq import merge
from itertools import islice, repeat
from typing import Any, NamedTuple

import msgspec

from penstock.features.redis.keys import record_key
from penstock.stream.bootstrap.plan import SourceFiles
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import END_OF_TIME_MS, Item, SourceDecoder, field_types
from penstock.stream.featurize.merge import Head
from penstock.stream.featurize.pace import ALL
from penstock.stream.files.events import Rows, pieces
from penstock.stream.log.protocol import Record, partition_for

KEPT_KEYS = 1_000_000
# Made for each row: by their own names they take a Python call, and twice as long.
_record: Callable[[tuple[Any, ...]], Record] = partial(tuple.__new__, Record)
_item: Callable[[tuple[Any, ...]], Item] = partial(tuple.__new__, Item)


class Row(NamedTuple):
    """One row as an item that has no place yet, and its run. `after` is whether it is the topic's to tell."""

    at: int
    run: int
    item: Item
    after: bool = False


_row: Callable[[tuple[Any, ...]], Row] = partial(tuple.__new__, Row)


class Mark(msgspec.Struct, array_like=True):
    """A place in a source's sequence of rows, from which reading can begin.

    `read` counts the rows taken of each run, `newest` is the newest event time among them (ms; -1: none). `offsets` are the next
    ones of each partition, `reached` the newest event time in it. `after` counts rows that were the topic's to tell.
    """

    read: list[int]
    newest: list[int]
    offsets: list[int]
    reached: list[int]
    after: int = 0


def begin(files: SourceFiles, partitions: int) -> Mark:
    """The mark before the first row."""
    runs = len(files.runs)
    return Mark([0] * runs, [-1] * runs, [0] * partitions, [-1] * partitions)


class SourceRows:
    """The rows of one source of a pipeline, from `mark` on. `until_ms` is the plan's end (-1: all rows are read).

    `began_ms` stands in the place of a record's own timestamp. `limit` is an event time (ms): no row that is still to be taken is
    older than that, or as old.
    """

    def __init__(
        self, pipeline: Pipeline, files: SourceFiles, mark: Mark, until_ms: int, began_ms: int
    ) -> None:
        source = next(one for one in pipeline.sources if one.name == files.topic)
        self.source, self.files, self.until_ms = source, files, until_ms
        self.decoder = SourceDecoder(pipeline, source, rows=True)
        self.stamp_ms = began_ms if until_ms < 0 else END_OF_TIME_MS
        # what records hold beside the declared fields is looked at, and a label's function may read any of them
        wide = pipeline.asked_quality.schema != "off" or self.decoder.decode_any is not None
        self.reading = Rows(field_types(pipeline, source), source.time, every_column=wide)
        self.mark = mark
        self.marks: deque[tuple[Mark, list[int]]] = deque()
        self.partition_of: dict[str, int] = {}
        self.frontier, self.exhausted = max(mark.newest), False
        runs = [self._run(number, *at) for number, at in enumerate(zip(mark.read, mark.newest, strict=True))]
        self.rows: Iterator[Row] = runs[0] if len(runs) == 1 else merge(*runs, key=lambda row: row.at)

    @property
    def limit(self) -> int:
        """See the class."""
        return ALL if self.exhausted else self.frontier - self.files.looked.behind_ms - 1

    def _run(self, number: int, read: int, newest: int) -> Iterator[Row]:
        """The rows of one run behind the first `read`, the newest of which was at `newest`."""
        topic, stamp_ms, until_ms, items_of = (
            self.source.name,
            self.stamp_ms,
            self.until_ms,
            self.decoder.items,
        )
        for values in self._values(number, read):
            places = repeat(topic), repeat(0), repeat(0), repeat(stamp_ms), repeat(None)
            records = [*map(_record, zip(*places, values, repeat(())))]
            items = items_of(records, newest)
            if 0 <= until_ms <= items[-1].newest_at:  # what is the topic's to tell makes no other row late
                for record in records:
                    item = items_of((record,), newest)[0]
                    after = item.newest_at >= until_ms
                    newest = newest if after else item.newest_at
                    yield Row(newest if after else item.at, number, item, after)
                continue
            newest = items[-1].newest_at
            for item in items:
                yield _row((item[0], number, item, False))

    def _values(self, number: int, read: int) -> Iterator[Sequence[bytes]]:
        """What stands in the files of a run behind the first `read` rows."""
        for file in self.files.runs[number]:
            for piece in pieces(file.address):
                if piece.rows is not None and piece.rows <= read:
                    read -= piece.rows
                    continue
                for values in self.reading.values(piece):
                    if read >= len(values):
                        read -= len(values)
                        continue
                    yield values[read:] if read else values
                    read = 0

    def take(self, most: int) -> dict[Head, list[Item]]:
        """The next `most` rows or fewer, by partition in the order of their offsets."""
        before, fields, index = self.mark, self.source.key_fields, self.decoder.index
        read, newest = list(before.read), list(before.newest)
        offsets, reached = list(before.offsets), list(before.reached)
        partition_of, after, taken = self.partition_of, before.after, 0
        topic, stamp_ms = self.source.name, self.stamp_ms
        found: dict[Head, list[Item]] = {}
        for at, run, item, is_after in islice(self.rows, most):
            taken += 1
            read[run] += 1
            if is_after:
                after += 1
                continue
            _, _, _, _, _, text, event, reject, was = item
            partition = 0
            if event is not None:
                key = record_key(event, fields)
                if key is not None:
                    known = partition_of.get(key)
                    partition = self._partition(key, len(offsets)) if known is None else known
                if at > newest[run]:
                    newest[run] = at
                if at > reached[partition]:
                    reached[partition] = at
            offset, top = offsets[partition], reached[partition]
            offsets[partition] = offset + 1
            record = _record((topic, partition, offset, stamp_ms, None, was.value, ()))
            placed = _item(
                (top if event is None else at, index, partition, offset, top, text, event, reject, record)
            )
            head = (index, partition)
            if head in found:
                found[head].append(placed)
            else:
                found[head] = [placed]
        self.mark = Mark(read, newest, offsets, reached, after)
        self.marks.append((before, offsets))
        self.frontier, self.exhausted = max(newest), taken < most
        return found

    def _partition(self, key: str, partitions: int) -> int:
        if len(self.partition_of) >= KEPT_KEYS:
            self.partition_of.clear()
        found = partition_for(key.encode(errors="surrogatepass"), partitions)
        self.partition_of[key] = found
        return found

    def settled(self, stepped: Mapping[int, int]) -> Mark:
        """The latest mark behind which everything stands that is not stepped. `stepped` is the next offset of each partition."""
        while self.marks and all(stepped[n] >= end for n, end in enumerate(self.marks[0][1])):
            self.marks.popleft()
        return self.marks[0][0] if self.marks else self.mark

"""Reads the samples log as entries.

Laws of this file:
- Records that are no entry (somebody else wrote them) are passed over, by all who fold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from penstock.stream.log.protocol import Log
from penstock.stream.messages import Entry, decode_entry

BATCH_RECORDS = 10_000
SEEK_BEYOND = 100_000  # records: reading so many takes longer than beginning to read elsewhere


def entries(log: Log, topic: str, start: int, stop: int) -> Iterator[tuple[int, Entry]]:
    """(position, entry) of the samples log in [start, stop). Records that are no entry are passed over, as the fold does."""
    if start >= stop:
        return
    reader = log.reader({(topic, 0): start})
    try:
        position = start
        while position < stop:
            for record in reader.poll(BATCH_RECORDS, 1.0):
                position = record.offset + 1
                if record.offset >= stop:
                    break
                entry = entry_of(record.value)
                if entry is not None:
                    yield record.offset, entry
            position = max(position, reader.positions().get((topic, 0), position))
    finally:
        reader.close()


def entries_around(log: Log, topic: str, positions: Iterable[int]) -> Iterator[tuple[int, Entry]]:
    """The entries at these positions, and those between two that are near each other: what lies in between others is not read."""
    places = sorted(positions)
    ends = [
        n
        for n, (here, there) in enumerate(zip(places, places[1:], strict=False))
        if there - here > SEEK_BEYOND
    ]
    starts = [0, *(n + 1 for n in ends)] if places else []
    for first, last in zip(starts, [*ends, len(places) - 1], strict=False):
        yield from entries(log, topic, places[first], places[last] + 1)


def entry_of(value: bytes | None) -> Entry | None:
    """The entry of one record's bytes; None for bytes that are none (somebody else wrote them)."""
    try:
        entry: Entry = decode_entry(value or b"")
    except (ValueError, RecursionError):
        return None
    return entry

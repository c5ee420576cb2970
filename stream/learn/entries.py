"""Reads the samples log as entries.

Laws of this file:
- Records that are no entry (somebody else wrote them) are passed over, by all who fold.
"""

from __future__ import annotations

from collections.abc import Iterator

from penstock.stream.log.protocol import Log
from penstock.stream.messages import Entry, decode_entry

BATCH_RECORDS = 10_000


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


def entry_of(value: bytes | None) -> Entry | None:
    """The entry of one record's bytes; None for bytes that are none (somebody else wrote them)."""
    try:
        entry: Entry = decode_entry(value or b"")
    except (ValueError, RecursionError):
        return None
    return entry

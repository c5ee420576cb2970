"""Records of any format as JSON objects, for what reads topics for people."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from penstock.stream.formats.reading import reader_of
from penstock.stream.formats.unread import Ignored, Unreadable
from penstock.stream.log.protocol import Record
from penstock.stream.source import Source


def json_of(source: Source) -> Callable[[Record], bytes | None]:
    """What gives a record's whole event as a JSON object, whatever the source's format; None where it gives none.

    A record in plain JSON is given as it stands. Waits for nothing: raises `RegistryUnavailable`.
    """
    reader = reader_of(source)
    if reader is None:
        return lambda record: record.value

    def transcoded(record: Record) -> bytes | None:
        reader.prepare([record])
        try:
            return msgspec.json.encode(reader.event(record))
        except (Unreadable, Ignored):
            return None

    return transcoded

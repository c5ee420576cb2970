"""A record that cannot be used → its dead letter: the original bytes, and in headers why and where it came from.

Laws of this file:
- A dead letter fits its topic whatever the record was: what is too large is cut, and the reason kept.
- Its `penstock-id` names the record, so that a repeat after a crash is recognisable.
"""

from __future__ import annotations

import re
from typing import Any

from penstock.stream.featurize.decode import MAX_KEY_CHARACTERS, Item
from penstock.stream.log.protocol import Headers, Out, record_bytes

# What a dead letter may keep of a record that is as large as a topic takes: with its own headers it must fit one as well.
MOST_BURIED_BYTES = 880_000
MOST_BURIED_FRAME_BYTES = 100_000
MAX_REASON_CHARACTERS = 1_000
MAX_SHOWN_CHARACTERS = 80
_DIGITS = re.compile(r"[0-9]+")


def dead_letter(item: Item, reason: str, topic: str, topic_id: str) -> Out:
    """The record to append to the dead-letters `topic`; `topic_id` is the broker's id of the record's own topic."""
    record, key = item.record, item.record.key
    kept: Headers = record.headers
    if record_bytes(Out("", key, None, kept)) > MOST_BURIED_FRAME_BYTES:
        key, kept = (None if key is None else key[:MAX_KEY_CHARACTERS]), ()
    headers = (
        ("penstock-reason", reason[:MAX_REASON_CHARACTERS].encode(errors="replace")),
        ("penstock-topic", record.topic.encode()),
        ("penstock-partition", str(record.partition).encode()),
        ("penstock-offset", str(record.offset).encode()),
        ("penstock-id", f"{topic_id}-{record.partition}-{record.offset}".encode()),
    )
    value = record.value if record.value is None else record.value[:MOST_BURIED_BYTES]
    return Out(topic, key, value, (*kept, *headers), 0)


def kind_of(reason: str) -> str:
    """The reason without what differs from record to record: few kinds, however many records."""
    return _DIGITS.sub("n", reason.split(":", maxsplit=1)[0].split(" - ", maxsplit=1)[0])[:60]


def shown(value: Any) -> str:
    """A value and its type, short enough for a reason."""
    text = repr(value)
    cut = text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "…"
    return f"{cut} ({type(value).__name__})"

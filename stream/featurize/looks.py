"""One record in `LOOK_EVERY` is looked at whole: what its fields are called, and of which JSON types they are.

Laws of this file:
- A look is a tick of its own behind what its record gave, so it is repeated, or left out, exactly as that is.
- It says names and types only, and makes no record a dead letter: one that cannot be looked at is not.
"""

from __future__ import annotations

from penstock.stream.featurize.decode import Item
from penstock.stream.look import Look, fields_of
from penstock.stream.messages import Tick, encode_entry


def look_at(item: Item, topic_id: str) -> bytes | None:
    """The entry that says what fields an event has; None of one whose names are no text."""
    record = item.record
    try:
        fields = fields_of(record.value or b"")
        look = Look(record.topic, topic_id, record.partition, record.offset, item.at, fields)
        return encode_entry(Tick({}, [], 0, 0, look))
    except (ValueError, RecursionError):
        return None

"""One record in `LOOK_EVERY` is looked at whole: what its fields are called, and of which JSON types they are.

Laws of this file:
- A look is a tick of its own behind what its record gave, so it is repeated, or left out, exactly as that is.
- It says names and types only, and makes no record a dead letter: one that cannot be looked at is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.stream.featurize.decode import Item
from penstock.stream.formats.unread import Ignored
from penstock.stream.log.protocol import Record
from penstock.stream.look import Look
from penstock.stream.look import fields_of as fields_of_json
from penstock.stream.messages import Tick, encode_entry

Fields = Callable[[Record], dict[str, str]]


def of_json(record: Record) -> dict[str, str]:
    """The fields of a JSON object."""
    return fields_of_json(record.value or b"")


def look_at(item: Item, topic_ids: Sequence[str], fields_of: Sequence[Fields] = ()) -> bytes | None:
    """The entry that says what fields an event has; None of one whose names are no text. `fields_of` is by source; () is JSON."""
    record = item.record
    try:
        fields = (fields_of[item.source] if fields_of else of_json)(record)
        look = Look(record.topic, topic_ids[item.source], record.partition, record.offset, item.at, fields)
        return encode_entry(Tick({}, [], 0, 0, look))
    except (ValueError, RecursionError, Ignored):
        return None

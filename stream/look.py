"""What the fields of one event are called, and of which JSON types they are.

Laws of this file:
- Names and types only, never a value; at most `MOST_NAMES` names of at most `MOST_NAME_CHARACTERS` characters.
- Which records are looked at, and what a look says, is a function of the record alone: whoever reads it again says the same
  again, under the same place, and readers drop what is not above the last seen there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

LOOK_EVERY = 64
"""One record in so many of each partition is looked at: the last of them."""
MOST_NAMES = 200
MOST_NAME_CHARACTERS = 100
_TYPES = {'"': "text", "t": "true/false", "f": "true/false", "n": "null", "{": "object", "[": "list"}
_TYPE_OF = {ord(first): name for first, name in _TYPES.items()}
_TYPE_OF_VALUE: dict[type, str] = {
    type(None): "null", bool: "true/false", int: "number", float: "number", str: "text", bytes: "text", list: "list",
}  # fmt: skip
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Look(msgspec.Struct, frozen=True, array_like=True):
    """The fields of the record at `offset` by name, in order, and the JSON type of each; `at` is its event time.

    Where there are `MOST_NAMES`, the event may have had more.
    """

    topic: str
    topic_id: str
    partition: int
    offset: int
    at: int
    fields: dict[str, str]


def fields_of(value: bytes) -> dict[str, str]:
    """The names and JSON types at the top of an event, the bytes of a JSON object. Raises `ValueError` for other bytes.

    >>> fields_of(b'{"note": null, "tags": ["a"], "price": -1.5}')
    {'note': 'null', 'price': 'number', 'tags': 'list'}
    """
    found = {
        name[:MOST_NAME_CHARACTERS]: _TYPE_OF.get(memoryview(raw)[0], "number")
        for name, raw in _decode(value).items()
    }
    return dict(sorted(found.items())[:MOST_NAMES])


def fields_in(event: Mapping[str, Any]) -> dict[str, str]:
    """The same of an event that was no JSON object, each value as the JSON type that it would be.

    >>> fields_in({"price": 1.5, "note": None})
    {'note': 'null', 'price': 'number'}
    """
    found = {
        name[:MOST_NAME_CHARACTERS]: _TYPE_OF_VALUE.get(type(one), "object") for name, one in event.items()
    }
    return dict(sorted(found.items())[:MOST_NAMES])

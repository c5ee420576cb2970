"""The wire format of Confluent's registry: a zero byte, four bytes of schema id, for Protobuf the message's place, the body.

Laws of this file:
- Pure. Nothing is read past a value's end; what is not in this format raises `Unreadable`.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.stream.formats.unread import Unreadable

MAGIC = 0
HEADER_BYTES = 5
MOST_NESTED = 64
_FIRST_MESSAGE = (0,)


def schema_id(value: bytes) -> int:
    """The id of the schema that a value was written under.

    >>> schema_id(bytes.fromhex("00 00000007 06666f6f"))
    7
    """
    if len(value) < HEADER_BYTES:
        raise Unreadable(f"{len(value)} bytes: too short for a schema's id, which takes {HEADER_BYTES}")
    if value[0] != MAGIC:
        like = "; it looks like plain JSON" if value[:1] in b"{[" else ""
        raise Unreadable(f"no schema's id: the first byte is 0x{value[0]:02x} and should be 0x00{like}")
    return int.from_bytes(value[1:HEADER_BYTES], "big")


def schema_id_of(value: bytes | None) -> int | None:
    """The same where there is one, and None where there is none."""
    framed = value is not None and len(value) >= HEADER_BYTES and value[0] == MAGIC
    return int.from_bytes(value[1:HEADER_BYTES], "big") if framed and value is not None else None


def framed(number: int, body: bytes, message: Sequence[int] | None = None) -> bytes:
    """A body with its schema's id before it; `message` is the place of a Protobuf message in its file."""
    head = bytes([MAGIC]) + number.to_bytes(4, "big")
    if message is None:
        return head + body
    if tuple(message) == _FIRST_MESSAGE:
        return head + b"\0" + body
    return head + b"".join(map(_zigzag, (len(message), *message))) + body


def message_place(value: bytes) -> tuple[tuple[int, ...], int]:
    """Where a Protobuf value's message stands in its file, by nesting, and where its body begins."""
    count, at = _read_zigzag(value, HEADER_BYTES)
    if count == 0:
        return _FIRST_MESSAGE, at
    if not 0 < count <= MOST_NESTED:
        raise Unreadable(f"the message's place has {count} steps, which no schema has")
    place = []
    for _ in range(count):
        step, at = _read_zigzag(value, at)
        place.append(step)
    return tuple(place), at


def _zigzag(number: int) -> bytes:
    number = number << 1 if number >= 0 else ((-number) << 1) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_zigzag(value: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(value) or shift > 28:
            raise Unreadable("it ends, or goes on without end, within the message's place")
        byte = value[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7

"""The fields of a payment in Protobuf behind its schema's id, read by hand as the specification has it.

Laws of this file:
- No library reads anything here, and nothing of Penstock's.
- Only `paid.PROTO` is known here. Of a field that stands there twice the last one counts, and two moments are merged.
- A field that the schema lacks, or that is written in another way than the schema has it, is passed over.
- A number is at most ten bytes long, of which 64 bits count; a tag and a length are at most five, and 32 and 31 bits.
- There is no field 0. The specification forbids it everywhere; inside a group that is passed over Google's reader does not look.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from functools import partial
from typing import Any

from tests.flood.avro import Body
from tests.flood.decoder import Bad, event_of
from tests.stream.formats.paid import PROTOBUF

NUMBER, EIGHT, BYTES, GROUP, END, FOUR = range(6)
PLACE = (2, 2)  # one step, to the second message of the file: both are zigzag numbers
MOMENT = {1: ("seconds", NUMBER), 2: ("nanos", NUMBER)}
PAYMENT = {
    1: ("id", BYTES), 2: ("at", BYTES), 3: ("card", BYTES), 4: ("amount", EIGHT), 5: ("online", NUMBER), 6: ("fraud", NUMBER),
    7: ("shop", BYTES),
}  # fmt: skip
UNWRITTEN = {"id": "", "card": "", "amount": None, "online": False, "fraud": None, "shop": ""}
MOST_NESTED = 100


def varint(body: Body, most_bytes: int, bits: int) -> int:
    """A number: seven bits a byte, the lowest first."""
    number = 0
    for place in range(most_bytes):
        byte = body.take(1)[0]
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if bits < 64 and number >> bits:
                raise Bad(f"more than {bits} bits")
            return number % (1 << 64)
    raise Bad(f"a number of more than {most_bytes} bytes")


def signed(number: int, bits: int) -> int:
    """The lowest bits of a number in two's complement."""
    number %= 1 << bits
    return number - (1 << bits) if number >> bits - 1 else number


def written(body: Body, group: int | None = None, nested: int = 0) -> list[tuple[int, int, Any]]:
    """Every (field, wire type, value) up to the end of a message or of a group."""
    if nested > MOST_NESTED:
        raise Bad("nested too deeply")
    found: list[tuple[int, int, Any]] = []
    while body.left:
        field, wire = divmod(varint(body, 5, 32), 8)
        if (field == 0 and group is None) or wire > FOUR or (wire == END and field != group):
            raise Bad(f"field {field} of type {wire}")
        if wire == END:
            return found
        value: Any = None
        if wire == NUMBER:
            value = varint(body, 10, 64)
        elif wire == BYTES:
            value = body.take(varint(body, 5, 31))
        elif wire == GROUP:
            written(body, field, nested + 1)
        else:
            value = body.take(8 if wire == EIGHT else 4)
        found.append((field, wire, value))
    if group is not None:
        raise Bad("a group that does not end")
    return found


def known(body: bytes, fields: dict[int, tuple[str, int]], nested: int = 0) -> list[tuple[str, Any]]:
    """Those of these fields, each as often as it stands there."""
    return [
        (fields[field][0], value)
        for field, wire, value in written(Body(body), None, nested)
        if fields.get(field, ("", END))[1] == wire
    ]


def payment(body: bytes) -> dict[str, Any]:
    """The fields of a message; one that has no moment has no `at`."""
    fields, moment = dict(UNWRITTEN), dict[str, int]()
    for name, value in known(body, PAYMENT):
        if name == "at":
            moment = {"seconds": 0, "nanos": 0, **moment, **dict(known(value, MOMENT, 1))}
        elif name == "amount":
            fields[name] = struct.unpack("<d", value)[0]
        else:
            fields[name] = value.decode() if isinstance(value, bytes) else value != 0
    if moment:
        nanos = signed(moment["seconds"], 64) * 10**9 + signed(moment["nanos"], 32)
        fields["at"] = round(Fraction(nanos, 10**6))
    return fields


def fields_of(value: bytes) -> dict[str, Any]:
    """The fields of a record. Raises `ValueError` where there are none."""
    body = Body(value)
    if body.take(1) != b"\0" or int.from_bytes(body.take(4), "big") != PROTOBUF:
        raise Bad("no such schema in Protobuf")
    if (varint(body, 5, 35), varint(body, 5, 35)) != PLACE:
        raise Bad("no payment")
    return payment(body.left)


protobuf_event_of = partial(event_of, read=fields_of, event_id="id", time="at")
"""As `decoder.event_of`."""

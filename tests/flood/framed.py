"""The formats of a flooded topic: how its events are written, how they are spoilt, and which naive decoder finds them again.

Laws of this file:
- Payments have the fields that `paid` gives them in Avro and Protobuf, and its schemas, whose ids are 1 to 4.
- In Avro either schema is written, by the time of the event.
- Of what is done to records in JSON that which can be done to any bytes is done here, too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from penstock.stream.formats.wire import framed
from tests.flood.avro import avro_event_of
from tests.flood.decoder import Event, event_of
from tests.flood.kinds import KINDS, Good, Kinds, as_json
from tests.flood.protobuf import protobuf_event_of
from tests.schema_registry import RegistryServer
from tests.stream.formats import paid

FRAME_BYTES = 5
UNKNOWN = 99
UNKNOWN_FIELDS = (
    b"\x4a\x03abc\x50\x96\x01\x5b\x60\x01\x5c\x65abcd\x69abcdefgh"  # of Protobuf, of each wire type
)


class Form(NamedTuple):
    """A format. The first `no_event_bytes` of a good record are none, however few of them are taken; 0 is all but the last."""

    write: Callable[[Mapping[str, Any]], bytes]
    kinds: Kinds
    event_of: Callable[[bytes | None, int, int], Event | None]
    event_id: str
    no_event_bytes: int = 0


@contextmanager
def registered() -> Iterator[str]:
    """A registry that has the schemas; its address."""
    with RegistryServer() as registry:
        for schema in paid.SCHEMAS:
            assert registry.register("paid-value", schema.text, schema.kind) == schema.number
        yield registry.url


def _payment(event: Mapping[str, Any]) -> dict[str, Any]:
    more = {name: value for name, value in event.items() if name not in ("payment", "paid_at")}
    return {"online": False, **more, "id": event["payment"], "at": event["paid_at"]}


def as_avro(event: Mapping[str, Any]) -> bytes:
    """An event under either of the two schemas."""
    return paid.as_avro(_payment(event), paid.AVRO_2 if event["paid_at"] % 2 else paid.AVRO_1)


def as_protobuf(event: Mapping[str, Any]) -> bytes:
    """An event in Protobuf."""
    return paid.as_protobuf(_payment(event))


def _as_another(number: int) -> Callable[[Good], bytes]:
    return lambda good: framed(number, good.plain[FRAME_BYTES:])


def _not_utf8(good: Good) -> bytes:
    return good.with_(card=good.card("é")).replace("é".encode(), b"\xff\xfe")


def _amount(bits: bytes) -> Callable[[Good], bytes]:
    return lambda good: good.plain.replace(struct.pack("<d", good.event["amount"]), bits)


OF_ANY_BYTES = ("bytes changed", "truncated", "tombstone", "compressed", "keys", "headers", "record times")
# Without -1e75: with 1e75 in one window it would cancel, and the smaller amounts would be lost in a sum of floats.
LARGEST = (1e75, 1e76, -1e76, 5e-324, -0.0)
SPOILT: Kinds = {
    **{name: KINDS[name] for name in OF_ANY_BYTES},
    "bomb": (0, (lambda g: g.plain + b" " * 8_000_000, lambda g: g.plain[:FRAME_BYTES] + bytes(8_000_000))),
    "empty": (
        20,
        (lambda g: b"", lambda g: b" ", lambda g: g.plain[:FRAME_BYTES], lambda g: bytes(FRAME_BYTES)),
    ),
    "no such bytes": (
        40,
        (
            lambda g: g.chance.randbytes(g.chance.randrange(1, 200)),
            lambda g: g.plain[:FRAME_BYTES] + g.chance.randbytes(g.chance.randrange(1, 200)),
            lambda g: g.plain[:FRAME_BYTES] + bytes(g.chance.randrange(1, 100)),
            lambda g: g.plain[:FRAME_BYTES] + b"\xff" * g.chance.randrange(1, 100),
        ),
    ),
    "another schema id": (
        90,
        (
            *(_as_another(one.number) for one in paid.SCHEMAS),
            _as_another(UNKNOWN),
            _as_another(2**32 - 1),
            lambda g: framed(g.chance.randrange(100, 400), g.plain[FRAME_BYTES:]),
            lambda g: b"\x01" + g.plain[1:],
            lambda g: g.plain[FRAME_BYTES:],
            lambda g: g.plain[:FRAME_BYTES] + g.plain,
            lambda g: as_json(g.event),
            lambda g: framed(paid.JSON, as_json(g.event)),
            lambda g: paid.as_avro(_payment(g.event), paid.AVRO_2),
            lambda g: as_protobuf(g.event),
            lambda g: framed(
                paid.PROTOBUF,
                as_protobuf(g.event)[FRAME_BYTES + 2 :],
                g.chance.choice([(0,), (2,), (1, 0), (1, 1)]),
            ),
        ),
    ),
    "another shape": (
        60,
        (
            lambda g: g.plain + g.plain[FRAME_BYTES:],
            lambda g: g.plain + b"\x00",
            lambda g: g.plain + UNKNOWN_FIELDS,
            lambda g: g.plain + b"\x5b" * 200 + b"\x5c" * 200,
        ),
    ),
    "numbers": (
        60,
        (
            *(_amount(struct.pack("<d", one)) for one in LARGEST),
            *(_amount(struct.pack("<d", float(one))) for one in ("nan", "inf", "-inf")),
            lambda g: g.with_(amount=None),
        ),
    ),
    "text": (
        60,
        (
            _not_utf8,
            lambda g: g.with_(card=g.card("é☃😀")),
            lambda g: g.with_(card=g.card("\x00\x1f\u202e")),
            lambda g: g.with_(card=g.card("features:{*}|%7C\r\n")),
            lambda g: g.with_(card="x" * g.chance.choice([512 + 1, 100_000])),
            lambda g: g.with_(card=g.card("é" * 500)),
            lambda g: g.with_(payment="y" * g.chance.choice([513, 60_000])),
        ),
    ),
    "event times": (
        90,
        (
            lambda g: g.with_(paid_at=g.event["paid_at"] // 1000),
            lambda g: g.with_(paid_at=g.event["paid_at"] - g.chance.randrange(1, 86_000_000)),
            lambda g: g.with_(paid_at=g.event["paid_at"] - g.chance.randrange(87_000_000, 10**10)),
            lambda g: g.with_(paid_at=g.event["paid_at"] + g.chance.randrange(3_700_000, 10**12)),
            lambda g: g.with_(paid_at=g.event["paid_at"] + g.chance.randrange(3_000_000)),
            lambda g: g.with_(paid_at=g.chance.choice([-1, 0, 253_402_300_799_999])),
        ),
    ),
    "large": (
        2,
        (
            lambda g: g.with_(shop="z" * 900_001, paid_at=g.event["paid_at"] | 1),
            lambda g: g.with_(shop="z" * 890_000, paid_at=g.event["paid_at"] | 1),
            lambda g: g.plain + b" " * (900_001 - len(g.plain)),
            lambda g: b"\xff" * 950_000,
        ),
    ),
}
"""The kinds of records that are not JSON."""

FORMS = {
    "json": Form(as_json, KINDS, event_of, "payment"),
    "avro": Form(as_avro, SPOILT, avro_event_of, "id"),
    "protobuf": Form(as_protobuf, SPOILT, protobuf_event_of, "id", FRAME_BYTES),
}

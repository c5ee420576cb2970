"""How records are spoilt: what producers, proxies, old programs and attackers send. Some of it is odd and still good.

Laws of this file:
- A kind says nothing of whether its record is good: that is for `decoder` to find out.
- All is drawn from the given chance, so that a stream is made again from its seed.
- Who is named by a record stays in the record's partition: an odd card carries the partition in its name.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec


def as_json(event: Mapping[str, Any]) -> bytes:
    """An event as it is sent."""
    return json.dumps(event).encode()


class Good(NamedTuple):
    """The event that a record would have been, with what is drawn for spoiling it, and how it would have been written."""

    event: dict[str, Any]
    partition: int
    chance: random.Random
    write: Callable[[Mapping[str, Any]], bytes] = as_json

    def with_(self, **fields: Any) -> bytes:
        """The event with other fields."""
        return self.write({**self.event, **fields})

    def raw(self, name: str, text: str | bytes) -> bytes:
        """The event in JSON with this written for a field, whether it is JSON or not."""
        written = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        return self.with_(**{name: "\x00here"}).replace(b'"\\u0000here"', written)

    @property
    def plain(self) -> bytes:
        """The event as it would have been sent."""
        return self.write(self.event)

    def card(self, text: str) -> str:
        """The name of a card of this partition alone."""
        return f"{text}~{self.partition}~{self.chance.randrange(64)}"


Spoilt = Callable[[Good], "bytes | None"]
Kinds = dict[str, tuple[int, tuple[Spoilt, ...]]]
KINDS: Kinds = {}
"""Each kind with its weight and its ways, of records in JSON."""


def _kind(name: str, weight: int, *ways: Spoilt) -> None:
    KINDS[name] = (weight, ways)


def _flipped(good: Good) -> bytes:
    value = bytearray(good.plain)
    for _ in range(good.chance.randrange(1, 4)):
        value[good.chance.randrange(len(value))] ^= 1 << good.chance.randrange(8)
    return bytes(value)


def _cut_in_the_middle(good: Good) -> bytes:
    value, at = good.plain, good.chance.randrange(1, len(good.plain))
    return value[: at - 1] + value[at:]


def _put_in(good: Good) -> bytes:
    value, at = good.plain, good.chance.randrange(len(good.plain))
    return value[:at] + good.chance.randbytes(good.chance.randrange(1, 5)) + value[at:]


def _twisted(good: Good) -> bytes:
    value, place = bytearray(good.plain), good.chance.randrange(len(good.plain) - 1)
    value[place], value[place + 1] = value[place + 1], value[place]
    return bytes(value)


_kind("bytes changed", 90, _flipped, _cut_in_the_middle, _put_in, _twisted)
_kind(
    "no bytes of JSON", 40,
    lambda g: g.chance.randbytes(g.chance.randrange(1, 200)),
    lambda g: bytes(g.chance.randrange(1, 100)),
    lambda g: b"<event><amount>1</amount></event>",
    lambda g: b"payment,paid_at,card,amount,fraud\n1,2,3,4,5\n",
    lambda g: str(g.event).encode(),
    lambda g: b'{"a": 1} // said so',
)  # fmt: skip
_kind("empty", 20, lambda g: b"", lambda g: b" ", lambda g: b"\n\n", lambda g: b"{}", lambda g: b"null")
_kind("tombstone", 20, lambda g: None)
_kind("truncated", 60, lambda g: g.plain[: g.chance.randrange(len(g.plain))])
_kind(
    "another encoding", 60,
    lambda g: g.plain.decode().encode("utf-16"),
    lambda g: g.plain.decode().encode("utf-16-le"),
    lambda g: g.plain.decode().encode("utf-32"),
    lambda g: b"\xef\xbb\xbf" + g.plain,
    lambda g: g.plain.decode().encode("cp037"),
    lambda g: json.dumps({**g.event, "card": g.card("é")}, ensure_ascii=False).encode("latin-1"),
    lambda g: json.dumps({**g.event, "card": g.card("é☃😀")}, ensure_ascii=False).encode(),
    lambda g: g.plain.decode().encode("utf-7").replace(b"{", b"+AHs-"),
)  # fmt: skip
_kind(
    "compressed", 40,
    lambda g: gzip.compress(g.plain, mtime=0),
    lambda g: zlib.compress(g.plain),
    lambda g: gzip.compress(bytes(300_000), mtime=0),
    lambda g: base64.b64encode(g.plain),
)  # fmt: skip
_kind(
    "numbers", 90,
    lambda g: g.raw("amount", g.chance.choice(["NaN", "Infinity", "-Infinity", "nan", "1e999", "-1e999", "1e76"])),
    lambda g: g.raw("amount", g.chance.choice(["01", "+1", "1.", ".5", "0x10", "1_000", "1,5", "--1", "1e", "²"])),
    lambda g: g.raw("amount", "9" * g.chance.choice([20, 76, 310, 4_001, 20_000])),
    lambda g: g.raw("amount", g.chance.choice(["1e75", "-1e75", "1e-400", "5e-324", "-0", "-0.0", "12e0", "3.5E+1"])),
    lambda g: g.with_(payment=10 ** g.chance.choice([18, 19, 300, 511, 512, 4_000]) + g.chance.randrange(10**15)),
    lambda g: g.with_(card=2 ** g.chance.choice([62, 63, 64, 200]) + g.partition + 8 * g.chance.randrange(32)),
    lambda g: g.with_(card=-(10**600) - g.partition),
    lambda g: g.with_(paid_at=10 ** g.chance.choice([15, 18, 30, 400])),
    lambda g: g.with_(amount=g.chance.choice([True, False, None, 7])),
    lambda g: g.raw("unread", g.chance.choice(["1e999", "9" * 20_000, "NaN", "-", "1e-999999"])),
)  # fmt: skip
_kind(
    "text", 80,
    lambda g: g.raw("card", '"\\ud800"'),
    lambda g: g.raw("card", '"\\udc00\\ud800"'),
    lambda g: g.raw("unread", '"\\ud83d"'),
    lambda g: g.raw("unread", '"\\\\ud83d"'),
    lambda g: g.raw("card", '"' + g.card("\\ud83d\\ude00") + '"'),
    lambda g: g.raw("card", b'"\xed\xa0\x80"'),
    lambda g: g.raw("payment", b'"\xc0\x80"'),
    lambda g: g.raw("unread", b'"\xff\xfe"'),
    lambda g: g.raw("card", '"a\tb"'),
    lambda g: g.raw("unread", '"a\x00b"'),
    lambda g: g.with_(card=g.card("\x00\x1f\u202e")),
    lambda g: g.with_(card=g.card("features:{*}|%7C\r\n")),
    lambda g: g.with_(card="x" * g.chance.choice([512 + 1, 100_000])),
    lambda g: g.with_(card=g.card("é" * 500)),
    lambda g: g.with_(payment="y" * g.chance.choice([513, 60_000])),
)  # fmt: skip
_kind(
    "nested", 50,
    lambda g: g.raw("unread", "[" * 20_000 + "]" * 20_000),
    lambda g: g.raw("unread", '{"a":' * 20_000 + "1" + "}" * 20_000),
    lambda g: g.raw("unread", "[" * 100 + "]" * 100),
    lambda g: g.raw("amount", "[" * 20_000),
    lambda g: g.raw("fraud", "[" * 20_000 + "]" * 20_000),
    lambda g: g.with_(fraud={"yes": [True]}),
    lambda g: g.with_(card={"id": 1}),
    lambda g: b"[" * 20_000,
)  # fmt: skip
_kind(
    "another shape", 90,
    lambda g: b"[" + g.plain + b"]",
    lambda g: g.plain + g.plain,
    lambda g: g.plain + b"\x00",
    lambda g: g.plain[:-1] + b",}",
    lambda g: b" \r\n\t" + g.plain + b"\n",
    lambda g: g.plain.replace(b'"', b"'"),
    lambda g: json.dumps(g.plain.decode()).encode(),
    lambda g: json.dumps({name: value for name, value in g.event.items() if name != g.chance.choice(sorted(g.event))}).encode(),
    lambda g: json.dumps({name.upper(): value for name, value in g.event.items()}).encode(),
    lambda g: json.dumps({"payload": g.event, "schema": None}).encode(),
    lambda g: json.dumps({**{f"unread_{n}": n for n in range(300)}, **g.event}).encode(),
    lambda g: json.dumps(dict(reversed(g.event.items()))).encode(),
    lambda g: json.dumps(g.event, indent=3, ensure_ascii=False).encode(),
)  # fmt: skip
_kind(
    "fields twice", 50,
    lambda g: g.plain[:-1] + b', "amount": 3}',
    lambda g: g.plain[:-1] + b', "amount": "three"}',
    lambda g: b'{"amount": "three", ' + g.plain[1:],
    lambda g: b'{"fraud": 7, "card": null, ' + g.plain[1:],
    lambda g: b'{"am\\u006funt": 9, ' + g.plain[1:],
    lambda g: g.plain[:-1] + b', "paid_at": 5}',
)  # fmt: skip
_kind(
    "another schema", 60,
    lambda g: b"\x00" + g.chance.randbytes(4) + g.plain,
    lambda g: b"\x00\x00\x00\x00\x01" + g.chance.randbytes(30),
    lambda g: msgspec.msgpack.encode(g.event),
    lambda g: b"\x0a\x05hello\x10\x96\x01" + g.chance.randbytes(9),
    lambda g: g.with_(**{g.chance.choice(["amount", "paid_at", "payment", "card"]): g.chance.choice([[], {}, [1]])}),
    lambda g: g.with_(amount=g.chance.choice(["", str(g.event["amount"])])),
    lambda g: g.with_(fraud=g.chance.choice(["yes", "true", 2, -1, 0.5, 1, 0, 1.0, None])),
    lambda g: g.with_(payment=g.chance.choice([None, 1.5, True, [1]])),
    lambda g: g.with_(card=g.chance.choice([None, 1.5, True])),
)  # fmt: skip


def _rfc3339(at_ms: int, zone: str = "Z") -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + zone


_kind(
    "event times", 90,
    lambda g: g.with_(paid_at=g.event["paid_at"] // 1000),
    lambda g: g.with_(paid_at=g.event["paid_at"] * 1000),
    lambda g: g.with_(paid_at=float(g.event["paid_at"])),
    lambda g: g.with_(paid_at=_rfc3339(g.event["paid_at"])),
    lambda g: g.with_(paid_at=_rfc3339(g.event["paid_at"], "")),
    lambda g: g.with_(paid_at=_rfc3339(g.event["paid_at"], "+25:99")),
    lambda g: g.with_(paid_at=g.event["paid_at"] - g.chance.randrange(1, 86_000_000)),
    lambda g: g.with_(paid_at=g.event["paid_at"] - g.chance.randrange(87_000_000, 10**10)),
    lambda g: g.with_(paid_at=g.event["paid_at"] + g.chance.randrange(3_700_000, 10**12)),
    lambda g: g.with_(paid_at=g.event["paid_at"] + g.chance.randrange(3_000_000)),
    lambda g: g.with_(paid_at=g.chance.choice([-1, 0, 253_402_300_800_000, "yesterday", "", None, True, "1e3"])),
)  # fmt: skip

_kind(
    "large", 2,
    lambda g: g.with_(unread="z" * 900_001),
    lambda g: g.plain + b" " * (900_000 - len(g.plain)),
    lambda g: g.plain + b" " * (900_001 - len(g.plain)),
    lambda g: g.with_(unread=["z"] * 150_000),
    lambda g: b"\xff" * 950_000,
)  # fmt: skip
_kind("bomb", 0, lambda g: g.plain + b" " * (8_000_000), lambda g: g.with_(unread="[" * (8_000_000)))
_AS_IT_IS: Spoilt = lambda g: g.plain  # noqa: E731
_kind("keys", 60, _AS_IT_IS)
_kind("headers", 60, _AS_IT_IS, _AS_IT_IS, _flipped)
_kind("record times", 60, _AS_IT_IS)

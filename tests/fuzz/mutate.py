"""Bytes made of other bytes, without knowing what they lead to: for machines without atheris, and for tests that take no time.

Laws of this file: the same seed gives the same bytes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

ODD = [
    b"null", b"true", b"-1", b"1e999", b"9" * 30, b"9" * 5_000, b"NaN", b'"', b"\\ud800", b"\xff", b"\x00", b"\xef\xbb\xbf", b"{",
    b"[", b"}", b"]", b",", b":", b"\n", b"\x7f" * 8, b"\xcb\x7f\xf8" + b"\0" * 6, b"\xcf" + b"\xff" * 8, b"\xd3\x80" + b"\0" * 7,
    b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x91" * 2_000, b"[" * 150, "٣²".encode(), b"%00", b"inf", b"nan",
]  # fmt: skip


def mutations(seeds: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """So many; the seeds themselves come first."""
    yield from seeds[:count]
    chance = random.Random(seed)
    for _ in range(count - len(seeds)):
        value = bytearray(chance.choice(seeds))
        for _ in range(chance.choice([1, 1, 1, 2, 3, 8])):
            _change(value, seeds, chance)
        yield bytes(value)


def _change(value: bytearray, seeds: Sequence[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(value) + 1)
    to = min(at + chance.choice([0, 1, 1, 2, 4, 9, 30]), len(value))
    way = chance.randrange(6)
    if way == 0 and value:
        value[chance.randrange(len(value))] ^= 1 << chance.randrange(8)
    elif way == 1:
        del value[at:to]
    elif way == 2:
        value[at:to] = chance.choice(ODD)
    elif way == 3:
        value[at:to] = chance.randbytes(to - at)
    elif way == 4:
        value[at:at] = value[at:to] * chance.choice([1, 2, 50])
    else:
        other = chance.choice(seeds)
        start = chance.randrange(len(other) + 1)
        value[at:to] = other[start : start + chance.randrange(1, 60)]

"""A stream of payments of which so many are spoilt, made again from its seed by whoever needs it.

Laws of this file:
- A record names its partition itself, so that a spoilt key moves nobody to another; good records have the card as their key.
- Event times run up to the given end, and a record's own time is its event's: brokers delete by it, and lateness is judged by it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from tests.flood.framed import FORMS, Form
from tests.flood.kinds import Good

PARTITIONS = 4
SPAN_MS = 3 * 86_400_000
MOST_BOMBS = 12
Headers = list[tuple[str, bytes | None]]
GOOD = "good"


class Made(NamedTuple):
    """One record to send, and how it was spoilt."""

    kind: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


def stream(
    records: int, bad: int, seed: int, end_ms: int, bombs: bool = True, form: str = "json"
) -> Iterator[Made]:
    """The records in the order of event time; `bombs` are those that no topic takes unless they are compressed."""
    made = FORMS[form]
    chance = random.Random(seed)
    spoilt = set(chance.sample(range(records), bad))
    kinds, weights = [*made.kinds], [weight for weight, _ in made.kinds.values()]
    boom = set(chance.sample(sorted(spoilt), min(MOST_BOMBS, bad // 100))) if bombs else set()
    cards = max(records // 50, 20)
    at, step = end_ms - SPAN_MS, max(SPAN_MS // records, 1)
    for number in range(records):
        at += chance.randrange(2 * step + 1) if at < end_ms - 2 * step else 0
        card = chance.randrange(cards)
        partition = card % PARTITIONS
        amount = round(chance.lognormvariate(3.0, 1.0), 2)
        event = {
            "payment": f"{number:x}-{chance.getrandbits(48):012x}",
            "paid_at": at,
            "card": f"c~{partition}~{card}",
            "amount": amount,
            "fraud": chance.random() < (0.6 if amount > 40 else 0.05),
        }
        if number not in spoilt:
            yield Made(GOOD, partition, event["card"].encode(), made.write(event), [], at)
            continue
        kind = "bomb" if number in boom else chance.choices(kinds, weights)[0]
        yield _spoilt(kind, Good(event, partition, chance, made.write), at, made)


def _spoilt(kind: str, good: Good, at: int, form: Form) -> Made:
    chance, partition = good.chance, good.partition
    value = chance.choice(form.kinds[kind][1])(good)
    if _strays(value, good, form):
        value = good.plain[: chance.randrange(form.no_event_bytes or len(good.plain))]
    key: bytes | None = str(good.event["card"]).encode()
    headers: Headers = [("kind", kind.encode())]
    stamp = at
    if kind == "keys":
        key = chance.choice(
            [None, b"", b"\xff\xfe", chance.randbytes(10_000), b"c~9~9", b'{"card": 1}', b"\x00" * 600]
        )
    elif kind == "headers":
        headers += _headers(chance)
    elif kind == "record times":
        stamp = chance.choice([0, 1, at - 10_000_000, at - 3_000_000, at + 60_000])
    return Made(kind, partition, key, value, headers, stamp)


def _strays(value: bytes | None, good: Good, form: Form) -> bool:
    """Whether a change by chance made a good event of somebody who may belong to another partition, or of another payment."""
    found = form.event_of(value, 1 << 60, -1)
    if found is None:
        return False
    if found.fields[form.event_id] == "":  # as each payment has whose id is lost
        return True
    if (card := found.fields["card"]) is None:
        return False
    own = f"~{good.partition}~"
    return own not in card if isinstance(card, str) else card % 8 != good.partition


def _headers(chance: random.Random) -> Headers:
    return chance.choice(
        [
            [("trace", None), ("", b""), ("", None)],
            [("trace", chance.randbytes(20))] * 3,
            [
                ("penstock-topic", b"another"),
                ("penstock-offset", b"-1"),
                ("penstock-id", b"\xff"),
                ("penstock-reason", b"none"),
            ],
            [("penstock-partition", b"999"), ("penstock-reason", None)],
            [(f"h{n}", b"v") for n in range(500)],
            [("large", bytes(60_000))],
            [("large", bytes(120_000))],
            [("naïve ☃\n", "☃".encode())],
            [("n" * 20_000, b"")],
        ]
    )

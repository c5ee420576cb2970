"""Card payments that never happened: a seeded stream with a pattern of fraud that a model can learn.

Customers pay as often as a Pareto law says (few pay most), each around an amount of their own. Now and then a
card is stolen: a burst of payments follows within minutes, larger than the owner's, more often online, more
often at night. About two payments in a hundred are fraud.

Laws of this file:
- The same arguments give the same events in the same order; event time goes forward, and no clock is read.
- Each event carries its own answer, `fraud`.

    python -m examples.cards_data --bootstrap 127.0.0.1:9092 --payments 100000
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

PAYMENTS = "cards.payments"
FIRST_MS = 1_735_689_600_000  # 1 January 2025, UTC
CARDS = 2_000
CATEGORIES = ("groceries", "fuel", "restaurants", "travel", "electronics", "gifts")
_STOLEN_CATEGORIES = ("electronics", "gifts", "travel")
_MEAN_GAP_MS = 10_000
_THEFTS_PER_PAYMENT = 0.005
_BURST = (2, 7)
_HOUR_MS = 3_600_000


class Card(NamedTuple):
    """A card and its owner's habit: the typical amount, and the share of payments made online."""

    number: str
    typical: float
    online: float


def events(
    payments: int = 100_000, seed: int = 7, cards: int = CARDS, inverted_from: int | None = None
) -> Iterator[tuple[str, str, dict[str, Any], int]]:
    """`payments` payments in event-time order, one about every ten seconds from 1 January 2025.

    From payment number `inverted_from` on, the answers are inverted: labels broken upstream, to watch what
    Penstock does.

    Yields:
        `(topic, key, fields, at_ms)`; the key is the card's number.

    Raises:
        ValueError: no cards, or a negative number of payments.

    Example:
        >>> topic, card, fields, at_ms = next(events(payments=1))
        >>> topic, sorted(fields)
        ('cards.payments', ['amount', 'card', 'category', 'fraud', 'hour', 'online', 'paid_at', 'payment_id'])

    """
    if cards < 1 or payments < 0:
        raise ValueError(f"at least one card and no negative number of payments, not {cards} and {payments}")
    chance = random.Random(seed)
    owners = [
        Card(f"4{number:015d}", chance.lognormvariate(3.2, 0.5), chance.random() * 0.5)
        for number in range(cards)
    ]
    weights = [chance.paretovariate(1.2) for _ in owners]
    total = 0.0
    upto = [total := total + weight for weight in weights]
    stolen: list[tuple[int, int, Card]] = []  # a heap of payments to come: (at ms, a tie-breaker, card)
    at_ms = FIRST_MS
    thefts = 0
    for number in range(payments):
        ordinary_ms = at_ms + 1 + int(chance.expovariate(1 / _MEAN_GAP_MS))
        if stolen and stolen[0][0] <= ordinary_ms:
            at_ms, _, card = heapq.heappop(stolen)
            fields = _payment(chance, card, at_ms, fraud=True)
        else:
            at_ms = ordinary_ms
            card = chance.choices(owners, cum_weights=upto)[0]
            fields = _payment(chance, card, at_ms, fraud=False)
            if chance.random() < _theft_chance(at_ms):
                soon_ms = at_ms
                for _ in range(chance.randint(*_BURST)):
                    soon_ms += chance.randint(20_000, 180_000)
                    thefts += 1
                    heapq.heappush(stolen, (soon_ms, thefts, card))
        answer = fields["fraud"] if inverted_from is None or number < inverted_from else not fields["fraud"]
        yield PAYMENTS, card.number, {"payment_id": f"p{number}", **fields, "fraud": answer}, at_ms


def _hour(at_ms: int) -> int:
    return at_ms // _HOUR_MS % 24


def _theft_chance(at_ms: int) -> float:
    """Four times as likely between midnight and six."""
    return _THEFTS_PER_PAYMENT * (2.3 if _hour(at_ms) < 6 else 0.57)


def _payment(chance: random.Random, card: Card, at_ms: int, *, fraud: bool) -> dict[str, Any]:
    scale = chance.lognormvariate(1.2, 0.6) if fraud else chance.lognormvariate(0.0, 0.6)
    online = chance.random() < (0.8 if fraud else card.online)
    return {
        "card": card.number,
        "paid_at": at_ms,
        "amount": round(card.typical * scale, 2),
        "category": chance.choice(_STOLEN_CATEGORIES if fraud else CATEGORIES),
        "hour": _hour(at_ms),
        "online": online,
        "fraud": fraud,
    }


def main(arguments: list[str] | None = None) -> int:
    """Publish the payments with kafka-python; the last line is a JSON object with the counts. Returns the exit code."""
    from penstock.stream.operate.publish import publish
    from penstock.stream.process.settings import Settings

    parser = argparse.ArgumentParser(
        prog="python -m examples.cards_data", description="Publish generated card payments."
    )
    parser.add_argument(
        "--bootstrap", help="Kafka's address (default: KAFKA_BOOTSTRAP_SERVERS, or 127.0.0.1:9092)"
    )
    parser.add_argument(
        "--payments", type=int, default=100_000, help="how many (default 100,000: eleven days)"
    )
    parser.add_argument("--seed", type=int, default=7, help="of the generator (default 7)")
    parser.add_argument("--inverted-from", type=int, metavar="N", help="invert the answers from payment N on")
    parser.add_argument(
        "--rate", type=float, metavar="N", help="at most N a second (default: as fast as the broker)"
    )
    args = parser.parse_args(arguments)
    settings = Settings.from_env()
    if args.bootstrap:
        settings = replace(settings, bootstrap=args.bootstrap)
    encode = msgspec.json.Encoder().encode
    frauds = 0

    def records() -> Iterator[tuple[str, bytes, bytes]]:
        nonlocal frauds
        for topic, card, fields, _ in events(args.payments, args.seed, inverted_from=args.inverted_from):
            frauds += fields["fraud"]
            yield topic, card.encode(), encode(fields)

    done = publish(records(), settings, per_s=args.rate, progress=lambda line: print(line, flush=True))
    print(json.dumps({"records": done.records, "frauds": frauds, "seconds": round(done.seconds, 2)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

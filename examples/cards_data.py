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

import heapq
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

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

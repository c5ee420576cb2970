"""Definitions to test with, and streams made for them: events as producers write them, entries as the samples log holds them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from typing import Any

from river import linear_model, preprocessing

from penstock import View, count, last, mean, since_last
from penstock.stream.definitions import Label, Pipeline, Source
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Entry, LabelRecord, Origin, Recipe, Sample, Tick

START_MS = 1_700_000_000_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

SENT = Source("parcels.sent", id="parcel", time="sent_at", key="van")
DELIVERED = Source("parcels.delivered", id="parcel", time="done_at", key="van")
PAID = Source("cards.paid", id="payment", time="paid_at", key="card")


def parcels(name: str = "parcels", **changes: Any) -> Pipeline:
    """Two sources, three views with keys that are not the sources' own: one task."""
    given: dict[str, Any] = {
        "views": [
            View(
                "depot",
                DELIVERED,
                key="depot",
                features={"late_3h": mean("late", "3h"), "done_1h": count("1h")},
            ),
            View(
                "street",
                DELIVERED,
                key=("depot", "street"),
                features={"late": last("late"), "idle": since_last()},
            ),
            View("traffic", SENT, key="depot", features={"sent_1h": count("1h"), "idle": since_last()}),
        ],
        "predict": SENT,
        "inputs": ["weight"],
        "label": Label(DELIVERED, lambda e: e["late"] > 15, wait="6h", fields=("late",)),
        "model": preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    }
    return Pipeline(name, **{**given, **changes})


def cards(name: str = "cards", **changes: Any) -> Pipeline:
    """One source, its view keyed as it is: a task per partition. Each event carries its label."""
    given: dict[str, Any] = {
        "views": [
            View("card", PAID, key="card", features={"paid_1h": count("1h"), "mean_1d": mean("amount", "1d")})
        ],
        "predict": PAID,
        "inputs": ["amount"],
        "label": Label(PAID, lambda e: e["fraud"], wait="1h", fields=("fraud",)),
        "model": preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    }
    return Pipeline(name, **{**given, **changes})


def parcel_events(number: int, seed: int = 1, depots: int = 4) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(topic, key, event) in event-time order: about 9 in 10 parcels are delivered, within two hours."""
    chance = random.Random(seed)
    made: list[tuple[int, int, str, str, dict[str, Any]]] = []
    at = START_MS
    for n in range(number):
        at += chance.randrange(1, 120_000)
        van, depot, street = (
            f"van{chance.randrange(20)}",
            f"d{chance.randrange(depots)}",
            f"s {chance.randrange(9)}|",
        )
        weight = round(chance.lognormvariate(0.0, 1.0), 3)
        event = {
            "parcel": f"p{n}",
            "sent_at": at,
            "van": van,
            "depot": depot,
            "street": street,
            "weight": weight,
        }
        made.append((at, 2 * n, SENT.name, van, event))
        if chance.random() < 0.9:
            late = round(20 * weight + chance.gauss(0, 5), 1)
            done = at + chance.randrange(5 * MINUTE, 2 * HOUR)
            there = {
                "parcel": f"p{n}",
                "done_at": done,
                "van": van,
                "depot": depot,
                "street": street,
                "late": late,
            }
            made.append((done, 2 * n + 1, DELIVERED.name, van, there))
    for _, _, topic, key, event in sorted(made, key=lambda row: row[:2]):
        yield topic, key, event


def card_events(number: int, seed: int = 1, cards: int = 30) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(topic, key, event) in event-time order, with something to learn."""
    chance = random.Random(seed)
    at = START_MS
    for n in range(number):
        at += chance.randrange(1, 60_000)
        card, amount = f"c{chance.randrange(cards)}", round(chance.lognormvariate(3.0, 1.0), 2)
        fraud = chance.random() < (0.6 if amount > 40 else 0.05)
        yield (
            PAID.name,
            card,
            {"payment": f"p{n}", "paid_at": at, "card": card, "amount": amount, "fraud": fraud},
        )


def outs(events: Iterable[tuple[str, str, dict[str, Any]]]) -> list[Out]:
    """The records a producer would append."""
    return [Out(topic, key.encode(), json.dumps(event).encode()) for topic, key, event in events]


def entries(number: int, seed: int = 1, *, invert: range = range(0), late: int = 60) -> list[Entry]:
    """A samples log of `parcels()`: a sample a minute, its label up to `late` minutes later for nine in ten, a tick every hour.

    Samples numbered in `invert` have the opposite label. Whoever is heavy is late: there is something to learn.
    """
    chance = random.Random(seed)
    names = parcels().vector_names
    made: list[tuple[int, int, Entry]] = []
    for n in range(number):
        at = START_MS + n * MINUTE
        x: list[Any] = [round(chance.gauss(0, 1), 3) for _ in names]
        x[1] = None if chance.random() < 0.2 else x[1]
        made.append((at, 0, Sample(Origin("sent", 0, n, 0), f"p{n}", f"van{n % 7}", at, x)))
        if chance.random() < 0.9:
            y = (x[0] + 0.5 * x[2] + chance.gauss(0, 0.5) > 0) != (n in invert)
            there = at + chance.randrange(1, late * MINUTE)
            made.append((there, 1, LabelRecord(Origin("done", 0, n, 1), f"p{n}", there, y)))
        if n % 60 == 59:
            made.append((at, 2, Tick({"sent/0": at, "done/0": at}, [], at)))
    made.sort(key=lambda row: row[:2])
    # Offsets of a partition grow, whatever order the labels were made in.
    offsets = iter(range(number))
    ordered: list[Entry] = [Recipe(parcels().digest, names, "")]
    for _, _, entry in made:
        if isinstance(entry, LabelRecord):
            ordered.append(LabelRecord(Origin("done", 0, next(offsets), 1), entry.id, entry.at, entry.y))
        else:
            ordered.append(entry)
    return ordered

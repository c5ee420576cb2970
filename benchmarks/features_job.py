"""The reference job of the feature benchmarks: one view, and payments of Pareto-distributed customers.

The view: count, sum and mean of the amount over 10 minutes, 1 hour and 1 day; seconds since the last payment; the decayed
mean; the greatest amount and the distinct merchants of the day: 13 features of state, and one value of the row itself.
Customers are drawn by weights that are Pareto-distributed (a = 1.16: a fifth of them makes four fifths of the payments).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

from river import linear_model, preprocessing

import penstock.features as f
from penstock import Label, Pipeline, Source, View
from penstock.stream.log.protocol import Record

START_MS = 1_700_000_000_000
PAYMENTS = Source("bench.payments", id="id", time="at", key="customer")
WINDOWS = ("10m", "1h", "1d")


def reference_view(windows: tuple[str, ...] = WINDOWS) -> View:
    """Give the view; the last of `windows` is that of the greatest amount and the distinct merchants."""
    features: dict[str, Any] = {}
    for w in windows:
        features |= {f"n_{w}": f.count(w), f"sum_{w}": f.sum("amount", w), f"mean_{w}": f.mean("amount", w)}
    features |= {
        "idle": f.since_last(),
        "decayed": f.decayed_mean("amount", "1h"),
        "most": f.max("amount", windows[-1]),
        "merchants": f.distinct("merchant", windows[-1]),
        "per_item": f.row("amount / items"),
    }
    return View("customer", PAYMENTS, "customer", features, ttl="200d")


def pipeline() -> Pipeline:
    """Give the pipeline around it; its model is never asked here."""
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    label = Label(PAYMENTS, never, fields=("fraud",))
    return Pipeline("bench", [reference_view()], PAYMENTS, label, model, inputs=["amount"])


def never(event: Any) -> None:
    """Give no label."""


def customers(n: int, seed: int = 1) -> Callable[[int], list[int]]:
    """Draw customers by Pareto weights."""
    rng = random.Random(seed)
    weights = list(accumulate(rng.paretovariate(1.16) for _ in range(n)))
    return lambda k: rng.choices(range(n), cum_weights=weights, k=k)


def events(n: int, entities: int, step_ms: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Give `n` payments, `step_ms` apart."""
    rng = random.Random(seed + 1)
    for i, customer in enumerate(customers(entities, seed)(n)):
        yield {
            "id": f"p{i}", "at": START_MS + i * step_ms, "customer": f"c{customer}",
            "amount": round(rng.lognormvariate(3, 1), 2), "merchant": int(rng.paretovariate(0.7)) % 5000,
            "items": rng.randrange(1, 9), "fraud": False,
        }  # fmt: skip


def payments(n: int, entities: int, step_ms: int = 500) -> Iterator[Record]:
    """Give the same as records of one partition, one after the other."""
    for i, e in enumerate(events(n, entities, step_ms)):
        yield Record(PAYMENTS.name, 0, i, e["at"], e["customer"].encode(), json.dumps(e).encode(), ())


def records(n: int, entities: int, step_ms: int) -> list[Record]:
    """Give all of them."""
    return list(payments(n, entities, step_ms))


def whole_records(n: int, entities: int, step_ms: int = 500) -> list[Record]:
    """Give the records of the whole job: the same payments, of which some are fraud, and large ones more often."""
    rng = random.Random(2)
    found = []
    for i, e in enumerate(events(n, entities, step_ms)):
        e["fraud"] = rng.random() < (0.4 if e["amount"] > 60.0 else 0.02)
        found.append(Record(PAYMENTS.name, 0, i, e["at"], e["customer"].encode(), json.dumps(e).encode(), ()))
    return found

"""The pipelines that are harmed, and their streams. What a definition file asks for here is asked of every role.

Laws of this file:
- The reference has one model beside the base rate: no other is born here, nothing is guarded, nobody retrains by rule. What many
  models do when learn is killed is `tests/integration/test_guarantee.py`'s.
- Batches are small and snapshots quick, so that whatever is done is done in the middle of something.
- A role reads in its environment which function to break, and where to end (`planted`, `points`); nothing else does.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import NamedTuple

from penstock.stream.log.protocol import Out
from tests.stream.generated import card_events, outs, parcel_events

#: Set in modules, whose values both engines of the fold read: what is set in a class, the compiled one does not see.
ONE_MODEL = """
from penstock.stream.learn import births, suspicion
births.is_due = lambda labels: False
births.FREEZE_EVERY = suspicion.CLOCK = 10**9
"""

ROLES = f"""{ONE_MODEL}
import faulthandler
import os
import signal
from penstock.stream.featurize import worker as featurize_worker
from penstock.stream.learn import worker as learn_worker
featurize_worker.BATCH_RECORDS = 150
learn_worker.BATCH_RECORDS, learn_worker.SNAPSHOT_EVERY_MS = 200, 300
faulthandler.register(signal.SIGUSR1, 2)
if os.environ.get("PENSTOCK_TEST_HARM"):
    from tests.faults import in_roles
    in_roles.harm(os.environ["PENSTOCK_TEST_HARM"])
"""

CARDS = """
from river import linear_model, preprocessing
from penstock import View, count, last, mean, since_last, sum
from penstock import Label, Pipeline, Source
paid = Source("NAME.paid", id="payment", time="paid_at", key="card")
pipeline = Pipeline(
    "NAME",
    views=[
        View("card", paid, key="card", features=dict(
            n_30d=count("30d"), n_1h=count("1h"), mean_1d=mean("amount", "1d"), idle=since_last(), last=last("amount"),
        )),
        View("burst", paid, key="card", features=dict(n_2h=count("2h"), sum_2h=sum("amount", "2h"))),
    ],
    predict=paid,
    inputs=["amount"],
    label=Label(paid, lambda e: e["fraud"], wait="1h", fields=("fraud",)),
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    guard=False, retrain=[], quality=False,
)
"""

PARCELS = """
from river import linear_model, preprocessing
from penstock import View, count, last, mean, since_last
from penstock import Label, Pipeline, Source
sent = Source("NAME.sent", id="parcel", time="sent_at", key="van")
delivered = Source("NAME.delivered", id="parcel", time="done_at", key="van")
pipeline = Pipeline(
    "NAME",
    views=[
        View("depot", delivered, key="depot", features=dict(late_3h=mean("late", "3h"), done_30d=count("30d"))),
        View("street", delivered, key=("depot", "street"), features=dict(late=last("late"), idle=since_last())),
        View("traffic", sent, key="depot", features=dict(sent_1h=count("1h"), sent_30d=count("30d"), idle=since_last())),
    ],
    predict=sent,
    inputs=["weight"],
    label=Label(delivered, lambda e: e["late"] > 15, wait="6h", fields=("late",)),
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    guard=False, retrain=[], quality=False,SHARDS
)
"""
SHARDS = 4


class Flow(NamedTuple):
    """A definition, the partitions of its sources, how many workers of each role there are, and its stream by (records, seed)."""

    text: str
    partitions: int
    workers: dict[str, int]
    stream: Callable[[int, int], list[Out]]
    shards: int = 1


def card_stream(records: int, seed: int) -> list[Out]:
    """Payments of so many cards that each has some fifty."""
    return mixed(outs(card_events(records, seed, cards=max(records // 50, 20))), seed)


def parcel_stream(records: int, seed: int) -> list[Out]:
    """Parcels, nine in ten of which are delivered later on."""
    number = round(records / 1.9)
    return mixed(outs(parcel_events(number, seed, depots=max(number // 40, 10))), seed)


def mixed(records: list[Out], seed: int) -> list[Out]:
    """With a record that cannot be used after about every fiftieth."""
    chance, found = random.Random(seed), list[Out]()
    for record in records:
        found.append(record)
        if chance.random() < 0.02:
            event = json.loads(record.value or b"{}")
            time = next(name for name in event if name.endswith("_at"))
            late = json.dumps({**event, time: event[time] - 10**10}).encode()
            value = chance.choice([b"", b"\xff", b"[1]", b'{"van": "v"}', late])
            found.append(record._replace(value=value))
    return found


FLOWS = {
    "cards": Flow(CARDS, 4, {"featurize": 2, "learn": 1}, card_stream),
    "parcels": Flow(PARCELS.replace("SHARDS", ""), 2, {"featurize": 1, "learn": 1}, parcel_stream),
    "shards": Flow(
        PARCELS.replace("SHARDS", f'\n    shard_by="van", shards={SHARDS},'),
        2,
        {"featurize": 1, "learn": 2},
        parcel_stream,
        SHARDS,
    ),
}
"""`cards`: a task for each partition, two workers share them. `parcels`: one task, keyed across. `shards`: two workers learn."""

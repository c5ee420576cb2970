"""`kill -9` at named points of a role's work: it ends itself at a seeded call of a function, before or after it, or half-way."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, NamedTuple

from tests.faults.fault import Fault
from tests.faults.kills import PAUSE_S
from tests.faults.round import Round
from tests.faults.running import Stuck

POLL = "penstock.stream.log.kafka_members:KafkaMember.poll"
COMMIT = "penstock.stream.log.kafka_members:KafkaMember.commit"
APPEND = "penstock.stream.log.kafka:KafkaLog.append"
SAVE = "penstock.features.redis.store:RedisStateStore.save"
SEND = "penstock.features.redis.store:RedisStateStore._exchange"
PUT = "penstock.stream.models.store:RedisModelStore.put"
CUT = "penstock.stream.learn.stored_snapshot:StoredSnapshot._cut"
ROLLED_BACK = "penstock.stream.learn.state:FoldState.note_commit"
CONTROL = "penstock.stream.control.faust_shell:Control"
MOST_CALLS = 12


class Point(NamedTuple):
    """A role, what its row is called, the function, when, and between which of its calls in one process, in which flow.

    Featurize commits every so often, and no more when all is done: `cards` are published while it runs.
    """

    role: str
    name: str
    at: str
    when: str
    calls: tuple[int, int] = (2, MOST_CALLS)
    flow: str = "parcels"


POINTS = [
    Point("featurize", "after poll", POLL, "after"),
    Point("featurize", "before append", APPEND, "before"),
    Point("featurize", "after append", APPEND, "after"),
    Point("featurize", "before state", SAVE, "before"),
    Point("featurize", "half of state", SEND, "half", (2, 12)),
    Point("featurize", "after state", SAVE, "after"),
    Point("featurize", "before commit", COMMIT, "before", (2, 6), flow="cards"),
    Point("featurize", "after commit", COMMIT, "after", (2, 6), flow="cards"),
    Point("learn", "after poll", POLL, "after"),
    Point("learn", "before append", APPEND, "before"),
    Point("learn", "after append", APPEND, "after"),
    Point("learn", "before commit", COMMIT, "before"),
    Point("learn", "after commit", COMMIT, "after"),
    Point("learn", "before snapshot", CUT, "before", (2, 8)),
    Point("learn", "half of snapshot", SEND, "half", (2, 8)),
    Point("learn", "after snapshot", SAVE, "after", (2, 8)),
]
OF_REQUESTS = [
    Point("learn", "before version", PUT, "before", (1, 1)),
    Point("learn", "after version", PUT, "after", (1, 1)),
    Point("learn", "in rollback", ROLLED_BACK, "after", (1, 1)),
    Point("control", "before decision is stored", f"{CONTROL}.store", "before", (1, 2)),
    Point("control", "after decision is stored", f"{CONTROL}.store", "after", (1, 2)),
    Point("control", "before command is sent", f"{CONTROL}.send", "before", (2, 4)),
    Point("control", "after command is sent", f"{CONTROL}.send", "after", (2, 4)),
]


def prepare(point: Point, round: Round) -> None:
    """Plant the point, once for each of the kills, in the first worker of the role."""
    low, high = point.calls
    marks = round.place.folder
    round.harms[f"{point.role}-0"] = {
        "points": [
            {
                "at": point.at,
                "when": point.when,
                "number": round.chance.randint(low, high),
                "mark": str(marks / f"reached-{number}"),
            }
            for number in range(round.kills if high > 2 else 1)
        ]
    }


def reached(round: Round) -> int:
    """How many of the points were come to."""
    return len(list(round.place.folder.glob("reached-*")))


def inject(point: Point, round: Round) -> None:
    """Wait until it ended itself so often, each time begin it again, and note how long it takes to go on."""
    planted = len(round.harms[f"{point.role}-0"]["points"])
    worker = next(one for one in round.of(point.role) if one.slot == 0)
    round.stopped.add(worker)  # nobody else is to begin it again meanwhile

    def ended() -> bool:
        return worker.process is None or worker.process.poll() is not None

    while round.injected < planted:
        round.wait(ended, "the point was not come to")
        began = time.monotonic()
        if reached(round) <= round.injected:
            raise Stuck(f"it ended elsewhere: {worker.said()}")
        round.injected = reached(round)
        worker.start()
        # the next point may come before anything moves on
        round.recovers(point.role, round.position(point.role), began, unless=ended)
    round.stopped.discard(worker)


def request(point: Point, round: Round) -> None:
    """Ask for a hold, a rollback and the end of the hold in turn; the point is come to on the way."""
    models = round.following("control.models")
    worker = next(one for one in round.of(point.role) if one.slot == 0)
    round.stopped.add(worker)
    verbs = ["rollback", "hold", "resume"]
    for number, (at, verb) in enumerate(zip(round.points(len(verbs)), verbs, strict=True)):
        round.until(at)
        asked = f"{verb}-{number}"
        round.ask(asked, verb)
        time.sleep(round.chance.uniform(0, PAUSE_S))
        began = time.monotonic()

        def carried_out(asked: str = asked) -> bool:
            found: Any = models()
            if (
                worker.process is not None
                and worker.process.poll() is not None
                and reached(round) > round.injected
            ):
                round.injected = reached(round)
                worker.start()
            return bool(found) and f"command-{asked}" in found[-1]["applied"]

        before = round.injected
        round.wait(carried_out, f"{asked} was not carried out")
        if round.injected > before:
            round.recoveries.append(time.monotonic() - began)
    round.stopped.discard(worker)


FAULTS = [
    *(
        Fault(
            f"end {point.role}: {point.name}",
            point.flow,
            f"{point.role} ends itself by kill -9: {point.name}",
            partial(inject, point),
            prepare=partial(prepare, point),
        )
        for point in POINTS
    ),
    *(
        Fault(
            f"end {point.role}: {point.name}",
            "cards",
            f"{point.role} ends itself by kill -9: {point.name}",
            partial(request, point),
            prepare=partial(prepare, point),
            workers={"control": 1},
        )
        for point in OF_REQUESTS
    ),
]

"""Rounds with a planted bug: the checker has to find each, or it proves nothing.

Laws of this file: a bug is planted in the roles alone; what else happens in its round brings it to light, and harms
nothing that works.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from kafka import KafkaProducer

from tests.faults.checker import entry
from tests.faults.fault import Fault
from tests.faults.kills import kill_workers
from tests.faults.raw import RawTopics
from tests.faults.round import Round
from tests.faults.rows import Row, judges, run_round, say
from tests.faults.servers import Servers

MOST_ROUNDS = 3


class Plant(NamedTuple):
    """A bug, the flow it is planted in, its role, what is done beside it, and the counts of which one at least has to find it."""

    bug: str
    flow: str
    role: str
    inject: Callable[[Round], None]
    kinds: str
    workers: dict[str, int] = {"featurize": 1}


@dataclass
class Found:
    """Whether it was found: by which counts, after how many rounds."""

    bug: str
    rounds: int = 0
    caught_by: str = ""

    def shown(self) -> dict[str, Any]:
        """The row as JSON has it."""
        return {"bug": self.bug, "caught_by": self.caught_by, "rounds": self.rounds}


def nothing(round: Round) -> None:
    """The bug is enough."""
    round.injected += 1


def wake_a_zombie(round: Round) -> None:
    """Wait until the first worker has stopped itself before a write; wake it when the other has done all the work."""
    zombie = next(one for one in round.of("featurize") if one.slot == 0)
    mark = round.place.folder / "stopped"
    round.wait(mark.exists, "it did not come to a write")
    round.wait(
        lambda: round.producer is None or round.producer.poll() is not None, "the producer did not end"
    )
    round.wait(lambda: round.place.committed_all("featurize", round.place.sources()), "nobody took over")
    time.sleep(1.0)  # what it wrote last is written
    zombie.send(signal.SIGCONT)
    round.injected += 1
    time.sleep(2.0)


def repeat_a_command(round: Round) -> None:
    """A command that was carried out stands in the log again, as a crash of whoever sent it leaves it."""
    models = round.following("control.models")
    producer = KafkaProducer(bootstrap_servers=round.servers.bootstrap)
    for at, verb in ((0.1, "hold"), (0.3, "resume")):
        round.until(at)
        round.ask(verb, verb)
        round.until_carried_out(verb, models)
    round.until(0.5)
    records = RawTopics(round.servers.bootstrap).whole(round.place.samples)[0]
    [copy, *_] = [record for record in records if entry(record).get("id") == "command-hold"]
    producer.send(round.place.samples, key=copy.key, value=copy.value, partition=0).get(60)
    producer.close()
    round.injected += 1


PLANTS = [
    Plant("one event skipped", "cards", "featurize", nothing, "lost"),
    Plant("one event applied twice", "cards", "featurize", nothing, "repeated"),
    Plant("two events swapped", "cards", "featurize", nothing, "reordered"),
    Plant("fence dropped", "cards", "featurize", wake_a_zombie, "repeated torn", {"featurize": 2}),
    Plant("commit before write", "parcels", "featurize", nothing, "lost"),
    Plant("state expires too early", "cards", "featurize", nothing, "lost wrong"),
    Plant("labels expire too early", "parcels", "learn", nothing, "lost"),
    Plant("a label joined to a wrong sample", "parcels", "learn", nothing, "wrong"),
    Plant("an expert's weight not restored", "parcels", "learn", partial(kill_workers, "learn"), "wrong"),
    Plant(
        "a request carried out twice",
        "cards",
        "learn",
        repeat_a_command,
        "wrong",
        {"featurize": 1, "control": 1},
    ),
    Plant("a document older than its state", "cards", "featurize", nothing, "lost wrong"),
]


def prepare(plant: Plant, round: Round) -> None:
    """Have the role plant it."""
    marks = round.place.folder
    harm: dict[str, Any] = {"plant": plant.bug, "mark": str(marks / "mark")}
    if plant.inject is wake_a_zombie:
        at = "penstock.features.redis.store:RedisStateStore.save"
        point = {"at": at, "when": "before", "number": 2, "mark": str(marks / "stopped"), "how": "SIGSTOP"}
        round.harms["featurize-0"] = {**harm, "points": [point]}
        round.harms["featurize-1"] = harm
        return
    round.harms[plant.role] = harm


def planted_rows(servers: Servers, records: int, seed: int, bugs: Collection[str] = ()) -> list[Found]:
    """Plant every bug, or these, again until it is found, but not too often."""
    found = []
    with judges() as pool:
        for plant in (one for one in PLANTS if not bugs or one.bug in bugs):
            one = Found(plant.bug)
            fault = Fault(
                f"planted: {plant.bug}",
                plant.flow,
                plant.bug,
                plant.inject,
                prepare=partial(prepare, plant),
                workers=plant.workers,
            )
            while one.rounds < MOST_ROUNDS and not one.caught_by:
                row = Row(fault.name, fault.what, fault.promise)
                run_round(fault, servers, records, 1, seed * 1_000 + 500 + one.rounds, row, pool)()
                one.rounds += 1
                if not row.bad.keys().isdisjoint(plant.kinds.split()):
                    one.caught_by = ", ".join(f"{count} {kind}" for kind, count in row.bad.items())
            say(f"planted: {plant.bug}: {one.caught_by or 'NOT CAUGHT'}")
            found.append(one)
    return found

"""Wall clocks that jump; topics that are trimmed, made anew or made wider; a folder of models on a full disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import NewTopic

from tests.faults.disks import disk, fill, no_root
from tests.faults.fault import Fault, refuses
from tests.faults.round import Round
from tests.faults.running import Stuck

DAY_S, FULL_S = 86_400.0, 2.0
JUMPS = [[2.0, 3_600.0], [4.0, -7_200.0], [5.0, 30 * DAY_S], [7.0, -60 * DAY_S], [9.0, 31 * DAY_S]]


def jumping(round: Round) -> None:
    """All roles' clocks jump by hours and weeks, each on its own."""
    for number, role in enumerate(("featurize-0", "featurize-1", "learn", "control")):
        round.harms[role] = {"clock": [[after + number / 3, by] for after, by in JUMPS]}


def meanwhile(round: Round) -> None:
    """Learning is held and goes on while they jump; then each role is killed: whoever begins again is back by a month."""
    models = round.following("control.models")
    began = time.monotonic()
    for at_s, verb in ((3.0, "hold"), (8.0, "resume")):
        round.wait(lambda at_s=at_s: time.monotonic() - began > at_s, "time stands still")  # type: ignore[misc]
        round.ask(verb, verb)
        round.until_carried_out(verb, models)
    round.wait(lambda: time.monotonic() - began > JUMPS[-1][0] + 2.0, "time stands still")
    round.injected += len(JUMPS) * len(round.harms)
    for worker in round.place.roles:
        worker.kill()
        worker.start()


def at_rest(role: str, deed: Callable[[Round], None], round: Round) -> None:
    """Tell a role's workers to end, do something to topics, begin them again, and wait until they end or go on."""
    # parcels are all there from the beginning: whoever is quick has soon read them
    round.until(0.3 if round.place.pipeline.partitioned else 0.05)
    round.wait(lambda: all(round.position(role).values()), f"{role} did not begin")
    round.stop(role)  # while the rest is published: whoever is quick would have read all of it
    round.ends.clear()
    if round.producer is not None:
        round.wait(
            lambda: round.producer is not None and round.producer.poll() is not None,
            "the producer did not end",
        )
    deed(round)
    began = time.monotonic()
    for worker in round.of(role):
        round.stopped.discard(worker)
        worker.start()
    until_refused(role, round, began)


def at_work(role: str, deed: Callable[[Round], None], round: Round) -> None:
    """Do something to topics while a role's workers read them, and wait until they end."""
    round.until(0.3)
    began = time.monotonic()
    deed(round)
    until_refused(role, round, began)


def until_refused(role: str, round: Round, began: float) -> None:
    """Wait until every worker has ended, and begin none again."""
    round.injected += 1
    round.patient = True
    round.wait(
        lambda: all(worker in round.stopped for worker in round.of(role)), f"{role} did not refuse", 60
    )
    round.recoveries.append(time.monotonic() - began)


def admin(round: Round) -> Any:
    """An outside client that administers topics."""
    return KafkaAdminClient(bootstrap_servers=round.servers.bootstrap)


def trimmed(role: str, round: Round) -> None:
    """Delete the records of every partition up to some past the role's position."""
    left = round.position(role)
    if not left:
        raise Stuck("there was nothing left to delete")
    ends = round.log.bounds(list(left))
    given = {TopicPartition(*tp): min(at + 20, ends[tp][1]) for tp, at in left.items()}
    client = admin(round)
    client.delete_records(given)
    client.close()


def made_anew(round: Round) -> None:
    """Delete a source topic and create it again."""
    client, name = admin(round), round.place.pipeline.predict.name
    client.delete_topics([name])
    round.wait(lambda: name not in client.list_topics(), "the topic was not deleted")
    client.create_topics([NewTopic(name, round.flow.partitions, 1)])
    client.close()


def wider(round: Round) -> None:
    """Add partitions to a source topic."""
    client = admin(round)
    client.create_partitions({round.place.pipeline.predict.name: round.flow.partitions + 2})
    client.close()


def on_small_disk(round: Round) -> None:
    """Models are stored on a file system of a megabyte."""
    round.place.env["PENSTOCK_MODELS"] = str(round.opened.enter_context(disk(1)))


def disk_full(round: Round) -> None:
    """It is full when the first version is to be stored, for a rollback to the first model."""
    models = round.following("control.models")
    filler = Path(round.place.env["PENSTOCK_MODELS"]) / "filler"
    [learn] = round.of("learn")
    round.until(round.points(1)[0])
    fill(filler)
    round.ask("rollback", "rollback")
    round.wait(lambda: "No space left" in learn.said(), "no version was refused by the disk")
    round.injected += 1
    time.sleep(FULL_S)
    began = time.monotonic()
    filler.unlink()
    round.until_carried_out("rollback", models)
    round.recoveries.append(time.monotonic() - began)


REFUSED = "it ends with exit code 2 and says which records are gone"
FAULTS = [
    Fault(
        "clocks jump", "cards", "wall clocks of all roles jump by hours and weeks", meanwhile,
        prepare=jumping, workers={"control": 1},
    ),
    Fault(
        "source trimmed", "cards", "records that featurize had not read are deleted",
        partial(at_rest, "featurize", partial(trimmed, "featurize")),
        promise=REFUSED, judge=refuses("featurize", r"offsets? \d+ .* gone"),
    ),
    Fault(
        "samples trimmed", "parcels", "samples that learn had not folded are deleted",
        partial(at_rest, "learn", partial(trimmed, "learn")),
        promise=REFUSED, judge=refuses("learn", r"records \d+ to \d+ .* are gone"),
    ),
    Fault(
        "source made anew", "cards", "a source topic is deleted and created again",
        partial(at_rest, "featurize", made_anew),
        promise="it ends with exit code 2 and says that the topic is another", judge=refuses("featurize", "created again"),
    ),
    Fault(
        "partitions added", "cards", "partitions are added to a source topic", partial(at_rest, "featurize", wider),
        promise="it ends with exit code 2 and says what to do", judge=refuses("featurize", "partitions"),
    ),
    Fault(
        "source made anew at work", "cards", "a source topic is deleted and created again while featurize runs",
        partial(at_work, "featurize", made_anew),
        promise="within seconds it ends with exit code 2 and says that the topic is another, or, while it is away, missing",
        judge=refuses("featurize", "created again|does not exist"),
    ),
    Fault(
        "partitions added at work", "parcels", "partitions are added to a source topic while featurize runs",
        partial(at_work, "featurize", wider),
        promise="within seconds it ends with exit code 2 and says what to do", judge=refuses("featurize", "partition"),
    ),
    Fault(
        "models' disk full", "cards", "the disk of the folder of model versions is full for 2 s", disk_full,
        prepare=on_small_disk, workers={"control": 1}, needs=no_root,
    ),
]  # fmt: skip

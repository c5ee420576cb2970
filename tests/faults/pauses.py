"""Workers that stand still past their session (SIGSTOP), are overtaken, and wake as zombies; workers that join and leave."""

from __future__ import annotations

import signal
import time
from functools import partial

from tests.faults.fault import Fault
from tests.faults.points import APPEND, SAVE
from tests.faults.round import Round
from tests.faults.running import STUCK_S, Stuck

PAST_SESSION_S = 8.0  # sessions last six


def spare(role: str, round: Round) -> None:
    """Another worker, which has nothing to do until the first one is gone."""
    if len(round.of(role)) < 2:
        round.start(role, 1)


def stand_still(role: str, round: Round) -> None:
    """Stop each of two workers past its session, in turn; the other goes on, and the first wakes when it is not its turn."""
    spare(role, round)
    for number, at in enumerate(round.points(2)):
        round.until(at)
        worker = round.of(role)[number % 2]
        worker.send(signal.SIGSTOP)
        began = time.monotonic()
        round.injected += 1
        round.recovers(role, round.position(role), began)
        over_s = PAST_SESSION_S + round.chance.uniform(0, 1)
        round.wait(lambda: time.monotonic() - began > over_s, "the session did not run out")  # noqa: B023
        worker.send(signal.SIGCONT)


def stops_before(role: str, at: str, round: Round) -> None:
    """The first worker stops itself before a write, with all that it has computed."""
    point = {"at": at, "when": "before", "number": round.chance.randint(4, 12), "how": "SIGSTOP"}
    round.harms[f"{role}-0"] = {"points": [{**point, "mark": str(round.place.folder / "stopped")}]}


def wakes_late(role: str, round: Round) -> None:
    """It wakes when another has done all of the work, and writes what it had in mind."""
    spare(role, round)
    worker = next(one for one in round.of(role) if one.slot == 0)
    round.wait((round.place.folder / "stopped").exists, "it did not come to a write")
    began = time.monotonic()
    round.recovers(role, round.position(role), began)
    tps = round.place.sources() if role == "featurize" else [(round.place.samples, 0)]
    round.wait(
        lambda: round.producer is None or round.producer.poll() is not None, "the producer did not end"
    )
    round.wait(lambda: round.place.committed_all("featurize", round.place.sources()), "featurize did not end")
    if role == "learn":  # ticks go on: what stood in the log now must be folded
        ends = {tp: end for tp, (_, end) in round.log.bounds(tps).items()}
        group = f"{round.place.pipeline.name}.learn"
        round.wait(lambda: round.log.committed(group, tps).get(tps[0], 0) >= ends[tps[0]], "nobody took over")
    worker.send(signal.SIGCONT)
    round.injected += 1
    time.sleep(1.5)


def come_and_go(role: str, round: Round) -> None:
    """Workers join and leave in turn, each told to end; there is always one."""
    at = iter(round.points(6))
    first, second = round.of(role)
    for worker in (first, None, second, None):
        round.until(next(at))
        before, began = round.position(role), time.monotonic()
        if worker is not None:
            round.stopped.add(worker)
            assert worker.process is not None
            worker.process.terminate()
            if worker.process.wait(STUCK_S) not in (0, -signal.SIGTERM):
                raise Stuck(f"it did not end well: {worker.said()}")
        else:
            gone = next(one for one in (first, second) if one in round.stopped)
            round.stopped.discard(gone)
            gone.start()
        round.injected += 1
        round.recovers(role, before, began)
    round.until(next(at))
    round.start(role, 2)
    round.injected += 1


FAULTS = [
    Fault("stand still featurize", "cards", "SIGSTOP of featurize past its session", partial(stand_still, "featurize")),
    Fault("stand still featurize across", "parcels", "the same, keyed across, with a spare", partial(stand_still, "featurize")),
    Fault("stand still learn", "parcels", "SIGSTOP of learn past its session, with a spare", partial(stand_still, "learn")),
    Fault("stand still shards", "shards", "SIGSTOP of a learn worker that has shards", partial(stand_still, "learn")),
    Fault(
        "zombie before state", "cards", "featurize stops before its script, is overtaken, and wakes at the end",
        partial(wakes_late, "featurize"), prepare=partial(stops_before, "featurize", SAVE),
    ),
    Fault(
        "zombie before append", "cards", "featurize stops before it appends, is overtaken, and wakes at the end",
        partial(wakes_late, "featurize"), prepare=partial(stops_before, "featurize", APPEND),
    ),
    Fault(
        "zombie before snapshot", "parcels", "learn stops before its snapshot, is overtaken, and wakes at the end",
        partial(wakes_late, "learn"), prepare=partial(stops_before, "learn", SAVE),
    ),
    Fault("come and go featurize", "cards", "featurize workers join and leave", partial(come_and_go, "featurize")),
    Fault("come and go shards", "shards", "learn workers that share shards join and leave", partial(come_and_go, "learn")),
]  # fmt: skip

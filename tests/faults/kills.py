"""`kill -9`, at random moments: each worker of a role again and again, and all of them at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from penstock.stream.stack.server import free_ports
from tests.faults.fault import Fault
from tests.faults.round import Round

PAUSE_S = 0.3


def kill_workers(role: str, round: Round) -> None:
    """Kill every worker of a role, at seeded points of progress."""
    workers = round.of(role) * round.kills
    round.chance.shuffle(workers)
    for at, worker in zip(round.points(len(workers)), workers, strict=True):
        round.until(at)
        time.sleep(round.chance.uniform(0, PAUSE_S))
        round.kill(worker)


def kill_all(round: Round) -> None:
    """Kill every worker of every role at once."""
    for at in round.points(round.kills):
        round.until(at)
        for worker in round.place.roles:
            worker.kill()
            round.injected += 1
        began = time.monotonic()
        for worker in round.place.roles:
            worker.start()
        for role in ("featurize", "learn"):
            round.recovers(role, round.position(role), began)


def kill_control(round: Round) -> None:
    """Kill control while requests are under way, and ask for the next when one is carried out."""
    models = round.following("control.models")
    decisions = round.following("control.decisions")
    [control] = round.of("control")

    for number, at in enumerate(round.points(round.kills)):
        round.until(at)
        for verb in ("hold", "resume"):
            request = f"{verb}-{number}"
            round.ask(request, verb)
            time.sleep(round.chance.uniform(0, PAUSE_S))
            control.kill()
            began = time.monotonic()
            known = any(one["request"] == request for one in decisions())
            round.injected += 1
            control.start()
            round.wait(
                lambda request=request: any(one["request"] == request for one in decisions()),  # type: ignore[misc]
                f"{request} was not decided on",
            )
            if not known:
                round.recoveries.append(time.monotonic() - began)
            round.until_carried_out(request, models)


def with_page(role: str, path: str) -> tuple[Callable[[Round], None], Callable[[Round], None]]:
    """A role that only answers: what starts it, and what kills it."""

    def prepare(round: Round) -> None:
        port = free_ports(1)[0]
        round.urls[role] = f"http://127.0.0.1:{port}{path}"
        round.start(role, 0, ("--port", str(port)))

    def inject(round: Round) -> None:
        [server] = round.of(role)
        for at in round.points(round.kills):
            round.until(at)
            round.wait(lambda: round.answers(round.urls[role]), f"{role} did not answer")
            server.kill()
            began = time.monotonic()
            round.injected += 1
            server.start()
            round.wait(lambda: round.answers(round.urls[role]), f"{role} did not answer again")
            round.recoveries.append(time.monotonic() - began)

    return prepare, inject


SERVE, CONSOLE = with_page("serve", "/v2/health/ready"), with_page("console", "/")
FAULTS = [
    Fault("kill featurize", "cards", "kill -9 of featurize workers that share partitions", partial(kill_workers, "featurize")),
    Fault("kill featurize across", "parcels", "kill -9 of featurize, keyed across", partial(kill_workers, "featurize")),
    Fault("kill learn", "parcels", "kill -9 of learn, labels being late", partial(kill_workers, "learn")),
    Fault("kill shards", "shards", "kill -9 of learn workers that share shards", partial(kill_workers, "learn")),
    Fault("kill control", "cards", "kill -9 of control while requests are under way", kill_control, workers={"control": 1}),
    Fault("kill serve", "cards", "kill -9 of serve", SERVE[1], prepare=SERVE[0]),
    Fault("kill console", "cards", "kill -9 of the console", CONSOLE[1], prepare=CONSOLE[0]),
    Fault("kill all", "cards", "kill -9 of all roles at once", kill_all, workers={"control": 1}),
]  # fmt: skip

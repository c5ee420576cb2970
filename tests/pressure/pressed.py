"""A backlog that roles work off while something is slow or away: what they hold, what they say, how they end and go on.

Laws of this file:
- The backlog stands in the topics before a role begins. Pressure begins at a tenth of it and lasts for a stated time.
- In the middle of the pressure both roles are told to end (SIGTERM) and are begun again: that is the drain.
- What comes of it is judged by the checker of `tests/faults`, which knows nothing of this.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, redirect_stdout, suppress
from io import StringIO
from typing import Any, NamedTuple

from penstock.stream import cli
from penstock.stream.stack.server import free_ports
from tests.faults.counts import Counts
from tests.faults.flows import CARDS, FLOWS, ROLES, Flow, card_stream
from tests.faults.readers import Read
from tests.faults.round import Left, Round, judged
from tests.faults.running import Stuck
from tests.patience import PATIENCE_S
from tests.places import Role
from tests.pressure.watching import Seen, Watch

DRAIN_S = 20.0
"""So long a role may take from SIGTERM to its end, whatever is slow or away. Deployments give it 60."""
FALSE_S = 15.0
"""So long a role that does not get on may still say that it is ready."""
AWAY_S, FOLLOW_S = 25.0, 0.2
ROLE_NAMES = ("featurize", "learn")
WHOLE = "\n".join(line for line in ROLES.splitlines() if "BATCH_RECORDS" not in line)
"""What the faults ask of roles, but for small batches: here they are what they are."""
SLOW_MODEL = CARDS.replace(
    "from penstock import View",
    """import os
import time
class Slow(linear_model.LogisticRegression):
    def learn_one(self, x, y, w=1.0):
        if os.path.exists(os.environ.get("PENSTOCK_TEST_SLOW", "")):
            time.sleep(0.03)
        super().learn_one(x, y, w)
from penstock import View""",
).replace("| linear_model.LogisticRegression()", "| Slow()")
FLOWS["pressed"] = Flow(CARDS, 4, {"featurize": 1, "learn": 1}, card_stream)
FLOWS["slow-model"] = Flow(SLOW_MODEL, 4, {"featurize": 1, "learn": 1}, card_stream)


class Pressure(NamedTuple):
    """A row: what is slow or away, by what begins and ends it. `own` gives another store than a plain Valkey.

    `drains` says whether roles are told to end in the middle of it; with `again` False they are begun again only after it.
    `ends` is what a role says that cannot go on: it has to end with exit code 2. Without, no role may end by itself.
    """

    name: str
    what: str
    begin: Callable[[Pressed], None]
    end: Callable[[Pressed], None]
    lasts_s: float = 15.0
    flow: str = "pressed"
    prepare: Callable[[Pressed], None] | None = None
    own: Callable[[], AbstractContextManager[tuple[Any, str, int]]] | None = None
    drains: bool = True
    again: bool = True
    ends: str = ""


class Pressed(Round):
    """One row under way."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given, asks=WHOLE)
        self.ports: dict[str, int] = dict(zip(ROLE_NAMES, free_ports(2), strict=True))
        self.slow = self.place.folder / "slow"
        self.place.env["PENSTOCK_TEST_SLOW"] = str(self.slow)
        self.drains: dict[str, tuple[float, int]] = {}
        self.seen: dict[str, Seen] = {}
        self.recovered_s = 0.0
        self.lags: dict[str, tuple[dict[Any, int], int]] = {}
        self.over = threading.Event()

    def start(self, role: str, slot: int, more: Any = ()) -> Role:
        """Start a role, its page on its own port."""
        return super().start(role, slot, (*more, "--port", str(self.ports[role])))

    def lag(self, role: str) -> tuple[dict[Any, int], int]:
        """What a role's group committed, and how many records it has not."""
        tps = self.place.sources() if role == "featurize" else [(self.place.samples, 0)]
        found = self.log.committed(f"{self.place.pipeline.name}.{role}", tps)
        ends = self.log.bounds(tps)
        return found, sum(end - found.get(tp, 0) for tp, (_, end) in ends.items())

    def follow(self) -> None:
        """Keep what the groups committed up to date; a broker that is away leaves it as it was."""
        while not self.over.wait(FOLLOW_S):
            for role in ROLE_NAMES:
                with suppress(Exception):
                    self.lags[role] = self.lag(role)

    def watched(self) -> dict[str, tuple[Any, int, Any, int]]:
        """What a `Watch` looks at."""
        known = [role for role in ROLE_NAMES if self.of(role) and role in self.lags]
        return {role: (self.of(role)[0], self.ports[role], *self.lags[role]) for role in known}

    def under(self, pressure: Pressure) -> Counts:
        """The row, from its backlog to what the checker says."""
        self.begin_backlog()
        watch = Watch(self.watched)
        threading.Thread(target=self.follow, daemon=True).start()
        try:
            for role in ROLE_NAMES:
                self.start(role, 0)
            self.until(0.1)
            self.wait(lambda: bool(self.lags.get("learn", ({}, 0))[0]), "learn did not begin")
            pressure.begin(self)
            self.injected += 1
            began = time.monotonic()
            self.passes(pressure.lasts_s / 2)
            if pressure.drains:
                self.drain(again=pressure.again)
            self.passes(pressure.lasts_s - (time.monotonic() - began))
            pressure.end(self)
            off = time.monotonic()
            for role in self.place.roles if not pressure.again else []:
                role.start()
                self.stopped.discard(role)
            self.wait(lambda: bool(self.lag("featurize")), "Kafka did not come back")
            for role_name in ROLE_NAMES:
                self.recovers(role_name, self.position(role_name), off)
            self.recovered_s = max(self.recoveries, default=0.0)
            self.finish()
        finally:
            self.over.set()
            self.seen = watch.close()
        return compared(self)

    def begin_backlog(self) -> None:
        """Create the topics and publish everything."""
        os.environ["KAFKA_BOOTSTRAP_SERVERS"] = self.servers.bootstrap
        given = [
            "topics",
            str(self.place.file),
            "--create-sources",
            "--partitions",
            str(self.flow.partitions),
        ]
        with redirect_stdout(StringIO()):
            made = cli.main(given)
        if made != 0 or self.publish(self.records, 0.0).wait(PATIENCE_S) != 0:
            raise Stuck("the topics could not be created, or the producer failed")

    def passes(self, seconds: float) -> None:
        """Let time pass; a role that ends by itself is begun again, and noted."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.tend()
            time.sleep(0.05)

    def drain(self, *, again: bool) -> None:
        """Tell both roles to end, and perhaps begin them again: how long that took, and with which exit code."""
        for name in ROLE_NAMES:
            [role] = self.of(name)
            if role.process is None or role.process.poll() is not None:
                continue
            self.stopped.add(role)
            role.process.terminate()
            began = time.monotonic()
            code = role.process.wait(PATIENCE_S)
            self.drains[name] = (time.monotonic() - began, code)
            if again:
                role.start()
                self.stopped.discard(role)


def compared(round: Round) -> Counts:
    """What the checker says of a round that nobody read meanwhile."""
    place, nobody = round.place, Read({}, None)
    given = (place.file, round.servers.bootstrap, round.url, round.asked, round.recovered)
    return judged(Left(*given, {}, nobody))


def bad(row: dict[str, Any], pressure: Pressure, most_mb: float) -> list[str]:
    """What of a row is not as it is promised; `most_mb` is what a role may hold."""
    found = []
    if pressure.ends and not row["ended_by_themselves"]:
        found.append("no role ended by itself")
    for role, code, said in row["ended_by_themselves"]:
        if not pressure.ends or code != 2 or not re.search(pressure.ends, said):
            found.append(f"{role} ended by itself with exit code {code}: {said}")
    for role, one in row["roles"].items():
        if one["rss_mb"] > most_mb:
            found.append(f"{role} held {one['rss_mb']:.0f} MB, more than {most_mb:.0f}")
        if one["false_s"] > FALSE_S:
            found.append(
                f"{role} said that it was ready for {one['false_s']:.0f} s in which it did not get on"
            )
        if one["unhealthy"]:
            found.append(f"{role} would have been restarted for what a restart does not mend")
        if one["drain_s"] is not None and (one["drain_s"] > DRAIN_S or one["exit"] != 0):
            found.append(f"{role} took {one['drain_s']:.1f} s to end, with exit code {one['exit']}")
    if row["lost"] or row["repeated"] or row["wrong"]:
        found.append(
            f"{row['lost']} lost, {row['repeated']} repeated, {row['wrong']} wrong: {row['notes'][:3]}"
        )
    return found


def row_of(pressure: Pressure, round: Pressed, counts: Counts, took_s: float) -> dict[str, Any]:
    """The row as JSON has it."""
    roles = {}
    for name, seen in round.seen.items():
        drain_s, code = round.drains.get(name, (None, None))
        roles[name] = {
            "rss_mb": round_to(seen.most.rss_mb),
            "files": seen.most.files,
            "threads": seen.most.threads,
            "false_s": round_to(seen.false_s),
            "unhealthy": seen.unhealthy,
            "not_ready": sorted(seen.said),
            "drain_s": None if drain_s is None else round_to(drain_s),
            "exit": code,
        }
    return {
        "pressure": pressure.name,
        "what": pressure.what,
        "records": len(round.records),
        "lasted_s": pressure.lasts_s,
        "recovered_s": round_to(round.recovered_s),
        "took_s": round_to(took_s),
        "ended_by_themselves": [list(one) for one in round.ends],
        "lost": counts.lost,
        "repeated": counts.repeated,
        "wrong": counts.wrong + counts.torn + counts.reordered + counts.stuck,
        "known_repeats": counts.known_repeats,
        "notes": counts.notes[:6],
        "roles": roles,
    }


def round_to(number: float) -> float:
    """Two digits are enough."""
    return float(f"{number:.2f}")

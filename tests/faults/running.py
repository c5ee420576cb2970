"""What a round has from its start to its end, and how whoever harms it waits, asks and measures.

Laws of this file:
- Faults come at seeded points of progress. A role that ends by itself is begun again, as whatever runs it would do.
- Recovery is counted from the fault until the group's committed offset of every partition that had something left has moved on
  (featurize, learn), the decision on a request asked just then stands (control), or a page answers (serve, console).
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from penstock.features.redis.store import connect
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import TP, LogError
from penstock.stream.stack.server import Server
from tests.faults.flows import FLOWS, ROLES
from tests.faults.servers import Proxy, Servers
from tests.places import Place, Role

STUCK_S = 100.0
MOST_PATIENT_S = 600.0
#: Of event time: workers wait for each other, and not for every few events.
SKEW_S = 86_400
MOST_ENDS = 25
AGAIN_S = 0.3
LOOK_S = 0.03  # between two looks at what is waited for: each asks the broker
ANSWER_S = 5.0  # what does not answer so long is asked again


class Stuck(Exception):
    """It did not come to what was waited for."""


class Running:
    """A pipeline that is harmed. `kills` is how often each worker is killed where a fault kills at random.

    `asks` is what the definition file asks of every role.
    """

    def __init__(
        self,
        servers: Servers,
        valkey: Server | None,
        url: str,
        flow: str,
        records: int,
        seed: int,
        folder: Path,
        asks: str = ROLES,
    ) -> None:
        self.servers, self.valkey, self.url = servers, valkey, url
        self.flow, self.chance, self.kills = FLOWS[flow], random.Random(seed), 3
        self.seed, self.workers = seed, self.flow.workers
        self.injected = 0
        self.recoveries: list[float] = []
        self.ends: list[tuple[str, int, str]] = []
        self.asked: dict[str, str] = {}
        self.recovered = self.patient = False
        self.log = KafkaLog(servers.bootstrap)
        name = f"{flow}-{seed}-{os.getpid()}-{random.randrange(10**9):x}"
        text = self.flow.text.replace("NAME", name)
        client: Any = connect(url)
        self.place = Place(self.log, servers.bootstrap, client, url, folder, text, asks)
        self.place.env["PENSTOCK_FEATURIZE_SKEW_S"] = str(SKEW_S)
        self.harms: dict[str, dict[str, Any]] = {}
        self.records = self.flow.stream(records, seed)
        short = {source.name.partition(".")[2]: source.name for source in self.place.pipeline.sources}
        self.records = [one._replace(topic=short[one.topic.partition(".")[2]]) for one in self.records]
        self.stopped: set[Role] = set()
        self.producer: subprocess.Popen[bytes] | None = None
        self.readers: list[Any] = []
        self.urls: dict[str, str] = {}
        self.proxy: Proxy | None = None
        self.opened = ExitStack()  # what ends with the round

    # -- waiting -----------------------------------------------------------------------------------------------------------

    def wait(self, done: Callable[[], bool], what: str, patience_s: float = STUCK_S) -> float:
        """Wait for something while roles that end are begun again; the seconds it took.

        It is stuck when nothing has moved for so long, or after `MOST_PATIENT_S` in any case: a busy machine is only slow.
        """
        began = looked = time.monotonic()
        stands: object = None
        failed = ""
        while True:
            try:
                if done():
                    return time.monotonic() - began
                failed = ""
            except (LogError, redis.RedisError) as error:
                failed = f" (whoever asked heard nothing: {error})"
            self.tend()
            if time.monotonic() - looked > patience_s:
                before, stands, looked = stands, self.standing(), time.monotonic()
                known = stands is not None
                if (known and stands == before) or looked - began > MOST_PATIENT_S:
                    raise Stuck(f"{what} within {looked - began:.0f} s{failed}\n{self.stacks()}")
            time.sleep(LOOK_S)

    def standing(self) -> object:
        """How far everything is."""
        with suppress(LogError):
            return self.position("featurize"), self.position("learn")
        return None

    def stacks(self) -> str:
        """What every role said last, and what each of its threads is doing now."""
        for role in self.place.roles:
            if role.process is not None and role.process.poll() is None:
                role.process.send_signal(signal.SIGUSR1)
        time.sleep(1.0)
        return "\n".join(role.said()[-2_500:] for role in self.place.roles)

    def tend(self) -> None:
        """Begin again what ended by itself, and remember what it said."""
        for role in self.place.roles:
            if role in self.stopped or role.process is None or role.process.poll() is None:
                continue
            lines = role.said().splitlines()
            self.ends.append((role.role, role.process.returncode, lines[-1] if lines else ""))
            if len(self.ends) > MOST_ENDS:
                raise Stuck(f"{role.role} ended again and again: {role.said()}")
            if not self.patient:
                time.sleep(AGAIN_S)
                role.start()
            else:
                self.stopped.add(role)

    def progress(self) -> float:
        """How much of the stream stands in the samples log."""
        tps = [(self.place.samples, shard) for shard in range(self.flow.shards)]
        return sum(end for _, end in self.log.bounds(tps).values()) / self.total

    @property
    def total(self) -> int:
        """About how many records the samples log will have: cards give two each, parcels one."""
        return len(self.records) * (2 if self.place.pipeline.partitioned else 1)

    def until(self, share: float) -> None:
        """Wait until so much of the stream stands in the samples log."""
        self.wait(lambda: self.progress() >= share, f"{share:.0%} of the stream were not reached")

    def points(self, count: int) -> list[float]:
        """Seeded shares of the stream, in order."""
        return sorted(self.chance.uniform(0.05, 0.75) for _ in range(count))

    # -- positions ---------------------------------------------------------------------------------------------------------

    def position(self, role: str) -> dict[TP, int]:
        """What the group of a role has committed, of partitions that have something left."""
        tps = (
            self.place.sources()
            if role == "featurize"
            else [(self.place.samples, shard) for shard in range(self.flow.shards)]
        )
        found = self.log.committed(f"{self.place.pipeline.name}.{role}", tps)
        ends = self.log.bounds(tps)
        return {tp: found.get(tp, 0) for tp in tps if found.get(tp, 0) < ends[tp][1]}

    def recovers(
        self,
        role: str,
        before: dict[TP, int],
        began: float,
        unless: Callable[[], bool] = lambda: False,
    ) -> None:
        """Wait until a role's positions have all moved on, and note how long it took since `began` (monotonic).

        `unless` says that it will not: then nothing is noted.
        """
        if not before:
            return

        def moved() -> bool:
            now = self.position(role)
            return all(tp not in now or now[tp] > at for tp, at in before.items())

        self.wait(lambda: unless() or moved(), f"{role} did not go on")
        if moved():
            self.recoveries.append(time.monotonic() - began)

    def kill(self, role: Role) -> None:
        """`kill -9` a worker, begin it again at once, and note how long it takes to go on."""
        role.kill()
        began = time.monotonic()
        self.injected += 1
        role.start()
        if role.role in ("featurize", "learn"):
            self.recovers(role.role, self.position(role.role), began)

    def answers(self, url: str) -> bool:
        """Whether a page answers."""
        with suppress(OSError), urllib.request.urlopen(url, timeout=ANSWER_S) as page:
            return bool(page.status == 200)
        return False

    # -- requests ----------------------------------------------------------------------------------------------------------

    def ask(self, request: str, verb: str) -> None:
        """Ask for something as an outside client does."""
        self.asked[request] = verb
        producer = KafkaProducer(bootstrap_servers=self.servers.bootstrap)
        name = self.place.pipeline.name
        says = {"id": request, "pipeline": name, "verb": verb, "reason": "a test", "by": "a person"}
        producer.send("control.commands", key=name.encode(), value=json.dumps(says).encode()).get(60)
        producer.close()

    def until_carried_out(self, request: str, models: Callable[[], list[Any]]) -> None:
        """Wait until what is told of the model names a request; `models` follows `control.models`."""

        def carried_out() -> bool:
            found = models()
            return bool(found) and f"command-{request}" in found[-1]["applied"]

        self.wait(carried_out, f"{request} was not carried out")

    def following(self, topic: str) -> Callable[[], list[Any]]:
        """What stands in the first partition of a topic about this pipeline, more at each call."""
        tp, name = TopicPartition(topic, 0), self.place.pipeline.name
        consumer = KafkaConsumer(bootstrap_servers=self.servers.bootstrap, enable_auto_commit=False)
        consumer.assign([tp])
        consumer.seek_to_beginning(tp)
        found: list[Any] = []

        def more() -> list[Any]:
            for records in consumer.poll(timeout_ms=20).values():
                read = [json.loads(one.value) for one in records if one.value]
                found.extend(one for one in read if one.get("pipeline") == name)
            return found

        return more

"""One round: a pipeline of its own name, its roles, its producer and readers, and what is done to them.

Laws of this file:
- Faults come at seeded points of progress. A role that ends by itself is begun again, as whatever runs it would do.
- Recovery is counted from the fault until the group's committed offset of every partition that had something left has moved on
  (featurize, learn), the decision on a request asked just then stands (control), or a page answers (serve, console).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from penstock.features.redis.store import connect
from penstock.stream import cli, topology
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import TP, LogError, Out
from penstock.stream.stack.server import Server
from tests.faults.checker import World, check
from tests.faults.counts import Counts
from tests.faults.flows import FLOWS, ROLES
from tests.faults.raw import RawTopics
from tests.faults.readers import DocumentReader, PredictionReader, check_read, check_seen
from tests.faults.reference import OrderedFlow
from tests.faults.servers import Servers
from tests.places import ROOT, Place, Role

STUCK_S = 150.0
MOST_ENDS = 25
AGAIN_S = 0.3
PRODUCED_BEFORE = 0.4  # of a stream whose order does not depend on when it comes


class Stuck(Exception):
    """It did not come to what was waited for."""


class Round:
    """A pipeline that is harmed. `kills` is how often each worker is killed where a fault kills at random."""

    def __init__(
        self,
        servers: Servers,
        valkey: Server | None,
        url: str,
        flow: str,
        records: int,
        seed: int,
        folder: Path,
    ) -> None:
        self.servers, self.valkey, self.url = servers, valkey, url
        self.flow, self.chance, self.kills = FLOWS[flow], random.Random(seed), 3
        self.seed = seed
        self.injected, self.recoveries, self.ends = 0, [], []
        self.recoveries: list[float] = []
        self.ends: list[tuple[str, int, str]] = []
        self.asked: dict[str, str] = {}
        self.recovered = self.patient = False
        self.log = KafkaLog(servers.bootstrap)
        name = f"{flow}-{seed}-{os.getpid()}-{random.randrange(10**9):x}"
        text = self.flow.text.replace("NAME", name)
        client: Any = connect(url)
        self.place = Place(self.log, servers.bootstrap, client, url, folder, text, ROLES)
        self.harms: dict[str, dict[str, Any]] = {}
        self.records = self.flow.stream(records, seed)
        short = {source.name.partition(".")[2]: source.name for source in self.place.pipeline.sources}
        self.records = [one._replace(topic=short[one.topic.partition(".")[2]]) for one in self.records]
        self.stopped: set[Role] = set()
        self.producer: subprocess.Popen[bytes] | None = None
        self.readers: list[Any] = []
        self.urls: dict[str, str] = {}

    # -- its course --------------------------------------------------------------------------------------------------------

    def begin(self, rate: float) -> None:
        """Create the topics, publish, and start roles and readers."""
        place = self.place
        os.environ["KAFKA_BOOTSTRAP_SERVERS"] = self.servers.bootstrap
        given = ["topics", str(place.file), "--create-sources", "--partitions", str(self.flow.partitions)]
        if cli.main(given) != 0:
            raise Stuck("the topics could not be created")
        before = len(self.records)
        if place.pipeline.partitioned:
            before = round(before * PRODUCED_BEFORE)
        if self.publish(self.records[:before], 0.0).wait(STUCK_S) != 0:
            raise Stuck("the producer failed")
        if before < len(self.records):
            self.producer = self.publish(self.records[before:], rate)
        for role, workers in self.flow.workers.items():
            for slot in range(workers):
                self.start(role, slot)
        keys = [f"features:{place.pipeline.name}:{name}" for name in self._some_keys()]
        self.readers = [
            DocumentReader(self.url, place.pipeline.name, keys, self.seed),
            PredictionReader(
                self.servers.bootstrap, topology.predictions(place.pipeline.name), self.flow.shards
            ),
        ]
        for reader in self.readers:
            reader.start()

    def _some_keys(self) -> list[str]:
        """Views and entities, as far as the first records name them by one field."""
        found: dict[str, None] = {}
        for record in self.records[:1_500]:
            with suppress(ValueError, TypeError, AttributeError):
                event = json.loads(record.value or b"")
                for view in self.place.pipeline.views:
                    if view.source.name == record.topic and len(view.key_fields) == 1:
                        found[f"{view.name}:{event.get(view.key_fields[0])}"] = None
        return list(found)

    def publish(self, records: Sequence[Out], rate: float) -> subprocess.Popen[bytes]:
        """Have an outside producer send records."""
        file = self.place.folder / f"stream-{self.chance.randrange(10**9)}"
        file.write_bytes(msgspec.msgpack.encode([(one.topic, one.key, one.value) for one in records]))
        line = [sys.executable, "-m", "tests.faults.produce", self.servers.bootstrap, str(file), str(rate)]
        return subprocess.Popen(line, cwd=ROOT)

    def start(self, role: str, slot: int, more: Sequence[str] = ()) -> Role:
        """Start a role, harmed as was asked for it."""
        harm = self.harms.get(role, self.harms.get(f"{role}-{slot}"))
        env = {} if harm is None else {"PENSTOCK_TEST_HARM": json.dumps(harm)}
        return self.place.role(role, slot, env, more)

    def of(self, role: str) -> list[Role]:
        """The workers of a role."""
        return [one for one in self.place.roles if one.role == role]

    def finish(self) -> None:
        """Wait until everything is worked off and told, and stop the roles."""
        self.wait(
            lambda: self.producer is None or self.producer.poll() is not None, "the producer did not end"
        )
        self.wait(
            lambda: self.place.committed_all("featurize", self.place.sources()), "featurize did not end"
        )
        self.stop("featurize")
        self.wait(self.told, "learn did not come to the end")
        for role in ("control", "learn", "serve", "console"):
            self.stop(role)

    def told(self) -> bool:
        """Whether the documents of all models are of the end of their logs."""
        name = self.place.pipeline.name
        ends = self.log.bounds([(self.place.samples, shard) for shard in range(self.flow.shards)])
        for (_, shard), (_, end) in ends.items():
            stored: Any = self.place.client.get(
                f"model:{name}" if len(ends) == 1 else f"model:{name}.{shard}"
            )
            if stored is None or json.loads(stored)["position"] != end:
                return False
        return True

    def stop(self, name: str) -> None:
        """Tell all workers of a role to end."""
        for role in self.of(name):
            self.stopped.add(role)
            if role.process is not None and role.process.poll() is None:
                role.process.terminate()
                try:
                    code = role.process.wait(60)
                except subprocess.TimeoutExpired:
                    raise Stuck(f"{role.role} did not end when it was told to:\n{role.said()}") from None
                if code != 0:
                    self.ends.append((role.role, code, role.said().splitlines()[-1]))

    def check(self) -> Counts:
        """What is wrong at the end, and what was on the way."""
        for reader in self.readers:
            reader.stop()
        client: redis.Redis = self.place.client
        raw = RawTopics(self.servers.bootstrap)
        world = World(
            self.place.pipeline,
            raw,
            client.get,  # type: ignore[arg-type]
            lambda prefix: (key.decode() for key in client.scan_iter(match=f"{prefix}*", count=5_000)),
            self.asked,
            self.recovered,
        )
        flow = OrderedFlow(world.pipeline, raw)
        counts = check(world, flow)
        if self.readers:
            check_seen(world, flow, self.readers[0].seen, counts)
            check_read(world, self.readers[1], counts)
        return counts

    def close(self) -> None:
        """End everything that was started."""
        for reader in self.readers:
            reader.over.set()
        if self.producer is not None and self.producer.poll() is None:
            self.producer.kill()
            self.producer.wait()
        for role in self.place.roles:
            role.end()
        self.log.close()

    # -- waiting -----------------------------------------------------------------------------------------------------------

    def wait(self, done: Callable[[], bool], what: str, patience_s: float = STUCK_S) -> float:
        """Wait for something while roles that end are begun again; the seconds it took."""
        began = time.monotonic()
        while True:
            with suppress(LogError, redis.RedisError):
                if done():
                    return time.monotonic() - began
            self.tend()
            if time.monotonic() - began > patience_s:
                said = "\n".join(role.said()[-1_200:] for role in self.place.roles)
                raise Stuck(f"{what} within {patience_s:.0f} s\n{said}")
            time.sleep(0.01)

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

    def recovers(self, role: str, before: dict[TP, int], began: float) -> None:
        """Wait until a role's positions have all moved on, and note how long it took since `began` (monotonic)."""
        if not before:
            return

        def moved() -> bool:
            now = self.position(role)
            return all(tp not in now or now[tp] > at for tp, at in before.items())

        self.wait(moved, f"{role} did not go on")
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
        with suppress(OSError), urllib.request.urlopen(url, timeout=5) as page:
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

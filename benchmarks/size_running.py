"""What `benchmarks.size` runs: servers, a producer, and roles whose CPU is read from outside.

Laws of this file:
- CPU is that of whole processes, by the kernel's clock of each: it is the same whoever else uses the machine, but for caches and
  hyper-threads that are shared. What a process takes each second whether it has work or not (`IDLE_CORES`) is taken off what its
  work took, or the same work would cost more where others slow it down.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from kafka import KafkaAdminClient

from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.demo.processes import Role
from penstock.stream.log import kafka_python
from penstock.stream.log.admin import ensure
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.process.settings import Settings, child_environment
from penstock.stream.sizing.constants import IDLE_CORES
from penstock.stream.stack import Stack

ROOT = Path(__file__).parents[1]
WARM_S, KEPT_S = 5.0, 12.0
STEP_S = 0.002
PARTITIONS = 4
ROLES = ("featurize", "learn")
Made = Iterator[tuple[str, str | None, dict[str, Any]]]
"""Topic, key and fields of events, in the order of their times."""


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and all its threads, to the microsecond (Linux: the kernel's clock of another process)."""
    return time.clock_gettime((~pid << 3) | 2)


def resident_mib(pid: int) -> float:
    """Its memory now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


class Running:
    """The servers, the producer and the roles of one point."""

    def __init__(self, definition: Path, made: Callable[[], Made], stack: Stack, folder: Path) -> None:
        assert stack.kafka is not None
        self.definition, self.pipeline, self.stack, self.folder = definition, load(definition), stack, folder
        settings = Settings.from_env(
            {"KAFKA_BOOTSTRAP_SERVERS": stack.kafka, "REDIS_URL": stack.redis_url, "PENSTOCK_SECRET": "bench"}
        )
        sources = [topology.Topic(one.name, PARTITIONS, {}, "events") for one in self.pipeline.sources]
        with kafka_python.client(KafkaAdminClient, settings) as admin:
            ensure(admin, [*topology.owned(self.pipeline.name), *sources])
        self.environment = {**child_environment(settings), "PYTHONPATH": str(ROOT)}
        self.log = KafkaLog(stack.kafka)
        self.made = made()

    @contextmanager
    def producer(self) -> Iterator[Producer]:
        """What sends events."""
        made = Producer(
            {"bootstrap.servers": self.stack.kafka, "linger.ms": 1, "partitioner": "murmur2_random"}
        )
        try:
            yield made
        finally:
            made.flush(60)
            made.close()

    def send(self, producer: Producer) -> bool:
        """Send the next event; whether it is one that is to be predicted."""
        topic, key, fields = next(self.made)
        while True:
            try:
                producer.produce(topic, json.dumps(fields).encode(), key and key.encode())
                break
            except BufferError:
                producer.poll(0.1)
        return topic == self.pipeline.predict.name

    @contextmanager
    def role(self, name: str) -> Iterator[Role]:
        """A role, ready."""
        made = Role(name, str(self.definition), self.environment, self.folder)
        try:
            made.wait_ready(120.0)
            yield made
        finally:
            made.stop()

    def cpu(self, *roles: Role) -> dict[str, float]:
        """CPU seconds so far, of roles and servers."""
        found = {role.name: cpu_s(role.child.pid) for role in roles}
        return found | {name: cpu_s(server.pid) for name, server in self.stack.servers.items()}

    def ends(self, *topics: str) -> int:
        """How many records stand in these topics."""
        tps = [(topic, part) for topic in topics for part in range(self.log.partitions(topic))]
        return sum(end for _, end in self.log.bounds(tps).values())

    # -- a log that is there -----------------------------------------------------------------------------------------------

    def catching_up(self, events: int) -> dict[str, Any]:
        """CPU of each process, microseconds for each predicted event, and memory."""
        with self.producer() as producer:
            asked = 0
            while asked < events:
                asked += self.send(producer)
        sources = [one.name for one in self.pipeline.sources]
        featurize, mib = self._caught_up("featurize", self.ends(*sources))
        learn, more = self._caught_up("learn", self.ends(topology.samples(self.pipeline.name)))
        us = {
            name: 1e6 * (featurize.get(name, 0.0) + learn.get(name, 0.0)) / asked
            for name in (*ROLES, *self.stack.servers)
        }
        return {"us_per_event": us, "mib": {"featurize": mib, "learn": more}}

    def _caught_up(self, name: str, records: int) -> tuple[dict[str, float], float]:
        """CPU seconds for all the records, from those after the first fifth; and memory in the end."""
        before: dict[str, float] = {}
        since = began_s = 0.0
        with self.role(name) as role:
            while (read := read_by(role.page())) < records:
                if not before and read >= records / 5:
                    before, since, began_s = self.cpu(role), read, time.perf_counter()
                time.sleep(0.02)
                role.check()
            after, took_s = self.cpu(role), time.perf_counter() - began_s
            share = (records - since) / records
            worked = {one: after[one] - before[one] - IDLE_CORES[one] * took_s for one in after}
            return {one: used / share for one, used in worked.items()}, resident_mib(role.child.pid)

    # -- a rate that is kept -----------------------------------------------------------------------------------------------

    def keep(self, producer: Producer, rate: float, seconds: float) -> int:
        """Produce at a rate for so long: how many events to predict."""
        began, asked = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            while asked < passed * rate:
                asked += self.send(producer)
            producer.poll(0)
            time.sleep(STEP_S)
        return asked

    def at_rate(self, rate: float) -> dict[str, Any]:
        """Cores that each process takes at a rate, and memory of each role in the end."""
        with ExitStack() as ending, self.producer() as producer:
            roles = [ending.enter_context(self.role(name)) for name in (*ROLES, "control", "serve")]
            self.keep(producer, rate, WARM_S)
            before, began = self.cpu(*roles), time.perf_counter()
            asked = self.keep(producer, rate, KEPT_S)
            took, after = time.perf_counter() - began, self.cpu(*roles)
            mib = {role.name: resident_mib(role.child.pid) for role in roles}
        cores = {name: (after[name] - before[name]) / took for name in after}
        return {"cores": cores, "events_per_s": asked / took, "mib": mib}


def read_by(page: str) -> float:
    """How many records a role has worked on, by its metrics page."""
    return sum(map(float, re.findall(r"^penstock_records_total\{[^}]*\} (\S+)$", page, re.MULTILINE)))

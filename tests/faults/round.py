"""One round: a pipeline of its own name, its roles, its producer and readers, from the first record to what the checker says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO
from typing import Any

import msgspec
import redis

from penstock.stream import cli, topology
from penstock.stream.log.protocol import Out
from tests.faults.checker import World, check
from tests.faults.counts import Counts
from tests.faults.raw import RawTopics
from tests.faults.readers import DocumentReader, PredictionReader, check_read, check_seen
from tests.faults.reference import OrderedFlow
from tests.faults.running import STUCK_S, Running, Stuck
from tests.places import ROOT, Role

PRODUCED_BEFORE = 0.4  # of a stream whose order does not depend on when it comes


class Round(Running):
    """A round from its beginning to its end."""

    def begin(self, rate: float) -> None:
        """Create the topics, publish, and start roles and readers."""
        place = self.place
        os.environ["KAFKA_BOOTSTRAP_SERVERS"] = self.servers.bootstrap
        given = ["topics", str(place.file), "--create-sources", "--partitions", str(self.flow.partitions)]
        with redirect_stdout(StringIO()):
            made = cli.main(given)
        if made != 0:
            raise Stuck("the topics could not be created")
        before = len(self.records)
        if place.pipeline.partitioned:
            before = round(before * PRODUCED_BEFORE)
        if self.publish(self.records[:before], 0.0).wait(STUCK_S) != 0:
            raise Stuck("the producer failed")
        if before < len(self.records):
            self.producer = self.publish(self.records[before:], rate)
        for role, workers in self.workers.items():
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
                    code = role.process.wait(STUCK_S)
                except subprocess.TimeoutExpired:
                    raise Stuck(f"{role.role} did not end when it was told to:\n{role.said()}") from None
                if code not in (0, -signal.SIGTERM):  # told while it was beginning, it just ends
                    self.ends.append((role.role, code, role.said().splitlines()[-1]))

    def world(self) -> World:
        """What the checker looks at."""
        client: redis.Redis = self.place.client
        return World(
            self.place.pipeline,
            RawTopics(self.servers.bootstrap),
            client.get,  # type: ignore[arg-type]
            lambda prefix: (key.decode() for key in client.scan_iter(match=f"{prefix}*", count=5_000)),
            self.asked,
            self.recovered,
        )

    def check(self) -> Counts:
        """What is wrong at the end, and what was on the way."""
        for reader in self.readers:
            reader.stop()
        world = self.world()
        flow = OrderedFlow(world.pipeline, world.raw)
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
        if self.proxy is not None:
            self.proxy.close()
        self.log.close()

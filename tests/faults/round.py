"""One round: a pipeline of its own name, its roles, its producer and readers, from the first record to what the checker says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from penstock.features.redis.store import connect
from penstock.stream import cli, topology
from penstock.stream.definition_file import load
from penstock.stream.log.protocol import Out
from tests.faults.checker import World, check
from tests.faults.counts import Counts
from tests.faults.raw import RawTopics
from tests.faults.readers import DocumentReader, PredictionReader, Read, check_read, check_seen
from tests.faults.reference import OrderedFlow
from tests.faults.running import LOOK_S, STUCK_S, Running, Stuck
from tests.places import ROOT, Role

PRODUCED_BEFORE = 0.4  # of a stream whose order does not depend on when it comes


class Left(NamedTuple):
    """What a round leaves to the checker, in whatever process that is: where to look, and what was asked for and read on
    the way.
    """

    file: Path
    bootstrap: str
    url: str
    asked: dict[str, str]
    recovered: bool
    documents: dict[str, list[bytes]]
    predictions: Read


def judged(left: Left) -> Counts:
    """What is wrong at the end, and what was on the way."""
    client: Any = connect(left.url)
    world = World(
        load(left.file),
        RawTopics(left.bootstrap),
        client.get,
        lambda prefix: (key.decode() for key in client.scan_iter(match=f"{prefix}*", count=5_000)),
        left.asked,
        left.recovered,
    )
    flow = OrderedFlow(world.pipeline, world.raw)
    counts = check(world, flow)
    check_seen(world, flow, left.documents, counts)
    check_read(world, left.predictions, counts)
    client.close()
    if counts.bad:
        counts.notes.insert(0, f"the topics are kept in {kept(world)}")
    return counts


def kept(world: World) -> Path:
    """Write down what the topics of a round hold, for whoever looks for the reason: their servers will be gone."""
    folder = ROOT / "build" / "faults" / world.name
    folder.mkdir(parents=True, exist_ok=True)
    sources = [source.name for source in world.pipeline.sources]
    for topic in (*sources, f"{world.name}.samples", f"{world.name}.predictions"):
        for partition, records in enumerate(world.raw.whole(topic)):
            rows = [(one.offset, one.timestamp_ms, one.key, one.value) for one in records]
            (folder / f"{topic}-{partition}.msgpack").write_bytes(msgspec.msgpack.encode(rows))
    return folder


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
        if before < len(self.records):
            self.until_begun()
            self.producer = self.publish(self.records[before:], rate)

    def until_begun(self) -> None:
        """Wait until something was read: roles that begin slowly would work off in a few batches what is to come bit by bit.

        Nobody is begun again meanwhile: who was to end early has time to.
        """
        ends_s = time.monotonic() + STUCK_S
        while not self.progress() and time.monotonic() < ends_s:
            time.sleep(LOOK_S)

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
        self.wait(self.place.rebuilt, "featurize did not rebuild its state")
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
                    raise Stuck(f"{role.role} did not end when it was told to:\n{self.stacks()}") from None
                if code not in (0, -signal.SIGTERM):  # told while it was beginning, it just ends
                    self.ends.append((role.role, code, role.said().splitlines()[-1]))

    def left(self) -> Left:
        """What there is for the checker."""
        for reader in self.readers:
            reader.stop()
        documents, predictions = self.readers
        return Left(
            self.place.file,
            self.servers.bootstrap,
            self.url,
            self.asked,
            self.recovered,
            documents.seen,
            predictions.read,
        )

    def end(self) -> None:
        """End everything that runs."""
        for reader in self.readers:
            reader.over.set()
        if self.producer is not None and self.producer.poll() is None:
            self.producer.kill()
            self.producer.wait()
        for role in self.place.roles:
            role.end()

    def close(self) -> None:
        """End it, and take away what it made."""
        self.end()
        if self.proxy is not None:
            self.proxy.close()
        self.opened.close()
        self.log.close()
        with suppress(KafkaError):  # whatever comes next has the disk for itself
            admin = KafkaAdminClient(bootstrap_servers=self.servers.bootstrap)
            begin = f"{self.place.pipeline.name}."
            admin.delete_topics([name for name in admin.list_topics() if name.startswith(begin)])
            admin.close()

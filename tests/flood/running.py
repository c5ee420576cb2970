"""A flood on a real broker and a real Valkey: what roles make of it, how fast, and in how much memory.

Laws of this file:
- All is published before roles start, so they work as fast as they can, and what stands in the topic is the stream.
- No role is begun again: one that ends by itself is what this looks for.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from penstock.features.redis.store import connect
from penstock.stream import cli
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import TP, Record
from tests.faults.flows import ONE_MODEL
from tests.faults.raw import RawTopics
from tests.flood.flow import GoodOnes, definition
from tests.flood.judge import Found, judge
from tests.flood.stream import PARTITIONS
from tests.patience import PATIENCE_S
from tests.places import ROOT, Place, Role

SHARES = (0.1, 0.5, 1.0)
EVERY_S = 0.1


class Ended(Exception):
    """A role ended by itself, or does not go on."""


@dataclass
class Run:
    """What was measured of a run: when each role had worked off `SHARES` of the stream, and in how many MB of memory."""

    records: int
    at_s: dict[str, list[float]] = field(default_factory=dict)
    rss_mb: dict[str, list[float]] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)

    def per_s(self, role: str) -> float:
        """Records of the stream a second, without the start: from the first share to the last."""
        first, *_, last = self.at_s[role]
        return self.records * (SHARES[-1] - SHARES[0]) / max(last - first, 1e-9)


class Flood:
    """One flooded pipeline from its first record to what is wrong at the end."""

    def __init__(
        self,
        bootstrap: str,
        url: str,
        folder: Path,
        records: int,
        bad: int,
        seed: int,
        form: str = "json",
        registry_url: str = "",
    ) -> None:
        self.bootstrap, self.records, self.bad, self.seed, self.form = bootstrap, records, bad, seed, form
        self.log = KafkaLog(bootstrap)
        self.name = f"flood-{seed}-{os.getpid()}-{time.time_ns():x}"
        client: Any = connect(url)
        self.place = Place(self.log, bootstrap, client, url, folder, definition(self.name, form), ONE_MODEL)
        # Days of event time come within minutes: whoever keeps abreast of another worker would wait for it most of the time.
        self.place.env["PENSTOCK_FEATURIZE_SKEW_S"] = "0"
        if form != "json":
            self.place.env["PENSTOCK_SCHEMA_REGISTRY_URL"] = registry_url
        self.topic = self.place.pipeline.predict.name
        self.run = Run(records)

    def publish(self) -> None:
        """Create the topics and send everything."""
        os.environ["KAFKA_BOOTSTRAP_SERVERS"] = self.bootstrap
        given = ["topics", str(self.place.file), "--create-sources", "--partitions", str(PARTITIONS)]
        with redirect_stdout(StringIO()):
            made = cli.main(given)
        if made != 0:
            raise Ended("the topics could not be created")
        numbers = (self.records, self.bad, self.seed, time.time_ns() // 1_000_000)
        line = [
            sys.executable,
            "-m",
            "tests.flood.produce",
            self.bootstrap,
            self.topic,
            *map(str, numbers),
            self.form,
        ]
        subprocess.run(line, cwd=ROOT, check=True)

    def work_off(self, featurizers: int = 2) -> None:
        """Start featurize and learn, and measure them until nothing is left."""
        began = time.monotonic()
        first = [self.place.role("featurize", slot) for slot in range(featurizers)]
        last = self.place.role("learn")
        sources, samples = self.place.sources(), [(self.place.samples, 0)]
        shares = {"featurize": [*SHARES], "learn": [*SHARES]}
        moved, done_before = time.monotonic(), -1
        while shares["learn"]:
            time.sleep(EVERY_S)
            working = [*first, last] if shares["featurize"] else [last]
            self._weigh(working)
            done = self._done("featurize", sources)
            learned = self._done("learn", samples)
            # until featurize is over the samples log grows, and nobody has learned all of it
            for_learn = self.records * 9 // 5 if shares["featurize"] else self._end(samples)
            for role, here, end in (("featurize", done, self.records), ("learn", learned, for_learn)):
                while shares[role] and here >= end * shares[role][0]:
                    if role == "learn" and shares["featurize"] and shares[role][0] == 1.0:
                        break
                    self._note(role, working, shares[role].pop(0), began)
                    if role == "featurize" and not shares[role]:
                        self._stop(first)
            if done + learned > done_before:
                moved, done_before = time.monotonic(), done + learned
            elif time.monotonic() - moved > PATIENCE_S:
                raise Ended("nothing moves any more:\n" + "\n".join(role.said() for role in working))
        self._stop([last])

    def _done(self, role: str, tps: list[TP]) -> int:
        return sum(self.log.committed(f"{self.name}.{role}", tps).values())

    def _end(self, tps: list[TP]) -> int:
        return sum(high for _, high in self.log.bounds(tps).values())

    def _stop(self, roles: list[Role]) -> None:
        for role in roles:
            if (code := role.stop()) != 0:
                raise Ended(f"{role.role} ended with {code} when it was told to: {role.said()}")

    def _note(self, name: str, roles: list[Role], share: float, began: float) -> None:
        for role in roles:
            if role.role == name:
                slot = f"{name} {role.slot}"
                self.run.rss_mb.setdefault(slot, []).append(_memory(role, "VmRSS"))
        self.run.at_s.setdefault(name, []).append(time.monotonic() - began)

    def _weigh(self, roles: list[Role]) -> None:
        for role in roles:
            if role.process is None or role.process.poll() is not None:
                raise Ended(f"{role.role} ended by itself: {role.said()}")
            self.run.peak_mb[f"{role.role} {role.slot}"] = _memory(role, "VmHWM")

    def found(self, *, letters_too: bool) -> Found:
        """What is wrong at the end; with `letters_too` each dead letter is held against the bytes that were sent."""
        raw = RawTopics(self.bootstrap)
        flow = GoodOnes(self.place.pipeline, raw)
        sent = self._sent(raw, flow) if letters_too else None
        return judge(
            flow,
            self.name,
            lambda topic: _all(raw, topic),
            raw.topic_id(self.topic),
            self.place.client.get,  # type: ignore[arg-type]
            sent,
        )

    def _sent(self, raw: RawTopics, flow: GoodOnes) -> Any:
        """The bad records by their places."""
        kept = {
            (one.topic, one.partition, one.offset): one
            for one in _all(raw, self.topic)
            if (one.topic, one.partition, one.offset) in flow.dead
        }
        return lambda place: kept[place]

    def close(self) -> None:
        """End everything that was started."""
        for role in self.place.roles:
            role.end()
        self.log.close()


def _all(raw: RawTopics, topic: str) -> Iterator[Record]:
    """Every record of a topic, none of which is kept."""
    tps = [(topic, partition) for partition in range(raw.partitions(topic))]
    bounds = raw.bounds(tps)
    reader = raw.reader({tp: low for tp, (low, _) in bounds.items()})
    left = {tp for tp, (low, high) in bounds.items() if low < high}
    deadline = time.monotonic() + PATIENCE_S * 10
    while left:
        assert time.monotonic() < deadline, f"{topic} was not read to its end"
        for record in reader.poll(10_000, 1.0):
            if record.offset < bounds[record.topic, record.partition][1]:
                yield record
        left = {tp for tp in left if reader.position(tp) < bounds[tp][1]}
    reader.close()


def _memory(role: Role, name: str) -> float:
    assert role.process is not None
    for line in Path(f"/proc/{role.process.pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    return 0.0

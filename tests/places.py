"""A pipeline's place on a real broker and a real Valkey, with its roles as processes: for tests that kill, stop and rob them.

Laws of this file: moments of harm are seeded points of progress, not of time; every process is ended by whoever started it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

from penstock.features.redis.keys import position_key
from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.position import decode_position
from penstock.stream.learn.replay import replay
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.protocol import TP, Out
from tests.patience import PATIENCE_S, eventually
from tests.stream.naive_flow import NaiveFlow

ROOT = Path(__file__).parent.parent

# Small batches and quick snapshots: a definition file is Python that runs in every role, so a test can ask for them here.
SMALL = """
from penstock.stream.featurize import worker as featurize_worker
from penstock.stream.learn import worker as learn_worker
featurize_worker.BATCH_RECORDS = 100
learn_worker.BATCH_RECORDS, learn_worker.SNAPSHOT_EVERY_MS = 100, 300
"""

PARCELS = """
from river import linear_model, preprocessing
from penstock import View, count, last, mean, since_last
from penstock import Label, Pipeline, Source
sent = Source("NAME.sent", id="parcel", time="sent_at", key="van")
delivered = Source("NAME.delivered", id="parcel", time="done_at", key="van")
pipeline = Pipeline(
    "NAME",
    views=[
        View("depot", delivered, key="depot", features=dict(late_3h=mean("late", "3h"), done_1h=count("1h"))),
        View("street", delivered, key=("depot", "street"), features=dict(late=last("late"), idle=since_last())),
        View("traffic", sent, key="depot", features=dict(sent_1h=count("1h"), idle=since_last())),
    ],
    predict=sent,
    inputs=["weight"],
    label=Label(delivered, lambda e: e["late"] > 15, wait="6h", fields=("late",)),
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
)
"""

CARDS = """
from river import linear_model, preprocessing
from penstock import View, count, mean
from penstock import Label, Pipeline, Source
paid = Source("NAME.paid", id="payment", time="paid_at", key="card")
pipeline = Pipeline(
    "NAME",
    views=[View("card", paid, key="card", features=dict(paid_1h=count("1h"), mean_1d=mean("amount", "1d")))],
    predict=paid,
    inputs=["amount"],
    label=Label(paid, lambda e: e["fraud"], wait="1h", fields=("fraud",)),
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
)
"""


class Role:
    """One `penstock run` process, started again and again under the same slot, with an environment and arguments of its own."""

    def __init__(
        self,
        place: Place,
        role: str,
        slot: int = 0,
        env: Mapping[str, str] | None = None,
        more: Sequence[str] = (),
    ) -> None:
        self.place, self.role, self.slot = place, role, slot
        self.env, self.more = dict(env or {}), more
        self.process: subprocess.Popen[bytes] | None = None
        self.output = place.folder / f"{role}-{slot}.log"

    def start(self) -> Role:
        line = [
            "-m",
            "penstock.stream.cli",
            "run",
            str(self.place.file),
            "--role",
            self.role,
            "--slot",
            str(self.slot),
            *self.more,
        ]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *line], env={**self.place.env, **self.env}, stdout=output, stderr=output
            )
        return self

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """`kill -9`, whatever it is doing."""
        assert self.process is not None and self.process.poll() is None, self.said()
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None and self.process.poll() is None, self.said()
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_S)

    def said(self) -> str:
        return f"{self.role}-{self.slot}: " + self.output.read_text()[-3000:]


class Place:
    """A pipeline of its own name on the shared broker, its stream, and its roles."""

    def __init__(
        self,
        log: KafkaLog,
        bootstrap: str,
        client: redis.Redis,
        url: str,
        folder: Path,
        text: str,
        asks: str = SMALL,
    ) -> None:
        self.log, self.client, self.folder = log, client, folder
        self.file = folder / "definition.py"
        self.file.write_text(text + asks)
        self.pipeline: Pipeline = load(self.file)
        self.env = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "REDIS_URL": url,
            "PENSTOCK_SECRET": "only here",
            "PYTHONPATH": str(ROOT),
        }
        self.samples = topology.samples(self.pipeline.name)
        self.roles: list[Role] = []

    def role(
        self, role: str, slot: int = 0, env: Mapping[str, str] | None = None, more: Sequence[str] = ()
    ) -> Role:
        self.roles.append(Role(self, role, slot, env, more).start())
        return self.roles[-1]

    def produce(self, records: list[Out], seed: int) -> None:
        """Append the stream, with a broken record after about every fiftieth."""
        chance = random.Random(seed)
        mixed: list[Out] = []
        for record in records:
            mixed.append(record)
            if chance.random() < 0.02:
                broken = chance.choice(
                    [b"", b"\xff", b"[1]", None, (record.value or b"").replace(b"17", b"99"), b'{"van": "v"}']
                )
                mixed.append(record._replace(value=broken))
        self.log.append(mixed)

    def end_of(self, topic: str) -> int:
        return self.log.bounds([(topic, 0)])[(topic, 0)][1]

    def until(self, done: Callable[[], bool], what: str) -> None:
        ended = self.ended()  # a role that ends meanwhile will not do it
        reached = False

        def looked() -> bool:  # once reached is enough: a tick may lengthen a topic a moment later
            nonlocal reached
            reached = done()
            return reached or self.ended() != ended

        eventually(looked)
        assert reached, what + "\n" + "\n".join(role.said() for role in self.roles)

    def ended(self) -> list[Role]:
        return [role for role in self.roles if role.process is not None and role.process.poll() is not None]

    def until_progress(self, topic: str, offset: int) -> None:
        self.until(lambda: self.end_of(topic) >= offset, f"{topic} did not reach {offset}")

    def committed_all(self, role: str, tps: list[TP]) -> bool:
        committed = self.log.committed(f"{self.pipeline.name}.{role}", tps)
        return all(committed.get(tp, 0) >= end for tp, (_, end) in self.log.bounds(tps).items())

    def rebuilt(self) -> bool:
        """Whether states are of the end of the sources: while what was emitted is read again, nothing is committed."""
        name, partitions = self.pipeline.name, self.log.partitions(self.pipeline.predict.name)
        reached: dict[str, int] = {}
        for task in map(str, range(partitions)) if self.pipeline.partitioned else ["all"]:
            stored: Any = self.client.get(position_key(name, task))
            if stored is None:
                return False
            reached |= {place: found[0] for place, found in decode_position(stored).positions.items()}
        ends = self.log.bounds(self.sources())
        return all(reached.get(f"{topic}/{n}", -1) >= end for (topic, n), (_, end) in ends.items())

    def sources(self) -> list[TP]:
        partitions = self.log.partitions(self.pipeline.predict.name)
        return [
            (source.name, partition) for source in self.pipeline.sources for partition in range(partitions)
        ]

    def live(self) -> dict[str, Any]:
        """What the newest snapshot says of the live model."""
        found: dict[str, Any] = json.loads(self.client.get(f"model:{self.pipeline.name}") or b"{}")
        return found

    def check(self) -> None:
        """Everything in the log and in Redis against the naive flow, the model against a fold of the log."""
        naive = NaiveFlow(self.pipeline, self.log)
        assert (wrong := naive.wrong_samples(self.log, self.samples)) == [], wrong[:9]
        assert (wrong := naive.wrong_documents(self.client.get)) == [], wrong[:9]
        assert naive.wrong_dead_letters(self.log, topology.dead_letters(self.pipeline.name)) == set()
        assert len(naive.dead) > 20
        live = self.live()
        again = replay(self.pipeline, self.log, self.samples, stop=live["position"])
        assert live["digest"] == again.digest()
        # Who loses the task while it stops leaves an older snapshot: the log has all, and the next one reads on from there.
        whole = replay(self.pipeline, self.log, self.samples)
        assert (whole.counts.samples, whole.counts.joined) == (len(naive.samples), naive.joined()), (
            whole.counts
        )


def harm(place: Place, topic: str, total: int, seed: int, deeds: list[Callable[[], object]]) -> None:
    """Do each deed at a seeded point of a topic's growth to `total`, in order."""
    chance = random.Random(seed)
    for at, deed in zip(
        sorted(chance.sample(range(total // 20, total * 4 // 5), len(deeds))), deeds, strict=True
    ):
        place.until_progress(topic, at)
        deed()


def again(role: Role) -> Callable[[], object]:
    def deed() -> None:
        role.kill()
        role.start()

    return deed

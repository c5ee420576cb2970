"""Each of the five triggers starts a retrain on a real broker: outside producers, the flow on Kafka and Redis, the Faust app."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from kafka import KafkaAdminClient, KafkaProducer

from penstock.features.redis.store import connect
from penstock.stream import cli, topology
from penstock.stream.definition_file import load
from penstock.stream.learn.replay import replay
from penstock.stream.log.admin import ensure
from penstock.stream.log.kafka import KafkaLog
from penstock.stream.log.kafka_python import client
from penstock.stream.messages import Command, ControlEvent, Decision, LiveModel, decode_entry, encode_json
from penstock.stream.process.settings import Settings
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.topology import Topic
from tests.patience import PATIENCE_S
from tests.stream.generated import DAY, MINUTE, START_MS
from tests.stream.naive_flow import everything

ROOT = Path(__file__).parents[2]
DEFINITION = """
from river import linear_model, preprocessing
from penstock import Label, OnInputs, OnLabels, OnPerformance, OnSchedule, Pipeline, Source
read = Source("{0}.read", id="reading", time="at", key="pump")
pipeline = Pipeline(
    "pumps",
    views=[],
    predict=read,
    inputs=["flow", "heat"],
    label=Label(read, lambda e: e["failed"], wait="1h", fields=("failed",)),
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    guard=False,
    retrain=[
        OnSchedule("7d", window="3d"),
        OnLabels(1_000),
        OnPerformance(),
        OnInputs(),
    ],
)
"""
CONTROL = """
import sys
from penstock.stream.control import role
from penstock.stream.definition_file import load
from penstock.stream.process.settings import Settings
role.run(load(sys.argv[3]), Settings(bootstrap=sys.argv[1], prefix=sys.argv[2]))
"""
A_DAY = 360
MOVED, LOST, GAP = 13 * A_DAY, 16 * A_DAY, 22 * A_DAY
COUNTED_ANEW = LOST + 9 * A_DAY // 2
"""Later than a thousand labels after `LOST`, and less than a thousand readings before the end."""
ASKS = {"retrain", "rollback", "promote"}


def readings(name: str, start: int, stop: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """A reading every four minutes. `heat` moves and says nothing; then no input says anything; then twenty days without any."""
    for number in range(start, stop):
        chance = random.Random(number)
        flow, heat = chance.gauss(0.0, 1.0), chance.gauss(4.0 if number >= MOVED else 0.0, 1.0)
        p = 0.5 if number >= LOST else 1 / (1 + math.exp(-3.0 * flow))
        at = START_MS + number * 4 * MINUTE + (20 * DAY if number >= GAP else 0)
        event = {
            "reading": f"r{number}",
            "pump": f"p{number % 7}",
            "at": at,
            "flow": flow,
            "heat": heat,
            "failed": chance.random() < p,
        }
        yield f"{name}.read", event["pump"], event


class Nobody:
    """In the place of the flow's own control: the Faust app runs beside it."""

    def process_batch(self, timeout_s: float) -> int:
        return 0

    def close(self) -> None: ...


class Place:
    """A pipeline's flow on Kafka, and its Faust app in a process of its own."""

    def __init__(self, bootstrap: str, valkey_url: str, name: str, folder: Path) -> None:
        self.name, self.file, self.notes = name, folder / "definition.py", folder / "notes"
        self.file.write_text(DEFINITION.format(name))
        self.settings = Settings(bootstrap=bootstrap, prefix=name + ".")
        self.pipeline = load(self.file)
        with client(KafkaAdminClient, self.settings) as admin:
            sources = [Topic(f"{name}.read", 2, {"message.timestamp.type": "LogAppendTime"}, "events")]
            ensure(admin, [*sources, *topology.owned("pumps", self.settings.prefix)])
        self.log = KafkaLog(bootstrap)
        self.flow = MemoryFlow(
            self.pipeline,
            client=connect(valkey_url),
            log=self.log,
            prefix=self.settings.prefix,  # type: ignore[arg-type]
        )
        self.flow.control.close()
        self.flow.control = Nobody()  # type: ignore[assignment]
        self.producer = KafkaProducer(bootstrap_servers=bootstrap)
        with self.notes.open("ab") as notes:
            self.control = subprocess.Popen(
                [sys.executable, "-c", CONTROL, bootstrap, self.settings.prefix, str(self.file)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=notes,
            )

    def publish(self, start: int, stop: int) -> None:
        for topic, key, event in readings(self.name, start, stop):
            self.producer.send(topic, key=key.encode(), value=json.dumps(event).encode())
        self.producer.flush(PATIENCE_S)

    def values(self, topic: str, of: Any) -> list[Any]:
        records = everything(self.log, self.settings.prefix + topic)  # type: ignore[arg-type]
        return [msgspec.json.decode(record.value or b"", type=of) for record in records]

    def asked(self) -> list[ControlEvent]:
        """The retrains that something asked for."""
        found = self.values(topology.CONTROL_RETRAIN, ControlEvent)
        return [event for event in found if event.data.suggested_action == "retrain"]

    def told(self, kind: str) -> list[ControlEvent]:
        return [
            event for event in self.values(topology.CONTROL_RETRAIN, ControlEvent) if event.data.kind == kind
        ]

    def decisions(self) -> dict[str, Decision]:
        return {one.request: one for one in self.values(topology.CONTROL_DECISIONS, Decision)}

    def commands(self) -> list[Command]:
        """The commands in the samples log."""
        records = everything(self.log, topology.samples("pumps", self.settings.prefix))  # type: ignore[arg-type]
        found = [decode_entry(record.value or b"") for record in records]
        return [one for one in found if isinstance(one, Command)]

    def demand(self, *more: str) -> int:
        """A person asks for a retrain, and waits until its product takes part; the exit code."""
        code: list[int] = []
        order = ["retrain", "pumps", *more, "--wait", str(PATIENCE_S)]
        person = threading.Thread(target=lambda: code.append(cli.main(order)))
        person.start()
        self.turn_until(lambda: not person.is_alive() and self.answered(), "the person's retrain")
        return code[0]

    def answered(self) -> bool:
        """Whether everything asked for is decided on, and what was accepted carried out, its job's product adopted."""
        decided, fold = self.decisions(), self.flow.learn.fold
        topics = (topology.CONTROL_RETRAIN, topology.CONTROL_ROLLBACK, topology.CONTROL_ALERTS)
        asked = [
            e.id
            for topic in topics
            for e in self.values(topic, ControlEvent)
            if e.data.suggested_action in ASKS
        ]
        sent = [one.command.id for one in decided.values() if one.command is not None]
        return (
            fold is not None
            and decided.keys() >= set(asked)
            and all(command in fold.applied or command in fold.refused for command in sent)
            and not fold.open_jobs
        )

    def turn_until(self, done: Callable[[], bool], what: str) -> None:
        """Turn the flow until `done` and nothing is left to do."""
        deadline = time.monotonic() + PATIENCE_S
        quiet = 0
        while quiet < 4:
            assert time.monotonic() < deadline, f"{what}:\n{self.notes.read_text()}"
            worked = self.flow.process_batches()
            quiet = 0 if worked else quiet + 1
            if quiet == 4 and not done():
                quiet = 0
                time.sleep(0.05)

    def go(self, start: int, stop: int) -> None:
        """Publish a stretch; every reading is learned and everything asked for is answered."""
        self.publish(start, stop)

        def done() -> bool:
            fold = self.flow.learn.fold
            return fold is not None and fold.counts.learned == stop and self.answered()

        self.turn_until(done, f"readings {start} to {stop}")

    def close(self) -> None:
        self.control.kill()
        self.control.wait(PATIENCE_S)
        self.producer.close()
        self.flow.close()
        self.log.close()


@pytest.fixture
def place(
    kafka_bootstrap: str,
    valkey: redis.Redis,
    valkey_url: str,
    unique: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Place]:
    made = Place(kafka_bootstrap, valkey_url, unique("triggers"), tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.setenv("PENSTOCK_PREFIX", made.settings.prefix)
    yield made
    made.close()


@pytest.mark.long
def test_each_of_the_five_triggers_starts_a_retrain_with_its_evidence(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    # on schedule, and on labels
    for start in range(0, MOVED, A_DAY):
        place.go(start, start + A_DAY)
    schedules, labels = place.told("schedule"), place.told("labels")
    [first, second] = [event.data.trigger for event in schedules]
    assert first is not None and second is not None
    assert (
        first.due_at is not None and first.due_at % (7 * DAY) == 0 and second.due_at == first.due_at + 7 * DAY
    )
    assert first.after is None and second.after is not None and second.after_position > 0
    assert all(event.data.model == {"leader": "v0", "committed": "v0"} for event in schedules[:1])
    fold = place.flow.learn.fold
    assert fold is not None
    assert labels and all(event.data.statistic == 1_000 for event in labels)
    begun = dict(fold.triggers.begun)
    assert begun["schedule"] and begun["labels"], "one may have come while the other's was under way"
    made = [version for version in place.flow.models.versions() if version.kind == "retrained"]
    versions = [version for version in made if "samples from" in version.why]
    assert len(versions) == begun["schedule"] and all(
        0 < version.labels <= 3 * A_DAY + 1 for version in versions
    ), "the last three days"

    # the same request once more, as after a crash: one run
    place.producer.send(
        place.settings.prefix + topology.CONTROL_RETRAIN, key=b"pumps", value=encode_json(schedules[0])
    )
    place.producer.flush(PATIENCE_S)
    repeated = lambda: len(place.values(topology.CONTROL_DECISIONS, Decision)) > len(place.decisions())  # noqa: E731
    place.turn_until(repeated, "the repeated request")

    # on input distribution: proposed, and carried out when a person says so
    for start in range(MOVED, LOST, A_DAY):
        place.go(start, start + A_DAY)
    moved = place.told("psi")
    asks = [event for event in moved if event.data.suggested_action == "retrain"]
    assert [event.subject for event in asks] == ["heat"] and asks[0].data.trigger is not None
    assert asks[0].data.trigger.proposes and asks[0].data.command.startswith(
        "penstock retrain pumps --from-position"
    )
    waits = place.decisions()[asks[0].id]
    assert (waits.verdict, waits.command) == ("waits for approval", None) and asks[
        0
    ].data.command in waits.why
    assert fold.triggers.begun["inputs"] == 0
    assert cli.main(["status", "pumps"]) == 1
    shown = capsys.readouterr().out
    assert "waits for a person: retrain: moved inputs alone only propose" in shown
    assert "every 7d, by event time; from the samples of the last 3d; next at" in shown

    # on demand
    code = place.demand("--window", "5d", "--reason", "heat is read otherwise")
    assert code == 0 and "approved: 1 request to retrain waited" in capsys.readouterr().out
    assert fold.triggers.begun["demand"] == 1

    # on performance; a retrain in between lets labels be counted anew, so that nothing else is under way when skill is lost
    for start in range(LOST, GAP, A_DAY // 2):
        if start == COUNTED_ANEW:
            assert place.demand("--reason", "nothing seems to be learned") == 0
        place.go(start, start + A_DAY // 2)
    lost = [event for event in place.told("harm") if event.data.trigger is not None]
    assert lost and lost[0].data.trigger is not None and lost[0].data.trigger.window == "since-onset"
    assert lost[0].data.trigger.joins is None, lost[0].data.reason
    [accepted] = [one for one in place.decisions().values() if one.request == lost[0].id]
    assert accepted.command is not None and accepted.command.trigger == "performance"
    onset = accepted.command.from_position
    assert onset == lost[0].data.since["position"]
    assert accepted.command.id in fold.applied and fold.triggers.begun["performance"] >= 1
    [adopt] = [one for one in place.commands() if one.id == f"adopt-{accepted.command.id}"]
    assert adopt.id in fold.applied and adopt.id not in fold.refused, fold.refused.get(adopt.id)
    assert adopt.from_position == onset and adopt.trained_to is not None and adopt.trained_to > onset
    [product] = [one for one in place.flow.models.versions() if one.id == adopt.version]
    assert product.kind == "retrained" and 0 < product.labels < GAP - LOST, "it learned from the onset on"
    said = place.values(topology.CONTROL_MODELS, LiveModel)
    assert any(one.parent == adopt.version for live in said for one in live.experts), "and took part"

    # twenty days without an event: one run for all of them
    before = len(place.told("schedule"))
    place.go(GAP, GAP + 60)
    [late] = place.told("schedule")[before:]
    assert late.data.trigger is not None and late.data.trigger.missed >= 2
    assert "were missed, since event time went from" in late.data.reason

    # and whoever reads the log again finds the same
    samples = topology.samples("pumps", place.settings.prefix)
    again = replay(place.pipeline, place.log, samples)
    assert again.digest() == fold.digest() and again.triggers.totals() == fold.triggers.totals()
    retrains = [one for one in place.commands() if one.verb == "retrain"]
    assert {one.trigger for one in retrains} == {"schedule", "labels", "performance", "demand"}

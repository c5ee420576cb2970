"""Runs the demo's year: through Kafka with every role in its own process, or on the in-memory log in this one.

Laws of this file:
- The producer is an independent client (kafka-python) in its own process, which knows nothing of Penstock.
- Rates count from the first record published to the last record folded; verification comes after and is not counted.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import redis
from kafka import KafkaAdminClient

from examples import flights_data, flights_publish
from features.store import connect
from stream import outside, roles, topics
from stream.definitions import Pipeline
from stream.demo.processes import DemoFailed, Process, Role
from stream.log import TP, Log, Out
from stream.memory_flow import MemoryFlow
from stream.messages import (
    ControlEvent,
    Decision,
    LiveModel,
    decode_control_event,
    decode_decision,
    decode_live_model,
)
from stream.settings import Settings
from stream.stack import Stack
from stream.topic_admin import ensure

SOURCE_PARTITIONS = 2
QUIET_S = 2.0
STALLED_S = 120.0
FEED_RECORDS = 4_000


@dataclass(frozen=True)
class Options:
    """What is played: an incident or none, the guard on or off, and which New York days of the year."""

    definition: str
    incident: flights_data.Incident = "milliseconds"
    guard: bool = True
    start: date | None = None
    end: date | None = None
    seed: int = 2013


@dataclass
class Run:
    """A finished run: where its log is, what it said, and how long it took."""

    log: Log
    client: redis.Redis
    settings: Settings | None
    seconds: float
    records: int
    malformed: int
    digest: str
    control_events: list[ControlEvent] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    live: list[LiveModel] = field(default_factory=list)


class ControlTail:
    """Follows the control topics from their start and tells `say` what is new, a line each."""

    READ = (
        topics.CONTROL_ALERTS,
        topics.CONTROL_RETRAIN,
        topics.CONTROL_ROLLBACK,
        topics.CONTROL_DECISIONS,
        topics.CONTROL_MODELS,
    )

    def __init__(self, log: Log, tell: Callable[[ControlEvent | Decision | LiveModel], None]) -> None:
        self.tell = tell
        self.events: list[ControlEvent] = []
        self.decisions: list[Decision] = []
        self.live: list[LiveModel] = []
        self.reader = log.reader({(topic, 0): 0 for topic in self.READ})

    def turn(self) -> int:
        """Read what is new; how many records."""
        records = self.reader.poll(500, 0.0)
        for record in records:
            if record.value is None:
                continue
            if record.topic == topics.CONTROL_MODELS:
                live = decode_live_model(record.value)
                if not self.live or live.why != self.live[-1].why:
                    self.tell(live)
                self.live.append(live)
            elif record.topic == topics.CONTROL_DECISIONS:
                decision = decode_decision(record.value)
                self.decisions.append(decision)
                self.tell(decision)
            else:
                event = decode_control_event(record.value)
                self.events.append(event)
                self.tell(event)
        return len(records)


@contextmanager
def run_on_kafka(
    pipeline: Pipeline,
    options: Options,
    stack: Stack,
    say: Callable[[str], None],
    tell: Callable[[Any], None],
) -> Iterator[Run]:
    """Gives the finished run; what was started for it ends with the block."""
    assert stack.kafka is not None
    settings = Settings(bootstrap=stack.kafka, redis_url=stack.redis_url, secret=secrets.token_hex(32))
    create_topics(pipeline, settings)
    log = roles.open_log(settings)
    client = connect(stack.redis_url)
    environment = roles.child_environment(settings)
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="penstock-demo-")))
        closing.callback(log.close)

        guard = ["--guard", "on" if options.guard else "off"]
        say("starting the roles: featurize, learn, control")
        running: list[Role] = []
        for name, more in (("control", []), ("featurize", []), ("learn", guard)):
            running.append(Role(name, options.definition, environment, folder, more))
            closing.callback(running[-1].stop)
        for role in running:
            role.wait_ready()
        say("publishing the year with kafka-python, as fast as the broker takes it")
        producer = Process("producer", producer_line(options, stack.kafka), environment, folder)
        closing.callback(producer.stop)
        tail = ControlTail(log, tell)
        seconds = Progress(pipeline, log, producer, running, tail, say).until_done()
        for role in running:
            role.stop()
            role.check()
        counts = msgspec.json.decode(producer.last_lines(1))
        tail.turn()
        yield Run(
            log=log,
            client=client,
            settings=settings,
            seconds=seconds,
            records=int(counts["records"]),
            malformed=int(counts["malformed"]),
            digest=live_digest(client, pipeline),
            control_events=tail.events,
            decisions=tail.decisions,
            live=tail.live,
        )


def create_topics(pipeline: Pipeline, settings: Settings) -> None:
    """Create the sources and Penstock's own topics; raises `DemoFailed` when one of them exists already."""
    sources = [
        topics.Topic(source.name, SOURCE_PARTITIONS, {}, "the demo's events") for source in pipeline.sources
    ]
    with outside.client(KafkaAdminClient, settings) as admin:
        made = ensure(admin, [*sources, *topics.owned(pipeline.name)])
    if made.existed:
        raise DemoFailed(
            f"topics of the demo exist already on {settings.bootstrap}: {', '.join(made.existed)}. It plays on an empty cluster: "
            f"unset KAFKA_BOOTSTRAP_SERVERS to let it start one, or delete them"
        )


def producer_line(options: Options, bootstrap: str) -> list[str]:
    """The command line of the independent producer."""
    line = [
        "-m",
        "examples.flights_publish",
        "--bootstrap",
        bootstrap,
        "--incident",
        options.incident,
        "--malformed",
        str(options.seed),
    ]
    for name, day in (("--start", options.start), ("--end", options.end)):
        line += [name, day.isoformat()] if day else []
    return line


def live_digest(client: redis.Redis, pipeline: Pipeline) -> str:
    """The live model's digest as learn stored it with its last snapshot."""
    document: Any = client.get(f"model:{pipeline.name}")
    if document is None:
        raise DemoFailed("learn stored no snapshot")
    return str(msgspec.json.decode(document)["digest"])


class Progress:
    """Watches the positions of a run on Kafka until every record is folded, and says how far it is."""

    def __init__(
        self,
        pipeline: Pipeline,
        log: Log,
        producer: Process,
        running: list[Role],
        tail: ControlTail,
        say: Callable[[str], None],
    ) -> None:
        self.log, self.producer, self.running, self.tail, self.say = log, producer, running, tail, say
        self.sources: list[TP] = [
            (source.name, partition)
            for source in pipeline.sources
            for partition in range(log.partitions(source.name))
        ]
        self.samples: TP = (topics.samples(pipeline.name), 0)
        self.groups = (f"{pipeline.name}.featurize", f"{pipeline.name}.learn")
        self.first_s = 0.0

    def positions(self) -> tuple[int, int, int, int]:
        """Records published, featurized, in the samples log, folded."""
        bounds = self.log.bounds([*self.sources, self.samples])
        featurized = self.log.committed(self.groups[0], self.sources)
        learned = self.log.committed(self.groups[1], [self.samples])
        return (
            sum(bounds[tp][1] for tp in self.sources),
            sum(featurized.values()),
            bounds[self.samples][1],
            learned.get(self.samples, 0),
        )

    def until_done(self) -> float:
        """Seconds from the first record published to the last one folded."""
        said = moved = time.monotonic()
        last = (0, 0, 0)
        target = 0
        finished_s = 0.0
        while True:
            for process in (self.producer, *self.running):
                process.check()
            now = time.monotonic()
            here = self.positions()
            published, featurized, samples, folded = here
            if published and not self.first_s:
                self.first_s = now
            if self.tail.turn() or (published, featurized, min(folded, target or folded)) != last:
                moved = now
                last = (published, featurized, min(folded, target or folded))
            # The samples log grows by a tick a second for ever: done is what followed from the records published.
            if not target and self.producer.ended and featurized >= published > 0:
                target = samples
            if target and folded >= target and not finished_s:
                finished_s = now
            if finished_s and now - moved >= QUIET_S:
                self.say(self.line(here, finished_s))
                return finished_s - self.first_s
            if now - moved > STALLED_S:
                tails = "\n".join(f"{role.name}: {role.last_lines(4)}" for role in self.running)
                raise DemoFailed(f"nothing has moved for {STALLED_S:.0f} s at {here}\n{tails}")
            if now - said >= 2.0:
                said = now
                self.say(self.line(here, now))
            time.sleep(0.1)

    def line(self, here: tuple[int, int, int, int], now: float) -> str:
        """One line of progress."""
        published, featurized, samples, folded = here
        elapsed = max(now - self.first_s, 1e-9) if self.first_s else 1e-9
        rate = featurized / elapsed
        return (
            f"{elapsed:5.0f} s   published {published:>9,}   featurized {featurized:>9,}   "
            f"samples and labels folded {folded:>9,} of {samples:,}   {rate:>7,.0f} records/s"
        )


@contextmanager
def run_in_memory(
    pipeline: Pipeline,
    options: Options,
    client: redis.Redis,
    say: Callable[[str], None],
    tell: Callable[[Any], None],
) -> Iterator[Run]:
    """Gives the finished run on the in-memory log, all roles in this process."""
    flow = MemoryFlow(pipeline, partitions=SOURCE_PARTITIONS, client=client, guard=options.guard)
    tail = ControlTail(flow.log, tell)
    started = said = time.monotonic()
    records = 0
    batch: list[Out] = []
    for topic, key, value in published_events(options):
        batch.append(Out(topic, key, value))
        records += 1
        if len(batch) >= FEED_RECORDS:
            flow.feed(batch)
            batch = []
            flow.turn()
            tail.turn()
            if time.monotonic() - said >= 2.0:
                said = time.monotonic()
                say(
                    f"{said - started:5.0f} s   published {records:>9,}   {records / (said - started):>7,.0f} records/s"
                )
    flow.feed(batch)
    flow.settle()
    tail.turn()
    seconds = time.monotonic() - started
    assert flow.learn.fold is not None
    digest = flow.learn.fold.digest()
    flow.close()
    yield Run(
        log=flow.log,
        client=client,
        settings=None,
        seconds=seconds,
        records=records,
        malformed=flights_publish.MALFORMED_RECORDS,
        digest=digest,
        control_events=tail.events,
        decisions=tail.decisions,
        live=tail.live,
    )


def published_events(options: Options) -> Iterator[flights_publish.Raw]:
    """What the producer publishes, the malformed records mixed in."""
    return flights_publish.records(options.incident, options.start, options.end, options.seed)

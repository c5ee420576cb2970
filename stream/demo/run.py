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

from penstock.examples import flights_data, flights_publish
from penstock.features.redis.store import connect
from penstock.stream import topology
from penstock.stream.definitions import Pipeline
from penstock.stream.demo.processes import DemoFailed, Process
from penstock.stream.demo.progress import ControlTail, Progress
from penstock.stream.demo.stage import Stage
from penstock.stream.log import kafka_python
from penstock.stream.log.admin import ensure
from penstock.stream.log.protocol import Log, Out
from penstock.stream.messages import (
    ControlEvent,
    Decision,
    LiveModel,
)
from penstock.stream.process.settings import Settings, child_environment
from penstock.stream.roles import start
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.stack import Stack

SOURCE_PARTITIONS = 2
QUIET_S = 2.0
STALLED_S = 120.0
FEED_RECORDS = 4_000


@dataclass(frozen=True)
class Options:
    """What is played: an incident or none, the guard on or off, and which New York days of the year.

    With `race` the definition's challengers race beside it, in a process of their own; with `console` its pages can be looked at.
    """

    definition: str
    incident: flights_data.Incident = "milliseconds"
    guard: bool = True
    start: date | None = None
    end: date | None = None
    seed: int = 2013
    race: bool = False
    console: bool = True


@dataclass
class Run:
    """A finished run: where its log is, what it said, and how long it took.

    `cpu_s` are the CPU seconds of every process from the first role being ready to the last record folded, `pages` what the
    roles' metrics pages said then, `stage` its processes; none of them of a run in one process.
    """

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
    cpu_s: dict[str, float] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    stage: Stage | None = None


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
    log = start.open_log(settings)
    client = connect(stack.redis_url)
    environment = child_environment(settings)
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="penstock-demo-")))
        closing.callback(log.close)

        guard = ["--guard", "on" if options.guard else "off"]
        roles = {
            "control": [],
            "featurize": [],
            "learn": guard,
            **({"challenge": []} if options.race else {}),
        }
        say(f"starting the roles: {', '.join(roles)}")
        stage = Stage(options.definition, roles, environment, folder)
        closing.callback(stage.close)
        stage.begin()
        if options.console:
            stage.show()
            say(f"pages to look at, in some seconds: {stage.address}")
        running = stage.running
        began_s = {role.name: role.cpu_s() for role in running}
        say("publishing the year with kafka-python, as fast as the broker takes it")
        producer = Process("producer", producer_line(options, stack.kafka), environment, folder)
        closing.callback(producer.stop)
        tail = ControlTail(log, tell)
        seconds = Progress(pipeline, log, producer, running, tail, say).until_done()
        cpu_s = {role.name: role.cpu_s() - began_s[role.name] for role in running}
        pages = {role.name: role.page() for role in running if role.name != "control"}
        stage.end()
        counts = msgspec.json.decode(producer.last_lines(1))
        tail.read_new()
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
            cpu_s=cpu_s,
            pages=pages,
            stage=stage,
        )


def create_topics(pipeline: Pipeline, settings: Settings) -> None:
    """Create the sources and Penstock's own topics; raises `DemoFailed` when one of them exists already."""
    sources = [
        topology.Topic(source.name, SOURCE_PARTITIONS, {}, "the demo's events") for source in pipeline.sources
    ]
    with kafka_python.client(KafkaAdminClient, settings) as admin:
        made = ensure(admin, [*sources, *topology.owned(pipeline.name, shards=pipeline.shards)])
    if made.existed:
        raise DemoFailed(
            f"topics of the demo exist already on {settings.bootstrap}: {', '.join(made.existed)}. It plays on an empty cluster: "
            f"unset KAFKA_BOOTSTRAP_SERVERS to let it start one, or delete them"
        )


def producer_line(options: Options, bootstrap: str) -> list[str]:
    """The command line of the independent producer."""
    line = [
        "-m",
        "penstock.examples.flights_publish",
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
            flow.process_batches()
            tail.read_new()
            if time.monotonic() - said >= 2.0:
                said = time.monotonic()
                say(
                    f"{said - started:5.0f} s   published {records:>9,}   {records / (said - started):>7,.0f} records/s"
                )
    flow.feed(batch)
    flow.settle()
    tail.read_new()
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

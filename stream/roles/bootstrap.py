"""The bootstrap command's processes: this one steps rows of files, and one, or one a shard, learns from the samples meanwhile.

Laws of this file:
- Learning is the learn role itself, in the same group and with the same state, but for what it publishes: whoever is stopped goes
  on, and the live role goes on from there.
- A process that learns ends when this one does, however that ends: it watches its standard input.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from penstock.features.redis.connecting import without_secrets
from penstock.features.redis.keyspace import RedisKeyspace
from penstock.features.redis.store import Fenced, RedisStateStore, StateLost, StateStore
from penstock.stream import topology
from penstock.stream.bootstrap.asking import answered
from penstock.stream.bootstrap.handover import Starts, check_new, offsets_of, starts_of
from penstock.stream.bootstrap.kept import Kept, Place
from penstock.stream.bootstrap.looking import looked_at, sources_of
from penstock.stream.bootstrap.plan import CannotBootstrap, Plan, lines_of, until_of
from penstock.stream.bootstrap.run import Bootstrap, Progress, tasks_of
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import Rejected, event_time
from penstock.stream.featurize.task import checked_partitions
from penstock.stream.flink.opening import check_no_job
from penstock.stream.learn.quiet import QuietLearnWorker
from penstock.stream.log.protocol import TP, AppendFailed, Log, LogUnavailable
from penstock.stream.process.clock import wall_ms
from penstock.stream.process.interpreter import settle_memory
from penstock.stream.process.settings import Settings
from penstock.stream.process.write_behind import WriteBehind
from penstock.stream.roles import start
from penstock.stream.roles.learn_shards import run_learn_shards

LOOK_S = 0.5
STOP_S = 120.0


class Asked(NamedTuple):
    """What the command line says: see `penstock bootstrap --help`. `until` is milliseconds or RFC 3339, or empty."""

    file: str
    sources: Sequence[str]
    until: str
    offsets: Sequence[str]
    partial: bool = False
    processes: int = 0


class Done(NamedTuple):
    """How far it came, which is all the way; how long it read, and how long it learned after the last row, in seconds."""

    place: Place
    reading_s: float
    learning_after_s: float


class Found(NamedTuple):
    """What stands before anything is written: how far an earlier run came, where topics go on, and the plan for people."""

    kept: Kept
    place: Place | None
    starts: Starts
    lines: list[str]


def plan_of(pipeline: Pipeline, asked: Asked, partitions: int) -> Plan:
    """The plan as it is asked for, its files not looked at. Raises `CannotBootstrap`."""
    offsets = offsets_of(asked.offsets, pipeline, partitions)
    if offsets and asked.until:
        raise CannotBootstrap(
            "give --until or --from-offsets, not both: each says where the topics take over"
        )
    until_ms = -1
    if asked.until:
        given: int | str = int(asked.until) if asked.until.isdecimal() else asked.until
        try:
            until_ms = event_time(given, "--until")
        except Rejected as error:
            raise CannotBootstrap(str(error).removeprefix("field ")) from None
    return Plan(
        pipeline=pipeline.name,
        recipe=pipeline.digest,
        partitions=partitions,
        asked="" if until_ms < 0 else str(until_ms),
        until_ms=until_ms,
        offsets=offsets,
        sources=sources_of(pipeline, asked.sources),
    )


def looked(pipeline: Pipeline, plan: Plan, hear: Progress) -> Plan:
    """The plan with what is in its files, and with its end where nobody said one."""
    sources = [looked_at(pipeline, one, plan.until_ms, hear) for one in plan.sources]
    if plan.until_ms < 0 and not plan.offsets:
        plan = msgspec.structs.replace(plan, until_ms=until_of(sources))
        sources = [looked_at(pipeline, one, plan.until_ms, hear) for one in plan.sources]
    return msgspec.structs.replace(plan, sources=sources)


def find(
    pipeline: Pipeline,
    asked: Asked,
    settings: Settings,
    log: Log,
    store_of: Callable[[str], StateStore],
    hear: Progress,
) -> Found:
    """Look, and write nothing. Raises `CannotBootstrap`."""
    partitions, prefix = checked_partitions(pipeline, log, settings.prefix), settings.prefix
    deployed = topology.deployed(pipeline.name, prefix)
    plan = plan_of(pipeline, asked, partitions)
    tasks = list(tasks_of(pipeline, partitions))
    place = Kept(store_of, deployed, plan, tasks).peek()
    if place is None:
        plan = looked(pipeline, plan, hear)
        check_new(pipeline, log, store_of("all"), tasks, plan, prefix)
    else:
        plan = place.plan
    over = place is not None and place.stage == "over"
    starts = {} if over else starts_of(pipeline, log, plan, partial=asked.partial)
    shown = {f"{topic}/{number}": at for (topic, number), at in starts.items()}
    where = {
        "features and state": f"{settings_address(settings)}, task{'s' * (len(tasks) > 1)} {', '.join(tasks[:3])}"
        + (f" … ({len(tasks)})" if len(tasks) > 3 else ""),
        "samples": f"{topology.samples(pipeline.name, prefix)} ({pipeline.shards} partition{'s' * (pipeline.shards > 1)})",
        "model": f"the snapshot and versions of {deployed}, as the learn role does",
        "dead letters": topology.dead_letters(pipeline.name, prefix),
    }
    lines = lines_of(plan, shown, where)
    if place is not None:
        done = (
            "is over: there is nothing to do"
            if over
            else f"goes on: {place.rows:,} of {plan.rows:,} rows are done"
        )
        lines.insert(1, f"  this bootstrap {done}")
    return Found(Kept(store_of, deployed, plan, tasks), place, starts, lines)


def settings_address(settings: Settings) -> str:
    """Where Redis is, without secrets."""
    return without_secrets(settings.redis_url)


def stores(pipeline: Pipeline, settings: Settings, log: Log, *, look: bool) -> Callable[[str], StateStore]:
    """The stores of a pipeline's tasks, on a Redis that is this deployment's, or becomes it unless this is but a `look`."""
    client = start.open_redis(settings)
    start.model_store(pipeline, settings, client)  # a missing secret is said before anything is written
    if look:
        start.check_prefix(pipeline, settings, client)
    else:
        start.check_owner(pipeline, settings, log, client)
    deployed = topology.deployed(pipeline.name, settings.prefix)
    check_no_job(RedisKeyspace(client), deployed)
    partitions = start.task_partitions(pipeline, log)
    return lambda task: RedisStateStore(client, deployed, task, partitions=partitions)


def run(pipeline: Pipeline, asked: Asked, settings: Settings, log: Log, found: Found, hear: Progress) -> Done:
    """Do it, or end what an earlier run began. Raises `CannotBootstrap`."""
    try:
        return _run(pipeline, asked, settings, log, found, hear)
    except Fenced:
        raise CannotBootstrap("another run of this bootstrap has taken over: this one ends") from None
    except StateLost as error:
        raise CannotBootstrap(f"{error}: give the same command again") from None
    except (LogUnavailable, AppendFailed) as error:
        raise CannotBootstrap(f"{error}: give the same command again, it goes on from where it was") from None


def _run(
    pipeline: Pipeline, asked: Asked, settings: Settings, log: Log, found: Found, hear: Progress
) -> Done:
    kept, shards = found.kept, pipeline.shards
    place = kept.load()
    if place is None:
        samples = topology.samples(pipeline.name, settings.prefix)
        bounds = log.bounds([(samples, shard) for shard in range(shards)])
        again = any(end > 0 for _, end in bounds.values())
        place = Place(plan=kept.plan, began_ms=wall_ms(), again=again, samples=[0] * shards)
        kept.begin(place)
    if place.stage == "over":
        return Done(place, 0.0, 0.0)
    settle_memory()
    writer = WriteBehind("bootstrap-write")
    learning = Learning(pipeline, asked, settings, log)
    try:
        if not place.again:
            learning.start()

        def told(what: str, done: int, total: int) -> None:
            learning.check()
            hear(what, done, total)

        bootstrap = Bootstrap(
            pipeline, log, kept, place, wall_ms, prefix=settings.prefix, hear=told, writer=writer
        )
        began_s = time.monotonic()
        bootstrap.read()
        read_s = time.monotonic()
        learning.wait(bootstrap.place.samples, hear)
        learned_s = time.monotonic()
        bootstrap.give(partial_topics=asked.partial)
        return Done(bootstrap.place, read_s - began_s, learned_s - read_s)
    finally:
        learning.stop()
        writer.close()


class Learning:
    """The processes that learn what this one appends."""

    def __init__(self, pipeline: Pipeline, asked: Asked, settings: Settings, log: Log) -> None:
        self.pipeline, self.asked, self.settings, self.log = pipeline, asked, settings, log
        self.group = topology.consumer_group(pipeline.name, "learn", settings.prefix)
        samples = topology.samples(pipeline.name, settings.prefix)
        self.tps = [(samples, shard) for shard in range(pipeline.shards)]
        self.processes: list[subprocess.Popen[bytes]] = []

    def committed(self) -> dict[TP, int]:
        """How far it is learned; a broker that has just started knows of no groups for a while."""
        return answered(lambda: self.log.committed(self.group, self.tps), time.monotonic, time.sleep)

    def start(self) -> None:
        """Begin to learn, in as many processes as there are shards or CPUs."""
        self.committed()  # each of them asks it, too
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        line = [sys.executable, "-m", "penstock.stream.cli", "bootstrap", self.asked.file, "--learn"]
        for slot in range(min(self.pipeline.shards, self.asked.processes or cores)):
            asked = [*line, str(slot)]
            self.processes.append(subprocess.Popen(asked, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL))

    def check(self) -> None:
        """Raise `CannotBootstrap` where one of them has ended by itself."""
        for process in self.processes:
            if process.poll() is not None:
                raise CannotBootstrap(
                    f"the process that learns ended with exit code {process.returncode}, and said why above: give the same "
                    "command again once that is mended, it goes on from here"
                )

    def wait(self, ends: Sequence[int], hear: Progress) -> None:
        """Return once everything below `ends` is learned, and the model kept."""
        while True:
            learned = self.committed()
            done = [min(learned.get(tp, 0), end) for tp, end in zip(self.tps, ends, strict=True)]
            hear("learning", sum(done), sum(ends))
            if done == list(ends):
                break
            if not self.processes:
                self.start()
            self.check()
            time.sleep(LOOK_S)
        self.stop()

    def stop(self) -> None:
        """Have them keep what they learned, and end."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
        self.processes.clear()


def learn(pipeline: Pipeline, definition: str | Path, settings: Settings) -> None:
    """One of the processes that learn, until told to stop, or until who started it is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if pipeline.shards > 1:
        run_learn_shards(pipeline, definition, settings, kind=QuietLearnWorker)
    else:
        start.run_learn(pipeline, definition, settings, kind=QuietLearnWorker)


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)

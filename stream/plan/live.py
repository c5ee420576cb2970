"""What runs: the definition that state was written under, and how much there is of everything.

Laws of this file:
- Reading only, of Kafka without a group and of Redis without a token: whatever runs does not notice.
- What changes is asked of `Backfill.plan`, which is what `penstock backfill` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import msgspec

from penstock.features.redis.keys import began_key, definition_key, public_key, states_prefix
from penstock.features.redis.keyspace import Keyspace, RedisKeyspace
from penstock.features.redis.store import address
from penstock.stream import topology
from penstock.stream.backfill.ownership import CannotBackfill, TaskState
from penstock.stream.backfill.run import Backfill
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.merge import Head
from penstock.stream.learn.entries import entries
from penstock.stream.log.protocol import Log
from penstock.stream.messages import Sample
from penstock.stream.operate.stored_header import snapshot_of
from penstock.stream.plan.cost import Stored
from penstock.stream.plan.former import Former
from penstock.stream.plan.trial import Ranges
from penstock.stream.process.settings import Settings
from penstock.stream.recipes import Changes
from penstock.stream.roles import start as start_of
from penstock.stream.roles.identity import OtherDeployment

LIVE = "live"
WALK_S = 10.0
WEIGHED_KEYS = 200
TAIL_RECORDS = 2_000


class World(NamedTuple):
    """Where a pipeline runs: its log, its keys, and a client that gives many of them at once."""

    log: Log
    keyspace: Keyspace
    client: Any
    prefix: str = ""


class Standing(NamedTuple):
    """How a pipeline stands: its tasks, and the definition that they were written under (None: it never ran).

    Where a job of Flink's keeps the state (`in_flink`), there are no tasks here.
    """

    tasks: list[TaskState]
    former: Former | None
    in_flink: bool = False


def backfill_of(pipeline: Pipeline, world: World) -> Backfill:
    """What would bring the definition over; it is only asked."""
    return Backfill(
        pipeline, world.log, _no_store, world.keyspace, lambda: 0, prefix=world.prefix, partial=True
    )


def _no_store(task: str) -> NoReturn:
    raise AssertionError("a plan writes nothing")


def standing(pipeline: Pipeline, world: World) -> Standing:
    """How the pipeline of this name stands now. Raises `CannotBackfill` where an earlier change is half done."""
    try:
        tasks = backfill_of(pipeline, world).tasks()
    except CannotBackfill:
        return _in_flink(pipeline, world)
    if under_way := [task for task in tasks if task.position.change is not None]:
        change = under_way[0].position.change
        assert change is not None
        raise CannotBackfill(
            f"a change of {pipeline.name!r} to recipe {change.recipe} is under way: finish it with `penstock backfill FILE`, "
            f"or give it the former definition ({under_way[0].position.recipe}) to call it off, then plan the next one"
        )
    waiting = [task for task in tasks if task.position.recipe != pipeline.digest] or tasks
    return Standing(tasks, Former(LIVE, waiting[0].said, live_rules(pipeline, world)))


def _in_flink(pipeline: Pipeline, world: World) -> Standing:
    """How it stands where no task has state: a job of Flink's has it, or nobody."""
    name = topology.deployed(pipeline.name, world.prefix)
    began, said = world.keyspace.read([began_key(name), definition_key(name, "all")])
    if began is None or said is None:
        return Standing([], None)
    return Standing([], Former(LIVE, msgspec.json.decode(said), live_rules(pipeline, world)), in_flink=True)


def live_rules(pipeline: Pipeline, world: World) -> str:
    """The rules that learn's snapshot was made under; empty where there is none yet."""
    name = topology.deployed(pipeline.name, world.prefix)
    if pipeline.shards > 1:
        name = topology.shard_name(name, 0)
    _, header = snapshot_of(world.client, name)
    return "" if header is None else header.rules


def ranges_of(pipeline: Pipeline, log: Log, tasks: Sequence[TaskState]) -> dict[Head, tuple[int, int]]:
    """What a backfill reads of each head that it builds from: from the log's start to where the tasks are, or to its end."""
    tps = {
        (number, partition): (source.name, partition)
        for number, source in enumerate(pipeline.sources)
        for partition in range(log.partitions(source.name))
    }
    bounds = log.bounds(list(tps.values()))
    reached = {name: place[0] for task in tasks for name, place in task.position.positions.items()}
    return {
        head: (bounds[tp][0], max(bounds[tp][0], reached.get(f"{tp[0]}/{tp[1]}", bounds[tp][1])))
        for head, tp in tps.items()
    }


def records_of(pipeline: Pipeline, found: Changes, ranges: Ranges) -> dict[str, int]:
    """How many records a backfill reads again, by topic: those of the sources of views with something to rebuild."""
    wanted = {change.name for change in found.views if change.rebuilt}
    sources = {view.source.name for view in pipeline.views if view.name in wanted}
    counts = dict.fromkeys(sorted(sources), 0)
    for (source, _), (start, stop) in ranges.items():
        name = pipeline.sources[source].name
        if name in counts:
            counts[name] += stop - start
    return counts


def stored_of(
    pipeline: Pipeline, world: World, tasks: Sequence[TaskState], now_s: Callable[[], float] = time.monotonic
) -> tuple[dict[str, Stored], bool]:
    """What Redis holds of each view now, and whether that is all: a very large one is walked for `WALK_S`."""
    name = topology.deployed(pipeline.name, world.prefix)
    until_s = now_s() + WALK_S
    states: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    whole = True
    for task in tasks:
        prefix = states_prefix(name, task.name)
        for batch in world.keyspace.scan(prefix):
            for key in batch:
                view = key.removeprefix(prefix).partition("@")[0]
                counts[view] = counts.get(view, 0) + 1
                kept = states.setdefault(view, [])
                if len(kept) < WEIGHED_KEYS:
                    kept.append(key)
            if now_s() > until_s:
                whole = False
                break
    found = {}
    for view, keys in states.items():
        public = [public_key(name, view, key.split(":", 5)[-1]) for key in keys]
        found[view] = Stored(
            counts[view], _mean(keys, world.keyspace.read(keys)), _mean(public, world.keyspace.read(public))
        )
    return found, whole


def _mean(names: Sequence[str], values: Sequence[bytes | None]) -> float:
    """Mean bytes of those that are there, their names included; 0 of none."""
    sizes = [len(name) + len(value) for name, value in zip(names, values, strict=True) if value is not None]
    return sum(sizes) / len(sizes) if sizes else 0.0


def newest_sample_ms(log: Log, topic: str) -> int | None:
    """The newest event time of a sample at the end of the samples log; None where there is none."""
    start, stop = log.bounds([(topic, 0)])[(topic, 0)]
    first = max(start, stop - TAIL_RECORDS)
    return max(
        (one.at for _, one in entries(log, topic, first, stop) if isinstance(one, Sample)), default=None
    )


def opened(settings: Settings, pipeline: Pipeline) -> World:
    """The settings' servers. Raises `OtherDeployment` where this Redis keeps what is of another prefix or Kafka cluster."""
    client = start_of.open_redis(settings)
    cluster = start_of.check_prefix(pipeline, settings, client)
    log = start_of.open_log(settings)
    if cluster not in ("", log.cluster_id()):
        log.close()
        raise OtherDeployment(
            f"Redis at {address(client)} keeps {pipeline.name!r} of another Kafka cluster than the one at {settings.bootstrap}: "
            "check KAFKA_BOOTSTRAP_SERVERS and REDIS_URL"
        )
    return World(log, RedisKeyspace(client), client, settings.prefix)

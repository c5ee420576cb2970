"""From files to topics: where the topics are read on, that nothing is missing between, and who may begin.

Laws of this file:
- The files are the truth about everything older than the plan's end. Of the topics every record from the end on counts, exactly
  once; every older one is skipped, and counted, whether it stood in the files or not.
- A partition is read on from its first record whose own timestamp is not older than the end less the source's `ahead`. Nothing
  from the end on lies before: an event time more than `ahead` after its record's timestamp is a dead letter in any pipeline.
- With offsets given, the files are the truth about everything before these, and no event time is looked at.
- A topic that may have lost records from the end on is refused: retention deleted what began it, and nobody knows what that was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.features.redis.keys import position_key, snapshot_key
from penstock.features.redis.store import StateStore
from penstock.stream import topology
from penstock.stream.bootstrap.plan import CannotBootstrap, Plan
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.after_files import plan_of_samples
from penstock.stream.featurize.merge import Head
from penstock.stream.featurize.position import HeadPosition, Position, named
from penstock.stream.log.protocol import TP, Log
from penstock.stream.shards import names_of

Starts = dict[TP, tuple[int, int]]
"""(the first offset to read, the end) by partition."""


def offsets_of(given: Sequence[str], pipeline: Pipeline, partitions: int) -> dict[str, int]:
    """What `--from-offsets TOPIC/PARTITION=OFFSET` says, commas between them. Raises `CannotBootstrap`.

    Every partition of every source must be named: one that is not would be guessed.
    """
    found: dict[str, int] = {}
    for one in (one for text in given for one in text.split(",") if one.strip()):
        name, _, offset = one.strip().rpartition("=")
        if not name or not offset.isdecimal():
            raise CannotBootstrap(
                f"--from-offsets {one}: write it as TOPIC/PARTITION=OFFSET, such as {pipeline.predict.name}/0=1200"
            )
        found[name] = int(offset)
    wanted = [f"{source.name}/{number}" for source in pipeline.sources for number in range(partitions)]
    if found and set(found) != set(wanted):
        missing, unknown = set(wanted) - set(found), set(found) - set(wanted)
        what = (
            f"it does not say {', '.join(sorted(missing))}"
            if missing
            else f"there is no {sorted(unknown)[0]}"
        )
        raise CannotBootstrap(f"--from-offsets names every partition of every source: {what}")
    return found


def starts_of(pipeline: Pipeline, log: Log, plan: Plan, *, partial: bool) -> Starts:
    """Where each partition is read on. Raises `CannotBootstrap` where records are missing, unless `partial` takes that."""
    starts: Starts = {}
    for source in pipeline.sources:
        tps = [(source.name, number) for number in range(plan.partitions)]
        # The ends come first: what is appended in between lies behind them, and is read.
        bounds = log.bounds(tps)
        first = {} if plan.offsets else log.first_at(tps, max(0, plan.until_ms - source.ahead_ms))
        for tp in tps:
            low, end = bounds[tp]
            start = plan.offsets[f"{tp[0]}/{tp[1]}"] if plan.offsets else first.get(tp, end)
            if plan.offsets and not low <= start <= end:
                raise CannotBootstrap(
                    f"--from-offsets: {tp[0]}[{tp[1]}] holds offsets {low} to {end} and has none {start}"
                )
            if not plan.offsets and 0 < low == start and not partial:
                raise CannotBootstrap(
                    f"{tp[0]}[{tp[1]}] begins at offset {low}: retention deleted what was before, and records from "
                    f"--until on may have been among that. Give files that reach further and a later --until, or --partial "
                    "to go on without what is gone"
                )
            starts[tp] = (start, end)
    return starts


def given_to(
    pipeline: Pipeline,
    log: Log,
    plan: Plan,
    starts: Starts,
    newest: Mapping[Head, int],
    dead: Mapping[str, list[object]],
) -> Position:
    """The position of a task that goes on with its topics. `newest` is the newest event time of its heads' files."""
    sources = pipeline.sources
    places = {
        (source, number): HeadPosition(starts[(sources[source].name, number)][0], at)
        for (source, number), at in newest.items()
    }
    topic_ids = [log.topic_id(source.name) for source in sources]
    return Position(pipeline.digest, named(places, sources, topic_ids), None, dict(dead), plan.since)


def check_new(
    pipeline: Pipeline, log: Log, store: StateStore, tasks: Sequence[str], plan: Plan, prefix: str
) -> None:
    """Refuse a pipeline that has state, or has learned, other than by these very files. Raises `CannotBootstrap`."""
    name, samples = topology.deployed(pipeline.name, prefix), topology.samples(pipeline.name, prefix)
    over = "`penstock reset FILE` starts over, or give this pipeline another name"
    both = store.load([position_key(name, task) for task in ("all", *map(str, range(plan.partitions)))])
    if any(stored is not None for stored in both):
        raise CannotBootstrap(
            f"{pipeline.name!r} has features already, made from its topics: files can only come before. {over}"
        )
    bounds = log.bounds([(samples, shard) for shard in range(pipeline.shards)])
    written = any(end > 0 for _, end in bounds.values())
    if written and plan_of_samples(log, samples) == plan.digest:
        if any(start > 0 for start, _ in bounds.values()):
            raise CannotBootstrap(f"what these files gave is partly gone from {samples!r}: {over}")
        return  # Redis lost what these files gave: it is made anew
    if written:
        raise CannotBootstrap(
            f"{samples!r} has records already: {pipeline.name!r} has learned, and its samples are in the order of time. {over}"
        )
    snapshots = [snapshot_key(topology.deployed(one, prefix)) for one in names_of(pipeline)]
    if any(stored is not None for stored in store.load(snapshots)):
        raise CannotBootstrap(f"{pipeline.name!r} has a snapshot of a model that learned already. {over}")

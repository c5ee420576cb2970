"""What a change takes here and now: what there is, counted, and what one takes, tried.

Laws of this file:
- Reading only, as `live` and `trial`, whose findings `cost` multiplies.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.stream import topology
from penstock.stream.backfill.ownership import TaskState
from penstock.stream.definitions import Pipeline
from penstock.stream.plan.cost import Cost, Folded, Tried, cost_of
from penstock.stream.plan.live import World, ranges_of, records_of, stored_of
from penstock.stream.plan.trial import folded, tried
from penstock.stream.recipes import Changes
from penstock.stream.shards import log_of, of_shard


def costed(
    pipeline: Pipeline, found: Changes, world: World, tasks: Sequence[TaskState], *, again: bool
) -> tuple[Cost, list[str]]:
    """The cost of these changes, with `again` learn's among it, and what should be known of how it was found."""
    log, notes = world.log, []
    ranges = ranges_of(pipeline, log, tasks)
    places = {view.name: number for number, view in enumerate(pipeline.views)}
    changed = [change for change in found.views if change.new is not None]
    built = [places[change.name] for change in changed if change.rebuilt]
    kept = [places[change.name] for change in changed if not change.rebuilt]
    weighed = tried(pipeline, log, kept, ranges)
    timed = tried(pipeline, log, built, ranges)
    both = Tried(
        timed.records,
        timed.seconds,
        timed.saved,
        {**weighed.state_bytes, **timed.state_bytes},
        {**weighed.document_bytes, **timed.document_bytes},
        {**weighed.entities, **timed.entities},
        timed.rejected,
    )
    stored, whole = stored_of(pipeline, world, tasks) if found.views else ({}, True)
    if not whole:
        notes.append("Redis has more keys than were counted in time: states and bytes are at least so many")
    fold = _folded(pipeline, world) if again else Folded()
    return cost_of(found, records_of(pipeline, found, ranges), stored, both, fold, len(tasks)), notes


def _folded(pipeline: Pipeline, world: World) -> Folded:
    """What learn folds again; of a pipeline in shards one is tried, and all are counted."""
    topic = topology.samples(pipeline.name, world.prefix)
    if pipeline.shards == 1:
        return folded(pipeline, world.log, topic)
    one = of_shard(pipeline, 0)
    bounds = world.log.bounds([(topic, number) for number in range(pipeline.shards)])
    entries = sum(stop - start for start, stop in bounds.values())
    return folded(one, log_of(world.log, one, world.prefix), topic)._replace(entries=entries)

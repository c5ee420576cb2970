"""A changed definition, brought over: states rebuilt or converted, features switched in one moment, all of it resumable.

Laws of this file:
- Until the switch nothing that the former definition reads or serves is touched, except that documents gain a `next` part; after
  the switch nothing of it is written any more. The switch is one key, `features:<pipeline>`.
- Every task stands still, closed by a mark in its own position, from the moment its state is final until the switch; a featurize
  role of either definition refuses to run meanwhile and says why.
- Every write is a value or a compare-and-set, so a run that was stopped anywhere is finished by the next, or called off by one
  with the former definition.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.features.engine.change import ViewChange
from penstock.features.redis.keys import build_task, definition_key, position_key
from penstock.features.redis.keyspace import Keyspace
from penstock.features.redis.store import Fenced, StateLost, StateStore
from penstock.stream import topology
from penstock.stream.backfill.build import Rebuild
from penstock.stream.backfill.cleanup import settle
from penstock.stream.backfill.convert import ViewConversion
from penstock.stream.backfill.coverage import before_files_end, short_of
from penstock.stream.backfill.ownership import OVERTAKEN, CannotBackfill, Owner, Standing, TaskState, standing
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.merge import Head
from penstock.stream.featurize.position import HeadPosition, decode_definition, decode_position, named
from penstock.stream.featurize.task import opening
from penstock.stream.log.protocol import Log
from penstock.stream.messages import encode_entry
from penstock.stream.recipes import Changes, changes, recipe_of, refusal
from penstock.stream.shards import to_every_shard

logger = logging.getLogger("penstock.backfill")

NEAR_RECORDS = 2_000
MOST_PASSES = 20


@dataclass
class Report:
    """What was done."""

    pipeline: str
    before: str
    after: str
    changes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    records_read: int = 0
    rejected: int = 0
    kept_states: int = 0
    rebuilt_states: int = 0
    stood_still_ms: int = 0
    settled_documents: int = 0
    deleted_keys: int = 0
    took_ms: int = 0


class Backfill:
    """One change of a pipeline's definition. `plan` looks; `run` does it, and finishes what an earlier run began.

    `store_of` gives a task's store, `progress` hears (what, done, total), with total 0 where it is not known. `partial` accepts
    that features look back further than their topics do; after `plan`, `lacks` says where, in the words that refuse it otherwise.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        log: Log,
        store_of: Callable[[str], StateStore],
        keyspace: Keyspace,
        wall_ms: Callable[[], int],
        *,
        prefix: str = "",
        partial: bool = False,
        progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> None:
        self.pipeline, self.log, self.store_of, self.keyspace = pipeline, log, store_of, keyspace
        self.wall_ms, self.partial, self.progress = wall_ms, partial, progress
        self.samples_topic, self.prefix = topology.samples(pipeline.name, prefix), prefix
        self.deployed = topology.deployed(pipeline.name, prefix)
        self.sources = pipeline.sources
        self.topic_ids = [log.topic_id(source.name) for source in self.sources]
        self.partitions = log.partitions(pipeline.predict.name)
        self.report = Report(pipeline.name, "", pipeline.digest)
        self.lacks = ""

    # -- looking -----------------------------------------------------------------------------------------------------------

    def tasks(self) -> list[TaskState]:
        """The tasks that have state. Raises `CannotBackfill` for a pipeline that never ran."""
        name = self.deployed
        tasks = [str(n) for n in range(self.partitions)] + ["all"]
        stored = self.keyspace.read([position_key(name, task) for task in tasks])
        said = self.keyspace.read([definition_key(name, task) for task in tasks])
        found = [
            TaskState(task, decode_position(position), decode_definition(definition))
            for task, position, definition in zip(tasks, stored, said, strict=True)
            if position is not None and definition is not None
        ]
        if not found:
            raise CannotBackfill(
                f"{self.pipeline.name!r} has no state yet: start its featurize role, there is nothing to bring over"
            )
        return found

    def _waiting(self, tasks: Sequence[TaskState]) -> list[TaskState]:
        """Those that are not this definition's yet."""
        return [
            task for task in tasks if task.position.recipe != self.pipeline.digest or task.position.change
        ]

    def plan(self) -> Changes:
        """What differs, and whether it can be brought over; fills `report.changes` and `report.notes`."""
        tasks = self.tasks()
        waiting = self._waiting(tasks)
        self.report.before = waiting[0].position.recipe if waiting else self.pipeline.digest
        if not waiting:
            return Changes([], [])
        if why := refusal(waiting[0].said, self.pipeline):
            raise CannotBackfill(why)
        found = changes(waiting[0].said, self.pipeline)
        if any(changes(task.said, self.pipeline) != found for task in waiting):
            raise CannotBackfill(
                "an earlier change switched some tasks and not the others: finish it first, with its definition "
                f"({', '.join(sorted({task.position.change.recipe for task in waiting if task.position.change}))})"
            )
        self.report.changes = found.lines()
        now_at = max(
            (newest for task in tasks for _, newest, _ in task.position.positions.values()), default=0
        )
        short = [note for change in found.views for note in short_of(self.pipeline, self.log, change, now_at)]
        since = max(task.position.since for task in waiting)
        for change in found.views:
            short += before_files_end(self.pipeline, change, since, now_at)
        self.report.notes = short
        self.lacks = f"{'; '.join(short)}: --partial goes on with what is there" if short else ""
        if self.lacks and not self.partial:
            raise CannotBackfill(self.lacks)
        return found

    # -- doing -------------------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Bring everything over.

        Raises:
            CannotBackfill: for a change that cannot be brought over, before anything is touched.
            OffsetLost: retention overtook the rebuild.

        """
        try:
            return self._run(self.plan())
        except Fenced:
            raise CannotBackfill(OVERTAKEN) from None
        except StateLost as error:
            raise CannotBackfill(f"{error}: run this again, it goes on with what is left") from None

    def _run(self, found: Changes) -> Report:
        report, first_ms = self.report, self.wall_ms()
        tasks = self.tasks()
        waiting = self._waiting(tasks)
        self._clear_way([task.name for task in tasks], waiting)
        builds = {task.name: self._build(task, found) for task in waiting}
        for build in builds.values():
            self._follow(build)
        began_ms = self.wall_ms()
        run = secrets.token_hex(4)
        owners = {task.name: Owner(self.store_of(task.name), self.pipeline.digest, run) for task in waiting}
        for task in waiting:
            owners[task.name].close(task.position.recipe, self._new_places(task))
        for task in waiting:
            owner, build = owners[task.name], builds[task.name]
            self._advance(build, owner.targets(self.sources, self.topic_ids))
            for change in found.views:
                self._convert(task, change, owner, build)
            if build is not None:
                build.check()
        if waiting:
            recipe = encode_entry(recipe_of(self.pipeline))
            self.log.append(to_every_shard(self.pipeline, recipe, self.prefix))
        for task in waiting:
            owners[task.name].open(
                self._final_places(owners[task.name], builds[task.name]),
                opening(self.pipeline, task.name, self.prefix, self.partitions),
            )
        report.stood_still_ms = self.wall_ms() - began_ms if waiting else 0
        for build in builds.values():
            report.rejected += sum(build.task.featurize.counts.dead_letters.values()) if build else 0
        served = {view.name: view.version for view in self.pipeline.views}
        self._settle([task.name for task in tasks], Standing(served, [None] * len(tasks)))
        report.took_ms = self.wall_ms() - first_ms
        return report

    def _clear_way(self, names: Sequence[str], waiting: Sequence[TaskState]) -> None:
        """Before a change begins: what an earlier one left would otherwise be taken for a part of this one."""
        ours = [
            task
            for task in waiting
            if task.position.change and task.position.change.recipe == self.pipeline.digest
        ]
        stands = standing(self.keyspace, self.deployed, names)
        if not waiting or ours or not stands.served:
            return
        self._settle(names, stands, [self._build_name(task) for task in waiting])
        if standing(self.keyspace, self.deployed, names) != stands:
            raise CannotBackfill(OVERTAKEN)

    def _settle(self, names: Sequence[str], stands: Standing, keep: Sequence[str] = ()) -> None:
        settled, deleted = settle(self.deployed, names, self.keyspace, stands, self.progress, keep)
        self.report.settled_documents += settled
        self.report.deleted_keys += deleted

    def _build(self, task: TaskState, found: Changes) -> Rebuild | None:
        """The build of what has to come from the topics; None if nothing has to."""
        wanted = {change.name for change in found.views if change.rebuilt}
        numbers = [number for number, view in enumerate(self.pipeline.views) if view.name in wanted]
        if not numbers:
            return None
        name = self._build_name(task)
        heads = self._heads(task.name)
        return Rebuild(self.pipeline, self.log, self.store_of(name), name, heads, numbers, self.prefix)

    def _build_name(self, task: TaskState) -> str:
        return build_task(task.name, f"{task.position.recipe}-{self.pipeline.digest}")

    def _heads(self, task: str) -> list[Head]:
        partitions = range(self.partitions) if task == "all" else [int(task)]
        return [(source, partition) for source in range(len(self.sources)) for partition in partitions]

    def _new_places(self, task: TaskState) -> dict[str, list[Any]]:
        """Where sources that the task did not read until now are taken up: at their ends."""
        heads = [
            head
            for head in self._heads(task.name)
            if f"{self.sources[head[0]].name}/{head[1]}" not in task.position.positions
        ]
        ends = self.log.bounds([(self.sources[index].name, partition) for index, partition in heads])
        positions = {head: HeadPosition(ends[(self.sources[head[0]].name, head[1])][1]) for head in heads}
        return named(positions, self.sources, self.topic_ids)

    def _follow(self, build: Rebuild | None) -> None:
        """Build behind a task that may be running, until little is left."""
        if build is None:
            return
        task = build.task.featurize.task.partition("+")[0]
        for _ in range(MOST_PASSES):
            stored = self.keyspace.read([position_key(self.deployed, task)])[0]
            if stored is None:
                return
            positions = decode_position(stored).at(self.sources, self.topic_ids)
            tps = {head: build.task.tp(head) for head in build.task.heads}
            ends = self.log.bounds(list(tps.values()))
            target = {
                head: positions[head].offset if head in positions else ends[tp][1] for head, tp in tps.items()
            }
            if build.behind(target) <= NEAR_RECORDS:
                return
            self._advance(build, target)

    def _advance(self, build: Rebuild | None, target: dict[Head, int]) -> None:
        if build is None:
            return
        total, done = build.behind(target), 0

        def read(records: int) -> None:
            nonlocal done
            done += records
            self.report.records_read += records
            self.progress(f"rebuilding {build.task.featurize.task}", done, total)

        build.advance(target, self.wall_ms, read)

    def _final_places(self, owner: Owner, build: Rebuild | None) -> dict[str, list[Any]]:
        """Every place of the new definition; event times of sources that are new to the task come from the build."""
        positions = owner.position.at(self.sources, self.topic_ids)
        for head, place in build.task.featurize.positions.items() if build is not None else ():
            positions[head].newest_at = max(positions[head].newest_at, place.newest_at)
        return named(positions, self.sources, self.topic_ids)

    def _convert(self, task: TaskState, change: ViewChange, owner: Owner, build: Rebuild | None) -> None:
        """Write the states and documents of one view under its new version, beside those of the old one."""
        if change.new is None:
            return
        name, given = self._build_name(task), (self.keyspace, self.wall_ms, self.prefix)
        conversion = ViewConversion(self.pipeline, task, change, name, owner.now_at, *given)
        for writes in conversion.writes():
            owner.save(writes)
            self.progress(
                f"converting {change.name} of task {task.name}", conversion.kept + conversion.rebuilt, 0
            )
        self.report.kept_states += conversion.kept
        self.report.rebuilt_states += conversion.rebuilt

"""One bootstrap: rows are stepped in the order of event time as records of topics are, kept, learned, and given to the topics.

Laws of this file:
- Samples are appended before the state that follows them is kept, as featurize does it. A batch is written while the next one is
  stepped.
- A checkpoint is of a moment between two batches: positions, state and samples of the same rows.
- The tasks are given to their topics last, when everything before them is learned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from penstock.features.redis.store import StateStore, Write
from penstock.stream import topology
from penstock.stream.bootstrap.appending import Appending
from penstock.stream.bootstrap.handover import given_to, starts_of
from penstock.stream.bootstrap.kept import Kept, Place
from penstock.stream.bootstrap.merging import Merged
from penstock.stream.bootstrap.plan import Plan
from penstock.stream.bootstrap.rows import SourceRows, begin
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.after_files import origin_of
from penstock.stream.featurize.decode import Item
from penstock.stream.featurize.merge import Head
from penstock.stream.featurize.order import step_in_order
from penstock.stream.featurize.position import HeadPosition
from penstock.stream.featurize.step import Featurize
from penstock.stream.featurize.task import Task, opening
from penstock.stream.featurize.ticks import Line, Ticks
from penstock.stream.log.protocol import Log, Out
from penstock.stream.messages import encode_entry
from penstock.stream.process.write_behind import Writer, WriteThrough
from penstock.stream.recipes import recipe_of
from penstock.stream.shards import to_every_shard

BATCH_ROWS = 8_192
KEEP_EVERY_S = 10.0
KEEP_SPACING = 10  # at most a tenth of the time goes into checkpoints
MOST_WAITING = 250_000  # states that wait to be kept
KEPT_STATES = 500_000  # of one view of a task, in memory
Progress = Callable[[str, int, int], None]


class InBulk(Featurize):
    """Featurize whose units are closed by batches: nobody reads what becomes of an entity in between."""

    @property
    def unit_is_full(self) -> bool:
        """Never: what is written is split later."""
        return False


class _Ids:
    """What a task asks of a log: the ids of its topics. Rows of files are of none."""

    def __init__(self, ids: Mapping[str, str]) -> None:
        self.topic_id = ids.__getitem__


class FileTask(Task):
    """A task whose records are rows of files."""

    def __init__(
        self, pipeline: Pipeline, plan: Plan, store: StateStore, name: str, heads: Sequence[Head], prefix: str
    ) -> None:
        ids = {source.name: origin_of(plan.digest, index) for index, source in enumerate(pipeline.sources)}
        given: Any = _Ids(ids)
        super().__init__(pipeline, given, store, name, heads, prefix)
        self.featurize = InBulk(pipeline, ids, name, prefix)


def tasks_of(pipeline: Pipeline, partitions: int) -> dict[str, list[Head]]:
    """The tasks of a pipeline as featurize makes them, and the partitions of each."""
    sources = range(len(pipeline.sources))
    if pipeline.partitioned:
        return {str(number): [(source, number) for source in sources] for number in range(partitions)}
    return {"all": [(source, number) for source in sources for number in range(partitions)]}


class Bootstrap:
    """Reads the rows of a plan, from where an earlier run of it was stopped; `place` says how far it has come.

    `store_of` gives a task's store, `hear` is told (what, done, of how many). `writer` says whether a batch is written while the
    next is stepped.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        log: Log,
        kept: Kept,
        place: Place,
        wall_ms: Callable[[], int],
        *,
        prefix: str = "",
        hear: Progress = lambda what, done, total: None,
        writer: Writer | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pipeline, self.log, self.kept, self.place = pipeline, log, kept, place
        self.wall_ms, self.prefix, self.hear, self.clock_s = wall_ms, prefix, hear, clock_s
        self.writer = writer or WriteThrough()
        self.plan = plan = place.plan
        self.tasks = {
            name: FileTask(pipeline, plan, kept.stores[name], name, heads, prefix)
            for name, heads in tasks_of(pipeline, plan.partitions).items()
        }
        self.task_of = {head[1]: task for task in self.tasks.values() for head in task.heads}
        self.samples_topic = topology.samples(pipeline.name, prefix)
        self.ticks = Ticks(pipeline, len(pipeline.sources) * plan.partitions)
        self.waiting: dict[str, dict[str, Write]] = {name: {} for name in self.tasks}
        self.rows_before, self.counts_before = place.rows, dict(place.counts)
        self.rows = place.rows

    # -- reading -----------------------------------------------------------------------------------------------------------

    def read(self) -> None:
        """Step every row that is left, and keep what came of them. Raises `CannotBootstrap`, and what stores and logs raise."""
        if self.place.stage != "reading":
            return
        merged = self._begin()
        self.settled = self._settled(merged)
        kept_s, wait_s = self.clock_s(), KEEP_EVERY_S
        while items := merged.take(BATCH_ROWS):
            self._step(items, merged)
            most = max(task.kept for task in self.tasks.values())
            waiting = sum(map(len, self.waiting.values()))
            now_s = self.clock_s()
            if now_s - kept_s >= wait_s or waiting > MOST_WAITING or most > KEPT_STATES:
                self._keep()
                if most > KEPT_STATES:
                    self.writer.finish()  # a state is let go of only when it can be loaded again
                    for task in self.tasks.values():
                        task.featurize.forget(KEPT_STATES * 3 // 4)
                kept_s = self.clock_s()
                wait_s = max(KEEP_EVERY_S, KEEP_SPACING * (kept_s - now_s))
            self.hear("reading", self.rows, self.plan.rows)
        self.settled.stage = "learning"
        self._keep()
        self.writer.finish()

    def _begin(self) -> Merged:
        """Stand where the last checkpoint was."""
        plan, place = self.plan, self.place
        marks = place.marks or [begin(files, plan.partitions) for files in plan.sources]
        buried = topology.dead_letters(self.pipeline.name, self.prefix)
        self.appending = Appending(self.log, self.samples_topic, buried, place.samples)
        heads = [head for task in self.tasks.values() for head in task.heads]
        found = {head: HeadPosition(*place.places.get(_named(head), [0, -1])) for head in heads}
        for name, task in self.tasks.items():
            positions = {head: found[head] for head in task.heads}
            task.featurize.start(positions, plan.recipe, place.dead.get(name))
            task.newest = {head: at.newest_at for head, at in positions.items()}
            self.ticks.add([task.named(head) for head in task.heads], -1)
        if place.line_at >= 0:
            line_ms = self.ticks.line_ms
            self.ticks.line = Line(place.line_at, (place.line_at // line_ms + 1) * line_ms)
        if place.number == 0:
            recipe = encode_entry(recipe_of(self.pipeline))
            for _ in self.tasks:  # each opens the lineage, as where topics are read
                self.appending.append(to_every_shard(self.pipeline, recipe, self.prefix))
        rows = [
            SourceRows(self.pipeline, files, mark, plan.until_ms, place.began_ms)
            for files, mark in zip(plan.sources, marks, strict=True)
        ]
        return Merged(rows, heads, {head: at.offset for head, at in found.items()})

    def _step(self, items: list[Item], merged: Merged) -> None:
        done = step_in_order(self.task_of, items, self.wall_ms(), self.ticks, self._store_all)
        for task, units in done.units.items():
            waiting = self.waiting[task.featurize.task]
            for unit in units:
                waiting.update((write.state_key, write) for write in unit.unit.writes)
        self.rows += len(items)
        self.settled = self._settled(merged)
        self.writer.run(partial(self._append, done.outs))

    def _append(self, outs: Sequence[Out]) -> None:
        self.appending.append(outs)

    def _store_all(self) -> None:
        """Keep what was stepped before this batch."""
        self._keep()
        self.writer.finish()

    # -- keeping -----------------------------------------------------------------------------------------------------------

    def _settled(self, merged: Merged) -> Place:
        """Where everything stands between two batches."""
        positions = {
            head: at for task in self.tasks.values() for head, at in task.featurize.positions.items()
        }
        counts = dict(self.counts_before)
        for task in self.tasks.values():
            of_task = task.featurize.counts
            buried = sum(of_task.dead_letters.values())
            for name, count in (
                ("samples", of_task.samples),
                ("labels", of_task.labels),
                ("dead letters", buried),
            ):
                counts[name] = counts.get(name, 0) + count
        return msgspec.structs.replace(
            self.place,
            marks=merged.marks({head: at.offset for head, at in positions.items()}),
            places={_named(head): [at.offset, at.newest_at] for head, at in positions.items()},
            dead={name: task.featurize.dead_share.stored() for name, task in self.tasks.items()},
            line_at=self.ticks.line.at,
            rows=self.rows,
            counts=counts,
        )

    def _keep(self) -> None:
        """Keep the last settled place, with all state that waits, once what was stepped before is appended."""
        self.place = self.settled
        self.place.number += 1
        waiting = {name: list(writes.values()) for name, writes in self.waiting.items()}
        for writes in self.waiting.values():
            writes.clear()
        # What goes on with `settled` moves another one.
        self.settled = msgspec.structs.replace(self.place)
        self.writer.run(partial(self._save, self.place, waiting))

    def _save(self, place: Place, waiting: dict[str, list[Write]]) -> None:
        place.samples = self.appending.reached()
        self.kept.save(place, waiting)

    # -- giving ------------------------------------------------------------------------------------------------------------

    def give(self, *, partial_topics: bool = False) -> None:
        """Give every task to its topics. Raises `CannotBootstrap` where these have lost records meanwhile."""
        place = self.place
        if place.stage == "over":
            return
        starts = starts_of(self.pipeline, self.log, self.plan, partial=partial_topics)
        self._stage("giving")
        for name, task in self.tasks.items():
            newest = {head: place.places.get(_named(head), [0, -1])[1] for head in task.heads}
            dead = place.dead.get(name, {})
            position = given_to(self.pipeline, self.log, self.plan, starts, newest, dead)
            self.kept.give(name, position, opening(self.pipeline, name, self.prefix, self.plan.partitions))
        self._stage("over")

    def _stage(self, stage: str) -> None:
        if self.place.stage != stage:
            self.place.number += 1
            self.place.stage = stage
            self.kept.save(self.place, {})


def _named(head: Head) -> str:
    return f"{head[0]}/{head[1]}"

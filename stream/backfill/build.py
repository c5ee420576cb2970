"""Builds the state of some views from their topics, up to a position, beside whatever runs.

Laws of this file:
- Exactly once, like any task: state and position move together, so a build that was stopped goes on where it was.
- Nothing is appended and nothing is public: the state lies under a task name of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from penstock.features.redis.store import StateLost, StateStore
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.merge import Head
from penstock.stream.featurize.order import step_alone
from penstock.stream.featurize.task import Task
from penstock.stream.log.protocol import TP, Log

POLL_RECORDS = 1_000
KEPT_STATES = 200_000


class Rebuild:
    """The build of one task's next state: `views` (by place) of `pipeline`, from `heads`."""

    def __init__(
        self,
        pipeline: Pipeline,
        log: Log,
        store: StateStore,
        name: str,
        heads: Sequence[Head],
        views: Collection[int],
        prefix: str = "",
    ) -> None:
        self.log, self.store = log, store
        sources = {pipeline.views[number].source.name for number in views}
        fed = [head for head in heads if pipeline.sources[head[0]].name in sources]
        self.task = Task(pipeline, log, store, name, fed, prefix, views)
        try:
            self.task.take_up_building()
        except StateLost:  # half a build is worth nothing
            store.clear()
            self.task.take_up_building()

    def behind(self, target: Mapping[Head, int]) -> int:
        """How many records are left to `target`."""
        positions = self.task.featurize.positions
        return sum(max(0, target[head] - place.offset) for head, place in positions.items() if head in target)

    def advance(
        self, target: Mapping[Head, int], wall_ms: Callable[[], int], progress: Callable[[int], None]
    ) -> None:
        """Read on to exactly `target`: the offset of the first record that is not built in, by head.

        `progress` hears of records read. Raises `OffsetLost` where retention deleted what is still to be read.
        """
        task = self.task
        positions = task.featurize.positions
        left: dict[TP, int] = {
            task.tp(head): target[head]
            for head, place in positions.items()
            if place.offset < target.get(head, 0)
        }
        if not left:
            return
        heads = {task.tp(head): head for head in task.heads}
        reader = self.log.reader({tp: positions[heads[tp]].offset for tp in left})
        full: set[Head] = set()
        try:
            while left:
                records = [
                    record
                    for record in reader.poll(POLL_RECORDS, 1.0)
                    if record.offset < left.get((record.topic, record.partition), 0)
                ]
                task.enqueue(records, wall_ms())
                # What is not in the log any more (compaction, markers) counts as read once the reader is past it.
                read_to = reader.positions()
                left = {tp: end for tp, end in left.items() if read_to.get(tp, 0) < end}
                self._step({head for tp, head in heads.items() if tp not in left}, wall_ms())
                full = task.merge.full(full)
                reader.pause([task.tp(head) for head in full])
                progress(len(records))
        finally:
            reader.close()

    def check(self) -> None:
        """Raise `Fenced` or `StateLost` if this build is not as it was left, by another run or a loss."""
        self.store.alive()

    def _step(self, at_end: set[Head], wall_ms: int) -> None:
        task = self.task
        while True:
            done = step_alone(task, at_end, wall_ms, POLL_RECORDS)
            units = [unit.unit for of_task in done.units.values() for unit in of_task]
            if not units:
                return
            self.store.save(units)
            task.featurize.forget(KEPT_STATES)
            if not len(task.merge):
                return

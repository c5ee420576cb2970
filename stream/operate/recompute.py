"""The samples log as another definition would have written it: featurize's own engine over the source topics, in memory.

Laws of this file:
- The tasks, the merge, the step and the ticks are those of the featurize role, so the same definition gives the same samples and
  labels, in the same order and with the same origins. Ticks of the wall clock, which tell of idle partitions, are left out.
- Nothing is appended, no group is joined or asked, and state lies in this process's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from penstock.features.redis.memory import MemoryServer, MemoryStateStore
from penstock.stream import topology
from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.featurize.merge import Head
from penstock.stream.featurize.order import Together
from penstock.stream.featurize.task import Task
from penstock.stream.log.protocol import TP, Log, Out, Record
from penstock.stream.messages import Entry, LabelRecord, Sample, decode_entry

BATCH_RECORDS = 1_000
KEPT_STATES = 200_000
NO_CLOCK = 0


class Recomputation:
    """Samples, labels and ticks of `pipeline` from all that its sources hold now. `progress` hears of (records read, of all)."""

    def __init__(
        self,
        pipeline: Pipeline,
        log: Log,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.pipeline, self.log, self.progress = pipeline, log, progress
        self.sources = pipeline.sources
        counts = {source.name: log.partitions(source.name) for source in self.sources}
        if len(set(counts.values())) > 1:
            raise DefinitionError(f"sources must have equal partition counts, these have {counts}")
        self.partitions = counts[pipeline.predict.name]
        tps = [(source.name, partition) for source in self.sources for partition in range(self.partitions)]
        self.bounds = log.bounds(tps)
        self.server = MemoryServer()
        self.tasks = self._tasks()
        self.task_of = {task.tp(head): task for task in self.tasks for head in task.heads}

    @property
    def gone(self) -> dict[TP, int]:
        """The partitions whose first records retention has deleted, and how many these are."""
        return {tp: low for tp, (low, _) in self.bounds.items() if low}

    def _tasks(self) -> list[Task]:
        sources = range(len(self.sources))
        groups: dict[str, list[Head]] = {
            "all": [(source, n) for source in sources for n in range(self.partitions)]
        }
        if self.pipeline.partitioned:
            groups = {str(n): [(source, n) for source in sources] for n in range(self.partitions)}
        made = []
        for name, heads in groups.items():
            store = MemoryStateStore(self.server, self.pipeline.name, name)
            made.append(Task(self.pipeline, self.log, store, name, heads, ""))
            made[-1].take_up_building()
        return made

    def entries(self, until: int | None = None) -> Iterator[Entry]:
        """What featurize would have appended, up to the events of `until` (event time in ms)."""
        together = Together(self.pipeline, len(self.bounds))
        for task in self.tasks:
            together.add(task)
        samples = topology.samples(self.pipeline.name)
        # What comes behind the newest event of its partition by more than the grace is a dead letter, so this is the end of it.
        end_at = None if until is None else until + self.pipeline.predict.grace_ms
        left = {tp: high for tp, (low, high) in self.bounds.items() if low < high}
        total, done = sum(high - low for low, high in self.bounds.values()), 0
        reader = self.log.reader({tp: self.bounds[tp][0] for tp in left})
        full: set[Head] = set()
        try:
            while left or len(together.merge):
                records = self._within(reader.poll(BATCH_RECORDS, 1.0)) if left else []
                by_task: dict[Task, list[Record]] = {}
                for one in records:
                    by_task.setdefault(self.task_of[one[:2]], []).append(one)
                for task, of_task in by_task.items():
                    task.enqueue(of_task, NO_CLOCK)
                read_to = reader.positions()
                left = {tp: end for tp, end in left.items() if read_to.get(tp, 0) < end}
                at_end = {head for task in self.tasks for head in task.heads if task.tp(head) not in left}
                for out in self.stepped(together, at_end):
                    if out.topic != samples or out.value is None:
                        continue
                    entry: Entry = decode_entry(out.value)
                    if isinstance(entry, Sample | LabelRecord) and end_at is not None and entry.at >= end_at:
                        return
                    yield entry
                full = together.merge.full(full)
                if left:
                    reader.pause([self._tp(head) for head in full if self._tp(head) in left])
                done += len(records)
                self.progress(done, total)
        finally:
            reader.close()

    def _tp(self, head: Head) -> TP:
        return self.sources[head[0]].name, head[1]

    def _within(self, records: list[Record]) -> list[Record]:
        """Those that were there when this began."""
        return [one for one in records if one.offset < self.bounds[(one.topic, one.partition)][1]]

    def stepped(self, together: Together, at_end: set[Head]) -> Iterator[Out]:
        """Step all that is ready, and keep the states; what comes of it."""
        while True:
            stepped = together.step(at_end, NO_CLOCK, BATCH_RECORDS)
            if not stepped.items:
                return
            yield from stepped.outs
            for task, units in stepped.units.items():
                task.store.save([unit.unit for unit in units])
                task.featurize.forget(KEPT_STATES)

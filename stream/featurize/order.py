"""One order for the tasks that a worker steps together: that of event time, whatever partition an event came from.

Laws of this file:
- Items are stepped in the order of the merge over every partition of all these tasks, and so stand their outputs: the samples
  log is in event-time order, but for what a source itself brings out of order.
- A task's own items keep their order, so its states and units are what they would be if it ran alone.
- A record that raises is buried: its batch is stepped once more, with care.
- Nothing is appended or saved here: the worker has what comes of it written in the one safe order. States that are loaded again
  are loaded when everything stepped before is `stored`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.careful import snapshot, start_over, step_or_bury
from penstock.stream.featurize.compiled import compiled
from penstock.stream.featurize.decode import Item
from penstock.stream.featurize.merge import Head, Merge
from penstock.stream.featurize.pace import ALL, Pace
from penstock.stream.featurize.step import Featurize, FeaturizeUnit
from penstock.stream.featurize.task import Task
from penstock.stream.featurize.ticks import NEVER, Ticks
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Tick, encode_entry
from penstock.stream.shards import to_every_shard

logger = logging.getLogger("penstock.featurize")

#: How many batches one turn may make of what several tasks have ready: a task's loads and saves are paid once for its share.
MOST_BATCHES = 8


def at_once() -> None:
    """What was stepped before is stored already."""


class Stepped(NamedTuple):
    """What came of a batch of `items`: append `outs` and wait, then save each task's `units` in their order."""

    items: Sequence[Item]
    outs: list[Out]
    units: dict[Task, list[FeaturizeUnit]]


class Together:
    """The tasks of a worker that are stepped in one order. `partitions` is how many the pipeline's sources have in all.

    `patience_ms` is how long one at its end is waited for while event time runs fast (`pace`).
    """

    def __init__(self, pipeline: Pipeline, partitions: int, patience_ms: int = 0) -> None:
        self.merge = Merge(())
        self.tasks: list[Task] = []
        self.task_of: dict[int, Task] = {}
        self.ticks = Ticks(pipeline, partitions)
        self.pace = Pace(patience_ms, self.ticks.line_ms)

    def add(self, task: Task) -> None:
        """Step this task with the others from now on."""
        self.merge.absorb(task.merge)
        task.merge = self.merge
        self.tasks.append(task)
        self.task_of.update({head[1]: task for head in task.heads})
        self.ticks.add([task.named(head) for head in task.heads], task.reached)

    def hold(self, tasks: Iterable[Task], wall_ms: int) -> Stepped:
        """The tick that has the fold's clock wait for those of these tasks that are rebuilt; none where none is.

        Their partitions may count as idle. What they bring once they are stepped with the others is in time then.
        """
        rebuilt = [task for task in tasks if task.rebuilding_from is not None]
        if not rebuilt:
            return Stepped([], [], {})
        times = {task.named(head): max(task.reached, 0) for task in rebuilt for head in task.heads}
        tick = encode_entry(Tick(times, [], wall_ms, self.ticks.partitions))
        return Stepped([], list(to_every_shard(rebuilt[0].pipeline, tick, rebuilt[0].prefix)), {})

    def step(
        self,
        at_end: set[Head],
        wall_ms: int,
        most: int,
        stored: Callable[[], None] = at_once,
        limit: int = ALL,
    ) -> Stepped:
        """Step what is ready, at most `most` items a task; once a second of the wall clock, a tick closes the outputs.

        `stored` returns when everything stepped before is stored. Nothing behind `limit` (event time in ms) is stepped.
        """
        most *= min(len(self.tasks), MOST_BATCHES)
        limit = min(limit, self._limit(at_end, wall_ms))
        items = list(islice(self.merge.take(at_end, limit), most))
        done = step_in_order(self.task_of, items, wall_ms, self.ticks, stored)
        tick = self.ticks.after(wall_ms, [n for task in self.tasks for n in task.idle(at_end, wall_ms)])
        if tick is not None:
            one = self.tasks[0]
            done.outs.extend(to_every_shard(one.pipeline, encode_entry(tick), one.prefix))
        return done

    def has_more(self, at_end: set[Head], wall_ms: int) -> bool:
        """Whether there is something to step, to read, or, at the end of a partition, worth a moment's patience."""
        if len(self.merge) or any(head not in at_end for task in self.tasks for head in task.heads):
            return True
        last_ms = max((ms for task in self.tasks for ms in task.seen_wall_ms.values()), default=-1)
        return self.pace.fast and 0 <= wall_ms - last_ms < self.pace.patience_ms

    def _limit(self, at_end: set[Head], wall_ms: int) -> int:
        """How far event time may go on, as `Pace` says."""
        last = [
            (task.newest[head], task.seen_wall_ms.get(head, task.began_wall_ms))
            for task in self.tasks
            for head in task.heads
            if head in at_end
        ]
        newest_at = max((at for task in self.tasks for at in task.newest.values()), default=-1)
        return self.pace.limit(newest_at, last, wall_ms)


def step_in_order(
    task_of: Mapping[int, Task],
    items: list[Item],
    wall_ms: int,
    ticks: Ticks | None = None,
    stored: Callable[[], None] = at_once,
) -> Stepped:
    """Step items of several tasks in the order given; their outputs come in that order, whichever task made them.

    `task_of` is by partition. With `ticks`, a tick stands before every item whose event time passes a line.
    """
    entities = _load(task_of, items)
    before = {task: snapshot(task.featurize) for task in {task_of[item.partition] for item in items}}
    line = None if ticks is None else ticks.line
    try:
        return _step(task_of, items, entities, wall_ms, ticks, careful=False)
    except Exception as error:
        logger.exception("a record cannot be stepped (%s): its batch is stepped again without it", error)
    stored()
    for task, was in before.items():
        start_over(task.featurize, was)
    if ticks is not None and line is not None:
        ticks.line = line
    entities = _load(task_of, items)
    return _step(task_of, items, entities, wall_ms, ticks, careful=True)


def _step(
    task_of: Mapping[int, Task],
    items: list[Item],
    entities: list[list[str | None]],
    wall_ms: int,
    ticks: Ticks | None,
    *,
    careful: bool,
) -> Stepped:
    outs: list[Out] = []
    units: dict[Task, list[FeaturizeUnit]] = {}
    next_at = NEVER if ticks is None else ticks.line.next_at
    steppers = {} if careful else _steppers(task_of)
    step = step_or_bury if careful else Featurize.step
    number = 0
    while number < len(items):
        if steppers and (run := compiled()) is not None:
            touched: dict[int, None] = {}
            after = run.run(steppers, items, entities, number, next_at, outs, touched)
            for partition in touched:
                units.setdefault(task_of[partition], [])
            if after > number:
                number = after
                task = task_of[items[number - 1].partition]
                if task.featurize.unit_is_full:
                    units[task].append(task.featurize.close_unit(wall_ms))
                continue
        item = items[number]
        if item.at >= next_at and ticks is not None:
            tick = encode_entry(ticks.reach(item.at, wall_ms))
            one = task_of[item.partition]
            outs += to_every_shard(one.pipeline, tick, one.prefix)
            next_at = ticks.line.next_at
            continue
        task = task_of[item.partition]
        featurize, of_task = task.featurize, units.setdefault(task, [])
        step(featurize, item, entities[number])
        if task.rebuilding_from is None or not task.is_known(item):
            outs += featurize.outs
        featurize.outs.clear()
        if featurize.unit_is_full:
            of_task.append(featurize.close_unit(wall_ms))
        number += 1
    for task, of_task in units.items():
        of_task.append(task.featurize.close_unit(wall_ms))
        task.end_rebuild()
    return Stepped(items, outs, units)


def _steppers(task_of: Mapping[int, Task]) -> dict[int, Any]:
    """What steps ordinary items in C, by partition; not of tasks that are being rebuilt, which say little of what they do."""
    return {
        partition: task.featurize.stepper
        for partition, task in task_of.items()
        if task.featurize.stepper is not None and task.rebuilding_from is None
    }


def _load(task_of: Mapping[int, Task], items: Sequence[Item]) -> list[list[str | None]]:
    """Name each item's entities, and bring every state that these need into memory, task by task."""
    missing: dict[Task, dict[tuple[int, str], None]] = {task: {} for task in task_of.values()}
    if (native := compiled()) is not None:
        plans_of = {
            partition: (task.featurize.plans, task.featurize.states, missing[task])
            for partition, task in task_of.items()
        }
        entities: list[list[str | None]] = native.needed(plans_of, items)
    else:
        entities = [task_of[item.partition].featurize.entities(item) for item in items]
        for item, keys in zip(items, entities, strict=True):
            task = task_of[item.partition]
            missing[task].update(dict.fromkeys(task.featurize.missing([item], [keys])))
    for task, wanted in missing.items():
        task.load(list(wanted))
    return entities


def step_alone(
    task: Task, at_end: set[Head], wall_ms: int, most: int, stored: Callable[[], None] = at_once
) -> Stepped:
    """Step what is ready of one task, at most `most` items, without ticks."""
    items = list(islice(task.merge.take(at_end), most))
    return step_in_order({head[1]: task for head in task.heads}, items, wall_ms, None, stored)

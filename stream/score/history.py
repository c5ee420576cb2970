"""Features as of each row's own time: the source topics are read once more, and rows are answered where their time comes.

Laws of this file:
- The merge, the steps and the states are those of featurize. A row has read what had come by its time, and nothing later.
- A row that is an event of the topic (its id and time) gets the vector of that event's sample: it is answered just before it is
  stepped. Any other is answered as if it were published last of its moment.
- A row changes nothing: it is answered from copies of the states.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from penstock.features.engine.compute import State
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import Item
from penstock.stream.featurize.merge import Head
from penstock.stream.featurize.order import Together, step_in_order
from penstock.stream.log.protocol import Log, Out
from penstock.stream.operate.recompute import BATCH_RECORDS, KEPT_STATES, NO_CLOCK, Recomputation
from penstock.stream.serve.vectors import Asked, Vectors


class _Done(Exception):
    """Every row was told: what comes later need not be read."""


class AsOf(Recomputation):
    """`rows` are (number, event), as `vectors` reads them; `told` hears of each and its vector, in the order of time."""

    def __init__(
        self,
        pipeline: Pipeline,
        log: Log,
        rows: list[tuple[int, Asked]],
        vectors: Vectors,
        told: Callable[[int, Asked, list[object]], None],
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        super().__init__(pipeline, log, progress)
        self.vectors, self.told = vectors, told
        self.waiting = deque(sorted(rows, key=lambda row: (row[1].at, row[0])))
        self.by_event: dict[tuple[str, int], list[tuple[int, Asked]]] = {}
        for row in rows:
            self.by_event.setdefault((row[1].id, row[1].at), []).append(row)
        self.done: set[int] = set()

    def run(self) -> None:
        """Tell all rows."""
        try:
            for _ in self.entries():
                pass
        except _Done:
            return
        while self.waiting:
            self._tell(*self.waiting.popleft())

    def stepped(self, together: Together, at_end: set[Head]) -> Iterator[Out]:
        """Step all that is ready, stopping wherever rows are due."""
        while items := list(islice(together.merge.take(at_end), BATCH_RECORDS)):
            begin = 0
            for place, item in enumerate(items):
                own = self.by_event.get((item.id, item.at), ()) if item.source == 0 and item.event else ()
                if own or self._due(item):
                    self._step(together, items[begin:place])
                    begin = place
                    while self._due(item):
                        self._tell(*self.waiting.popleft())
                    for row in own:
                        self._tell(*row)
                    if not self.waiting:
                        raise _Done
            self._step(together, items[begin:])
        return iter(())

    def _due(self, item: Item) -> bool:
        """Whether the next row's moment is over before this item."""
        while self.waiting and self.waiting[0][0] in self.done:
            self.waiting.popleft()
        if not self.waiting:
            return False
        at = self.waiting[0][1].at
        return at < item.at or (at == item.at and item.source != 0)

    def _step(self, together: Together, items: list[Item]) -> None:
        if not items:
            return
        stepped = step_in_order(together.task_of, items, NO_CLOCK)
        for task, units in stepped.units.items():
            task.store.save([unit.unit for unit in units])
            task.featurize.forget(KEPT_STATES)

    def _tell(self, number: int, asked: Asked) -> None:
        if number in self.done:
            return
        self.done.add(number)
        states = [
            None if entity is None else self._state(place, entity)
            for place, entity in enumerate(asked.entities)
        ]
        given = [state for state, entity in zip(states, asked.entities, strict=True) if entity is not None]
        ((vector, _),) = self.vectors.vectors([asked], given)
        self.told(number, asked, vector)

    def _state(self, place: int, entity: str) -> State | None:
        """A copy of the newest state that any task keeps of an entity."""
        found: list[State] = []
        for task in self.tasks:
            featurize = task.featurize
            here = featurize.states[place].get(entity)
            if here is None:
                data = task.store.load([featurize.stored_key(place, entity)])[0]
            else:
                data = featurize.compiled[place].encode(here)
            if data:
                found.append(self.vectors.views[place][1].decode(data))
        state = max(found, key=lambda one: one.newest, default=None)
        return None if state is None or state.newest < 0 else state

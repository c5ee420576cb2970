"""How far a bootstrap has come, kept in the store beside the state: what was stepped comes again neither in state nor in samples.

Laws of this file:
- State is written in two steps, because thousands of entities fit in no single unit of work. First all that has changed since the
  last checkpoint lies beside the state, with the place it is of; that is one move. Then each task's state is written from there:
  values, so that a run that finds the first step done does the second once more, wherever it was stopped.
- Positions of tasks say that history is being read from files until the topics take over: no role begins on them before.
- Every write is fenced by its task's token: an older run that wakes changes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from penstock.features.redis.keys import position_key, states_prefix
from penstock.features.redis.store import UNIT_BYTES, UNIT_KEYS, StateStore, Unit, Write
from penstock.stream.bootstrap.plan import CannotBootstrap, Plan
from penstock.stream.bootstrap.rows import Mark
from penstock.stream.featurize.after_files import FILES_RUN
from penstock.stream.featurize.position import Change, Position, decode_position

TASK = "bootstrap"
"""The task under which this is kept; no worker has one of that name."""
STEPS = 1 << 32
Writes = dict[str, list[Write]]
"""What is to be written, by task."""


class Place(msgspec.Struct, kw_only=True):
    """Everything about how far a bootstrap has come that is not state.

    `places` are [next offset, newest event time] by "source/partition", `dead` what `DeadShare` counted, by task. `line_at` is
    the event time of the last tick, `samples` the end of each partition of the samples log. `stage` is reading, learning, giving
    or over. With `again`, the store lost what these files had given before: their samples are there, and perhaps later ones.
    """

    plan: Plan
    began_ms: int
    again: bool = False
    number: int = 0
    stage: str = "reading"
    marks: list[Mark] = []
    places: dict[str, list[int]] = {}
    dead: dict[str, dict[str, list[Any]]] = {}
    line_at: int = -1
    samples: list[int] = []
    rows: int = 0
    counts: dict[str, int] = {}
    chunks: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Place).decode
_chunk = msgspec.msgpack.Decoder(dict[str, list[tuple[str, bytes, str, bytes, int]]]).decode


class Kept:
    """Keeps one bootstrap's place and its tasks' state. `store_of` gives the store of a task by its name."""

    def __init__(
        self, store_of: Callable[[str], StateStore], deployed: str, plan: Plan, tasks: Sequence[str]
    ) -> None:
        self.plan, self.deployed = plan, deployed
        self.store = store_of(TASK)
        self.stores = {task: store_of(task) for task in tasks}
        self.positions: dict[str, bytes] = {}
        self.position = b""
        self.prefix = states_prefix(deployed, TASK)
        self.step = 0
        # No position of another run is taken for one of this run's: what it wrote there may differ.
        self.incarnation = secrets.token_hex(4)

    @property
    def run(self) -> str:
        """What the tasks' positions call this run."""
        return f"{FILES_RUN}{self.plan.digest}"

    def load(self) -> Place | None:
        """Take the bootstrap; how far it has come, with its state written, or None where none has begun.

        Raises `CannotBootstrap` where the stored one is another.
        """
        stored = self.store.acquire()
        self.position = stored or b""
        place = None if stored is None else self.peek()
        if place is None:
            return None
        self.plan = place.plan
        if place.stage in ("reading", "learning"):
            self._take_tasks(place)
            self._apply(self._staged(place))
        return place

    def peek(self) -> Place | None:
        """How far a bootstrap has come, without taking it; None where none has begun. Raises as `load`."""
        found = self.store.load([self.prefix + "place"])[0]
        if found is None:
            return None
        place = _decode(found)
        if place.plan.digest != self.plan.digest:
            raise CannotBootstrap(another(place))
        return place

    def begin(self, place: Place) -> None:
        """Begin at this place with no state."""
        if not self.position:
            self.position = self._at(0, 0)
            self.store.start(self.position)
        # Whoever finds a task that is being read finds this place, too, wherever this is stopped.
        self.save(place, {})
        self._take_tasks(place)

    def _take_tasks(self, place: Place) -> None:
        for task, store in self.stores.items():
            stored = store.acquire()
            if stored is None and place.number > 0:
                raise CannotBootstrap(self._gone())
            if stored is None:
                stored = self._of_task(0)
                store.start(stored)
            change = decode_position(stored).change
            if change is None or change.run != self.run:
                raise CannotBootstrap(
                    f"task {task} of {self.plan.pipeline!r} has state of its own by now: `penstock reset FILE` starts over"
                )
            self.step = max(self.step, change.step)
            self.positions[task] = stored

    def _of_task(self, step: int) -> bytes:
        return Position(self.plan.recipe, {}, Change(self.plan.recipe, step, self.run)).encode()

    def _at(self, number: int, part: int) -> bytes:
        return _encode([self.plan.digest, self.incarnation, number, part])

    # -- writing -----------------------------------------------------------------------------------------------------------

    def save(self, place: Place, writes: Writes) -> None:
        """Have come to this place, with these writes since the last: `place.number` grows by one each time."""
        chunks = list(_chunks(writes))
        place.chunks = len(chunks)
        units = []
        for part, chunk in enumerate(chunks):
            staged = Write(f"{self.prefix}{place.number % 2}:{part}", _encode(chunk), "", b"", 0)
            units.append(self._unit(self._at(place.number, part + 1), [staged]))
        kept = Write(self.prefix + "place", _encode(place), "", b"", 0)
        units.append(self._unit(self._at(place.number, STEPS), [kept]))
        self.store.save(units)
        self._apply(chunks)

    def _unit(self, new: bytes, writes: Sequence[Write]) -> Unit:
        before, self.position = self.position, new
        return Unit(before, new, writes)

    def _staged(self, place: Place) -> list[Mapping[str, Sequence[Any]]]:
        names = [f"{self.prefix}{place.number % 2}:{part}" for part in range(place.chunks)]
        found = self.store.load(names)
        if None in found:
            raise CannotBootstrap(self._gone())
        return [_chunk(one) for one in found if one is not None]

    def _gone(self) -> str:
        return f"what was stored of the bootstrap of {self.plan.pipeline!r} is partly gone: `penstock reset FILE` starts over"

    def _apply(self, chunks: Sequence[Mapping[str, Sequence[Any]]]) -> None:
        """Write what lies beside the state into it, task by task."""
        for task, store in self.stores.items():
            units = []
            for chunk in chunks:
                for writes in _units(chunk.get(task, ())):
                    self.step += 1
                    new = self._of_task(self.step)
                    units.append(Unit(self.positions[task], new, writes))
                    self.positions[task] = new
            store.save(units)

    def give(self, task: str, position: Position, write: Write) -> None:
        """Give a task to the topics: from here on a worker goes on with it. One that was given already is left alone."""
        store = self.stores[task]
        stored = store.load([position_key(self.deployed, task)])[0]
        change = None if stored is None else decode_position(stored).change
        if change is not None and change.run == self.run:
            before = store.acquire()
            assert before is not None and before == stored, "nobody else moves a task that is being read"
            store.save([Unit(before, position.encode(), [write])])


def another(place: Place) -> str:
    """Why a bootstrap cannot begin where another one was."""
    done = "is over" if place.stage == "over" else "was begun and is not over"
    files = ", ".join(f"{one.topic}: {sum(map(len, one.runs))} files" for one in place.plan.sources)
    return (
        f"a bootstrap of {place.plan.pipeline!r} {done} that reads other files, or ends elsewhere, or has another definition "
        f"({files}; recipe {place.plan.recipe}, plan {place.plan.digest}): give the same command as then, or start over with "
        "`penstock reset FILE`"
    )


def _chunks(writes: Writes) -> Iterator[Writes]:
    """What is to be written in parts that a server takes without a pause."""
    part: Writes = {}
    size = 0
    for task, of_task in writes.items():
        for write in of_task:
            part.setdefault(task, []).append(write)
            size += len(write.state) + len(write.document) + len(write.state_key) + len(write.public_key)
            if size >= UNIT_BYTES * 4:
                yield part
                part, size = {}, 0
    if part:
        yield part


def _units(writes: Sequence[Any]) -> Iterator[list[Write]]:
    """The writes of single units."""
    unit: list[Write] = []
    size = 0
    for one in writes:
        write = Write(*one)
        unit.append(write)
        size += len(write.state) + len(write.document)
        if len(unit) * 2 >= UNIT_KEYS or size >= UNIT_BYTES:
            yield unit
            unit, size = [], 0
    if unit:
        yield unit

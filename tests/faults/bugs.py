"""Bugs that a checker has to find: each replaces a function of a role, in that role's process alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from tests.faults.in_roles import once, wrapped

STEP = "penstock.stream.featurize.step:Featurize"
STORE = "penstock.features.redis.store:RedisStateStore"
NUMBER = 150


def nth(number: int) -> Callable[[], bool]:
    """True at one call, the `number`-th."""
    calls = 0

    def due() -> bool:
        nonlocal calls
        calls += 1
        return calls == number

    return due


def skip(_: str) -> None:
    """One event moves the position, and nothing else."""
    due = nth(NUMBER)

    def make(real: Any) -> Any:
        def step(self: Any, item: Any, entities: Any) -> None:
            if item.event is not None and due():
                place = self.positions[(item.source, item.partition)]
                place.offset, place.newest_at = item.offset + 1, item.newest_at
                return
            real(self, item, entities)

        return step

    wrapped(f"{STEP}.step", make)


def twice(_: str) -> None:
    """One event updates its views again."""
    due = nth(NUMBER)

    def make(real: Any) -> Any:
        def update(self: Any, *given: Any) -> Any:
            found = real(self, *given)
            if due():
                real(self, *given)
            return found

        return update

    wrapped(f"{STEP}._update", make)


def swap(_: str) -> None:
    """Two events of one partition change places."""
    due = nth(3)

    def make(real: Any) -> Any:
        def step(task_of: Any, items: Any, entities: Any, *given: Any, **more: Any) -> Any:
            items, entities = list(items), list(entities)
            valid = [n for n, item in enumerate(items) if item.event is not None]
            heads = {n: (items[n].source, items[n].partition) for n in valid}
            pairs = [
                (a, b)
                for a in valid
                for b in valid
                if a < b < valid[-1] and heads[a] == heads[b] == heads[valid[-1]]
            ]
            if len(valid) > 10 and pairs and due():
                a, b = pairs[len(pairs) // 2]
                items[a], items[b], entities[a], entities[b] = items[b], items[a], entities[b], entities[a]
            return real(task_of, items, entities, *given, **more)

        return step

    wrapped("penstock.stream.featurize.order:_step", make)


def no_fence(_: str) -> None:
    """Whoever writes last wins: no owner is asked for, nor a position."""
    from penstock.features.redis import scripts

    for line in ("if token ~= args[1] then return -1 end", "if position ~= args[3] then return -5 end"):
        assert line in scripts.SAVE
        scripts.SAVE = scripts.SAVE.replace(line, "")
    wrapped(f"{STORE}._check", lambda real: lambda self, code: None)
    wrapped(f"{STORE}.alive", lambda real: lambda self: None)


def commit_first(mark: str) -> None:
    """The position moves before the outputs are appended, and the process dies in between."""
    from penstock.stream.featurize.writing import Writing

    due, append = nth(12), Writing._produce

    def make(real: Any) -> Any:
        def save(self: Any, batch: Any) -> None:
            real(self, batch)
            if due() and once(mark):
                os.kill(os.getpid(), signal.SIGKILL)
            append(self, batch)

        return save

    wrapped("penstock.stream.featurize.writing:Writing._produce", lambda real: lambda self, batch: None)
    wrapped("penstock.stream.featurize.writing:Writing._save", make)


def expire_early(_: str) -> None:
    """State is deleted as if no event of before could count any more."""
    wrapped("penstock.stream.featurize.expiry:Expiry._floor_ms", lambda real: lambda self, number: 2**62)
    from penstock.stream.featurize import expiry

    expiry.LOOK_EVERY_MS = min(expiry.LOOK_EVERY_MS, 50)


def expire_labels(_: str) -> None:
    """A sample waits for its label no longer than time stands still."""

    def make(real: Any) -> Any:
        def advance(self: Any) -> Any:
            rule = self.rule
            self.rule = rule._replace(wait_ms=60_000)
            try:
                return real(self)
            finally:
                self.rule = rule

        return advance

    wrapped("penstock.stream.learn.join_by_id:JoinById._advance", make)


def wrong_sample(_: str) -> None:
    """One label is read as that of another sample, which waits for its own."""
    import msgspec

    from penstock.stream.messages import LabelRecord, Sample

    due = nth(NUMBER)
    waiting: dict[str, None] = {}

    def make(real: Any) -> Any:
        def read(value: Any) -> Any:
            found = real(value)
            if isinstance(found, Sample):
                waiting[found.id] = None
            elif isinstance(found, LabelRecord) and found.id in waiting:
                del waiting[found.id]
                if waiting and due():
                    return msgspec.structs.replace(found, id=next(reversed(waiting)))
            return found

        return read

    wrapped("penstock.stream.learn.worker:entry_of", make)


def forget_weights(_: str) -> None:
    """A gate that is restored begins with equal weights."""
    from penstock.stream.learn.gate import Gate

    def restore(self: Any, state: Any) -> None:
        for name, value in state[1].items():
            setattr(self, name, value)
        self.weights = [[1 / len(weights)] * len(weights) for weights in self.weights]

    Gate.__setstate__ = restore  # type: ignore[attr-defined]


def carry_out_again(_: str) -> None:
    """A command that stands in the log again is carried out again."""

    def make(real: Any) -> Any:
        def command(self: Any, position: int, command: Any, prepared: Any) -> None:
            if command.id in self.applied:
                self.applied.remove(command.id)
            real(self, position, command, prepared)

        return command

    wrapped("penstock.stream.learn.fold:Fold._command", make)


def old_document(_: str) -> None:
    """Now and then a document of before is written beside a new state."""
    before: dict[str, bytes] = {}
    writes = 0

    def make(real: Any) -> Any:
        def save(self: Any, units: Any) -> None:
            nonlocal writes
            changed = []
            for unit in units:
                made = []
                for write in unit.writes:
                    former = before.get(write.public_key)
                    before[write.public_key] = write.document
                    writes += 1
                    stale = write.document and former and writes % 7 == 0
                    made.append(write._replace(document=former) if stale else write)
                changed.append(unit._replace(writes=made))
            real(self, changed)

        return save

    wrapped(f"{STORE}.save", make)


BUGS: dict[str, Callable[[str], None]] = {
    "one event skipped": skip,
    "one event applied twice": twice,
    "two events swapped": swap,
    "fence dropped": no_fence,
    "commit before write": commit_first,
    "state expires too early": expire_early,
    "labels expire too early": expire_labels,
    "a label joined to a wrong sample": wrong_sample,
    "an expert's weight not restored": forget_weights,
    "a request carried out twice": carry_out_again,
    "a document older than its state": old_document,
}

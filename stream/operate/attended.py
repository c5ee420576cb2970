"""A fold with the policy beside it: what it asks for is decided, and carried out at the next record, retrain jobs included.

Laws of this file:
- The decisions are the control role's (`stream.control.policy`), and take no time: a command is the record after the request.
- A retrain's job trains at once on what was folded so far. No broker, no store: the log is a list of what was folded, encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.stream.control.policy import decide, due, observe
from penstock.stream.control.state import PolicyConfig, PolicyState
from penstock.stream.definitions import Pipeline
from penstock.stream.history_record import HistoryRecord
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.replay import prepare
from penstock.stream.learn.retrain import run_job
from penstock.stream.log.protocol import Out, Record
from penstock.stream.messages import Command, ControlEvent, Decision, Entry, decode_entry, encode_entry
from penstock.stream.models.store import MemoryModelStore
from penstock.stream.recipes import recipe_of

TOPIC = "attended"
RESEND_MS = 10_000


class FoldedLog:
    """As much of a log as a retrain job reads: one topic, whose records are the entries folded so far."""

    def __init__(self, entries: list[bytes]) -> None:
        self.entries = entries
        self.appended: list[Entry] = []

    def bounds(self, tps: Sequence[tuple[str, int]]) -> dict[tuple[str, int], tuple[int, int]]:
        """From the first entry to the newest."""
        return dict.fromkeys(tps, (0, len(self.entries)))

    def append(self, outs: Sequence[Out]) -> None:
        """Keep what a job appends until its turn comes."""
        self.appended += [decode_entry(out.value or b"") for out in outs]

    def reader(self, positions: dict[tuple[str, int], int]) -> FoldedReader:
        """Read from a position on."""
        return FoldedReader(self.entries, *positions.items())


class FoldedReader:
    """Reads a `FoldedLog`."""

    def __init__(self, entries: list[bytes], at: tuple[tuple[str, int], int]) -> None:
        self.entries, (self.tp, self.position) = entries, at

    def poll(self, most: int, timeout_s: float) -> list[Record]:
        """The next records, at most so many."""
        start, self.position = self.position, min(self.position + most, len(self.entries))
        return [
            Record(*self.tp, offset, 0, None, self.entries[offset], ())
            for offset in range(start, self.position)
        ]

    def positions(self) -> dict[tuple[str, int], int]:
        """Where it stands."""
        return {self.tp: self.position}

    def close(self) -> None:
        """Nothing is held."""


class Attended:
    """A fold and its policy. `told` is every control event, in order, `decided` every decision on one, `history` how it went."""

    def __init__(self, pipeline: Pipeline, *, guard: bool = True) -> None:
        self.pipeline = pipeline
        self.fold = Fold(pipeline, guard=guard)
        self._encoded: list[bytes] = []
        self.told: list[ControlEvent] = []
        self.decided: list[Decision] = []
        self.history: list[HistoryRecord] = []
        self._log: Any = FoldedLog(self._encoded)
        self._store = MemoryModelStore()
        self._config, self._state = PolicyConfig.of(pipeline), PolicyState(pipeline.name)
        self._step(recipe_of(pipeline))

    @property
    def entries(self) -> list[Entry]:
        """All that was folded, commands among it."""
        return [decode_entry(one) for one in self._encoded]

    def step(self, entry: Entry) -> float | None:
        """Fold an entry, and every command that follows from it; the live prediction, if it was a sample."""
        said = self._step(entry)
        fold = self.fold
        while fold.drift.requests or fold.open_jobs:
            requests = [request.event for request in fold.drift.requests]
            fold.drift.requests.clear()
            for command in self._commands(requests):
                self._step(command)
            for command_id, job in list(fold.open_jobs.items()):
                run_job(self.pipeline, self._log, self._store, command_id, job)
            while self._log.appended:
                self._step(self._log.appended.pop(0))
        return said

    def _commands(self, events: list[ControlEvent]) -> list[Command]:
        self.told += events
        decided = [decide(self._state, event, self._config, 0) for event in events]
        self.decided += [decision for decision in decided if decision is not None]
        return due(self._state, 0, RESEND_MS).commands

    def _step(self, entry: Entry) -> float | None:
        """Fold one entry as a worker would, without its writing."""
        fold, position = self.fold, len(self._encoded)
        prepared = None
        if isinstance(entry, Command):
            need = fold.needs(entry)
            if need is not None:
                prepared = prepare(fold, self._log, TOPIC, self._store, position, entry, need)
        fold.step(position, entry, prepared)
        self._encoded.append(encode_entry(entry))
        outputs = fold.outputs
        for version, payload in outputs.versions:
            self._store.put(version, payload)
        self._store.delete(outputs.dropped)
        for live in outputs.live:
            observe(self._state, live)
        said = outputs.predictions[-1].p if outputs.predictions else None
        outputs.predictions.clear()
        outputs.versions.clear()
        outputs.dropped.clear()
        outputs.live.clear()
        self.history += outputs.history
        outputs.history.clear()
        return said

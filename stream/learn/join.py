"""Samples and labels find each other by event id, whichever comes first; what waits too long expires by event time.

Laws of this file:
- One join for the live fold, for training and for training sets: the same entries pair the same samples and labels in all.
- The clock is the least event time that the source partitions which are not idle have reached, as ticks tell it; it never goes
  back. Ticks stand where event time passes a line, so what expires where is a function of the events' order. Partitions of
  sources that the recipe does not name any more are forgotten.
- A label counts only within `wait_ms` of event time after its sample, and only once.
- What waits is bounded, whatever becomes of the clock: beyond `most` samples, or labels without a sample, the oldest go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from penstock.stream.messages import Recipe, Tick
from penstock.stream.recipes import topics_of
from penstock.stream.targets import Target

#: About 1.3 GB of samples with 15 inputs.
MOST_WAITING = 1_000_000
#: What is no longer waited for may stand in a queue until it is this much longer than what is.
SLACK = 1_000


class Waits(Protocol):
    """A sample that waits for its label: at least its event time in ms."""

    @property
    def at(self) -> int:
        """Event time of the sample, in ms."""


W = TypeVar("W", bound=Waits)


class Early(NamedTuple):
    """A label that came before its sample."""

    at: int
    y: Target


class Join(Generic[W]):
    """The samples that wait for a label, and the labels that wait for a sample.

    `unmatched` counts labels without a sample within `wait_ms`, `duplicate_ids` samples whose id waits already, `dropped` samples
    and labels that went because more than `most` waited. `on_drop` hears of each such sample.
    """

    def __init__(
        self, wait_ms: int, most: int = MOST_WAITING, on_drop: Callable[[W], None] | None = None
    ) -> None:
        self.wait_ms = wait_ms
        self.most = most
        self.on_drop = on_drop
        self.pending: dict[str, W] = {}
        self.waiting: deque[tuple[int, str]] = deque()
        self.early: dict[str, Early] = {}
        self.early_waiting: deque[tuple[int, str]] = deque()
        self.times: dict[str, int] = {}
        self.idle: set[str] = set()
        self.clock = 0
        self.unmatched = 0
        self.duplicate_ids = 0
        self.dropped = 0

    def sample(self, event_id: str, waits: W) -> Early | None:
        """Take a sample: its label if that came before, otherwise the sample waits from now on."""
        early = self.early.pop(event_id, None)
        if early is not None:
            if early.at - waits.at <= self.wait_ms:
                return early
            self.unmatched += 1
        if event_id in self.pending:
            self.duplicate_ids += 1
        else:
            self.pending[event_id] = waits
            self.waiting.append((waits.at, event_id))
            if len(self.pending) > self.most:
                self._drop(self.pending, self.waiting, self.on_drop)
            elif len(self.waiting) > 2 * len(self.pending) + SLACK:
                self.waiting = _still(self.pending, self.waiting)
        return None

    def label(self, event_id: str, at: int, y: Target) -> W | None:
        """Take a label: its sample, or None; a label whose sample is still to come waits for it."""
        waits = self.pending.get(event_id)
        if waits is None:
            if event_id in self.early:
                self.unmatched += 1
            else:
                self.early[event_id] = Early(at, y)
                self.early_waiting.append((at, event_id))
                if len(self.early) > self.most:
                    self._drop(self.early, self.early_waiting)
                elif len(self.early_waiting) > 2 * len(self.early) + SLACK:
                    self.early_waiting = _still(self.early, self.early_waiting)
            return None
        if at - waits.at > self.wait_ms:
            self.unmatched += 1
            return None
        del self.pending[event_id]
        return waits

    def recipe(self, recipe: Recipe) -> None:
        """Forget the partitions of topics that are no sources of this recipe: nobody ticks for them any more."""
        topics = topics_of(recipe)
        if topics is not None:
            self.times = {name: at for name, at in self.times.items() if name.rpartition("/")[0] in topics}
            self.idle.intersection_update(self.times)

    def tick(self, tick: Tick) -> list[W]:
        """Move the clock; the samples that waited in vain, oldest first. Labels without a sample expire with them."""
        self.times.update(tick.times)
        self.idle.difference_update(tick.times)
        self.idle.update(tick.idle)
        # A partition whose owner has not spoken yet may have anything still to bring.
        if len(self.times) < tick.of:
            return []
        live = [at for name, at in self.times.items() if name not in self.idle and at >= 0]
        self.clock = max(self.clock, min(live or [max(self.times.values(), default=-1)]))
        limit = self.clock - self.wait_ms
        expired: list[W] = []
        while self.waiting and self.waiting[0][0] < limit:
            at, event_id = self.waiting.popleft()
            waits = self.pending.get(event_id)
            if waits is not None and waits.at == at:
                expired.append(self.pending.pop(event_id))
        while self.early_waiting and self.early_waiting[0][0] < limit:
            at, event_id = self.early_waiting.popleft()
            early = self.early.get(event_id)
            if early is not None and early.at == at:
                del self.early[event_id]
                self.unmatched += 1
        return expired

    def _drop(
        self, waits: dict[str, Any], queue: deque[tuple[int, str]], on_drop: Callable[[W], None] | None = None
    ) -> None:
        """Let the one go that has waited longest."""
        while queue:
            at, event_id = queue.popleft()
            found = waits.get(event_id)
            if found is not None and found.at == at:
                del waits[event_id]
                self.dropped += 1
                if on_drop is not None:
                    on_drop(found)
                return


def _still(waits: Mapping[str, Waits], queue: deque[tuple[int, str]]) -> deque[tuple[int, str]]:
    """The queue without what is no longer waited for."""
    return deque(
        (at, event_id)
        for at, event_id in queue
        if (found := waits.get(event_id)) is not None and found.at == at
    )

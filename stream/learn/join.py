"""Samples and labels find each other by event id, whichever comes first; what waits too long expires by event time.

Laws of this file:
- One join for the live fold and for training: the same entries pair the same samples and labels in both.
- The clock is the least newest event time of all source partitions that are not idle, as the ticks of all tasks tell it; it never
  goes back.
- A label counts only within `wait_ms` of event time after its sample, and only once.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, NamedTuple, Protocol, TypeVar

from penstock.stream.messages import Tick


class Waits(Protocol):
    """A sample that waits for its label: at least its event time in ms."""

    @property
    def at(self) -> int:
        """Event time of the sample, in ms."""


W = TypeVar("W", bound=Waits)


class Early(NamedTuple):
    """A label that came before its sample."""

    at: int
    y: bool


class Join(Generic[W]):
    """The samples that wait for a label, and the labels that wait for a sample.

    `unmatched` counts labels without a sample within `wait_ms`, `duplicate_ids` samples whose id waits already.
    """

    def __init__(self, wait_ms: int) -> None:
        self.wait_ms = wait_ms
        self.pending: dict[str, W] = {}
        self.waiting: deque[tuple[int, str]] = deque()
        self.early: dict[str, Early] = {}
        self.early_waiting: deque[tuple[int, str]] = deque()
        self.times: dict[str, int] = {}
        self.idle: set[str] = set()
        self.clock = 0
        self.unmatched = 0
        self.duplicate_ids = 0

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
        return None

    def label(self, event_id: str, at: int, y: bool) -> W | None:
        """Take a label: its sample, or None; a label whose sample is still to come waits for it."""
        waits = self.pending.get(event_id)
        if waits is None:
            if event_id in self.early:
                self.unmatched += 1
            else:
                self.early[event_id] = Early(at, y)
                self.early_waiting.append((at, event_id))
            return None
        if at - waits.at > self.wait_ms:
            self.unmatched += 1
            return None
        del self.pending[event_id]
        return waits

    def tick(self, tick: Tick) -> list[W]:
        """Move the clock; the samples that waited in vain, oldest first. Labels without a sample expire with them."""
        self.times.update(tick.times)
        self.idle.difference_update(tick.times)
        self.idle.update(tick.idle)
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

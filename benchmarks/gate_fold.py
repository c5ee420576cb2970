"""The fold as `benchmarks.gate` watches it: what it said live, who led, whom it asked, what it told people, what it cost.

Laws of this file:
- The real fold folds; nothing is read of it but after a step, and nothing is told it but the entries. No command comes back: what
  it would have a person or the policy do is counted, not done.
- A fold without a pool of experts has None for everything that only a pool knows.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.gate_rivals import TOLD_EVERY, nats
from benchmarks.gate_streams import Opened
from penstock.stream.learn.fold import Fold
from penstock.stream.messages import Entry, Sample
from penstock.stream.recipes import recipe_of

CHANGES = frozenset({"retrain", "rollback", "promote"})


class Watched(NamedTuple):
    """What came of a run.

    `said` is the live prediction at each sample; `best` the loss summed over all known outcomes, less the gate's own, of the
    expert that would have been best; `found` the labels from each drift to the next change of the leader, None if the next drift
    or the end came first. `committed` counts the episodes that asked for a retrain, a rollback or a promotion.
    """

    said: array[float]
    labels: int
    best: float | None
    leads: int | None
    found: list[int | None] | None
    told: int
    committed: int
    asked: int | None
    taught: int | None
    entries: int
    cpu_s: float


class Leads:
    """Who leads: how often that changed, and how many labels after each drift."""

    def __init__(self, fold: Any, drifts: list[int]) -> None:
        self.fold = fold
        self.drifts = set(drifts)
        self.changes = 0
        self.found: list[int | None] = []
        self.since: int | None = None
        self.number = self._now()

    def _now(self) -> Any:
        return getattr(getattr(getattr(self.fold, "experts", None), "leader", None), "number", None)

    def sample(self, number: int) -> None:
        """Note before it is folded that a sample comes: perhaps the first of another concept."""
        if number in self.drifts:
            self.found.append(None)
            self.since = self.fold.counts.joined

    def stepped(self) -> None:
        """Look who leads after a step."""
        number = self._now()
        if number != self.number:
            self.number = number
            self.changes += 1
            if self.since is not None:
                self.found[-1] = self.fold.counts.joined - self.since
                self.since = None


def watch(model: Any, opened: Opened, tell: Callable[[int], None]) -> Watched:
    """Fold the stream with this model. The CPU time is of the steps alone, reading the clock included (1 % or less)."""
    pipeline = opened.pipeline(model)
    fold: Any = Fold(pipeline)
    pooled = hasattr(fold, "experts")
    log: list[Entry] = [recipe_of(pipeline), *opened.entries]
    leads = Leads(fold, opened.drifts)
    said, gains = array("d"), dict[int, float]()
    clock, spent, number = time.process_time, 0.0, -1
    for position, entry in enumerate(log):
        is_sample = isinstance(entry, Sample)
        if is_sample:
            number += 1
            leads.sample(number)
            if number % TOLD_EVERY == 0:
                tell(number)
        before = clock()
        fold.step(position, entry)
        spent += clock() - before
        if pooled:
            leads.stepped()
        if is_sample:
            p = live(fold, position)
            said.append(p)
            y = opened.truth[number]
            if pooled and y is not None:
                charge(gains, fold.pending.get(entry.id), p, y)
    requests = [request.event.data for request in fold.drift.requests]
    counts = fold.counts
    return Watched(
        said=said,
        labels=counts.joined,
        best=min(gains.values(), default=0.0) if pooled else None,
        leads=leads.changes if pooled else None,
        found=leads.found if pooled else None,
        told=len({data.episode for data in requests}),
        committed=len({data.episode for data in requests if data.suggested_action in CHANGES}),
        asked=getattr(counts, "asked", None),
        taught=getattr(counts, "taught", None),
        entries=len(log),
        cpu_s=spent,
    )


def live(fold: Any, position: int) -> float:
    """The live prediction at the sample that was just folded; what the fold would have written is cleared away."""
    outputs = fold.outputs
    if not outputs.predictions or outputs.predictions[-1].position != position:
        raise RuntimeError(f"the fold made no prediction at the sample at position {position}")
    p = float(outputs.predictions[-1].p)
    outputs.predictions.clear()
    outputs.versions.clear()
    outputs.dropped.clear()
    outputs.live.clear()
    return p


def charge(gains: dict[int, float], waits: Any, p: float, y: bool) -> None:
    """Add to each expert's account what it lost at a sample beyond the gate; who was not asked is charged as the gate is."""
    gate = nats(p, y)
    answer = getattr(waits, "answer", None)
    for number, own in zip(getattr(answer, "asked", ()), getattr(answer, "said", ()), strict=True):
        gains[number] = gains.get(number, 0.0) + (0.0 if own is None else nats(own, y) - gate)

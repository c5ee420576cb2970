"""What every way to join samples and labels shares: the clock, the samples that wait, and what becomes of them.

Laws of this file:
- One join for the live fold, for training and for training sets: the same entries pair the same samples and labels in all.
- The clock is the least event time that the source partitions which are not idle have reached, as ticks tell it; it never goes
  back. Ticks stand where event time passes a line, so what expires where is a function of the events' order. Partitions of
  sources that the recipe does not name any more are forgotten.
- A label counts only within the time that the rule names, and a sample is labelled only once. But what waited in vain and took
  the label `absent` stays for `corrected_ms` more, and a label that came late is then told as its correction.
- What waits is bounded, whatever becomes of the clock: beyond `most` samples, or labels, the oldest go.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from penstock.stream.label_rule import LabelRule
from penstock.stream.messages import LabelRecord, Recipe, Tick
from penstock.stream.recipes import topics_of
from penstock.stream.targets import Target

#: About 1.3 GB of samples with 15 inputs.
MOST_WAITING = 1_000_000
#: What is no longer waited for may stand in a queue until it is this much longer than what is.
SLACK = 1_000


class Waits(Protocol):
    """A sample that waits for its label."""

    @property
    def at(self) -> int:
        """Event time of the sample, in ms."""

    @property
    def position(self) -> int:
        """Where it stands in the samples log."""


W = TypeVar("W", bound=Waits)
How = Literal["label", "absent", "expired", "corrected"]


class Settled(NamedTuple):
    """What became of the sample `waits`: its label `y`, the label of those that have none (absent), or neither (expired).

    `at` is the label's event time, or that at which there was none. One settled as absent may be settled once more, as corrected.
    """

    waits: Any
    y: Target | None
    at: int
    how: How


@dataclass
class JoinCounts:
    """What became of samples and labels in the join.

    `unmatched` counts labels that no sample waited for in their time, `duplicate_ids` samples whose id waits already, `dropped`
    samples and labels that went because too many waited. Of labels for an id that has one already, `duplicates` said the same and
    `contradictions` something else; neither is learned.
    """

    unmatched: int = 0
    dropped: int = 0
    duplicate_ids: int = 0
    duplicates: int = 0
    contradictions: int = 0


class Join(ABC, Generic[W]):
    """The samples that wait for a label. `on_gone` hears of those that nothing will be told of any more though they had no label.

    These are samples that were dropped, and those whose time for a correction is over.
    """

    def __init__(
        self,
        rule: LabelRule,
        counts: JoinCounts | None = None,
        most: int | None = None,
        on_gone: Callable[[W], None] | None = None,
    ) -> None:
        self.rule = rule
        self.counts = JoinCounts() if counts is None else counts
        self.most = MOST_WAITING if most is None else most
        self.on_gone = on_gone
        self.pending: dict[str, W] = {}
        self.defaulted: dict[str, W] = {}
        self.defaulted_queue: deque[tuple[int, int, str, str]] = deque()
        self.times: dict[str, int] = {}
        self.idle: set[str] = set()
        self.clock = 0

    @abstractmethod
    def sample(self, event_id: str, waits: W, key: str | None = None) -> Sequence[Settled]:
        """Take a sample: settled if its label came before, otherwise it waits from now on."""

    @abstractmethod
    def label(self, position: int, label: LabelRecord) -> Sequence[Settled]:
        """Take the label at this position of the log: the samples that it settles."""

    @abstractmethod
    def _advance(self) -> list[Settled]:
        """The samples that are settled because the clock has moved, and forget what can settle none any more."""

    @abstractmethod
    def _drop_oldest(self) -> W | None:
        """Take the sample that has waited longest out of everything; None where none waits."""

    @abstractmethod
    def _labels(self) -> Iterator[int]:
        """Positions of the labels that may still settle a sample."""

    def oldest(self) -> int | None:
        """The position of the oldest record that may still settle a sample, or be settled; None without any."""
        waiting = [waits.position for waits in (*self.pending.values(), *self.defaulted.values())]
        return min([*waiting, *self._labels()], default=None)

    def recipe(self, recipe: Recipe) -> None:
        """Forget the partitions of topics that are no sources of this recipe: nobody ticks for them any more."""
        topics = topics_of(recipe)
        if topics is not None:
            self.times = {name: at for name, at in self.times.items() if name.rpartition("/")[0] in topics}
            self.idle.intersection_update(self.times)

    def tick(self, tick: Tick) -> list[Settled]:
        """Move the clock; what is settled by that, the samples that waited in vain among them."""
        # It names no partitions, and so would not wait for those that nothing was heard of.
        if tick.look is not None:
            return []
        self.times.update(tick.times)
        self.idle.difference_update(tick.times)
        self.idle.update(tick.idle)
        # A partition whose owner has not spoken yet may have anything still to bring.
        if len(self.times) < tick.of:
            return []
        live = [at for name, at in self.times.items() if name not in self.idle and at >= 0]
        self.clock = max(self.clock, min(live or [max(self.times.values(), default=-1)]))
        settled = self._advance()
        limit = self.clock - self.rule.wait_ms - self.rule.corrected_ms
        while self.defaulted_queue and self.defaulted_queue[0][0] < limit:
            self._forget_defaulted()
        return settled

    def _in_vain(self, event_id: str, waits: W, at: int, key: str = "") -> Settled:
        """No label came for this sample, by event time `at`."""
        rule = self.rule
        if rule.absent is None:
            return Settled(waits, None, at, "expired")
        if rule.corrected_ms:
            former = self.defaulted.get(event_id)
            if former is not None and self.on_gone is not None:
                self.on_gone(former)
            self.defaulted[event_id] = waits
            self.defaulted_queue.append((waits.at, waits.position, event_id, key))
        return Settled(waits, rule.absent, at, "absent")

    def _forget_defaulted(self) -> bool:
        """The sample that took `absent` longest ago can be corrected no more; whether it still could."""
        _, position, event_id, _ = self.defaulted_queue.popleft()
        waits = self.defaulted.get(event_id)
        if waits is None or waits.position != position:
            return False
        del self.defaulted[event_id]
        if self.on_gone is not None:
            self.on_gone(waits)
        return True

    def _make_room(self) -> None:
        """Let the oldest sample go: first of those that wait for no more than a correction."""
        while self.defaulted_queue:
            if self._forget_defaulted():
                return
        waits = self._drop_oldest()
        if waits is not None:
            self.counts.dropped += 1
            if self.on_gone is not None:
                self.on_gone(waits)

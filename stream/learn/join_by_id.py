"""Samples and labels that share an event id find each other, whichever comes first; what waits too long expires by event time.

Laws of this file:
- A label settles its sample as soon as it is there. It counts within `wait_ms` of event time after its sample (and `corrected_ms`
  more), and only the first one does.
- What comes when the clock has passed its time, since whoever featurized it had fallen behind, waits from the clock on. A sample
  and its label stand side by side in the log then, and a tick of another worker may stand between them.
- Ids that were labelled are remembered for at least `wait_ms` of event time, but no more of them than `MOST_REMEMBERED`: another
  label for one of them is counted, as a duplicate or a contradiction, and settles nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from penstock.stream.label_rule import LabelRule
from penstock.stream.learn.join import SLACK, Join, JoinCounts, Settled, W
from penstock.stream.messages import LabelRecord
from penstock.stream.targets import Target

#: They stand in every snapshot, 30 bytes each.
MOST_REMEMBERED = 100_000


class Early(NamedTuple):
    """A label that came before its sample."""

    at: int
    y: Target
    position: int


class _Timed(Protocol):
    @property
    def at(self) -> int: ...


class JoinById(Join[W]):
    """The samples that wait for the label with their id, and the labels that wait for a sample."""

    def __init__(
        self,
        rule: LabelRule,
        counts: JoinCounts | None = None,
        most: int | None = None,
        on_gone: Callable[[W], None] | None = None,
    ) -> None:
        super().__init__(rule, counts, most, on_gone)
        self.waiting: deque[tuple[int, str]] = deque()
        self.early: dict[str, Early] = {}
        self.early_waiting: deque[tuple[int, str]] = deque()
        # what was labelled lately, and what was before that
        self.labelled: dict[str, Target] = {}
        self.labelled_before: dict[str, Target] = {}
        self.turned_at = 0

    def sample(self, event_id: str, waits: W, key: str | None = None) -> Sequence[Settled]:
        """Take a sample: settled if its label came before, otherwise it waits from now on."""
        early = self.early.pop(event_id, None)
        if early is not None:
            if early.at - waits.at <= self.rule.wait_ms + self.rule.corrected_ms:
                self._remember(event_id, early.y)
                return (Settled(waits, early.y, early.at, "label"),)
            self.counts.unmatched += 1
        if event_id in self.pending:
            self.counts.duplicate_ids += 1
        else:
            self.pending[event_id] = waits
            self.waiting.append((max(waits.at, self.clock), event_id))
            waiting = len(self.pending)
            if waiting + len(self.defaulted) > self.most:
                self._make_room()
            elif len(self.waiting) > 2 * waiting + SLACK:
                self.waiting = _still(self.pending, self.waiting)
        return ()

    def label(self, position: int, label: LabelRecord) -> Sequence[Settled]:
        """Take a label: the sample that it settles. One whose sample is still to come waits for it."""
        event_id, at, y, rule = label.id, label.at, label.y, self.rule
        latest = at - rule.wait_ms - rule.corrected_ms
        waits = self.pending.get(event_id)
        if waits is not None:
            if waits.at < latest:
                self.counts.unmatched += 1
                return ()
            del self.pending[event_id]
            self.labelled[event_id] = y
            if len(self.labelled) >= MOST_REMEMBERED // 2:
                self._turn()
            return (Settled(waits, y, at, "label"),)
        if self.defaulted and (waits := self.defaulted.get(event_id)) is not None and waits.at >= latest:
            del self.defaulted[event_id]
            self._remember(event_id, y)
            if y != self.rule.absent:
                return (Settled(waits, y, at, "corrected"),)
            self.counts.duplicates += 1
            if self.on_gone is not None:
                self.on_gone(waits)
            return ()
        if not self._is_said_again(event_id, y):
            self.early[event_id] = Early(at, y, position)
            self.early_waiting.append((max(at, self.clock), event_id))
            if len(self.early) > self.most:
                self._drop_early()
            elif len(self.early_waiting) > 2 * len(self.early) + SLACK:
                self.early_waiting = _still(self.early, self.early_waiting)
        return ()

    def _is_said_again(self, event_id: str, y: Target) -> bool:
        """Whether this id has a label already: counted by whether it said the same."""
        known: Target | None = self.labelled.get(event_id)
        if known is None:
            known = self.labelled_before.get(event_id)
        if known is None:
            early = self.early.get(event_id)
            if early is None:
                return False
            known = early.y
        if known == y:
            self.counts.duplicates += 1
        else:
            self.counts.contradictions += 1
        return True

    def _remember(self, event_id: str, y: Target) -> None:
        self.labelled[event_id] = y
        if len(self.labelled) >= MOST_REMEMBERED // 2:
            self._turn()

    def _turn(self) -> None:
        self.labelled_before, self.labelled, self.turned_at = self.labelled, {}, self.clock

    def _advance(self) -> list[Settled]:
        limit = self.clock - self.rule.wait_ms
        settled: list[Settled] = []
        while self.waiting and self.waiting[0][0] < limit:
            since, event_id = self.waiting.popleft()
            waits = self.pending.get(event_id)
            if waits is not None and waits.at <= since:
                del self.pending[event_id]
                settled.append(self._in_vain(event_id, waits, self.clock))
        while self.early_waiting and self.early_waiting[0][0] < limit:
            since, event_id = self.early_waiting.popleft()
            early = self.early.get(event_id)
            if early is not None and early.at <= since:
                del self.early[event_id]
                self.counts.unmatched += 1
        if self.turned_at < limit:
            self._turn()
        return settled

    def _labels(self) -> Iterator[int]:
        return (early.position for early in self.early.values())

    def _drop_oldest(self) -> W | None:
        while self.waiting:
            since, event_id = self.waiting.popleft()
            waits = self.pending.get(event_id)
            if waits is not None and waits.at <= since:
                return self.pending.pop(event_id)
        return None

    def _drop_early(self) -> None:
        while self.early_waiting:
            since, event_id = self.early_waiting.popleft()
            early = self.early.get(event_id)
            if early is not None and early.at <= since:
                del self.early[event_id]
                self.counts.dropped += 1
                return


def _still(waits: Mapping[str, _Timed], queue: deque[tuple[int, str]]) -> deque[tuple[int, str]]:
    """The queue without what is no longer waited for."""
    return deque(
        (since, event_id)
        for since, event_id in queue
        if (found := waits.get(event_id)) is not None and found.at <= since
    )

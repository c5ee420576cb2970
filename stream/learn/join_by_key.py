"""Samples find the first event of their entity in a span of event time after them: a failure within half an hour, a later value.

Laws of this file:
- Everything happens in the order of event time, when the clock has passed it: labels take effect by their time (of equal times by
  partition and offset), and a sample is absent once the clock has passed its span. So what a sample's label is does not depend on
  how the log mixed the two sources, as long as nothing is older than the clock when it comes.
- One label settles every sample that waits under its key and whose span holds its time; the first such one settles a sample.
- What is older than the clock when it comes is late. A late label settles those that still wait, and corrects those that took
  `absent`. A late sample finds the labels of its span, which are kept for `wait_ms`; where there is none it waits as long as any,
  from the clock on: whoever featurized it had fallen behind, and its label stands behind it.
- The index by key holds exactly what waits, and needs no bound of its own. Labels are bounded by `most`, as samples are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple, TypeVar

from penstock.stream.label_rule import LabelRule
from penstock.stream.learn.join import SLACK, Join, JoinCounts, Settled, W
from penstock.stream.messages import LabelRecord
from penstock.stream.targets import Target


class KeyedLabel(NamedTuple):
    """A label of an entity; its first three fields are its place in the order of event time."""

    at: int
    partition: int
    offset: int
    position: int
    key: str
    y: Target


class Waiting(NamedTuple):
    """A sample under its key. It waits since its own time, or since the clock's if it was late; the older position goes first."""

    since: int
    position: int
    event_id: str
    key: str


Placed = TypeVar("Placed", KeyedLabel, Waiting)


class JoinByKey(Join[W]):
    """The samples that wait under their keys, the labels that the clock has not reached, and those it passed lately."""

    def __init__(
        self,
        rule: LabelRule,
        counts: JoinCounts | None = None,
        most: int | None = None,
        on_gone: Callable[[W], None] | None = None,
    ) -> None:
        super().__init__(rule, counts, most, on_gone)
        self.waiting: list[Waiting] = []  # a heap; what is settled stays in it for a while
        self.under: dict[str, deque[Waiting]] = {}  # what waits and was not late, each key's in order
        self.late: dict[str, list[Waiting]] = {}  # what waits and was
        self.ahead: list[KeyedLabel] = []  # a heap
        self.passed: dict[str, deque[KeyedLabel]] = {}  # each key's in order
        self.passed_queue: deque[KeyedLabel] = deque()
        self.corrigible: dict[str, deque[Waiting]] = {}

    def sample(self, event_id: str, waits: W, key: str | None = None) -> Sequence[Settled]:
        """Take a sample: settled if it is late and its label has passed, or has no key; otherwise it waits from now on."""
        if event_id in self.pending:
            self.counts.duplicate_ids += 1
            return ()
        at, clock = waits.at, self.clock
        if key is None:
            return (Settled(waits, None, at, "expired"),)
        if at < clock:
            label = self._passed_in_span(key, at)
            if label is not None:
                return (Settled(waits, label.y, label.at, "label"),)
        place = Waiting(max(at, clock), waits.position, event_id, key)
        self.pending[event_id] = waits
        heappush(self.waiting, place)
        if at < clock:
            self.late.setdefault(key, []).append(place)
        else:
            _insert(self.under.setdefault(key, deque()), place)
        if len(self.pending) + len(self.defaulted) > self.most:
            self._make_room()
        if len(self.waiting) > 2 * len(self.pending) + SLACK:
            self.waiting = [one for one in self.waiting if self._waits(one)]
            heapify(self.waiting)
        return ()

    def label(self, position: int, label: LabelRecord) -> Sequence[Settled]:
        """Take a label: it waits until the clock has passed it; a late one settles and corrects at once."""
        if label.key is None:  # of another definition
            self.counts.unmatched += 1
            return ()
        origin = label.origin
        found = KeyedLabel(label.at, origin.partition, origin.offset, position, label.key, label.y)
        if found.at >= self.clock:
            heappush(self.ahead, found)
            if len(self.ahead) + len(self.passed_queue) > self.most:
                self._drop_label()
            return ()
        settled: list[Settled] = []
        self._correct(found, settled)
        self._take_effect(found, settled)
        return settled

    def _advance(self) -> list[Settled]:
        settled: list[Settled] = []
        while self.ahead and self.ahead[0].at < self.clock:
            label = heappop(self.ahead)
            self._expire(label.at, settled)
            self._take_effect(label, settled)
        self._expire(self.clock, settled)
        oldest = self.clock - self.rule.wait_ms
        while self.passed_queue and self.passed_queue[0].at < oldest:
            self._forget_label()
        return settled

    def _take_effect(self, label: KeyedLabel, settled: list[Settled]) -> None:
        """Settle what waits under the label's key and whose span it lies in: those whose span is over wait no more."""
        queue = self.under.get(label.key)
        before = len(settled)
        while queue and self.rule.opens(queue[0].since) <= label.at:
            waits = self.pending.pop(queue.popleft().event_id)
            settled.append(Settled(waits, label.y, label.at, "label"))
        if queue is not None and not queue:
            del self.under[label.key]
        if label.key in self.late:
            self._settle_late(label, settled)
        self.counts.unmatched += len(settled) == before
        _insert(self.passed.setdefault(label.key, deque()), label)
        self.passed_queue.append(label)

    def _settle_late(self, label: KeyedLabel, settled: list[Settled]) -> None:
        """Those that were late and in whose span a label lies; the clock may have passed the spans of others long ago."""
        left = []
        for place in self.late.pop(label.key):
            at = self.pending[place.event_id].at
            if self.rule.opens(at) <= label.at <= self.rule.closes(at):
                settled.append(Settled(self.pending.pop(place.event_id), label.y, label.at, "label"))
            else:
                left.append(place)
        if left:
            self.late[label.key] = left

    def _correct(self, label: KeyedLabel, settled: list[Settled]) -> None:
        """A late label: those that took `absent` and in whose span it lies take it instead, if it says something else."""
        queue = self.corrigible.get(label.key)
        if queue is None:
            return
        rule = self.rule
        left: deque[Waiting] = deque()
        for place in queue:
            waits = self.defaulted.get(place.event_id)
            if waits is None or waits.position != place.position:
                continue
            if not rule.opens(waits.at) <= label.at <= rule.closes(waits.at):
                left.append(place)
                continue
            del self.defaulted[place.event_id]
            if label.y != rule.absent:
                settled.append(Settled(waits, label.y, label.at, "corrected"))
            elif self.on_gone is not None:
                self.on_gone(waits)
        if left:
            self.corrigible[label.key] = left
        else:
            del self.corrigible[label.key]

    def _passed_in_span(self, key: str, at: int) -> KeyedLabel | None:
        """The first label that the clock has passed in the span of a sample of time `at`."""
        opens, closes = self.rule.opens(at), self.rule.closes(at)
        return next((one for one in self.passed.get(key, ()) if opens <= one.at <= closes), None)

    def _expire(self, before: int, settled: list[Settled]) -> None:
        """Those whose span is over before this event time waited in vain."""
        while self.waiting and self.rule.closes(self.waiting[0].since) < before:
            place = heappop(self.waiting)
            if self._waits(place):
                waits = self._take(place)
                settled.append(self._in_vain(place.event_id, waits, self.rule.closes(place.since), place.key))
                if place.event_id in self.defaulted:
                    self.corrigible.setdefault(place.key, deque()).append(place)

    def _waits(self, place: Waiting) -> bool:
        waits = self.pending.get(place.event_id)
        return waits is not None and waits.position == place.position

    def _take(self, place: Waiting) -> W:
        """Take what has waited longest of everything out of it: under its key, too, nothing has waited longer."""
        late = place in self.late.get(place.key, ())
        queue = self.late[place.key] if late else self.under[place.key]
        queue.remove(place)
        if not queue:
            del (self.late if late else self.under)[place.key]
        return self.pending.pop(place.event_id)

    def _drop_oldest(self) -> W | None:
        while self.waiting:
            place = heappop(self.waiting)
            if self._waits(place):
                return self._take(place)
        return None

    def _forget_defaulted(self) -> bool:
        _, position, _, key = self.defaulted_queue[0]
        queue = self.corrigible.get(key)
        if queue is not None and queue[0].position == position:
            queue.popleft()
            if not queue:
                del self.corrigible[key]
        return super()._forget_defaulted()

    def _forget_label(self) -> None:
        label = self.passed_queue.popleft()
        queue = self.passed[label.key]
        queue.remove(label)
        if not queue:
            del self.passed[label.key]

    def _drop_label(self) -> None:
        """Let the oldest label go: one that took effect is only kept for late samples."""
        if self.passed_queue:
            self._forget_label()
        else:
            heappop(self.ahead)
            self.counts.dropped += 1

    def _labels(self) -> Iterator[int]:
        yield from (label.position for label in self.ahead)
        yield from (label.position for label in self.passed_queue)


def _insert(queue: deque[Placed], one: Placed) -> None:
    """Put it in its place, which is nearly always the last."""
    place = len(queue)
    while place and queue[place - 1] > one:
        place -= 1
    queue.insert(place, one)

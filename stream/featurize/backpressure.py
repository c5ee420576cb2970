"""How far featurize may be ahead of learn while catching up.

A command is read behind whatever was appended before it, so the lead is how long a rollback takes. Every shard has a lead of its
own: the largest of those that move counts. A learn role that stands still is not waited for: it may be down, and features must
stay fresh.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from penstock.stream.log.protocol import TP, Log, LogUnavailable, Out

STALLED_MS = 2_000
ASKED_EVERY_MS = 500
LONGEST_WAIT_MS = 10_000


class Lead:
    """Of one partition of the samples log: where it ends, and how far learn has come, and since when."""

    def __init__(self) -> None:
        self.end = self.learned = self.learned_ms = 0

    def take(self, learned: int, now_ms: int) -> None:
        """Note what learn committed last."""
        if learned != self.learned:
            self.learned, self.learned_ms = learned, now_ms


class Backpressure:
    """Waits until the learn group is within `records` of the samples log's end, in each of its `shards` from `samples` on.

    One in which it has not moved for `STALLED_MS` is not waited for.
    """

    def __init__(
        self, log: Log, group: str, samples: TP, records: int, wall_ms: Callable[[], int], shards: int = 1
    ) -> None:
        self.log, self.group, self.records, self.wall_ms = log, group, records, wall_ms
        self.leads = {(samples[0], samples[1] + shard): Lead() for shard in range(shards)}
        self.not_asked_before_ms = self.looked_ms = 0

    def start(self) -> None:
        """Look where the samples log ends; from then on it is told what is appended."""
        for tp, (_, end) in self.log.bounds(self.leads).items():
            self.leads[tp].end = end

    def appended(self, outs: Iterable[Out]) -> None:
        """Note what is appended to the samples log among these."""
        leads = self.leads
        if len(leads) == 1:  # nearly every pipeline
            ((topic, _), lead) = next(iter(leads.items()))
            lead.end += sum(out.topic == topic for out in outs)
            return
        for out in outs:
            lead_of = leads.get((out.topic, out.partition or 0))
            if lead_of is not None:
                lead_of.end += 1

    def _far(self) -> bool:
        return any(lead.end - lead.learned > self.records for lead in self.leads.values())

    def _look(self) -> None:
        """Hear of what other workers appended; a broker that does not answer is somebody else's to tell of."""
        now = self.wall_ms()
        if abs(now - self.looked_ms) < ASKED_EVERY_MS:
            return
        self.looked_ms = now
        with suppress(LogUnavailable):
            for tp, (_, end) in self.log.bounds(self.leads).items():
                self.leads[tp].end = max(self.leads[tp].end, end)

    def wait(self) -> None:
        """Return once every lead is small, or cannot be helped."""
        self._look()
        if not self._far() or self.wall_ms() < self.not_asked_before_ms:
            return
        until_ms = self.wall_ms() + LONGEST_WAIT_MS
        while True:
            learned = self.log.committed(self.group, self.leads)
            self._look()
            now = self.wall_ms()
            for tp, lead in self.leads.items():
                lead.take(learned.get(tp, 0), now)
            far = [lead for lead in self.leads.values() if lead.end - lead.learned > self.records]
            if far and all(now - lead.learned_ms > STALLED_MS for lead in far):
                self.not_asked_before_ms = now + ASKED_EVERY_MS
                return
            if not far or now > until_ms:
                return
            time.sleep(0.005)

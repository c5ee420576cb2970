"""How far featurize may be ahead of learn while catching up.

A command is read behind whatever was appended before it, so the lead is how long a rollback takes. A learn role that stands
still is not waited for: it may be down, and features must stay fresh.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from penstock.stream.log.protocol import TP, Log

STALLED_MS = 2_000
ASKED_EVERY_MS = 500
LONGEST_WAIT_MS = 10_000


class Backpressure:
    """Waits until the learn group is within `records` of the samples log's end, or has not moved for `STALLED_MS`."""

    def __init__(self, log: Log, group: str, samples: TP, records: int, wall_ms: Callable[[], int]) -> None:
        self.log, self.group, self.samples, self.records, self.wall_ms = log, group, samples, records, wall_ms
        self.end = self.learned = self.learned_ms = self.not_asked_before_ms = 0

    def start(self) -> None:
        """Look where the samples log ends; from then on `end` is told."""
        self.end = self.log.bounds([self.samples])[self.samples][1]

    def wait(self) -> None:
        """Return once the lead is small, or cannot be helped."""
        if self.end - self.learned <= self.records or self.wall_ms() < self.not_asked_before_ms:
            return
        until_ms = self.wall_ms() + LONGEST_WAIT_MS
        while True:
            learned = self.log.committed(self.group, [self.samples]).get(self.samples, 0)
            now = self.wall_ms()
            if learned != self.learned:
                self.learned, self.learned_ms = learned, now
            if now - self.learned_ms > STALLED_MS:
                self.not_asked_before_ms = now + ASKED_EVERY_MS
                return
            if self.end - learned <= self.records or now > until_ms:
                return
            time.sleep(0.005)

"""How many labels come, against how many should, given the samples that came before.

Laws of this file
- What should come is `lags`' answer: fewer samples, or a night, is no lack of labels.
- A bucket is a quarter of an hour, or as many of them as the longest wait needs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from penstock.monitors.episodes import Transition
from penstock.monitors.quality.buckets import BUCKET_MS, Buckets
from penstock.monitors.quality.flow import Flow
from penstock.monitors.quality.lags import MOST_LAGS, Lags
from penstock.monitors.quality.level import DAY_MS

LEARN_MS = 7 * DAY_MS


class LabelRate:
    """Tell when labels stop, or come far less or more than they should: transitions of monitor `label_rate`.

    Args:
        subject: what the transitions name.
        alarms_per_year: the share of the budget.
        wait_ms: the longest time from a sample to its label.
    """

    __slots__ = ("_buckets", "_lags", "_most_lags", "flow")

    def __init__(self, subject: str, alarms_per_year: float, wait_ms: int) -> None:
        bucket_ms = max(1, -(-wait_ms // (BUCKET_MS * (MOST_LAGS - 1)))) * BUCKET_MS
        self.flow = Flow("label_rate", subject, alarms_per_year, LEARN_MS)
        self._buckets = Buckets(bucket_ms)
        self._most_lags = wait_ms // bucket_ms + 1
        self._lags = Lags(self._most_lags, bucket_ms)

    def sample(self, at_ms: int, position: int, count: int = 1, first: int | None = None) -> None:
        """A sample of this event time came, as the last of `count` of its quarter of an hour since position `first`."""
        self._buckets.beside(at_ms, position, count, first)

    def arrived(self, at_ms: int, position: int, count: int = 1, first: int | None = None) -> None:
        """The same of a label."""
        self._buckets.add(at_ms, position, count, first)

    def labelled(self, met: Sequence[tuple[int, int, int]]) -> None:
        """Samples met their labels: the times of both, and a position that is not looked at."""
        bucket_ms = self._buckets.bucket_ms
        lags = Counter([label_ms // bucket_ms - sample_ms // bucket_ms for sample_ms, label_ms, _ in met])
        for lag, labels in lags.items():
            self._lags.labelled(lag, labels)

    def advance(self, clock_ms: int, position: int) -> list[Transition]:
        """The clock of the stream stands here: no event before it is still to come."""
        found: list[Transition] = []
        flow = self.flow
        for bucket in self._buckets.close(clock_ms, position):
            expected = self._lags.add(bucket.beside, learn=flow.firing is None)
            if expected is None:
                continue
            found += flow.update(bucket.came, expected, bucket.start, bucket.end, bucket.last)
            if flow.accepts(bucket.end.ms):
                found += flow.accept(bucket.end)
                self._lags = Lags(self._most_lags, self._buckets.bucket_ms)
        return found

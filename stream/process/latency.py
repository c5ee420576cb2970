"""A histogram of how long records took, filled a batch at a time.

Laws of this file:
- Every record counts once, whatever the size of its batch: nothing is sampled, so quiet hours weigh no more than busy ones.
- A batch costs one sort and a search per bucket; prometheus_client's own histogram would take a lock for every record.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

OBJECTIVE_S = 0.005
"""99 of 100 requests for one prediction should be answered within this: a bucket ends there."""
REQUEST_BUCKETS_S = (
    0.0005,
    0.001,
    0.002,
    0.003,
    OBJECTIVE_S,
    0.0075,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    1.0,
    10.0,
)
BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)


class BatchHistogram(Collector):
    """Seconds from records' times to the moment that a whole batch of them was done.

    Example:
        >>> took = BatchHistogram("took_seconds", "how long", (), registry=CollectorRegistry())
        >>> took.observe_batch([1_000, 4_000, 4_998], now_ms=5_000)
        >>> took.counts[0], took.counts[-1], took.sum_s
        (1, 3, 5.002)

    """

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], *, registry: CollectorRegistry
    ) -> None:
        if labels:
            raise ValueError(f"{name}: a batch histogram has no labels")
        self.name, self.documentation = name, documentation
        self.counts = [0] * (len(BUCKETS_S) + 1)  # at most so many seconds, and all
        self.sum_s = 0.0
        registry.register(self)

    def observe_batch(self, times_ms: Sequence[int], now_ms: int) -> None:
        """Count a batch that was done at `now_ms`. A time after that (another clock's) is taken for it."""
        if not times_ms:
            return
        times = sorted(times_ms)
        if times[-1] > now_ms:
            times = [min(at, now_ms) for at in times]
        number = len(times)
        younger = [number - bisect_left(times, now_ms - 1000.0 * bucket_s) for bucket_s in BUCKETS_S]
        # New objects, so that the page's thread reads one moment's numbers.
        self.counts = [one + more for one, more in zip(self.counts, [*younger, number], strict=True)]
        self.sum_s += (number * now_ms - sum(times)) / 1000.0

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What the registry asks for."""
        limits = [*(str(bucket_s) for bucket_s in BUCKETS_S), "+Inf"]
        buckets = list(zip(limits, self.counts, strict=True))
        yield HistogramMetricFamily(self.name, self.documentation, buckets=buckets, sum_value=self.sum_s)


class RequestHistogram(Histogram):
    """Seconds of requests, a bucket ending at the objective."""

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **{"buckets": REQUEST_BUCKETS_S, **given})

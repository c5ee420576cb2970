"""How many labels should come now, given how many samples came before and how long labels usually take.

Laws of this file
- Expected labels of a bucket = sum over lags of (samples so many buckets ago) x (share of samples labelled at that lag). So fewer
  samples, or a night, is no lack of labels.
- Shares are of the last weeks, and stand still while the caller says that something is odd.
- State is bounded: `MOST_LAGS` buckets. A longer wait makes longer buckets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_LAGS = 256
HALF_LIFE_MS = 7 * 86_400_000
LEAST_SAMPLES = 500

Floats = NDArray[np.float64]


class Lags:
    """Labels expected in the next bucket.

    Args:
        lags: how many buckets back a sample may lie whose label still comes.
        bucket_ms: the length of a bucket.
    """

    __slots__ = ("_fade", "_labelled", "_open", "_past", "_samples", "lags")

    def __init__(self, lags: int, bucket_ms: int) -> None:
        self.lags = min(max(lags, 1), MOST_LAGS)
        self._fade = 0.5 ** (bucket_ms / HALF_LIFE_MS)
        self._past: Floats = np.zeros(self.lags)  # samples by bucket, the newest first
        self._labelled: Floats = np.zeros(self.lags)
        self._open: dict[int, int] = {}
        self._samples = 0.0

    def labelled(self, lag: int, labels: int = 1) -> None:
        """Labels came so many buckets after their samples, or earlier; those later than all lags count as the last."""
        last = self.lags - 1
        lag = last if lag > last else max(lag, 0)
        self._open[lag] = self._open.get(lag, 0) + labels

    def add(self, samples: int, *, learn: bool = True) -> float | None:
        """End a bucket in which so many samples came: how many labels should have come in it; None before that is known."""
        self._past[1:] = self._past[:-1]
        self._past[0] = samples
        said = float(self._labelled @ self._past) / self._samples if self._samples >= LEAST_SAMPLES else None
        if learn:
            self._labelled *= self._fade
            for lag, labels in self._open.items():
                self._labelled[lag] += labels
            self._samples = self._fade * self._samples + samples
        self._open = {}
        return said

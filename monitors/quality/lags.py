"""How many labels should come now, given how many samples came before and how long labels usually take.

Laws of this file
- Expected labels of a bucket = sum over lags of (samples so many buckets ago) x (share of samples labelled at that lag). So fewer
  samples, or a night, is no lack of labels.
- Shares are of the last weeks, and stand still while the caller says that something is odd.
- State is bounded: `MOST_LAGS` buckets. A longer wait makes longer buckets.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

MOST_LAGS = 256
HALF_LIFE_MS = 7 * 86_400_000
LEAST_SAMPLES = 500


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
        self._past: deque[int] = deque([0] * self.lags, maxlen=self.lags)
        self._open = [0] * self.lags
        self._labelled = [0.0] * self.lags
        self._samples = 0.0

    def labelled(self, lag: int) -> None:
        """A label came so many buckets after its sample; one later than all lags counts as the last."""
        self._open[min(max(lag, 0), self.lags - 1)] += 1

    def add(self, samples: int, *, learn: bool = True) -> float | None:
        """End a bucket in which so many samples came: how many labels should have come in it; None before that is known."""
        self._past.appendleft(samples)
        said = None
        if self._samples >= LEAST_SAMPLES:
            shares = np.array(self._labelled, np.float64) / self._samples
            said = float(shares @ np.array(self._past, np.float64))
        if learn:
            labelled: NDArray[np.float64] = self._fade * np.array(self._labelled) + np.array(self._open)
            self._labelled = labelled.tolist()
            self._samples = self._fade * self._samples + samples
        self._open = [0] * self.lags
        return said

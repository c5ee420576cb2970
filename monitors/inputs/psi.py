"""Population stability index of a stream's inputs, judged against its own noise.

Laws of this file
- The reference is the last windows, each as long as the judged one; `stability` has the test.
- alpha = budget / (inputs * windows per year). Windows tumble: overlapping ones have no known null
  distribution.
- A judged window always joins the reference, so a level that lasts becomes the normal, and the episode ends.
- State is bounded: one buffer of rows, fine counts per window, and during the cold start a thinned sample.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Sequence
from typing import Literal

import numpy as np

from penstock.monitors.episodes import Transition
from penstock.monitors.inputs.histogram import Counts, Histogram, Value, merge_bins
from penstock.monitors.inputs.stability import Judgement, judge

try:
    from penstock.monitors.inputs import counting
except ImportError:  # it was not built
    counting = None  # type: ignore[assignment]

YEAR_MS = 365.25 * 86_400_000
DAY_MS = 86_400_000
BUFFER_ROWS = 1_024
COLD_ROWS = 8_192
LEAST_ROWS = 30
NATIVE = np.dtype("<i8").isnative
"""Whether counts as they are kept are C's own integers here."""
LEAST_WINDOWS = 10


def bins_of(samples: int, most: int) -> int:
    """How many bins a window of so many samples has: 20 samples a bin, and at least three bins.

    >>> bins_of(1_000, 10), bins_of(100, 10), bins_of(30, 10)
    (10, 5, 3)
    """
    return min(most, max(3, samples // 20))


class PsiMonitor:
    """PSI per input over tumbling event-time windows, one episode per input.

    Transitions carry monitor `psi` and the input's name; statistic is the p-value, threshold alpha, effect
    the debiased PSI; since is the window's start. The detail lists the share per bin, largest contribution
    first.

    Args:
        names: inputs, in the order of `values`. A prediction's score may be one more.
        budget_per_year: false alarms allowed per year over all inputs.
        window_ms: length of a window; windows start at multiples of it.
        windows: past windows that make up the reference.
        bins: coarse bins per input; fewer for windows of under 20 samples a bin.
        effect_least: a debiased PSI below this is real perhaps, but not worth a note.
    """

    __slots__ = (
        "_alpha", "_cold", "_cold_stride", "_counts", "_firing", "_histograms", "_past", "_rows", "_seen",
        "_start", "_window", "bins", "effect_least", "names", "window_ms", "windows",
    )  # fmt: skip

    def __init__(
        self,
        names: Sequence[str],
        budget_per_year: float = 1.0,
        window_ms: int = DAY_MS,
        windows: int = 28,
        bins: int = 10,
        effect_least: float = 0.0,
    ) -> None:
        if windows < LEAST_WINDOWS:
            raise ValueError(f"windows must be at least {LEAST_WINDOWS}, got {windows}")
        if budget_per_year <= 0 or window_ms <= 0 or bins < 2:
            raise ValueError("budget_per_year and window_ms must be positive, bins at least 2")
        self.names = tuple(names)
        self.window_ms = window_ms
        self.windows = windows
        self.bins = bins
        self.effect_least = effect_least
        self._alpha = budget_per_year * window_ms / (max(len(self.names), 1) * YEAR_MS)
        self._histograms: list[Histogram] | None = None
        self._counts: list[bytes] = []
        self._past: list[deque[bytes]] = [deque(maxlen=windows) for _ in self.names]
        self._firing: dict[int, tuple[int, int]] = {}
        self._rows: list[tuple[Value, ...]] = []
        self._cold: list[tuple[Value, ...]] = []
        self._cold_stride = 1
        self._seen = 0
        self._window: int | None = None
        self._start = (0, 0)

    @property
    def firing(self) -> set[str]:
        """The inputs that moved, and are not as before yet."""
        return {self.names[index] for index in self._firing}

    def update(self, at_ms: int, position: int, values: Sequence[Value]) -> list[Transition]:
        """Take one sample. The first of a later window closes the open one; a late one joins the open one.

        Raises:
            ValueError: `values` is not as long as `names` (when the buffer is counted).
        """
        transitions: list[Transition] = []
        if self._window is None or at_ms >= (self._window + 1) * self.window_ms:
            transitions = self.advance(at_ms, position)
            self._window = at_ms // self.window_ms
            self._start = (self._window * self.window_ms, position)
        rows = self._rows
        rows.append(tuple(values))
        if len(rows) >= BUFFER_ROWS:
            self._count_rows()
        return transitions

    def advance(self, at_ms: int, position: int) -> list[Transition]:
        """Let event time pass without a sample: close the open window if it is over."""
        if self._window is None or at_ms // self.window_ms <= self._window:
            return []
        self._count_rows()
        transitions = self._close(at_ms, position)
        self._window = None
        self._seen = 0
        return transitions

    def _count_rows(self) -> None:
        if not self._rows:
            return
        self._seen += len(self._rows)
        if self._histograms is None:
            self._cold.extend(self._rows[:: self._cold_stride])
            while len(self._cold) > COLD_ROWS:
                self._cold = self._cold[::2]
                self._cold_stride *= 2
        else:
            self._count_columns(self._histograms)
        self._rows.clear()

    def _count_columns(self, histograms: list[Histogram]) -> None:
        """Add the rows to the open window's counts: compiled, but for text and what is no ordinary number."""
        done: list[bytes | None] | None = None
        if counting is not None and NATIVE:
            done = counting.count(self._rows, [one.edges for one in histograms], self._counts)
            if done is not None and None not in done:
                self._counts = [one for one in done if one is not None]
                return
        if done is None:
            columns = zip(histograms, zip(*self._rows, strict=True), strict=True)
            counted = [histogram.count(column) for histogram, column in columns]
            self._counts = [
                (_counts(old) + new).tobytes() for old, new in zip(self._counts, counted, strict=True)
            ]
            return
        for index, (histogram, compiled) in enumerate(zip(histograms, done, strict=True)):
            if compiled is not None:
                self._counts[index] = compiled
                continue
            column = [row[index] for row in self._rows]
            self._counts[index] = (_counts(self._counts[index]) + histogram.count(column)).tobytes()

    def _close(self, at_ms: int, position: int) -> list[Transition]:
        """End a window: judge it against the past, then let it join the past."""
        if self._histograms is None:
            # Bins need about as many samples as one judged window; a thin first window waits for the next.
            if len(self._cold) >= max(LEAST_ROWS, 20 * self.bins):
                self._histograms = [Histogram.learn(column) for column in zip(*self._cold, strict=True)]
                self._clear_counts()
                self._cold.clear()
            return []
        transitions: list[Transition] = []
        if self._seen >= LEAST_ROWS:
            for index, counts in enumerate(self._counts):
                if len(self._past[index]) >= LEAST_WINDOWS:
                    transitions += self._judge(index, _counts(counts), at_ms, position)
                self._past[index].append(counts)
        self._clear_counts()
        return transitions

    def _clear_counts(self) -> None:
        assert self._histograms is not None
        self._counts = [histogram.empty().tobytes() for histogram in self._histograms]

    def _judge(self, index: int, counts: Counts, at_ms: int, position: int) -> list[Transition]:
        assert self._histograms is not None
        past = _counts(b"".join(self._past[index])).reshape(len(self._past[index]), -1)
        total: Counts = past.sum(axis=0)
        bins = bins_of(self._seen, self.bins)
        group, names = self._histograms[index].coarse(total, bins)
        merged = merge_bins(past, group, len(names))
        window = merge_bins(counts, group, len(names))
        judgement = judge(merged, window)
        if judgement is None:
            return []
        state: Literal["firing", "resolved"]
        if judgement.p_value < self._alpha and judgement.effect >= self.effect_least:
            if index in self._firing:
                return []
            state = "firing"
            self._firing[index] = self._start
        elif index in self._firing and judgement.p_value > math.sqrt(self._alpha):
            state = "resolved"
        else:
            return []
        since = self._firing[index]
        if state == "resolved":
            del self._firing[index]
        detail = _detail(judgement, merged.sum(axis=0), window, names)
        detail |= {
            "window_ms": [self._start[0], self._start[0] + self.window_ms],
            "reference_windows": len(past),
            "reference_id": hashlib.sha256(
                (self._histograms[index].digest() + repr(total.tolist())).encode()
            ).hexdigest()[:16],
        }
        return [
            Transition(
                "psi", self.names[index], state, judgement.p_value, self._alpha, judgement.effect, *since,
                at_ms, position, detail,
            )
        ]  # fmt: skip


def _counts(stored: bytes) -> Counts:
    """Counts as kept in the state: bytes, so that the state stays plain and small."""
    return np.frombuffer(stored, dtype="<i8")


def _detail(judgement: Judgement, reference: Counts, window: Counts, names: list[str]) -> dict[str, object]:
    """What an operator needs: the numbers, and each bin's share then and now, largest contribution first."""
    p = (reference + 0.5) / (reference.sum() + len(reference) / 2)
    q = (window + 0.5) / (window.sum() + len(window) / 2)
    part = (q - p) * np.log(q / p)
    order = np.argsort(-part, kind="stable").tolist()
    shares = [
        {
            "bin": names[place],
            "reference": round(float(reference[place] / reference.sum()), 6),
            "window": round(float(window[place] / window.sum()), 6),
            "psi": round(float(part[place]), 6),
        }
        for place in order
        if reference[place] or window[place]
    ]
    return {
        "psi": judgement.psi,
        "test": judgement.test,
        "samples": judgement.samples,
        "reference_samples": judgement.reference_samples,
        "shares": shares,
    }

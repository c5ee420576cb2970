"""Concept drift of a 0/1 error, event by event: an e-detector against the stream's own past rate.

Laws of this file
- z = (x - m0) / m0, so one bet 1 + lambda z is a likelihood ratio of two Bernoulli rates, and the mean run
  length to a false alarm is at least `threshold` events while the rate is at most m0 and events are
  independent.
- m0 is the mean of past events, older than `LAG_EVENTS`, plus `SLACK_ERRORS` standard errors: the base never
  learns from what is being judged, nor at all while something is suspected.
- Meant for independent errors. Losses under dependence belong in blocks (`losses`).
"""

from __future__ import annotations

import math
from collections import deque
from typing import Literal

from penstock.monitors.losses.edetector import EDetector

RATE_LAMBDAS = (0.05, 0.1, 0.2, 0.4, 0.8)
LAG_EVENTS = 64
HELD_EVENTS_MOST = 4_096
"""Events kept out of the base while suspicion lasts; beyond that the oldest join it, so memory is bounded."""
LEARN_EVENTS = 200
SLACK_ERRORS = 1.5
RATE_LEAST = 1e-3


class RateRise:
    """Detect that the share of ones among values in [0, 1] has risen above its past.

    Args:
        threshold: mean events to a false alarm, at least. The default costs MOA's abrupt stream (0.2 to 0.8)
            about 12 events of delay, where Lorden's bound is about 11.

    Example:
        >>> test = RateRise()
        >>> values = [float(step % 5 == 0) for step in range(500)] + [1.0] * 20
        >>> [step for step, value in enumerate(values) if test.update(value) == "firing"]
        [508]
    """

    __slots__ = ("_base_events", "_base_sum", "_held", "detector", "drift_detected")

    def __init__(self, threshold: float = 20_000.0) -> None:
        self.detector = EDetector(threshold, RATE_LAMBDAS)
        self._base_events = 0
        self._base_sum = 0.0
        self._held: deque[float] = deque()
        self.drift_detected = False

    @property
    def statistic(self) -> float:
        """The evidence: at most `threshold` while nothing is found."""
        return self.detector.statistic

    @property
    def threshold(self) -> float:
        """What the evidence must reach."""
        return self.detector.threshold

    @property
    def base_rate(self) -> float:
        """m0: the past rate with its slack."""
        count = max(self._base_events, 1)
        rate = self._base_sum / count
        return max(RATE_LEAST, rate + SLACK_ERRORS * math.sqrt(max(rate * (1 - rate), 1e-4) / count))

    def update(self, value: float) -> Literal["suspected", "firing", "resolved"] | None:
        """Take one value in [0, 1], 1 for an error; return the transition it caused, if any.

        `drift_detected` is then whether it fired.

        Raises:
            ValueError: the value lies outside [0, 1] or is not a number.
        """
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"value must lie in [0, 1], got {value}")
        change = None
        self.drift_detected = False
        if self._base_events >= LEARN_EVENTS:
            rate = self.base_rate
            change = self.detector.update((value - rate) / rate)
            self.drift_detected = change == "firing"
        if self.detector.phase == "firing":
            # The episode's events are no part of the past; nor are those held since its onset.
            self._held.clear()
            return change
        self._held.append(value)
        keep = LAG_EVENTS if self.detector.phase == "ok" else HELD_EVENTS_MOST
        while len(self._held) > keep:
            self._base_sum += self._held.popleft()
            self._base_events += 1
        return change

"""The detectors that have a name here, with defaults for means of blocks in units of their noise.

Laws of this file:
- Each tells its statistic and its threshold with an alarm, in its own units.
- None draws by chance: without a seed the same log would give other alarms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from river import drift

from penstock.monitors.losses import rates
from penstock.monitors.series.course import Change, Course
from penstock.monitors.series.detector import DriftDetector
from penstock.stream.detectors.monitor import LOSS, Monitor

_MIN_WINDOW = 5
"""river's ADWIN compares no part of its window that is shorter."""


@dataclass(frozen=True)
class Adwin(Monitor):
    """ADWIN (Bifet and Gavalda, 2007): has the mean of a window that grows changed?

    Args:
        delta: its confidence, above 0 and below 1. It is nominal: no rate of alarms.

    Its bound takes values for independent and about 1 in size, so single
    losses make it alarm for nothing: leave `block` as it is.
    The statistic of an alarm is the difference of two means, the threshold ADWIN's bound for it.
    """

    delta: float = 0.002

    def __post_init__(self) -> None:
        super().__post_init__()
        self.between("delta", 0.0, 1.0)

    def make(self) -> DriftDetector:
        """river's, which looks after every update where updates are blocks."""
        clock = 32 if self.block is None else 1
        made: DriftDetector = drift.ADWIN(delta=self.delta, clock=clock)  # type: ignore[no-untyped-call]
        return made

    def figures(self, detector: Any, course: Course) -> tuple[float, float]:
        """The difference of the means, and ADWIN's bound for it, at the border where it exceeds that most."""
        confidence = math.log(2.0 * math.log(max(course.count, 2)) / self.delta)

        def figures(border: Change) -> tuple[float, float]:
            sides = (border.count_before, border.count_after)
            m = sum(1.0 / max(side - _MIN_WINDOW + 1, 1) for side in sides)
            bound = math.sqrt(2.0 * m * course.variance * confidence) + 2.0 / 3.0 * m * confidence
            return abs(border.after - border.before), bound

        return max(
            map(figures, course.borders()), key=lambda one: one[0] - one[1], default=(math.nan, math.nan)
        )


@dataclass(frozen=True)
class PageHinkley(Monitor):
    """Page and Hinkley's test: has the sum of deviations from the mean risen, or fallen, by more than `threshold`?

    Args:
        delta: deviations up to this are none. In units of noise: half of the shift that matters.
        threshold: what the sum must exceed, in the same units. river's own 50 and 0.005 are for values as they come.
        min_instances: updates before the first alarm.
    """

    delta: float = 0.5
    threshold: float = 10.0
    min_instances: int = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        self.between("threshold", 0.0, math.inf)
        self.whole("min_instances", 1)
        if self.delta:
            self.between("delta", 0.0, math.inf)

    def make(self) -> DriftDetector:
        """river's, of both directions."""
        made: DriftDetector = drift.PageHinkley(
            min_instances=self.min_instances, delta=self.delta, threshold=self.threshold, alpha=1.0
        )
        return made

    def figures(self, detector: Any, course: Course) -> tuple[float, float]:
        """The larger sum, and what it exceeded."""
        rose = detector._sum_increase - detector._min_increase
        fell = detector._max_decrease - detector._sum_decrease
        return max(rose, fell), self.threshold


@dataclass(frozen=True)
class Kswin(Monitor):
    """KSWIN (Raab and others, 2020): do the newest values have another distribution than some before?

    Args:
        alpha: the p-value below which it alarms, at each update.
        window: values it remembers.
        newest: how many of them are the newest.
        seed: of the draw from the older ones.

    The statistic of an alarm is the p-value of Kolmogorov
    and Smirnov's test, the threshold alpha. It costs about 600 microseconds an update.
    """

    alpha: float = 0.0001
    window: int = 100
    newest: int = 30
    seed: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.between("alpha", 0.0, 1.0)
        self.whole("newest", 5)
        self.whole("window", 2 * self.newest)
        self.whole("seed", 0)

    def make(self) -> DriftDetector:
        """River's."""
        made: DriftDetector = drift.KSWIN(
            alpha=self.alpha, window_size=self.window, stat_size=self.newest, seed=self.seed
        )
        return made

    def figures(self, detector: Any, course: Course) -> tuple[float, float]:
        """p-value and alpha."""
        return float(detector.p_value), self.alpha


@dataclass(frozen=True)
class RateRise(Monitor):
    """Penstock's own for values of 0 and 1: has the share of ones risen above its past? An e-detector, value by value.

    Args:
        threshold: independent values to a false alarm, on average and at least.

    Errors that come in runs are no independent values: there use `Adwin`.
    """

    block: int | None = field(default=None, kw_only=True)
    threshold: float = 20_000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.between("threshold", 1.0, math.inf)
        if self.block is not None:
            self.refuse("it takes values of 0 and 1 as they come: leave block out")
        if self.on == LOSS:
            self.refuse('a loss is no share: name "error", "prediction" or an input between 0 and 1')

    def make(self) -> DriftDetector:
        """The project's own."""
        return rates.RateRise(self.threshold)

"""A detector's alarms on one series, as episodes.

Laws of this file
- What is no finite number (None, text, NaN, infinity) is passed over: it is no value of the series.
- After every alarm a fresh copy of the detector begins, so one that stays at its alarm is heard once, and learns the new level.
- A series of equal values never alarms, whatever its detector says.
- One change is one episode: alarms while it fires belong to it. It ends when a change leads back, or after `quiet` updates
  without an alarm (after a quarter of them, if the change has all but gone); then
  the level is as before, or is accepted as the new normal.
- A detector that raises is told of, and is not asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any, Literal, NamedTuple

from penstock.monitors.episodes import Transition
from penstock.monitors.series.course import Course
from penstock.monitors.series.detector import DriftDetector
from penstock.monitors.series.noise_units import NoiseUnits, Point

QUIET_BLOCKS = 24
QUIET_VALUES = 500
HALF = 0.5
EARLY = 4
"""After a quarter of the quiet updates the level is as before if no more than a quarter of the change is left."""
NUMBERS = (float, int, bool)

Figures = Callable[[Any, Course], tuple[float, float]]
"""(statistic, threshold) of a detector at its alarm, and of what it was told."""


def own_figures(detector: Any, course: Course) -> tuple[float, float]:
    """What a detector says of itself, NaN where it says nothing."""
    found: list[Any] = [getattr(detector, name, None) for name in ("statistic", "threshold")]
    statistic, threshold = (float(one) if type(one) in NUMBERS else nan for one in found)
    return statistic, threshold


def number(value: Any) -> float | None:
    """The value, if it is a finite number.

    >>> number(True), number("1"), number(float("inf")), number(10**400)
    (1.0, None, None, None)
    """
    if type(value) not in NUMBERS:
        return None
    try:
        x = float(value)
    except OverflowError:  # a whole number beyond all of them
        return None
    return x if isfinite(x) else None


class Heard(NamedTuple):
    """A transition with its sentence; `broken` where it says that the detector raised."""

    transition: Transition
    reason: str
    broken: bool = False


@dataclass(frozen=True)
class Watched:
    """Which series is watched, and how.

    Attributes:
        monitor: the name that transitions carry.
        subject: the series.
        block: values per base block, see `NoiseUnits`; None gives the detector the values as they come.
        quiet: updates without an alarm that end an episode; None for `QUIET_BLOCKS` or `QUIET_VALUES`.
        rises: whether only a rise is told, as of a loss.
        figures: how an alarm's statistic and threshold are read from the detector.
        params: what is told of the detector, plain JSON values.
    """

    monitor: str
    subject: str
    block: int | None
    quiet: int | None
    rises: bool
    figures: Figures
    params: Mapping[str, object]


class SeriesMonitor:
    """One detector on one series.

    Args:
        watched: the series, and how it is watched.
        detector: as it begins; it is copied and never changed.

    Example:
        >>> from river.drift import ADWIN
        >>> watched = Watched("Adwin", "error", None, None, True, own_figures, {})
        >>> monitor = SeriesMonitor(watched, ADWIN(clock=1))
        >>> heard = [monitor.update(n, n, float(n >= 500)) for n in range(2_000)]
        >>> [(n, one[0].transition.state, one[0].transition.since_position) for n, one in enumerate(heard) if one]
        [(510, 'firing', 500), (1010, 'resolved', 500)]
    """

    def __init__(self, watched: Watched, detector: DriftDetector) -> None:
        self.watched = watched
        self.pristine = detector
        self.units = None if watched.block is None else NoiseUnits(watched.block)
        self.limit = watched.quiet or (QUIET_VALUES if watched.block is None else QUIET_BLOCKS)
        self.firing = self.broken = False
        self.since = (0, 0)
        self.before = self.level = self.was = self.now = 0.0
        self.quiet = 0
        self._begin()

    def _begin(self) -> None:
        """A fresh copy of the detector, which knows nothing."""
        self.detector = deepcopy(self.pristine)
        self.course = Course()

    def update(self, at: int, position: int, value: Any) -> list[Heard]:
        """Take what came at an event time (ms) and log position; what there is to tell, almost always nothing."""
        x = number(value)
        if x is None or self.broken:
            return []
        if self.units is None:
            return self._judge(at, position, Point(x, at, position, x))
        point = self.units.update(at, position, x, self.firing)
        return [] if point is None else self._judge(at, position, point)

    def _judge(self, at: int, position: int, point: Point) -> list[Heard]:
        self.course.add(point)
        try:
            self.detector.update(point.x)
            alarm = bool(self.detector.drift_detected)
        except Exception as error:  # whatever code of one's own may raise
            return self._breaks(at, position, point, error)
        if alarm and self.course.low < self.course.high:
            return self._alarm(at, position)
        if not self.firing:
            return []
        self.quiet += 1
        over = self.quiet >= self.limit
        back = self.quiet == self.limit // EARLY and self._left(self.course.mean) <= 1 / EARLY
        if not over and not back:
            return []
        return self._end(at, position, self.course.mean, self.course.mean_of_series)

    def _alarm(self, at: int, position: int) -> list[Heard]:
        change = self.course.change()
        statistic, threshold = self.watched.figures(self.detector, self.course)
        self._begin()
        if self.firing:
            self.quiet = 0
            if self._left(change.after) < HALF:
                return self._end(at, position, change.after, change.now)
            self.level, self.now = change.after, change.now
            return []
        if self.watched.rises and change.after <= change.before:
            return []
        self.firing, self.quiet = True, 0
        self.since = (change.at, change.position)
        self.before, self.level = change.before, change.after
        then, now = self.was, self.now = change.was, change.now
        detail = {"before": then, "level": now, "updates": change.points, "updates_after": change.count_after}
        reason = f"{self.watched.monitor} finds that {self.watched.subject} has changed: from {then:.4g} to {now:.4g}"
        found = self._transition("firing", at, position, (statistic, threshold, now - then), detail)
        return [Heard(found, reason)]

    def _left(self, level: float) -> float:
        """How much of the change is left: 0 where the level is as before, 1 where it is as it was found."""
        return abs(level - self.before) / max(abs(self.level - self.before), 1e-300)

    def _end(self, at: int, position: int, level: float, now: float) -> list[Heard]:
        """The episode is over: the level is as before, or is the normal from here on. `now` is the series' own level."""
        back = self._left(level) < HALF
        if back:
            reason = f"{self.watched.monitor}: the level of {self.watched.subject} is as before, {now:.4g}"
        else:
            reason = (
                f"{self.watched.monitor}: {self.watched.subject} has not changed again in {self.limit} updates, so "
                f"{now:.4g} is taken for its level"
            )
        found = self._transition("resolved", at, position, (nan, nan, now - self.was), {"level": now})
        self.firing = False
        if not back or self.units is not None:  # another normal, or other units of noise
            self._begin()
        if self.units is not None:
            (self.units.dismiss if back else self.units.accept)()
        return [Heard(found, reason)]

    def _breaks(self, at: int, position: int, point: Point, error: Exception) -> list[Heard]:
        self.broken = True
        ended = self._end(at, position, self.level, self.now) if self.firing else []
        self.since = (point.at, point.position)
        said = f"{type(error).__name__}: {error}"
        reason = f"{self.watched.monitor} on {self.watched.subject} raised {said}; it is asked no more"
        found = self._transition("firing", at, position, (nan, nan, nan), {"error": said, "value": point.x})
        return [*ended, Heard(found, reason, broken=True)]

    def _transition(
        self, state: Literal["firing", "resolved"], at: int, position: int, figures: tuple[float, float, float],
        detail: Mapping[str, object],
    ) -> Transition:  # fmt: skip
        watched, units = self.watched, self.units
        block = {} if units is None else {"block": units.block * max(units.multiple, 1), "noise": units.scale}
        told = {**watched.params, **block, **detail}
        return Transition(watched.monitor, watched.subject, state, *figures, *self.since, at, position, told)

"""The definition's own detectors, each on its series.

Laws of this file:
- An input, a feature and the prediction are heard at the sample, a loss and an error at the label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from penstock.monitors.series.monitor import Heard, SeriesMonitor
from penstock.stream.definitions import Pipeline
from penstock.stream.detectors import ERROR, OF_LABELS, PREDICTION, Monitor
from penstock.stream.learn.records import Pending
from penstock.stream.learn.tasks.multiclass import most_probable, text
from penstock.stream.learn.watching.watcher import Finding, Watcher
from penstock.stream.messages import Sample
from penstock.stream.task_kind import Kind


def detectors_of(pipeline: Pipeline, names: Sequence[str]) -> list[Watcher]:
    """The watchers that a pipeline's `monitors` ask for."""
    of_samples = [one for one in pipeline.monitors if one.on not in OF_LABELS]
    of_labels = [one for one in pipeline.monitors if one.on in OF_LABELS]
    found: list[Watcher] = []
    if of_samples:
        found.append(DetectorsOfSamples(of_samples, names))
    if of_labels:
        found.append(DetectorsOfLabels(of_labels, pipeline.kind))
    return found


class _Detectors(Watcher):
    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self.series = [SeriesMonitor(one.watched(), one.make()) for one in monitors]
        self.warns = [one.tell == "warn" for one in monitors]

    def _told(self, place: int, heard: list[Heard]) -> list[Finding]:
        """What is found is told as the entry says, and its end as a note."""
        return [
            Finding(
                one.transition,
                "warn" if one.broken or (self.warns[place] and one.transition.state == "firing") else "note",
                one.reason,
            )
            for one in heard
        ]


class DetectorsOfSamples(_Detectors):
    """Those on inputs, features and the prediction."""

    def __init__(self, monitors: Sequence[Monitor], names: Sequence[str]) -> None:
        super().__init__(monitors)
        self.places = [None if one.on == PREDICTION else list(names).index(one.on) for one in monitors]

    def sample(self, at: int, position: int, sample: Sample, said: float) -> Sequence[Finding]:
        """Each hears its value."""
        found: list[Finding] = []
        x = sample.x
        for number, place in enumerate(self.places):
            heard = self.series[number].update(at, position, said if place is None else x[place])
            if heard:
                found += self._told(number, heard)
        return found


class DetectorsOfLabels(_Detectors):
    """Those on the loss and on the error."""

    def __init__(self, monitors: Sequence[Monitor], kind: Kind) -> None:
        super().__init__(monitors)
        self.errors = [one.on == ERROR for one in monitors]
        self.kind = kind

    def label(
        self, at: int, position: int, waits: Pending, y: Any, live: float, base: float
    ) -> Sequence[Finding]:
        """Each hears the loss or the error."""
        found: list[Finding] = []
        error = ERRORS[self.kind](waits.p, y) if any(self.errors) else 0.0
        for number, of_error in enumerate(self.errors):
            heard = self.series[number].update(at, position, error if of_error else live)
            if heard:
                found += self._told(number, heard)
        return found


def _wrong(p: float, y: bool) -> float:
    return float((p >= 0.5) is not y)


def _wrong_class(p: dict[str, float], y: Any) -> float:
    return float(most_probable(p) != text(y))


def _off(p: float, y: float) -> float:
    return abs(p - y)


ERRORS: dict[Kind, Callable[[Any, Any], float]] = {
    "binary": _wrong,
    "anomaly": _wrong,
    "multiclass": _wrong_class,
    "regression": _off,
}
"""The error of a prediction by task."""

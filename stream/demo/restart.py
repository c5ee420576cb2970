"""What people do without Penstock: one river model that is begun anew whenever ADWIN finds that its error rose.

Laws of this file:
- The same fold with its actions off, so that it sees the same samples and labels: only the model is another one after an alarm.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from river.drift import ADWIN

from penstock.stream.definitions import Pipeline
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.records import Pending, Traced
from penstock.stream.messages import Entry

DELTA = 0.002
"""ADWIN's confidence: river's default."""
CLEARED_RECORDS = 5_000


class BegunAnew(Fold):
    """A fold of numbers with one model, begun anew at alarms of ADWIN, which is given errors as shares of the largest label."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__(pipeline, actions=False)
        self.adwin, self.largest, self.begun = ADWIN(delta=DELTA), 0.0, 0  # type: ignore[no-untyped-call]

    def _learn(self, position: int, at: int, waits: Pending, y: Any) -> None:
        error = abs(waits.p - y)
        self.largest = max(self.largest, abs(y))
        before: float = self.adwin.estimation
        self.adwin.update(min(error / self.largest, 1.0) if self.largest else 0.0)  # type: ignore[no-untyped-call]
        if self.adwin.drift_detected and self.adwin.estimation > before:
            self.experts.first.model = self.fresh()
            self.adwin = ADWIN(delta=DELTA)  # type: ignore[no-untyped-call]
            self.begun += 1
        super()._learn(position, at, waits, y)


def restarted(pipeline: Pipeline, entries: Iterable[tuple[int, Entry]]) -> list[Traced]:
    """The trace of a samples log under a model that is begun anew at alarms."""
    fold = BegunAnew(pipeline)
    fold.trace = []
    for position, entry in entries:
        fold.step(position, entry)
        if position % CLEARED_RECORDS == 0:
            fold.outputs.predictions.clear()
            fold.outputs.history.clear()
    return fold.trace

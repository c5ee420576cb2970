"""What is noted beside a fold that is replayed: what each label cost, who was believed, and the samples of two stretches.

Laws of this file:
- Pure. It looks on: a fold that is noted gives the same model and the same predictions.
- A loss is log loss, in nats, of what was predicted at the sample, and belongs to the sample's event time. Where another task
  than true or false is learned, it is that of the likelihood which was given to what came, as in the fold.
- Labels that taught nothing (while learning was held, under another definition's recipe) are not noted.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import nan
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from penstock.monitors.losses.blocks import Floats
from penstock.monitors.losses.drift import log_loss
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.records import Pending
from penstock.stream.learn.watching.watcher import Finding, Watcher
from penstock.stream.messages import Sample

GROUPS = {
    "first": "first",
    "frozen": "frozen",
    "resumed": "resumed",
    "careful": "careful",
    "new": "new",
    "retrained": "new",
    "challenger": "new",
    "base": "base",
}
"""The kinds of experts, and what they are drawn as; from the bottom up."""
WEIGHT_STEPS = 240
LOOKED_AT_LABELS = 8
MOST_ROWS = 1 << 16


class Losses(NamedTuple):
    """One row for each label: the sample's event time (ms), and what was lost by it. `committed` is not a number while unsaid."""

    at: npt.NDArray[np.int64]
    live: Floats
    base: Floats
    committed: Floats

    def within(self, start: int, stop: int) -> Losses:
        """Those of [start, stop)."""
        inside = (self.at >= start) & (self.at < stop)
        return Losses(self.at[inside], self.live[inside], self.base[inside], self.committed[inside])


class Weights(NamedTuple):
    """Who was believed up to one event time (ms): the mean weight of each group of experts since the last one, and who leads."""

    at: int
    of: dict[str, float]
    leader: str


class Rows:
    """The newest values of some columns over one stretch: all of them, or of many every second, fourth … sample."""

    def __init__(self, span: tuple[int, int], columns: Sequence[int]) -> None:
        self.span, self.columns = span, columns
        self.samples, self.every = 0, 1
        self.rows: list[tuple[Any, ...]] = []

    def add(self, values: Sequence[Any]) -> None:
        """One sample of the stretch."""
        if self.samples % self.every == 0:
            self.rows.append(tuple([values[place] for place in self.columns]))
            if len(self.rows) > MOST_ROWS:
                self.rows, self.every = self.rows[::2], self.every * 2
        self.samples += 1


class Course(Watcher):
    """Notes the losses of samples from `keep_from` on, the weights within [start, stop), and the rows that are asked for."""

    def __init__(self, start: int, stop: int, *, keep_from: int = 0, rows: Sequence[Rows] = ()) -> None:
        self.start, self.stop, self.keep_from = start, stop, keep_from
        self.step_ms = max((stop - start) // WEIGHT_STEPS, 1)
        self.next_ms = start
        self.at = array("q")
        self.live, self.base, self.committed = array("d"), array("d"), array("d")
        self.weights: list[Weights] = []
        self.rows = rows
        self.sums, self.looks = dict.fromkeys(GROUPS.values(), 0.0), 0
        self.fold: Fold | None = None

    def begin(self, fold: Fold) -> None:
        """Look on from the fold's first record."""
        self.fold = fold
        fold.drift.watchers.listen(self)

    def sample(self, at: int, position: int, sample: Sample, said: float) -> Sequence[Finding]:
        """Keep the values that a comparison asks for; what was predicted is the last of them."""
        for rows in self.rows:
            if rows.span[0] <= at < rows.span[1]:
                rows.add((*sample.x, said))
        return ()

    def label(
        self, at: int, position: int, waits: Pending, y: Any, live: float, base: float
    ) -> Sequence[Finding]:
        """Note what the label cost."""
        fold = self.fold
        if fold is None or waits.at < self.keep_from:
            return ()
        said = waits.answer.of(fold.experts.committed)
        happened = y if fold.task.kind in ("binary", "anomaly") else True
        self.at.append(waits.at)
        self.live.append(live)
        self.base.append(base)
        self.committed.append(nan if said is None else log_loss(said, happened))
        due = self.next_ms <= at < self.stop
        if due or len(self.at) % LOOKED_AT_LABELS == 0:
            self._believed(at, fold, due=due)
        return ()

    def _believed(self, at: int, fold: Fold, *, due: bool) -> None:
        """Look at the weights; their mean over a step is noted when it is over."""
        sums = self.sums
        for expert, weight in zip(fold.experts.all, fold.experts.gate.totals(), strict=True):
            sums[GROUPS[expert.kind]] += weight
        self.looks += 1
        if at < self.start:
            self.sums, self.looks = dict.fromkeys(sums, 0.0), 0
        elif due:
            self.next_ms = at + self.step_ms
            of = {group: weight / self.looks for group, weight in sums.items()}
            self.weights.append(Weights(at, of, fold.experts.leader.version))
            self.sums, self.looks = dict.fromkeys(sums, 0.0), 0

    def noted(self) -> Losses:
        """All that was noted, in the order in which labels came."""
        live, base, committed = (np.array(one, np.float64) for one in (self.live, self.base, self.committed))
        return Losses(np.array(self.at, np.int64), live, base, committed)

    def losses(self) -> Losses:
        """The same by the event times of the samples."""
        noted = self.noted()
        order = np.argsort(noted.at, kind="stable")
        return Losses(noted.at[order], noted.live[order], noted.base[order], noted.committed[order])


class Means(NamedTuple):
    """Mean losses of one step of event time; not a number where there are no labels."""

    at: int
    labels: int
    live: float
    base: float
    committed: float


def steps(losses: Losses, start: int, stop: int, step_ms: int) -> list[Means]:
    """The means of each step of [start, stop) that has labels, in order; `at` is the middle of the step."""
    inside = losses.within(start, stop)
    if not len(inside.at):
        return []
    place = (inside.at - start) // step_ms
    many = int(place[-1]) + 1
    labels = np.bincount(place, minlength=many)
    said = ~np.isnan(inside.committed)
    heard = np.bincount(place[said], minlength=many)
    committed = np.bincount(place[said], inside.committed[said], many)
    live, base = (np.bincount(place, column, many) for column in (inside.live, inside.base))
    return [
        Means(
            start + number * step_ms + step_ms // 2,
            int(labels[number]),
            float(live[number] / labels[number]),
            float(base[number] / labels[number]),
            float(committed[number] / heard[number]) if heard[number] else nan,
        )
        for number in range(many)
        if labels[number]
    ]

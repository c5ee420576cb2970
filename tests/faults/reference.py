"""The reference: features by their definition over every event, and one model beside the base rate, folded label by label.

Slow and obviously right. The features are the naive flow's; the learning is written out here: river's model, two experts, three
rates. It knows the records of the samples log as other programs may read them, and nothing of who wrote them.

Laws of this file: labels teach in the order of the log, a repeat teaches nothing, a command is carried out once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Any, NamedTuple

from tests.stream.naive_flow import Expected, NaiveFlow

RATES = (0.05, 0.2, 1.0)
OUTER_RATE, OUTER_SHARE = 0.1, 1e-3
SHARE, BASE_WEIGHT = 1e-4, 0.01
BASE_RATE, DELAY_RATE = 0.002, 0.01
LEAST = 0.002


class OrderedFlow(NaiveFlow):
    """The naive flow, which also notes the order in which a task that owns all partitions meets the records."""

    def __init__(self, pipeline: Any, log: Any) -> None:
        self.order: dict[tuple[str, int, int], int] = {}
        super().__init__(pipeline, log)

    def _step(self, expected: Expected) -> None:
        self.order[expected.place] = len(self.order)
        super()._step(expected)


class Waiting(NamedTuple):
    """A sample that waits for its label."""

    x: dict[str, Any]
    at: int
    position: int
    number: int
    said: tuple[float, float]
    rates: list[float]
    p: float
    least: float


class NaiveLearner:
    """Predicts at the sample, learns at the label. `wait_ms` is how much later than its sample a label counts."""

    def __init__(self, names: Sequence[str], model: Any, wait_ms: int) -> None:
        self.names, self.model, self.wait_ms = names, model.clone(), wait_ms
        self.base = 0.5
        self.weights = [[BASE_WEIGHT, 1.0 - BASE_WEIGHT] for _ in RATES]
        self.of_rates = [1 / 3] * 3
        self.delay: float | None = None
        self.samples = self.learned = 0
        self.waiting: dict[str, Waiting] = {}
        self.early: dict[str, tuple[int, bool]] = {}
        self.hold: int | None = None
        self.left_out: list[tuple[int, int]] = []
        self.applied: list[str] = []
        self.refused: list[str] = []

    def sample(self, position: int, event_id: str, at: int, values: Sequence[Any]) -> float:
        """The prediction of a sample."""
        self.samples += 1
        x = {name: value for name, value in zip(self.names, values, strict=True) if value is not None}
        said = (self.base, min(max(float(self.model.predict_proba_one(x)[True]), 0.0), 1.0))
        least = min(LEAST, 0.2 * min(self.base, 1 - self.base) + 1e-5)
        raw = [_mean(weights, said) for weights in self.weights]
        p = min(max(sum(w * one for w, one in zip(self.of_rates, raw, strict=True)), 0.0), 1.0)
        clipped = [min(max(one, least), 1 - least) for one in said]
        rates = [_mean(weights, clipped) for weights in self.weights]
        self.waiting[event_id] = Waiting(x, at, position, self.samples, said, rates, p, least)
        if event_id in self.early:
            self.label(event_id, *self.early.pop(event_id))
        return p

    def label(self, event_id: str, at: int, y: bool) -> None:
        """The label of a sample, which may come before it."""
        waits = self.waiting.get(event_id)
        if waits is None:
            self.early[event_id] = (at, y)
            return
        if at - waits.at > self.wait_ms:
            return
        del self.waiting[event_id]
        if self.hold is not None or any(start <= waits.position < stop for start, stop in self.left_out):
            return
        self._charge(waits, y, self.samples - waits.number)
        self.model.learn_one(waits.x, y)
        self.base += BASE_RATE * (y - self.base)
        self.learned += 1

    def command(self, position: int, command_id: str, verb: str) -> None:
        """A hold, what ends it, or a rollback; once, however often it stands in the log."""
        if command_id in self.applied or command_id in self.refused:
            return
        if verb == "hold" and self.hold is None:
            self.hold = position
        elif verb == "resume" and self.hold is not None:
            self.left_out.append((self.hold, position))
            self.hold = None
        elif verb == "rollback":
            # by a person, to the first model: all but the least of the weight is its own
            self.weights = [[SHARE, 1.0 - SHARE] for _ in RATES]
            if self.hold is not None:
                self.left_out.append((self.hold, position))
                self.hold = None
        else:
            self.refused.append(command_id)
            return
        self.applied.append(command_id)

    def weight(self) -> float:
        """The model's weight beside the base rate's."""
        return sum(rate * weights[1] for rate, weights in zip(self.of_rates, self.weights, strict=True))

    def _charge(self, waits: Waiting, y: bool, delay: int) -> None:
        late = float(delay) if self.delay is None else self.delay
        self.delay = late = late + DELAY_RATE * (delay - late)
        slow, share = 1 / (1 + late / 100), SHARE / (1 + late / 1_000)
        likely = [_likelihood(rate, y) for rate in waits.rates]
        said = [_likelihood(min(max(one, waits.least), 1 - waits.least), y) for one in waits.said]
        for rate, weights, mixed in zip(RATES, self.weights, likely, strict=True):
            moved = [
                weight * exp(rate * slow * (log(one) - log(mixed)))
                for weight, one in zip(weights, said, strict=True)
            ]
            weights[:] = [(1 - share) * weight / sum(moved) + share / 2 for weight in moved]
        moved = [
            weight * exp(OUTER_RATE * log(one)) for weight, one in zip(self.of_rates, likely, strict=True)
        ]
        self.of_rates = [(1 - OUTER_SHARE) * weight / sum(moved) + OUTER_SHARE / 3 for weight in moved]


def _mean(weights: Sequence[float], said: Sequence[float]) -> float:
    return sum(w * p for w, p in zip(weights, said, strict=True)) / sum(weights)


def _likelihood(p: float, y: bool) -> float:
    return p if y else 1 - p


def named(fields: Sequence[Any], names: Sequence[str]) -> Mapping[str, Any]:
    """A record of the samples log, which is an array, with the names that its reference page gives the places."""
    return dict(zip(names, fields, strict=False))

"""A fold under a course of samples whose labels follow at once: the world is a rule on the first input."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from penstock.monitors.inputs import guard as of_guard
from penstock.monitors.inputs.guard import RangeGuard
from penstock.monitors.losses.drift import LossConfig, LossMonitor
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.fold import Fold
from penstock.stream.messages import Command, ControlData, Entry, LabelRecord, Origin, Sample
from penstock.stream.models.version import Version
from tests.stream.generated import MINUTE, START_MS, parcels

Rule = Callable[[float], bool]


def heavy_is_late(weight: float) -> bool:
    """The world as it begins."""
    return weight > 0.0


def light_is_late(weight: float) -> bool:
    """The world turned round."""
    return weight < 0.0


class Course:
    """A fold and what it was given; `versions` are the models it handed out for storing."""

    def __init__(self, pipeline: Pipeline | None = None, *, seed: int = 1, **options: Any) -> None:
        self.fold = Fold(pipeline or parcels(views=[]), **options)
        self.chance = random.Random(seed)
        self.number = 0
        self.log: list[Entry] = []
        self.versions: dict[str, tuple[Version, bytes]] = {}

    def give(self, entry: Entry, prepared: Any = None) -> None:
        """Fold one record."""
        self.log.append(entry)
        self.fold.step(self.fold.position, entry, prepared)
        made = self.fold.outputs.versions
        self.versions.update({version.id: (version, payload) for version, payload in made})
        made.clear()

    def go(
        self, count: int, rule: Rule = heavy_is_late, weight: Any = None, *, late: int = 0, noise: float = 0.0
    ) -> None:
        """So many samples, of this weight or of usual ones, and their labels, each `late` samples after its own."""
        waiting: list[LabelRecord] = []
        for _ in range(count):
            n, at = self.number, START_MS + self.number * MINUTE
            self.number += 1
            usual = self.chance.gauss(0.0, 1.0)
            y = rule(usual) != (self.chance.random() < noise)
            x: list[Any] = [0.0] * len(self.fold.pipeline.vector_names)
            x[0] = usual if weight is None else weight(usual) if callable(weight) else weight
            self.give(Sample(Origin("sent", 0, n), f"p{n}", "van", at, x))
            waiting.append(LabelRecord(Origin("done", 0, n, 1), f"p{n}", at + 1, y))
            if len(waiting) > late:
                self.give(waiting.pop(0))
        for label in waiting:
            self.give(label)

    def command(self, verb: Any, prepared: Any = None, **fields: Any) -> str | None:
        """Give a command; why it was refused, or None."""
        command = Command(f"c{self.fold.position}", verb, "because", "ann", **fields)
        self.give(command, prepared)
        assert (command.id in self.fold.applied) != (command.id in self.fold.refused)
        return self.fold.refused.get(command.id)

    def told(self, *, of: str | None = None) -> list[ControlData]:
        """What people were told, all of it or one monitor's."""
        return [
            request.event.data
            for request in self.fold.drift.requests
            if of is None or request.event.data.kind == of
        ]

    def weights(self) -> dict[str, float]:
        """By version."""
        return self.fold.experts.weights()

    def kinds(self) -> list[str]:
        """Of the models, in order."""
        return [one.kind for one in self.fold.experts.models]


def quick_guard(course: Course, patch: pytest.MonkeyPatch, samples: int = 400) -> RangeGuard:
    """Let the fold's guard learn its ranges from few samples."""
    patch.setattr(of_guard, "EPOCH_SAMPLES", samples // 2)
    guard = RangeGuard(["weight"], 1.0, learn_samples=samples)
    course.fold.drift.guard = guard
    return guard


def quick_losses(course: Course) -> None:
    """Let what judges losses see something in some hundred labels."""
    course.fold.drift.losses = LossMonitor(
        LossConfig(base_labels=20, reference_labels=1_200, min_blocks=24, labels_per_year=20_000.0)
    )

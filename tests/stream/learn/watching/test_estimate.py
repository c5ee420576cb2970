"""While labels are missing, what the predictions expect to lose is told as a suspicion, and moves nothing."""

from __future__ import annotations

import math
import random

from river import anomaly

from penstock.stream.learn.drift import DriftRules
from penstock.stream.learn.expert import Answer
from penstock.stream.learn.records import Pending
from penstock.stream.messages import Origin, Sample
from tests.stream.generated import parcels

MINUTE_MS = 60_000


def waits(position: int, p: float) -> Pending:
    answer = Answer((), (), p)  # type: ignore[arg-type]
    return Pending({}, position * MINUTE_MS, position, position, p, 0.5, answer)


def test_a_suspicion_is_told_beside_everything_and_asks_for_nothing() -> None:
    pipeline = parcels()
    watch = DriftRules(pipeline, pipeline.vector_names, guard=False)
    chance = random.Random(1)
    for position in range(28_000):
        spread, labelled = (3.0, True) if position < 20_000 else (1.0, False)
        p = 1 / (1 + math.exp(-chance.gauss(0, spread)))
        sample = Sample(Origin("t", 0, position), str(position), "k", position * MINUTE_MS, [1.0] * 3)
        for watcher in watch.watchers.of_samples:
            watch.hear(watcher.sample(sample.at, position, sample, p))
        if labelled:
            watch.judged(sample.at, position, waits(position, p), chance.random() < p, 0.0, 0.0)
    (told,) = [one for one in watch.requests if one.event.data.kind == "estimate"]
    data = told.event.data
    assert (told.topic, told.event.type) == ("control.alerts", "penstock.note")
    assert (data.state, data.suggested_action, data.severity) == ("suspected", "none", "info")
    assert "wait for their labels" in data.reason and abs(data.since["position"] or 0) - 20_000 < 500
    assert not watch.fired and watch.harm is None
    measures = watch.watchers.measures()
    assert measures["expected_loss"] > measures["realised_loss"] + 0.1


def test_only_true_or_false_has_an_estimate() -> None:
    pipeline = parcels(label=None, model=anomaly.HalfSpaceTrees())
    watch = DriftRules(pipeline, pipeline.vector_names, guard=False)
    assert not any("expected_loss" in name for name in watch.watchers.measures())

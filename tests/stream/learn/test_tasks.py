"""What the fold promises, it promises for every task: the same log gives the same, here, anew, from a snapshot and in a job."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from penstock.stream.learn.fold import Fold
from penstock.stream.learn.learner import at_once
from penstock.stream.learn.records import Predicted
from penstock.stream.learn.replay import replay, retraining
from penstock.stream.messages import (
    Command,
    LabelRecord,
    Sample,
    encode_json,
)
from penstock.stream.models.digest import digest
from penstock.stream.prediction import ModelRef, Prediction, decode_prediction
from tests.stream.generated import HOUR
from tests.stream.learn.task_courses import CASES, log_of, pipeline_of
from tests.stream.same_log import TOPIC, births_often, go, interrupted, stored

every_task = pytest.mark.parametrize("name", CASES)


@pytest.fixture(scope="module", autouse=True)
def short_log() -> Iterator[None]:
    with births_often(90, lambda labels: labels % 70 == 0):
        yield


def state_of(fold: Fold) -> tuple[Any, ...]:
    return fold.digest(), fold.counts, fold.task.measures(), digest(fold.task), digest(fold.base)


def assert_usable(name: str, made: Predicted, fold: Fold) -> None:
    p: Any = made.p
    if name == "unlabelled":
        assert math.isfinite(p.score) and 0.0 <= p.rank <= 1.0
    elif isinstance(p, dict):
        assert not p or sum(p.values()) == pytest.approx(1.0) and min(p.values()) >= 0.0
    else:
        assert math.isfinite(p) and (name.startswith("regression") or 0.0 <= p <= 1.0)


def message(fold: Fold, made: Predicted) -> Prediction:
    value, *more = fold.task.shown(made.p)
    written = Prediction(made.id, made.at, value, ModelRef(made.version), fold.recipe, made.position, *more)
    return decode_prediction(encode_json(written))


@every_task
def test_a_fold_of_the_log_again_is_the_same_and_every_prediction_can_be_used(name: str) -> None:
    log = log_of(name, 250)
    live, again = go(Fold(pipeline_of(name)), log), replay(pipeline_of(name), stored(log), TOPIC)
    assert state_of(live)[1:] == state_of(again)[1:]
    assert live.chain == again.chain
    assert len(live.outputs.predictions) == 250
    for made in live.outputs.predictions:
        assert_usable(name, made, live)
        shown = message(live, made)
        assert shown.prediction == live.task.shown(made.p)[0]
    assert live.counts.learned > 190 and live.counts.failed == 0
    for weights in live.experts.gate.weights:
        assert sum(weights) == pytest.approx(1.0) and min(weights) >= 0.0


@every_task
@pytest.mark.parametrize("cut", [3, 250, 391])
def test_a_snapshot_anywhere_goes_on_as_the_fold_that_was_not_interrupted(name: str, cut: int) -> None:
    log = log_of(name, 250, late=90)
    whole = go(Fold(pipeline_of(name)), log)
    first, restored = interrupted(lambda: pipeline_of(name), log, cut)
    assert cut < 10 or name == "unlabelled" or first.pending, "some wait for their label"
    assert state_of(restored) == state_of(whole)


@every_task
def test_a_job_over_the_log_makes_the_model_that_was_never_touched(name: str) -> None:
    log = log_of(name, 150)
    fold = go(Fold(pipeline_of(name)), log)
    trained = at_once(retraining(pipeline_of(name), stored(log), TOPIC, 0, len(log), []))
    vectors = [
        dict(zip(fold.pipeline.vector_names, entry.x, strict=True))
        for entry in log
        if isinstance(entry, Sample)
    ]
    for x in vectors[:50]:
        given = {one: value for one, value in x.items() if value is not None}
        said = fold.task.said(trained.model, given)
        assert said == fold.task.said(fold.experts.first.model, given) and said is not None
    assert trained.labels == fold.counts.learned


@every_task
def test_without_actions_the_first_model_predicts_alone(name: str) -> None:
    log = log_of(name, 200)
    fold = go(Fold(pipeline_of(name), actions=False), log)
    assert len(fold.experts.models) == 1
    for made in fold.outputs.predictions:
        assert_usable(name, made, fold)
    pinned = go(Fold(pipeline_of(name), actions=True), log[:300])
    pinned.step(300, Command("c1", "rollback", version="v0", pin=True))
    pinned.position = 301
    for place, entry in enumerate(log[300:], 301):
        pinned.step(place, entry)
    assert pinned.live is pinned.experts.first and pinned.pinned
    for made in pinned.outputs.predictions:
        assert_usable(name, made, pinned)


@every_task
def test_the_live_prediction_beats_the_base_predictor(name: str) -> None:
    if name == "unlabelled":
        return
    fold = go(Fold(pipeline_of(name)), log_of(name, 1_000))
    assert fold.counts.live_loss < fold.counts.base_loss
    measured = fold.task.measures()
    if name.startswith("regression"):
        assert measured["mae"] < 0.7 * measured["base_mae"] and measured["r2"] > 0.5
    elif "accuracy" in measured:
        assert measured["accuracy"] > measured["base_accuracy"] + 0.1 and measured["kappa"] > 0.2


class Broken:
    """A model of any task that fails at every vector from some moment on."""

    def __init__(self, model: Any, labels: int = 100) -> None:
        self.model, self.left = model, labels

    def clone(self) -> Any:
        return Broken(self.model.clone(), self.left)

    def learn_one(self, x: Any, *y: Any) -> None:
        self.left -= 1
        self.model.learn_one(x, *y)

    def __getattr__(self, asked: str) -> Any:
        if asked not in ("predict_one", "predict_proba_one", "score_one", "_supervised"):
            raise AttributeError(asked)
        if self.left < 0:
            raise RuntimeError("broken")
        return getattr(self.model, asked)

    def __reduce__(self) -> Any:
        return _broken, (self.model, self.left)


def _broken(model: Any, left: int) -> Broken:
    return Broken(model, left)


@every_task
def test_a_model_that_fails_is_stood_in_for_and_replaced(name: str) -> None:
    pipeline = pipeline_of(name)
    log = log_of(name, 300)
    fold = Fold(pipeline)
    inner = fold.experts.first
    inner.model = Broken(inner.model)
    go(fold, log)
    assert fold.counts.failed >= 5 and inner not in fold.experts.models
    for made in fold.outputs.predictions:
        assert_usable(name, made, fold)
    assert not fold.experts.silent and fold.experts.first.taught > 0


@every_task
def test_a_label_of_another_definition_is_passed_over(name: str) -> None:
    wrong: dict[str, Any] = {"binary": "late", "anomaly": 3.0}
    y = wrong.get(name, "late" if name.startswith("regression") else 1.5)
    fold = go(Fold(pipeline_of(name)), log_of(name, 50))
    before = fold.counts.learned, digest(fold.live.model)
    sample = next(entry for entry in log_of(name, 400)[-100:] if isinstance(entry, Sample))
    unreadable = fold.counts.unreadable
    record = LabelRecord(msgspec.structs.replace(sample.origin, topic_id="other"), "p49", sample.at + HOUR, y)
    fold.step(fold.position, record)
    assert fold.counts.unreadable == unreadable + 1
    assert (fold.counts.learned, digest(fold.live.model)) == before

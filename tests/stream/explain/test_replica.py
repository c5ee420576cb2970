"""What a replica answers on request is explained as the prediction that the fold makes of the same vector."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from penstock.stream.explain.explanation import Explanation
from penstock.stream.explain.mixture import live
from penstock.stream.explain.moment import explained
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.replica import Answered, Replica
from penstock.stream.learn.replica_snapshot import open_replica, take_replica
from penstock.stream.messages import Sample
from tests.stream.generated import entries, parcels
from tests.stream.learn.courses import Course, quick_guard
from tests.stream.learn.task_courses import CASES, log_of, pipeline_of
from tests.stream.same_log import births_often, go


def answered(replica: Replica, found: Answered) -> Explanation:
    how: dict[str, Any] = {"outside": found.outside, "alone": found.alone, "names": replica.names}
    return live(found.experts, found.x, found.answer, **how)


@pytest.mark.parametrize("case", CASES)
def test_an_answer_is_explained_as_the_prediction_of_the_next_sample_is(case: str) -> None:
    log, pipeline = log_of(case, 260), pipeline_of(case)
    position = [n for n, entry in enumerate(log) if isinstance(entry, Sample)][240]
    with births_often(60, lambda labels: labels % 50 == 0):
        fold = go(Fold(pipeline), log, position)
    sample = log[position]
    assert isinstance(sample, Sample)
    replica = open_replica(pipeline, take_replica(fold, "t"))
    before = replica.digest()
    found = replica.ask(sample.id, sample.at, sample.x)
    why = answered(replica, found)
    assert replica.digest() == before
    told = explained(fold, position, sample)
    assert told is not None and why == told.why
    assert msgspec.json.decode(msgspec.json.encode(why), type=Explanation) == why


def test_where_a_value_far_outside_makes_one_more_model_that_one_is_explained_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    course = Course(parcels(views=[]))
    quick_guard(course, monkeypatch)
    course.go(1_200)
    replica = open_replica(course.fold.pipeline, take_replica(course.fold, "t"))
    found = replica.ask("far", course.fold.at, [1e6])
    assert found.outside == ("weight",) and replica.forked is not None
    why = answered(replica, found)
    assert why.margin == found.prediction.prediction
    assert "careful" in {one.kind for one in why.models}
    near = replica.ask("near", course.fold.at, [1.0])
    assert "careful" not in {one.kind for one in answered(replica, near).models}


def test_a_replica_whose_committed_model_predicts_alone_explains_that_one() -> None:
    log = entries(300)
    fold = go(Fold(parcels(approval=True)), log)
    replica = open_replica(parcels(approval=True), take_replica(fold, "t"))
    sample = next(entry for entry in reversed(log) if isinstance(entry, Sample))
    found = replica.ask("a", sample.at, sample.x)
    why = answered(replica, found)
    assert why.margin == found.prediction.prediction and len(why.models) == 1

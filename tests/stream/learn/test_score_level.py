"""The level of an anomaly score: a rise is found once, noise is not, and it is told as a note."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from penstock.stream.learn.fold import Fold
from penstock.stream.learn.score_level import BLOCK_SAMPLES, LEAST_BLOCKS, ScoreLevel
from penstock.stream.messages import Origin, Sample
from tests.stream.generated import MINUTE, START_MS
from tests.stream.learn.courses import Course, quick_guard
from tests.stream.learn.task_courses import pipeline_of


def scores(number: int, level: float, seed: int = 1) -> Iterator[float]:
    chance = random.Random(seed)
    return (level + chance.gauss(0.0, 0.1) for _ in range(number))


def found(values: list[float]) -> list[tuple[int, str, int]]:
    level = ScoreLevel()
    return [
        (number, one.state, one.since_position)
        for number, value in enumerate(values)
        for one in level.update(number * MINUTE, number, value)
    ]


def test_noise_is_no_rise() -> None:
    assert found(list(scores(120 * BLOCK_SAMPLES, 0.5))) == []


def test_a_rise_is_found_once_with_its_onset_and_its_end() -> None:
    before, after = 100 * BLOCK_SAMPLES, 50 * BLOCK_SAMPLES
    told = found([*scores(before, 0.5), *scores(after, 0.8, 2), *scores(before, 0.5, 3)])
    assert [state for _, state, _ in told] == ["firing", "resolved"]
    number, _, since = told[0]
    assert before < number < before + after and before <= since <= number


def test_a_constant_score_and_a_short_past_judge_nothing() -> None:
    assert found([0.0] * 60 * BLOCK_SAMPLES) == []
    assert found([*scores(BLOCK_SAMPLES * (LEAST_BLOCKS - 1), 0.0), 9e9]) == []


def test_people_are_told_of_a_rise_without_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.stream.learn.score_level.BLOCK_SAMPLES", 10)
    fold = Fold(pipeline_of("unlabelled", views=[], guard=False))
    values = [*scores(1_000, 0.5), *scores(500, 9.0, 2)]
    monkeypatch.setattr(type(fold.task), "watched", lambda task, p: values[fold.position])
    for number, value in enumerate(values):
        fold.step(
            number, Sample(Origin("sent", 0, number), f"p{number}", "", START_MS + number * MINUTE, [value])
        )
    told = [request.event.data for request in fold.drift.requests if request.event.subject == "score"]
    assert [(one.kind, one.state, one.suggested_action) for one in told][:1] == [("adwin", "firing", "none")]
    assert "the level of the score rose" in told[0].reason


def test_without_labels_a_guard_alerts_and_tries_no_model_since_nothing_could_judge_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    course = Course(pipeline_of("unlabelled", views=[]))
    quick_guard(course, monkeypatch)
    course.go(500)
    course.go(60, weight=9e5)
    told = [one for one in course.told() if one.kind == "range"]
    assert told and told[0].severity == "critical" and "no label can say what that does" in told[0].reason
    assert course.kinds() == ["first"] and course.fold.counts.learned == 560
    assert course.fold.counts.unreadable == 560, "labels are none of it"


def test_without_labels_a_guard_may_hold_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    course = Course(pipeline_of("unlabelled", views=[], guard="hold"))
    quick_guard(course, monkeypatch)
    course.go(500)
    course.go(60, weight=9e5)
    counts = course.fold.counts
    assert counts.held_back > 30 and counts.learned + counts.held_back == 560
    assert len(course.fold.outputs.predictions) == 560

"""AUC and losses against their definitions."""

from __future__ import annotations

from math import isclose, log
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.stream.operate.scores import AlertScores, ClassScores, NumberScores, auc, scores, scores_of
from penstock.stream.prediction import ModelRef, Prediction

pairs = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), st.booleans()), max_size=30)


@given(pairs)
def test_auc_is_how_often_a_true_event_was_given_more_than_a_false_one(
    found: list[tuple[float, bool]],
) -> None:
    wins = [
        1.0 if p > q else 0.5 if p == q else 0.0
        for p, yes in found if yes
        for q, no in found if not no
    ]  # fmt: skip
    measured = auc(found)
    assert measured is None if not wins else measured is not None and isclose(measured, sum(wins) / len(wins))


@given(pairs)
def test_no_constant_is_better_than_the_base_rate(found: list[tuple[float, bool]]) -> None:
    measured = scores(found)
    if measured is None:
        assert not found
        return
    assert measured.labels == len(found)
    for constant in (0.01, 0.3, 0.5, 0.9):
        other = scores([(constant, y) for _, y in found])
        assert other is not None and other.loss >= measured.base_loss - 1e-9


def test_the_loss_is_in_nats() -> None:
    measured = scores([(0.5, True), (0.5, False)])
    assert measured is not None and isclose(measured.loss, log(2)) and isclose(measured.base_loss, log(2))


def predicted(name: str, value: Any, **more: Any) -> Prediction:
    return Prediction(name, 0, value, ModelRef("v0"), "r", 0, **more)


def test_numbers_are_scored_beside_the_best_constant() -> None:
    found = scores_of(
        [predicted(f"p{n}", p) for n, p in enumerate((1.0, 2.0, 9.0, 5.0))],
        {"p0": 0.0, "p1": 2.0, "p2": 10.0},
    )
    assert isinstance(found, NumberScores) and found.worse is None
    assert (found.labels, found.mae, found.base_mae) == (3, 2 / 3, 10 / 3)
    assert "mean absolute error 0.6667 against 3.333 of the best constant" in found.text
    worse = scores_of([predicted("p0", 9.0), predicted("p1", -9.0)], {"p0": 0.0, "p1": 1.0})
    assert worse is not None and worse.worse is not None and "worse than a constant" in worse.worse


def test_classes_are_scored_by_the_class_named_and_the_probability_of_the_one_that_came() -> None:
    said = {"p0": {"a": 0.5, "b": 0.5}, "p1": {"a": 0.25, "b": 0.75}, "p2": {"1": 1.0}}
    given_ = [predicted(name, max(one, key=one.__getitem__), classes=one) for name, one in said.items()]
    found = scores_of(given_, {"p0": "a", "p1": "b", "p2": 1})
    assert isinstance(found, ClassScores) and (found.labels, found.accuracy, found.kappa) == (3, 1.0, 1.0)
    assert (
        isclose(found.loss, -(log(0.5) + log(0.75)) / 3)
        and found.worse is None
        and "accuracy 1.000" in found.text
    )


def test_without_labels_alerts_are_counted() -> None:
    found = scores_of([predicted(f"p{n}", 0.5, rank=0.9, alert=n == 0) for n in range(4)], {})
    assert (
        found == AlertScores(4, 1)
        and found is not None
        and found.worse is None
        and "1 alerts among 4" in found.text
    )
    assert scores_of([predicted("p0", 0.5)], {}) is None


def test_labels_of_another_kind_than_the_newest_are_left_out() -> None:
    found = scores_of([predicted("p0", 0.5), predicted("p1", 3.0)], {"p0": True, "p1": 2.0})
    assert found is not None and found.labels == 2 or isinstance(found, NumberScores)

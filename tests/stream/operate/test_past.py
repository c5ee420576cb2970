"""A past prediction is explained by the models that made it: the explanation ends at what was published then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count as numbers
from math import fsum
from typing import Any

import pytest

from penstock.stream import cli, topology
from penstock.stream.cli.explain import as_json, as_text
from penstock.stream.definitions import Label
from penstock.stream.log.protocol import Out
from penstock.stream.messages import OperatorRequest, Sample, decode_entry, encode_json
from penstock.stream.operate.past import NotThere, Past, explain_past, find
from penstock.stream.prediction import Prediction, decode_prediction
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.generated import DELIVERED, outs, parcel_events, parcels
from tests.stream.learn.task_courses import pipeline_of
from tests.stream.naive_flow import everything

TOPICS = (topology.samples("parcels"), topology.predictions("parcels"))


@pytest.fixture(scope="module", autouse=True)
def frequent_copies() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.stream.learn.births.FREEZE_EVERY", 100)
        yield


@pytest.fixture(scope="module")
def flow(frequent_copies: None) -> MemoryFlow:
    """A flow with some history, in which a person rolled back in the middle."""
    wall = numbers(1_700_000_000_000, 10)
    made = MemoryFlow(parcels(), clock=lambda: next(wall))
    records = outs(parcel_events(500))
    made.feed(records[:700])
    made.settle()
    fold = made.learn.fold
    assert fold is not None
    version = next(one.version for one in fold.experts.models if one.kind == "frozen")
    request = OperatorRequest(
        id="r1", pipeline="parcels", verb="rollback", reason="told to", by="ann", version=version
    )
    made.feed([Out(topology.CONTROL_COMMANDS, b"parcels", encode_json(request))])
    made.settle()
    made.feed(records[700:])
    made.settle()
    return made


def predictions(flow: MemoryFlow) -> list[Prediction]:
    return [decode_prediction(record.value or b"") for record in everything(flow.log, TOPICS[1])]


def past(flow: MemoryFlow, event_id: str | None, **options: Any) -> Past:
    return explain_past(parcels(), flow.log, TOPICS, event_id, **options)


@pytest.mark.parametrize("place", [0, 57, 333, -1])
def test_the_margin_is_the_prediction_that_was_published(flow: MemoryFlow, place: int) -> None:
    told = predictions(flow)[place]
    found = past(flow, told.id)
    assert found.published == told and found.same is True
    assert found.why.margin == told.prediction
    assert (found.made.position, found.made.version, found.made.weight, found.recipe) == (
        told.position,
        told.model.version,
        told.model.weight,
        told.recipe,
    )
    total = fsum((found.why.base, *(one.contribution for one in found.why.contributions)))
    assert total == pytest.approx(told.prediction, abs=1e-12)


def test_after_a_rollback_the_models_are_those_that_came_of_it(flow: MemoryFlow) -> None:
    assert "resumed" in {one.kind for one in past(flow, predictions(flow)[-1].id).why.models}


def test_a_sample_may_be_named_by_its_position(flow: MemoryFlow) -> None:
    told = predictions(flow)[200]
    assert past(flow, None, position=told.position) == past(flow, told.id)


def test_what_is_not_there_is_said_in_a_sentence(flow: MemoryFlow) -> None:
    with pytest.raises(NotThere, match="no sample of parcels.samples has the event id 'nobody'"):
        past(flow, "nobody")
    with pytest.raises(NotThere, match="holds positions 0 to"):
        past(flow, None, position=10**9)
    with pytest.raises(NotThere, match="is no sample"):
        past(flow, None, position=0)


def test_another_definition_makes_another_prediction_and_that_is_said(flow: MemoryFlow) -> None:
    told = predictions(flow)[400]
    found = explain_past(parcels(approval=True), flow.log, TOPICS, told.id)
    assert found.same is False and "NOT what was published" in as_text(found, found.why)


def test_a_log_whose_start_is_gone_cannot_make_its_models_again() -> None:
    flow = MemoryFlow(parcels())
    flow.feed(outs(parcel_events(50)))
    flow.settle()
    flow.log.trim(TOPICS[0], 0, 20)
    with pytest.raises(NotThere, match="records 0 to 19 of parcels.samples are gone"):
        past(flow, predictions(flow)[-1].id)


def test_the_means_are_those_of_the_samples_before(flow: MemoryFlow) -> None:
    told = predictions(flow)[100]
    found = find(flow.log, TOPICS[0], parcels(), told.id)
    entries = [decode_entry(record.value or b"") for record in everything(flow.log, TOPICS[0])][
        : found.position
    ]
    weights = [entry.x[0] for entry in entries if isinstance(entry, Sample)]
    assert found.means["weight"] == pytest.approx(sum(weights) / len(weights)) and len(weights) == 100


def test_it_is_shown_to_people_and_to_programs(flow: MemoryFlow) -> None:
    found = past(flow, predictions(flow)[300].id)
    lines = as_text(found, found.why.top(2)).splitlines()
    assert "as published" in lines[1] and lines[4].endswith("base") and "(others)" in "\n".join(lines)
    shown = json.loads(json.dumps(as_json("parcels", found, found.why)))
    assert shown["base"] + fsum(one["contribution"] for one in shown["contributions"]) == pytest.approx(
        shown["margin"]
    )
    assert shown["same_as_published"] is True and shown["model"]["version"] == found.made.version
    assert len(shown["contributions"]) == len(parcels().vector_names)


@pytest.mark.parametrize("case", ["multiclass", "regression", "unlabelled"])
def test_other_tasks_too(case: str) -> None:
    words = Label(DELIVERED, lambda e: "late" if e["late"] > 15 else "early", wait="6h", fields=("late",))
    more: dict[str, Any] = {"label": words} if case == "multiclass" else {}
    flow = MemoryFlow(pipeline_of(case, **more))
    flow.feed(outs(parcel_events(150)))
    flow.settle()
    told = predictions(flow)[-1]
    found = explain_past(pipeline_of(case, **more), flow.log, TOPICS, told.id)
    assert found.same is True
    if case == "multiclass":
        assert told.classes is not None
        other = min(told.classes, key=lambda name: told.classes[name])  # type: ignore[index]
        again = explain_past(pipeline_of(case, **more), flow.log, TOPICS, told.id, of=other)
        assert again.why.margin == told.classes[other] and again.same is True


def test_the_command_explains_what_the_log_says(
    flow: MemoryFlow,
    valkey_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("REDIS_URL", valkey_url)
    monkeypatch.delenv("PENSTOCK_SECRET", raising=False)
    monkeypatch.setattr("penstock.stream.cli.explain.load", lambda file: parcels())
    monkeypatch.setattr("penstock.stream.roles.start.open_log", lambda settings: flow.log)
    told = predictions(flow)[250]
    assert cli.main(["explain", "parcels.py", told.id, "--top", "3", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["margin"], shown["position"], len(shown["contributions"])) == (
        told.prediction,
        told.position,
        4,
    )
    assert cli.main(["explain", "parcels.py", "--position", str(told.position)]) == 0
    assert f"event       {told.id}" in capsys.readouterr().out
    assert cli.main(["explain", "parcels.py", "nobody"]) == 2
    assert "no sample of parcels.samples" in capsys.readouterr().err
    assert cli.main(["explain", "parcels.py"]) == 2
    monkeypatch.setattr("penstock.stream.cli.explain.load", lambda file: parcels(approval=True))
    assert cli.main(["explain", "parcels.py", told.id]) == 1
    assert "NOT what was published" in capsys.readouterr().out

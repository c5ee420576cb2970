"""A look for leaks finds features that know the answer or the future, and nothing where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import View, count, mean, sum
from penstock.stream import cli
from penstock.stream.definitions import Label, Pipeline
from penstock.stream.messages import Sample
from penstock.stream.trial import leaks
from penstock.stream.trial.flow import TrialFlow
from penstock.stream.trial.leaks import Looked, look
from penstock.stream.trial.wire import Fed
from tests.stream.generated import (
    DELIVERED,
    HOUR,
    PAID,
    SENT,
    START_MS,
    card_events,
    cards,
    parcel_events,
    parcels,
)
from tests.stream.trial.made import Folder, payment
from tests.stream.trial.test_flow import delivered, parcel


def looked(pipeline: Pipeline, events: Sequence[tuple[str, dict[str, Any]]], most: int = 50) -> Looked:
    flow = TrialFlow(pipeline)
    for topic, event in events:
        flow.send(event, topic)
    return look(pipeline, flow.fed, most)


def is_fraud(event: Any) -> Any:
    return event["fraud"]


@settings(max_examples=5)
@given(st.integers(1, 1_000))
def test_pipelines_that_declare_their_label_leak_nothing_whatever_comes(seed: int) -> None:
    found = looked(parcels(), [(topic, event) for topic, _, event in parcel_events(30, seed)])
    assert found.leaks == [] and found.tried == 30
    found = looked(cards(), [(topic, event) for topic, _, event in card_events(30, seed)])
    assert found.leaks == [] and found.answered == 30


@pytest.mark.parametrize("feature", ["mean", "sum"])
def test_a_view_that_reads_an_answer_nobody_declared_is_found(feature: str) -> None:
    kind = {"mean": mean, "sum": sum}[feature]
    view = View("card", PAID, key="card", features={"seen": kind("fraud", "1d"), "n": count("1d")})
    leaky = cards(views=[view], label=Label(PAID, is_fraud, wait="1h"))
    found = looked(leaky, [(PAID.name, payment(n, fraud=n % 3 == 0)) for n in range(1, 9)])
    assert {leak.feature for leak in found.leaks} == {"card.seen"}
    assert {leak.sample for leak in found.leaks} == {f"p{n}" for n in range(1, 9)}
    assert "another 'fraud' in its own answer" in found.leaks[0].sentence("events.jsonl")


def test_an_input_that_is_the_answer_is_found() -> None:
    leaky = cards(inputs=["amount", "fraud"], label=Label(PAID, is_fraud, wait="1h"))
    found = looked(leaky, [(PAID.name, payment(n)) for n in range(1, 4)])
    assert [(leak.sample, leak.feature) for leak in found.leaks] == [(f"p{n}", "fraud") for n in range(1, 4)]


def test_an_answer_that_came_before_its_question_is_found() -> None:
    events = [
        (DELIVERED.name, delivered(2, START_MS, 30.0)),
        (SENT.name, parcel(1, START_MS + HOUR)),
        (SENT.name, parcel(2, START_MS + HOUR)),
        (DELIVERED.name, delivered(1, START_MS + 2 * HOUR, 90.0)),
    ]
    found = looked(parcels(), events)
    assert {leak.sample for leak in found.leaks} == {"p2"}
    assert {leak.feature for leak in found.leaks} == {"depot.late_3h", "street.late"}


def test_a_vector_that_depends_on_later_records_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    truly = leaks.vectors

    def ahead(pipeline: Pipeline, fed: Sequence[Fed]) -> dict[int, Sample]:
        """An engine that counts what is still to come."""
        made = truly(pipeline, fed)
        for sample in made.values():
            sample.x[1] = float(len(fed))
        return made

    monkeypatch.setattr(leaks, "vectors", ahead)
    found = looked(cards(), [(PAID.name, payment(n)) for n in range(1, 4)])
    assert {(leak.sample, leak.feature) for leak in found.leaks} == {
        ("p1", "card.paid_1h"),
        ("p2", "card.paid_1h"),
    }
    assert "it reads the future" in found.leaks[0].why


def test_records_of_other_topics_that_come_later_are_gone_too(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []
    truly = leaks.vectors

    def watched(pipeline: Pipeline, fed: Sequence[Fed]) -> dict[int, Sample]:
        seen.append({one.topic for one in fed})
        return truly(pipeline, fed)

    monkeypatch.setattr(leaks, "vectors", watched)
    events = [(SENT.name, parcel(1, START_MS)), (DELIVERED.name, delivered(1, START_MS + HOUR, 90.0))]
    assert looked(parcels(), events).leaks == []
    assert seen[0] == {SENT.name, DELIVERED.name} and all(one == {SENT.name} for one in seen[1:])


def test_an_event_that_comes_late_may_know_what_came_before_it() -> None:
    events = [(PAID.name, payment(n)) for n in (1, 5, 3)]
    assert looked(cards(), events).leaks == []
    others = [
        (SENT.name, parcel(1, START_MS + 3 * HOUR)),
        (DELIVERED.name, delivered(9, START_MS + 2 * HOUR, 90.0)),
        (SENT.name, parcel(2, START_MS + HOUR)),
    ]
    flow = TrialFlow(parcels())
    for topic, event in others:
        flow.send(event, topic)
    assert flow.sample("p2")["features"]["depot.late_3h"] == 90.0, "it was processed after the delivery"
    assert look(flow.pipeline, flow.fed).leaks == []


def test_what_is_no_event_is_passed_over_and_many_samples_are_looked_at_evenly() -> None:
    events = [(PAID.name, payment(n, amount="much" if n % 10 == 0 else 1.0)) for n in range(1, 41)]
    found = looked(cards(), events, most=6)
    assert (found.samples, found.tried, found.answered, found.leaks) == (36, 6, 6, [])


def test_a_leak_makes_the_command_fail_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(tmp_path)
    text = folder.definition.read_text()
    folder.definition.write_text(
        text.replace('"fraud", wait', 'lambda e: bool(e["fraud"]), wait').replace(
            'mean("amount"', 'mean("fraud"'
        )
    )
    assert cli.main([*folder.command, "--update"]) == 1
    said = capsys.readouterr().out
    assert said.startswith(
        "leak  sample p1 (events.jsonl:1): card.mean_1d changes from 0.0 to 1.0 with another 'fraud'"
    )
    assert "Label(fields=...)" in said and "\nleaks     3: 3 samples" in said
    assert cli.main([*folder.command, "--leaks", "0"]) == 0


def test_a_feature_that_says_every_label_by_itself_is_asked_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(tmp_path, [payment(n, f"c{n}", fraud=n > 14) for n in range(1, 25)])
    assert cli.main([*folder.command, "--update"]) == 0
    said = capsys.readouterr().out
    assert "amount says every one of the 24 labels by itself: is it known when" in said
    assert "paid_1h says" not in said

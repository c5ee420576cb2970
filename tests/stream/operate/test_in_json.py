"""A definition in plain JSON: what its events mean is the same, and how they are written is not asked."""

from __future__ import annotations

from dataclasses import replace

from penstock import View, count
from penstock.stream.definitions import Label, Pipeline, Source
from penstock.stream.operate.in_json import in_json
from penstock.stream.trial.flow import TrialFlow
from penstock.stream.trial.leaks import look
from tests.stream.generated import PAID, START_MS, card_events, cards, parcels


def written_cards() -> Pipeline:
    """Payments that a database's change events tell of, in Avro."""
    paid = replace(PAID, format="avro", envelope="debezium")
    view = View("card", paid, key="card", features={"paid_1h": count("1h")})
    return replace(cards(), predict=paid, views=[view], label=Label(paid, "fraud", wait="1h"))


def test_a_definition_in_plain_json_is_itself() -> None:
    for made in (cards(), parcels()):
        assert in_json(made) is made


def test_every_source_becomes_plain_and_nothing_else_changes() -> None:
    found = in_json(written_cards())
    assert found.sources == [PAID] and found.views[0].source is found.predict
    assert found.label.source is found.predict
    ours, theirs = found.describe(), written_cards().describe()
    assert {**ours, "sources": []} == {**theirs, "sources": []}


def test_a_source_keeps_what_it_says_of_its_events() -> None:
    said = Source("t", id="i", time="at", key=("a", "b"), grace="3h", ahead="2h")
    made = Pipeline("p", [], replace(said, format="avro"), None, detector(), inputs=["x"])
    assert in_json(made).predict == said


def detector() -> object:
    from river import anomaly

    return anomaly.HalfSpaceTrees(seed=1)


def test_events_of_such_a_topic_are_given_by_their_fields() -> None:
    flow = TrialFlow(written_cards())
    for _, _, event in card_events(5):
        flow.send(event)
    assert len(flow.samples()) == 5 and flow.samples()[0]["at"] >= START_MS
    assert look(flow.pipeline, flow.fed)[:3] == (5, 5, 5)

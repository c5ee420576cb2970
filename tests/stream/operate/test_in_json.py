"""A definition in plain JSON: what its events mean is the same, and how they are written is not asked."""

from __future__ import annotations

from dataclasses import dataclass, replace

from penstock import View, count
from penstock.stream.definitions import Label, Pipeline, Source
from penstock.stream.operate.in_json import in_json
from penstock.stream.trial.flow import TrialFlow
from tests.stream.generated import PAID, START_MS, card_events, cards, parcels


@dataclass(frozen=True)
class Written(Source):
    """A topic whose events are written in some way."""

    how: str = "plainly"


def test_a_definition_in_plain_json_is_itself() -> None:
    for made in (cards(), parcels()):
        assert in_json(made) is made


def written_cards() -> Pipeline:
    paid = Written(PAID.name, id=PAID.id, time=PAID.time, key=PAID.key, how="in runes")
    plain = cards()
    view = View("card", paid, key="card", features={"paid_1h": count("1h")})
    label = Label(paid, "fraud", wait="1h")
    return replace(plain, predict=paid, views=[view], label=label)


def test_every_source_becomes_plain_and_nothing_else_changes() -> None:
    found = in_json(written_cards())
    assert {source.how for source in found.sources} == {"plainly"}  # type: ignore[attr-defined]
    assert found.views[0].source is found.predict and found.label.source is found.predict
    ours, theirs = found.describe(), written_cards().describe()
    assert ours == theirs


def test_events_of_such_a_topic_are_given_by_their_fields() -> None:
    flow = TrialFlow(written_cards())
    for _, _, event in card_events(5):
        flow.send(event)
    assert len(flow.samples()) == 5 and flow.samples()[0]["at"] >= START_MS

"""A pipeline in memory, fed by a test: what it says came of the events is what the roles make of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.stream.trial.flow import TrialFlow
from penstock.stream.trial.wire import BadLine
from tests.stream.generated import DELIVERED, HOUR, MINUTE, SENT, START_MS, cards, parcel_events, parcels
from tests.stream.generated import Label as LabelOf
from tests.stream.naive_flow import NaiveFlow, alike, everything
from tests.stream.trial.made import payment


def parcel(number: int, at: int, **more: Any) -> dict[str, Any]:
    return {
        "parcel": f"p{number}",
        "sent_at": at,
        "van": "v",
        "depot": "d",
        "street": "s",
        "weight": 1.0,
        **more,
    }


def delivered(number: int, at: int, late: float) -> dict[str, Any]:
    return {"parcel": f"p{number}", "done_at": at, "van": "v", "depot": "d", "street": "s", "late": late}


@settings(max_examples=10)
@given(st.integers(1, 1_000), st.integers(1, 80))
def test_samples_labels_and_documents_are_those_of_the_naive_flow(seed: int, number: int) -> None:
    flow = TrialFlow(parcels())
    for topic, _, event in parcel_events(number, seed):
        flow.send(event, topic)
    found = flow.samples()
    naive = NaiveFlow(flow.pipeline, flow.log)
    wanted = sorted(naive.samples.items())
    assert sorted(one["sample"] for one in found) == sorted(event_id for _, (event_id, _, _) in wanted)
    by_id = {one["sample"]: one for one in found}
    labels = {event_id: y for event_id, _, y in naive.labels.values()}
    for _, (event_id, at, x) in wanted:
        one = by_id[event_id]
        assert one["at"] == at and alike(x, list(one["features"].values()))
        assert one["label"] == labels.get(event_id) and ("waits" in one) == (event_id not in labels)
    documents = {(one["document"], one["entity"]) for one in flow.documents()}
    assert len(documents) == len(naive.documents())
    for (view, _), of_naive in naive.documents().items():
        values = of_naive.values(flow.now_ms)
        assert any(
            alike(values, list(one["values"].values())) for one in flow.documents() if one["document"] == view
        )


def test_what_an_event_does_not_say_is_what_a_producer_sends() -> None:
    flow = TrialFlow(cards())
    flow.send(payment(1))
    flow.send(payment(2), key="other", timestamp=START_MS + 10 * MINUTE)
    flow.send(payment(3), key=None)
    first, second, third = everything(flow.log, "cards.paid")
    assert (first.key, first.timestamp_ms) == (b"c1", START_MS + MINUTE)
    assert (second.key, second.timestamp_ms) == (b"other", START_MS + 10 * MINUTE)
    assert third.key is None and third.timestamp_ms == START_MS + 3 * MINUTE


def test_a_record_that_cannot_be_used_says_why_and_whose_it_was() -> None:
    flow = TrialFlow(cards())
    flow.send(payment(1, amount="much"))
    flow.send(None, raw="{broken")
    flow.send(None)
    broken, garbage, tombstone = flow.dead_letters()
    assert broken["dead_letter"] == "p1" and "amount" in broken["reason"]
    assert garbage["dead_letter"] is None and tombstone["reason"].startswith("null value")
    with pytest.raises(KeyError, match="became a dead letter .*amount"):
        flow.sample("p1")


def test_time_that_passes_settles_what_waits_for_its_label() -> None:
    flow = TrialFlow(parcels(label=LabelOf(DELIVERED, lambda e: e["late"] > 15, wait="6h", absent=False)))
    flow.send(parcel(1, START_MS), SENT.name)
    flow.send(parcel(2, START_MS + MINUTE), SENT.name)
    flow.send(delivered(2, START_MS + HOUR, 90.0), DELIVERED.name)
    assert [one["label"] for one in flow.samples()] == [None, True] and flow.sample("p1")["waits"]
    flow.pass_time(START_MS + 8 * HOUR)
    assert [one["label"] for one in flow.samples()] == [False, True]
    assert flow.sample("p1")["label_at"] is None and "waits" not in flow.sample("p1")
    assert flow.features("depot", "d") == {"late_3h": None, "done_1h": 0.0}


def test_features_are_those_of_the_moment_that_is_asked_for() -> None:
    flow = TrialFlow(cards())
    flow.send(payment(1))
    flow.send(payment(40))
    assert flow.features("card", "c1") == {"paid_1h": 2.0, "mean_1d": 205.0}
    assert flow.features("card", "c1", at=START_MS + 70 * MINUTE)["paid_1h"] == 1.0
    assert flow.features("card", "nobody")["paid_1h"] == 0.0


def test_predictions_are_those_that_learn_makes_one_after_the_other() -> None:
    flow = TrialFlow(cards())
    for number in range(1, 30):
        flow.send(payment(number, fraud=number % 2 == 0))
    found = flow.predictions()
    assert [one["prediction_of"] for one in found] == [f"p{n}" for n in range(1, 30)]
    assert len({one["prediction"] for one in found}) > 20 and "model" not in found[0]


def test_a_pipeline_in_shards_has_samples_of_all_of_them() -> None:
    flow = TrialFlow(cards(shard_by="card", shards=3))
    for number in range(1, 20):
        flow.send(payment(number, card=f"c{number % 7}"))
    assert {one["sample"] for one in flow.samples()} == {f"p{n}" for n in range(1, 20)}
    assert {one["prediction_of"] for one in flow.predictions()} == {f"p{n}" for n in range(1, 20)}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"topic": "nowhere"}, "no source of this pipeline; its sources are cards.paid"),
        ({"key": 7}, "the key is text or null"),
        ({"timestamp": "yesterday"}, "neither milliseconds since the epoch nor RFC 3339"),
        ({"time": 7}, "not time"),
    ],
)
def test_what_cannot_be_sent_is_said(given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadLine, match=said):
        TrialFlow(cards()).send(payment(1), **given)


def test_a_line_is_plain_json() -> None:
    flow = TrialFlow(cards())
    flow.send(payment(1))
    for one in flow.got("sample", "dead_letter", "prediction_of", "document"):
        assert json.loads(json.dumps(one.line)) == one.line

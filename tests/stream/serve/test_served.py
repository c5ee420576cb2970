"""What is answered on request: the vector that the sample will carry, the prediction that the fold will make of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import View, count, last, mean, since_last
from penstock.stream.messages import encode_json
from penstock.stream.serve.asking import Asking, Refusal
from tests.stream.generated import PAID, card_events, cards, outs, parcel_events, parcels
from tests.stream.serve.served_flow import as_asked, flow_of, predictions_of, samples_of, served_of


@pytest.fixture(scope="module", autouse=True)
def often() -> Iterator[None]:
    """Replicas are due at every turn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.stream.learn.replica_snapshot.REPLICA_EVERY_MS", 0)
        patch.setattr("penstock.stream.learn.replica_snapshot.REPLICA_SPACING", 0)
        yield


WALL_MS = 1_800_000_000_000


def rich_cards(**more: Any) -> Any:
    features = {
        "paid_1h": count("1h"), "mean_1d": mean("amount", "1d"), "before": last("amount"), "idle": since_last(),
    }  # fmt: skip
    return cards(views=[View("card", PAID, key="card", features=features)], **more)


@pytest.mark.parametrize(("made", "events"), [(parcels, parcel_events), (rich_cards, card_events)])
@settings(max_examples=3, deadline=None)
@given(
    seed=st.integers(0, 10_000), before=st.integers(0, 60), asked=st.integers(1, 12), few=st.integers(1, 5)
)
def test_an_event_asked_about_and_then_published_gives_the_same_vector_and_prediction(
    made: Any, events: Any, seed: int, before: int, asked: int, few: int
) -> None:
    flow = flow_of(made())
    served, _ = served_of(flow)
    course = list(events(before + asked, seed, few))
    flow.settle()
    served.refresh()  # says that somebody wants replicas
    flow.feed(outs(course[:before]))
    flow.settle()
    compared = 0
    for topic, key, event in course[before:]:
        if topic == flow.pipeline.predict.name:
            flow.settle()
            served.refresh()
            assert served.replica is not None
            fold = flow.learn.fold
            assert fold is not None
            (said,) = served.predict([as_asked(flow, event)], Asking(vector=True), WALL_MS)
            knew = fold.counts.learned
            newest = served.replica.standing.learned == knew
            flow.feed(outs([(topic, key, event)]))
            flow.settle()
            sample, published = samples_of(flow)[-1], predictions_of(flow)[-1]
            assert said.vector is not None and said.id == sample.id == published.id
            assert list(said.vector.values()) == sample.x
            if newest:
                assert (said.prediction, said.model) == (published.prediction, published.model)
            compared += 1
        else:
            flow.feed(outs([(topic, key, event)]))
            flow.settle()
    flow.close()


def ready_flow(number: int = 300, **more: Any) -> Any:
    flow = flow_of(parcels(**more))
    served, keys = served_of(flow)
    flow.settle()
    served.refresh()
    flow.feed(outs(parcel_events(number)))
    flow.settle()
    flow.settle()
    assert served.refresh()
    return flow, served, keys


def an_event(number: int = 400, **changes: Any) -> bytes:
    sent = [event for _, _, event in parcel_events(number) if "sent_at" in event]
    return encode_json({**sent[-1], **changes})


def test_an_answer_names_its_models_its_position_and_what_it_lacked() -> None:
    flow, served, _ = ready_flow(interval=0.9, calibrate=True)
    assert flow.learn.fold is not None
    (said,) = served.predict([an_event(depot="d unknown", weight=None)], Asking(), WALL_MS)
    assert said.position == served.replica.position and said.trained_to == said.position
    assert said.recipe == flow.pipeline.digest and said.model.version == served.replica.live.version
    assert said.set is not None and said.calibrated is not None and 0 <= said.prediction <= 1
    assert said.features.missing == [
        "depot.late_3h", "depot.done_1h", "street.late", "street.idle", "traffic.sent_1h", "traffic.idle",
    ]  # fmt: skip
    assert said.features.null == ["weight"] and said.features.age_ms == {}
    (known,) = served.predict([an_event()], Asking(max_age_ms=0), WALL_MS)
    assert known.features.missing == [] and set(known.features.age_ms) == {"depot", "street", "traffic"}
    assert "traffic.sent_1h" in known.features.stale


def test_an_event_that_would_be_a_dead_letter_is_refused_with_the_same_words_and_the_others_are_answered() -> (
    None
):
    _, served, _ = ready_flow()
    bad = [
        an_event(weight="heavy"),
        b"[1]",
        b"{",
        an_event(sent_at=WALL_MS + 10**9),
        an_event(depot={"a": 1}),
    ]
    found = served.predict([an_event(), *bad, an_event()], Asking(), WALL_MS)
    assert [one.error is None for one in found] == [True, False, False, False, False, False, True]
    assert "not a JSON object" in (found[3].error or "") and "$.weight" in (found[1].error or "")
    assert "after the record's own timestamp" in (found[4].error or "")
    assert found[0] == found[-1]


def test_a_position_that_is_not_reached_is_refused_with_where_the_models_are() -> None:
    flow, served, _ = ready_flow()
    here = served.replica.position
    assert served.predict([an_event()], Asking(min_position=here), WALL_MS)[0].position == here
    with pytest.raises(Refusal) as refused:
        served.predict([an_event()], Asking(min_position=here + 1), WALL_MS)
    assert (refused.value.status, refused.value.problem.position) == (409, here)
    with pytest.raises(Refusal):
        served.predict([an_event()], Asking(at_least_version="v99"), WALL_MS)
    flow.feed(outs(list(parcel_events(340))[-60:]))
    flow.settle()
    flow.settle()
    served.refresh()
    assert served.predict([an_event()], Asking(min_position=here + 1), WALL_MS)[0].position > here


def test_redis_that_is_away_is_a_refusal_that_says_so_and_is_not_asked_by_every_request() -> None:
    _, served, keys = ready_flow()
    keys.away = redis.ConnectionError("connection refused")
    keys.calls = 0
    for moment in range(5):
        with pytest.raises(Refusal, match="connection refused") as refused:
            served.predict([an_event()], Asking(), WALL_MS + moment)
        assert refused.value.status == 503 and refused.value.retry_s
    assert keys.calls == 2  # the first request's own, and its second try
    assert not served.refresh() and "connection refused" in served.why
    keys.away = None
    with pytest.raises(Refusal, match="connection refused"):
        served.predict([an_event()], Asking(), WALL_MS)
    assert served.circuit.probe()
    assert served.predict([an_event()], Asking(), WALL_MS)[0].error is None


def test_nothing_is_answered_before_learn_has_stored_models() -> None:
    flow = flow_of(parcels())
    served, _ = served_of(flow)
    with pytest.raises(Refusal, match="learn has stored no models") as refused:
        served.predict([an_event()], Asking(), WALL_MS)
    assert refused.value.status == 503 and not served.shown().ready
    flow.close()


def test_the_features_of_an_entity_are_what_the_reader_gives() -> None:
    _, served, _ = ready_flow()
    found = served.entity("depot", ["d1"], None)
    assert found.found and set(found.values) == {"late_3h", "done_1h"}
    assert not served.entity("street", ["d1", "nowhere"], None).found
    with pytest.raises(Refusal, match="its views are depot, street, traffic"):
        served.entity("shop", ["d1"], None)
    with pytest.raises(Refusal, match="past is not kept"):
        served.entity("depot", ["d1"], 5)


def test_a_kept_version_can_be_asked_beside_the_live_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.stream.learn.births.FREEZE_EVERY", 100)
    flow, served, _ = ready_flow()
    kept = sorted(flow.models.ids())
    assert kept
    (said,) = served.predict([an_event()], Asking(version=kept[0]), WALL_MS)
    assert said.by_version is not None and 0 <= said.by_version["prediction"] <= 1
    with pytest.raises(Refusal, match="no such version") as refused:
        served.predict([an_event()], Asking(version="v77"), WALL_MS)
    assert refused.value.status == 404

"""The whole flow in one thread: events in, features, predictions and decisions out; a person's request all the way through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count as numbers
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.features.redis.store import connect
from penstock.stream import topology
from penstock.stream.learn.replay import replay
from penstock.stream.log.protocol import Out
from penstock.stream.messages import (
    Decision,
    LiveModel,
    OperatorRequest,
    decode_decision,
    decode_live_model,
    encode_json,
)
from penstock.stream.models.publisher import Publisher
from penstock.stream.models.retention import Retention
from penstock.stream.operate.history import history_of
from penstock.stream.operate.registry import give_name, to_ask_for
from penstock.stream.prediction import ModelRef, decode_prediction
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.generated import PAID, card_events, cards, outs, parcel_events, parcels
from tests.stream.naive_flow import NaiveFlow, everything


@pytest.fixture(scope="module", autouse=True)
def frequent_copies() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.stream.learn.births.FREEZE_EVERY", 100)
        yield


def flow_of(pipeline: Any, partitions: int = 2, client: redis.Redis | None = None) -> MemoryFlow:
    wall = numbers(1_700_000_000_000, 10)
    return MemoryFlow(pipeline, partitions=partitions, client=client, clock=lambda: next(wall))


def check(flow: MemoryFlow, read: Callable[[str], bytes | None]) -> None:
    naive = NaiveFlow(flow.pipeline, flow.log)
    samples = topology.samples(flow.pipeline.name)
    assert naive.samples and naive.wrong_samples(flow.log, samples) == []
    assert naive.wrong_documents(read) == []
    assert naive.wrong_dead_letters(flow.log, topology.dead_letters(flow.pipeline.name)) == set()
    assert flow.learn.fold is not None
    assert flow.learn.fold.digest() == replay(flow.pipeline, flow.log, samples).digest()


def ask(flow: MemoryFlow, verb: Any, **fields: Any) -> tuple[Decision, LiveModel]:
    """A person's request: its decision, and what is live after it."""
    request = OperatorRequest(
        id=f"r{flow.clock()}", pipeline=flow.pipeline.name, verb=verb, reason="told to", by="ann", **fields
    )
    flow.feed([Out(topology.CONTROL_COMMANDS, flow.pipeline.name.encode(), encode_json(request))])
    flow.settle()
    decisions = [
        decode_decision(record.value or b"") for record in everything(flow.log, topology.CONTROL_DECISIONS)
    ]
    live = [
        decode_live_model(record.value or b"") for record in everything(flow.log, topology.CONTROL_MODELS)
    ]
    return next(decision for decision in decisions if decision.request == request.id), live[-1]


def test_the_history_topic_counts_what_the_predictions_topic_has() -> None:
    flow = flow_of(parcels())
    flow.feed(outs(parcel_events(500)))
    flow.settle()
    hours = [one for one in history_of(flow.log, "parcels") if one.kind == "hour"]
    predicted = [
        decode_prediction(record.value or b"")
        for record in everything(flow.log, topology.predictions("parcels"))
    ]
    assert len(hours) > 3
    for hour in hours:
        inside = [one for one in predicted if hour.since_position <= one.position < hour.position]
        assert hour.counts.samples == len(inside)


@pytest.mark.parametrize("made", [parcels, cards])
def test_the_flow_is_the_naive_flow_and_the_model_the_fold_of_the_log(made: Callable[[], Any]) -> None:
    flow = flow_of(made(), partitions=3)
    flow.feed(outs(parcel_events(500) if made is parcels else card_events(500)))
    flow.settle()
    check(flow, flow.server.data.get)


def test_on_a_real_server_it_is_the_same(valkey: redis.Redis, valkey_url: str) -> None:
    flow = flow_of(cards(), client=connect(valkey_url))
    flow.feed(outs(card_events(400)))
    flow.settle()
    check(flow, valkey.get)
    flow.close()
    assert valkey.get("model:cards") is not None


@settings(max_examples=15)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=6))
def test_features_do_not_depend_on_how_the_events_came_in(chunks: list[int]) -> None:
    """Vectors may: a live stream shows what had come by then. The state behind them must not."""
    records = outs(parcel_events(150))
    flow = flow_of(parcels())
    rest = records
    for chunk in chunks:
        flow.feed(rest[:chunk])
        rest = rest[chunk:]
        flow.settle(2)
    flow.feed(rest)
    flow.settle()
    assert NaiveFlow(flow.pipeline, flow.log).wrong_documents(flow.server.data.get) == []
    assert flow.learn.fold is not None and flow.learn.fold.counts.samples == 150


def test_a_producer_that_sends_an_event_twice_makes_two_samples_and_the_log_says_so() -> None:
    flow = flow_of(cards())
    records = outs(card_events(50))
    flow.feed([*records, *records])
    flow.settle()
    fold = flow.learn.fold
    assert fold is not None and fold.counts.samples == 100 and fold.counts.repeats == 0
    check(flow, flow.server.data.get)


def test_a_person_holds_resumes_rolls_back_and_retrains() -> None:
    flow = flow_of(parcels())
    records = outs(parcel_events(1_200))
    flow.feed(records[:1_200])
    flow.settle()
    decision, live = ask(flow, "hold")
    assert decision.verdict == "accepted" and live.held
    assert decision.command is not None and decision.command.id in live.applied
    flow.feed(records[1_200:1_500])
    flow.settle()
    _, live = ask(flow, "resume")
    assert not live.held
    frozen = [one for one in live.experts if one.kind == "frozen"][-1].version
    _, rolled = ask(flow, "rollback", version=frozen)
    assert rolled.version == rolled.committed == frozen and "rollback" in rolled.why
    assert rolled.change == f"rolled back: {frozen} has all the weight: told to (ann)" and not rolled.alone
    _, retrained = ask(flow, "retrain", from_position=0)
    [made] = [one.version for one in retrained.experts if one.kind == "retrained"]
    assert retrained.version == frozen and f"{made} takes part" in retrained.change
    flow.feed(records[1_500:])
    flow.settle()
    _, promoted = ask(flow, "promote", pin=True)
    assert promoted.version == promoted.committed == made and promoted.pinned and promoted.alone
    assert promoted.change == f"promoted: {made} has all the weight, and is pinned: told to (ann)"
    _, live = ask(flow, "resume")
    assert not live.pinned and not live.alone
    assert not any(record.value is None for record in everything(flow.log, topology.CONTROL_DECISIONS))
    check(flow, flow.server.data.get)


def test_what_cannot_be_done_is_said_and_changes_nothing() -> None:
    flow = flow_of(cards())
    flow.feed(outs(card_events(100)))
    flow.settle()
    assert flow.learn.fold is not None
    before = flow.learn.fold.live, flow.learn.fold.version, flow.learn.fold.experts.weights()
    for verb in ("resume", "promote"):
        decision, live = ask(flow, verb)
        assert decision.command is None or decision.command.id in live.refused
    decision, _ = ask(flow, "rollback", version="v77")
    assert decision.verdict == "refused" and "v77" in decision.why
    fold = flow.learn.fold
    assert (fold.live, fold.version, fold.experts.weights()) == before
    check(flow, flow.server.data.get)


def test_with_approval_a_person_commits_a_version_which_then_predicts_alone_and_weights_stay() -> None:
    flow = flow_of(cards(approval=True))
    flow.feed(outs(card_events(600)))
    flow.settle()
    assert flow.learn.fold is not None
    before = flow.learn.fold.experts.weights()
    version = next(one.version for one in flow.learn.fold.experts.models if one.kind == "new")
    _, live = ask(flow, "promote", version=version)
    assert live.change == f"promoted: committed {version}: told to (ann)", (
        "no word of weight: it has none more"
    )
    assert (live.version, live.committed, live.alone, live.pinned) == (version, version, True, False)
    assert flow.learn.fold.experts.weights() == before
    flow.feed(outs(card_events(700))[600:])
    flow.settle()
    predicted = everything(flow.log, topology.predictions("cards"))
    assert {decode_prediction(record.value or b"").model for record in predicted[-50:]} == {ModelRef(version)}


def test_another_pipelines_requests_are_not_taken() -> None:
    flow = flow_of(cards())
    flow.feed(outs(card_events(50)))
    request = OperatorRequest(id="r1", pipeline="other", verb="hold", reason="", by="ann")
    flow.feed([Out(topology.CONTROL_COMMANDS, b"other", encode_json(request))])
    flow.settle()
    assert everything(flow.log, topology.CONTROL_DECISIONS) == []
    assert flow.learn.fold is not None and flow.learn.fold.drift.hold is None


def test_a_replay_with_actions_off_shows_what_would_have_been() -> None:
    flow = flow_of(cards())
    flow.feed(outs(card_events(300)))
    flow.settle()
    ask(flow, "hold")
    flow.feed(outs(card_events(600))[300:])
    flow.settle()
    samples = topology.samples("cards")
    without = replay(flow.pipeline, flow.log, samples, actions=False, trace=True)
    assert flow.learn.fold is not None
    assert without.counts.learned == 600 > flow.learn.fold.counts.learned
    assert without.trace is not None and len(without.trace) == 600


def test_nothing_to_read_is_nothing_to_do() -> None:
    flow = flow_of(cards())
    flow.settle()
    assert everything(flow.log, topology.predictions("cards")) == [] and everything(flow.log, PAID.name) == []


def test_what_a_name_kept_is_put_in_place_after_the_flow_dropped_it_and_a_replay_with_the_store_agrees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("penstock.stream.learn.state.Retention", lambda: Retention(most=0))
    monkeypatch.setattr("penstock.stream.learn.departures.MOST_FROZEN", 1)
    flow, events = flow_of(cards()), outs(card_events(400))
    flow.feed(events[:150])
    flow.settle()
    fold = flow.learn.fold
    assert fold is not None
    (kept,) = [one.version for one in fold.experts.models if one.kind == "frozen"]
    give_name(flow.models, "best", kept, {}, "ann", "")
    flow.feed(events[150:])
    flow.settle()
    flow.learn._snapshot(fold)
    assert fold.retention.why_gone(kept) is not None and flow.models.get(kept) is None
    version, digest = to_ask_for(flow.models, "best")
    decision, live = ask(flow, "rollback", version=version, digest=digest)
    assert decision.command is not None and decision.command.id in live.applied
    placed = fold.experts.committed
    assert (placed.parent, live.committed, live.previous) == ("name/best", placed.version, "v0")
    stored = flow.models.get(placed.version)
    assert stored is not None and (stored[0].author, stored[0].digest) == ("ann", digest)
    samples = topology.samples(flow.pipeline.name)
    assert replay(flow.pipeline, flow.log, samples, outside=flow.models).digest() == fold.digest()
    assert replay(flow.pipeline, flow.log, samples).digest() != fold.digest()


def test_after_each_snapshot_the_publisher_is_told_what_is_live_and_what_was_stored() -> None:
    told: list[tuple[str, str, list[str]]] = []

    class Noted:
        def sync(self, live: Any, stored_again: Any = ()) -> Any:
            told.append((live["committed"], live["commit"]["by"], list(stored_again)))
            return SimpleNamespace(registered=[])

    flow = flow_of(cards())
    flow.feed(outs(card_events(300)))
    flow.settle()
    fold = flow.learn.fold
    assert fold is not None
    flow.learn._snapshot(fold)  # told to nobody
    flow.learn.publisher = Publisher(Noted())
    (*_, frozen) = [one.version for one in fold.experts.models if one.kind == "frozen"]
    for version in (frozen, "v0"):
        ask(flow, "rollback", version=version)
        flow.learn._snapshot(fold)
        assert flow.learn.publisher.due()
        flow.learn.publisher.publish()
    assert told == [(frozen, "ann", []), ("v0", "ann", ["v0"])]

"""Learning in shards, the whole flow in one thread: every shard is a pipeline of its own samples, whoever folds it."""

from __future__ import annotations

from itertools import count as numbers
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.features.redis.store import StoreUnavailable
from penstock.stream import topology
from penstock.stream.definitions import DefinitionError, Label, Pipeline
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.learn.replay import replay
from penstock.stream.learn.sharing import LearnShards
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import CommitFailed, LogUnavailable, Out
from penstock.stream.log.shards import ShardLog
from penstock.stream.messages import (
    Decision,
    LabelRecord,
    OperatorRequest,
    Recipe,
    Sample,
    Tick,
    decode_decision,
    decode_entry,
    decode_live_model,
    encode_entry,
    encode_json,
)
from penstock.stream.prediction import decode_prediction
from penstock.stream.process.health_page import Health
from penstock.stream.recipes import recipe_of
from penstock.stream.roles.in_memory import MemoryFlow
from penstock.stream.roles.learn_shards import LearnShardsReport
from penstock.stream.shards import of_shard, shard_of_value
from tests.stream.generated import (
    DELIVERED,
    SENT,
    card_events,
    cards,
    outs,
    parcel_events,
    parcels,
)
from tests.stream.naive_flow import NaiveFlow, everything


def by_depot(**changes: Any) -> Pipeline:
    """Parcels, sharded by a field that both topics have and neither is keyed by."""
    return parcels(**{"shard_by": "depot", "shards": 3, **changes})


def flow_of(pipeline: Pipeline, **options: Any) -> MemoryFlow:
    wall = numbers(1_700_000_000_000, 10)
    return MemoryFlow(pipeline, clock=lambda: next(wall), **options)


def settled(pipeline: Pipeline, records: list[Out], **options: Any) -> MemoryFlow:
    flow = flow_of(pipeline, **options)
    flow.feed(records)
    flow.settle()
    return flow


def entries_of(flow: MemoryFlow) -> list[tuple[int, Any]]:
    """(shard, entry) of the samples log."""
    topic = topology.samples(flow.pipeline.name)
    return [(record.partition, decode_entry(record.value or b"")) for record in everything(flow.log, topic)]


def alone(flow: MemoryFlow, shard: int, **definition: Any) -> tuple[Pipeline, MemoryLog]:
    """A pipeline that learns in one piece on a shard's share of the budget, and a log of that shard's entries alone."""
    whole = flow.pipeline
    make = parcels if whole.name == "parcels" else cards
    one = make(**definition, alarms_per_year=whole.alarms_per_year / whole.shards)
    log = MemoryLog()
    log.create(topology.samples(one.name), 1)
    for partition, entry in entries_of(flow):
        if partition != shard:
            continue
        own = entry
        if isinstance(entry, Recipe):
            own = recipe_of(one)
        elif isinstance(entry, Sample):
            own = msgspec.structs.replace(entry, recipe=one.digest)
        log.append([Out(topology.samples(one.name), None, encode_entry(own), (), 0)])
    return one, log


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 99),
    shards=st.integers(2, 6),
    field=st.sampled_from(["depot", "van", "parcel", "card"]),
)
def test_each_shards_fold_is_that_of_a_pipeline_fed_only_that_shards_samples(
    seed: int, shards: int, field: str
) -> None:
    if field == "card":
        pipeline, records = cards(shard_by="card", shards=shards), outs(card_events(400, seed))
    else:
        pipeline, records = by_depot(shard_by=field, shards=shards), outs(parcel_events(300, seed))
    flow = settled(pipeline, records)
    for shard in range(shards):
        one, log = alone(flow, shard)
        expected = replay(one, log, topology.samples(one.name))
        fold = flow.shard(shard).fold
        assert fold is not None and fold.digest() == expected.digest()
        assert vars(fold.counts) == vars(expected.counts)
        here = ShardLog(flow.log, topology.shared_out(pipeline.name), shard)
        assert (
            fold.digest() == replay(of_shard(pipeline, shard), here, topology.samples(pipeline.name)).digest()
        )


def test_a_sample_is_in_the_shard_of_its_fields_hash_and_its_label_beside_it() -> None:
    events = list(parcel_events(400))
    depot_of = {event["parcel"]: event["depot"] for _, _, event in events}
    flow = settled(by_depot(), outs(events))
    found = entries_of(flow)
    data = [(shard, entry) for shard, entry in found if isinstance(entry, Sample | LabelRecord)]
    assert all(shard == shard_of_value(depot_of[entry.id], 3) for shard, entry in data)
    naive = NaiveFlow(flow.pipeline, flow.log)
    assert naive.samples and naive.wrong_samples(flow.log, topology.samples("parcels")) == []
    joined = sum(flow.shard(shard).fold.counts.joined for shard in range(3))  # type: ignore[union-attr]
    one = settled(parcels(), outs(events)).learn.fold
    assert one is not None and joined == one.counts.joined > 300


def test_every_shard_hears_of_the_recipe_and_of_time() -> None:
    flow = settled(by_depot(), outs(parcel_events(200)))
    found = entries_of(flow)
    for shard in range(3):
        here = [entry for partition, entry in found if partition == shard]
        assert isinstance(here[0], Recipe) and here[0].digest == flow.pipeline.digest
        assert any(isinstance(entry, Tick) and entry.look is None for entry in here)
    ticks = [
        [e for p, e in found if p == shard and isinstance(e, Tick) and e.look is None] for shard in range(3)
    ]
    assert ticks[0] == ticks[1] == ticks[2]


def test_the_features_and_vectors_are_those_of_one_shard() -> None:
    events = outs(parcel_events(300))
    many, one = settled(by_depot(), events), settled(parcels(), events)

    def vectors(flow: MemoryFlow) -> dict[str, Any]:
        return {entry.id: (entry.at, entry.x) for _, entry in entries_of(flow) if isinstance(entry, Sample)}

    def states(flow: MemoryFlow) -> set[str]:
        return {str(key) for key in flow.server.data if ":all:state:" in str(key)}

    assert vectors(many) == vectors(one) and states(many) == states(one) != set()


def test_null_belongs_to_shard_0() -> None:
    events = [(topic, key, {**event, "card": None}) for topic, key, event in card_events(30)]
    pipeline = cards(views=[], shard_by="card", shards=4)
    flow = settled(pipeline, outs(events))
    assert {shard for shard, entry in entries_of(flow) if isinstance(entry, Sample)} == {0}


def test_an_event_without_the_field_is_a_dead_letter() -> None:
    event = {"parcel": "p1", "sent_at": 1_700_000_000_000, "van": "v", "weight": 1.0, "depot": "d"}
    pipeline = parcels(
        views=[], inputs=["weight"], shard_by="city", shards=2,
        label=Label(DELIVERED, lambda e: e["late"] > 15, fields=("late", "city")),
    )  # fmt: skip
    flow = settled(pipeline, outs([(SENT.name, "v", event), (SENT.name, "v", {**event, "city": "Bern"})]))
    letters = everything(flow.log, topology.dead_letters("parcels"))
    assert len(letters) == 1 and b"city" in dict(letters[0].headers)["penstock-reason"]
    assert sum(isinstance(entry, Sample) for _, entry in entries_of(flow)) == 1


def test_predictions_of_all_shards_stand_in_one_topic_each_once() -> None:
    flow = settled(by_depot(), outs(parcel_events(200)))
    made = [
        decode_prediction(record.value or b"")
        for record in everything(flow.log, topology.predictions("parcels"))
    ]
    assert sorted(one.id for one in made) == sorted(f"p{n}" for n in range(200))


def decisions(flow: MemoryFlow) -> dict[str, Decision]:
    found = [
        decode_decision(record.value or b"") for record in everything(flow.log, topology.CONTROL_DECISIONS)
    ]
    return {one.request: one for one in found}


def ask(flow: MemoryFlow, name: str, request: str) -> None:
    asked = OperatorRequest(id=request, pipeline=name, verb="hold", reason="inspection", by="ann")
    flow.feed([Out(topology.CONTROL_COMMANDS, name.encode(), encode_json(asked))])
    flow.settle()


def test_a_request_to_the_pipeline_reaches_every_shard_and_one_to_a_shard_that_one_alone() -> None:
    flow = settled(by_depot(), outs(parcel_events(200)))

    def held() -> list[bool]:
        folds = [flow.shard(shard).fold for shard in range(3)]
        return [fold is not None and fold.drift.hold is not None for fold in folds]

    ask(flow, "parcels.1", "r1")
    assert held() == [False, True, False] and set(decisions(flow)) == {"r1"}
    ask(flow, "parcels", "r2")
    assert held() == [True, True, True]
    assert {"r2.0", "r2.1", "r2.2"} <= set(decisions(flow))
    shown = [decode_live_model(r.value or b"") for r in everything(flow.log, topology.CONTROL_MODELS)]
    assert {one.pipeline for one in shown if one.held} == {"parcels.0", "parcels.1", "parcels.2"}


def test_a_request_that_nobody_can_read_is_refused_once() -> None:
    flow = settled(by_depot(), outs(parcel_events(50)))
    flow.feed([Out(topology.CONTROL_COMMANDS, b"parcels", b'{"pipeline": "parcels", "id": "odd"}')])
    flow.feed([Out(topology.CONTROL_COMMANDS, None, b"no JSON")])
    flow.settle()
    refused = [one for one in decisions(flow).values() if one.verdict == "refused"]
    assert sorted(one.pipeline for one in refused) == ["parcels.0", "parcels.0"]


def second_worker(flow: MemoryFlow) -> LearnShards:
    return LearnShards(flow.pipeline, flow.log, flow._shard_learn)


def test_learn_workers_share_the_shards_and_take_over_those_of_one_that_leaves() -> None:
    records = outs(parcel_events(600))
    pipeline = by_depot(shard_by="van", shards=4)
    flow = flow_of(pipeline)
    flow.feed(records[:500])
    flow.settle()
    second = second_worker(flow)
    flow.feed(records[500:800])
    for _ in range(20):
        flow.process_batches()
        second.process_batch(0.0)
    assert isinstance(flow.learning, LearnShards)
    assert flow.learning.held and second.held
    assert sorted([*flow.learning.held, *second.held]) == [0, 1, 2, 3]
    assert isinstance(flow.log, MemoryLog)
    flow.log.expel(second.member)  # type: ignore[arg-type]  # as Kafka does with one that was killed
    flow.feed(records[800:])
    flow.settle()
    assert flow.learning.held == [0, 1, 2, 3]
    for shard in range(4):
        here = ShardLog(flow.log, topology.shared_out(pipeline.name), shard)
        expected = replay(of_shard(pipeline, shard), here, topology.samples(pipeline.name))
        fold = flow.shard(shard).fold
        assert fold is not None and fold.digest() == expected.digest() and fold.counts.samples > 0


def test_a_worker_that_starts_again_goes_on_from_its_shards_snapshots() -> None:
    records = outs(parcel_events(400))
    flow = settled(by_depot(), records[:400])
    flow.learning.close()
    flow.learning = second_worker(flow)
    flow.feed(records[400:])
    flow.settle()
    for shard in range(3):
        worker = flow.shard(shard)
        assert worker.fold is not None and worker.saved_at is not None
        here = ShardLog(flow.log, [worker.topic], shard)
        assert worker.fold.digest() == replay(worker.pipeline, here, worker.topic).digest()


def test_a_shard_whose_store_is_lost_is_folded_anew_while_the_others_go_on() -> None:
    records = outs(parcel_events(300))
    flow = settled(by_depot(), records[:300])
    kept = flow.shard(2).fold
    lost = [key for key in flow.server.data if str(key).startswith("penstock:parcels.1:")]
    assert lost
    for key in lost:
        del flow.server.data[key]
    flow.shard(1).snapshot_ms = 0  # so that it notices at once
    flow.feed(records[300:])
    for _ in range(200):
        flow.process_batches()
    for shard in range(3):
        worker = flow.shard(shard)
        here = ShardLog(flow.log, [worker.topic], shard)
        assert worker.fold is not None
        assert worker.fold.digest() == replay(worker.pipeline, here, worker.topic).digest()
    assert flow.shard(2).fold is kept


def test_what_waits_for_a_busy_shard_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.stream.learn.sharing.MOST_WAITING", 50)
    monkeypatch.setattr("penstock.stream.learn.worker.BATCH_RECORDS", 20)
    flow = flow_of(cards(shard_by="card", shards=2))
    flow.settle()
    busy = flow.shard(0)
    monkeypatch.setattr(busy, "process_batch", lambda timeout_s: 0)
    flow.feed(outs(card_events(800)))
    for _ in range(200):
        flow.process_batches()
    assert isinstance(flow.learning, LearnShards)
    assert 50 <= len(flow.learning.parts[0].waiting) <= 50 + 2 * 20
    other = flow.shard(1)
    assert other.fold is not None and other.fold.counts.samples > 100
    monkeypatch.undo()
    flow.settle()
    here = ShardLog(flow.log, [busy.topic], 0)
    assert busy.fold is not None and busy.fold.digest() == replay(busy.pipeline, here, busy.topic).digest()


def test_a_shard_that_cannot_be_read_elsewhere_yet_takes_nothing_of_where_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Redis fails it, so that it begins again further back; Kafka does not answer when that is asked for."""
    monkeypatch.setattr("penstock.stream.learn.worker.BATCH_RECORDS", 20)
    flow = settled(by_depot(), [])
    flow.feed(outs(parcel_events(600)))
    for _ in range(60):
        flow.featurize.process_batch(0.0)
    learning = flow.learning
    assert isinstance(learning, LearnShards)
    for _ in range(6):
        learning.process_batch(0.0)
    shard = flow.shard(0)
    assert shard.fold is not None and shard.fold.position > 0
    away = Mock(side_effect=[StoreUnavailable("away", "redis", "wait")])
    silent = Mock(side_effect=[LogUnavailable("no answer")])
    save, start_at = shard.store.save, learning.member.start_at
    monkeypatch.setattr(shard.store, "save", lambda units: save(units) if away.called else away())
    monkeypatch.setattr(
        learning.member, "start_at", lambda places: start_at(places) if silent.called else silent()
    )
    shard.snapshot_wait_ms = 0
    for _ in range(400):
        flow.process_batches()
    assert away.called and silent.called
    here = ShardLog(flow.log, [shard.topic], 0)
    expected = replay(shard.pipeline, here, shard.topic)
    assert shard.fold is not None and shard.fold.counts.samples == expected.counts.samples
    assert shard.fold.digest() == expected.digest()


def test_commits_that_failed_are_made_again_though_nothing_new_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.stream.learn.sharing.COMMIT_AGAIN_S", 0.0)
    flow = settled(by_depot(), [])
    assert isinstance(flow.learning, LearnShards)
    commit, failed = flow.learning.member.commit, Mock(side_effect=CommitFailed("told to"))
    tps = [(topology.samples(flow.pipeline.name), shard) for shard in range(3)]
    group = topology.consumer_group(flow.pipeline.name, "learn")
    monkeypatch.setattr(flow.learning.member, "commit", failed)
    flow.feed(outs(parcel_events(300)))
    for _ in range(200):
        flow.process_batches()
    assert failed.called and flow.log.committed(group, tps) != {
        tp: end for tp, (_, end) in flow.log.bounds(tps).items()
    }
    monkeypatch.setattr(flow.learning.member, "commit", commit)
    for _ in range(3):
        flow.learning.process_batch(0.0)
    assert flow.log.committed(group, tps) == {tp: end for tp, (_, end) in flow.log.bounds(tps).items()}


def test_the_number_of_shards_is_that_of_the_topics_partitions_or_nothing_starts() -> None:
    flow = flow_of(cards())
    wall = numbers(0)
    pipeline, said = cards(shard_by="card", shards=2), "has 1 partition and the definition says shards=2"
    with pytest.raises(DefinitionError, match=said):
        FeaturizeWorker(pipeline, flow.log, flow.store, lambda: next(wall))
    with pytest.raises(DefinitionError, match=said):
        LearnShards(pipeline, flow.log, flow._shard_learn)


def test_the_text_of_the_kafka_key_says_the_shard_so_that_partitions_and_shards_agree() -> None:
    flow = settled(cards(shard_by="card", shards=4), outs(card_events(200)), partitions=4)
    for shard, entry in entries_of(flow):
        if isinstance(entry, Sample):
            assert entry.origin.partition == shard


def test_a_worker_opens_one_shard_a_turn_so_that_it_is_not_put_out_of_its_group() -> None:
    flow = flow_of(by_depot(shards=5))
    opened = []
    assert isinstance(flow.learning, LearnShards)
    for _ in range(7):
        flow.learning.process_batch(0.0)
        opened.append(sum(worker.fold is not None for worker in flow.learning.workers.values()))
    assert opened == [1, 2, 3, 4, 5, 5, 5]


def test_shards_that_share_a_loop_share_the_time_that_snapshots_may_take() -> None:
    flow = settled(by_depot(shards=4), [])
    assert {flow.shard(shard).spacing for shard in range(4)} == {40}
    second = second_worker(flow)
    for _ in range(20):
        flow.process_batches()
        second.process_batch(0.0)
    assert {flow.shard(shard).spacing for shard in range(4)} == {20}


def test_the_page_counts_over_all_shards_and_says_where_each_stands() -> None:
    flow = flow_of(by_depot())
    with Health("learn", pipeline="parcels") as health:
        flow.learning.close()
        report = LearnShardsReport(health)
        flow.learning = LearnShards(flow.pipeline, flow.log, flow._shard_learn, health=report)
        flow.feed(outs(parcel_events(200)))
        flow.settle()
        report.look_s = 0.0
        flow.process_batches()

        def shown(name: str, **labels: str) -> float | None:
            return health.registry.get_sample_value(name, labels)

        folds = [flow.shard(shard).fold for shard in range(3)]
        assert shown("penstock_predictions_total") == 200
        assert shown("penstock_pending_labels") == sum(
            len(fold.pending) for fold in folds if fold is not None
        )
        for shard, fold in enumerate(folds):
            assert fold is not None
            at = shown("penstock_position", topic="parcels.samples", partition=str(shard))
            assert at == fold.position > 0
        assert shown("penstock_lag_records", topic="parcels.samples") == 0
        assert shown("penstock_role_ready") == 1
        flow.shard(1).fold = None
        report.look_s = 0.0
        report.batch(flow.learning)
        assert shown("penstock_role_ready") == 0, "a shard that is here and has no fold"

"""Files of a pipeline that learns in shards, and what learning publishes while history is read."""

from __future__ import annotations

import pytest

from penstock.stream import topology
from penstock.stream.definitions import DefinitionError
from penstock.stream.featurize.after_files import origin_of, plan_in
from penstock.stream.featurize.position import Change, Position, decode_position
from penstock.stream.learn import worker as learn_worker
from penstock.stream.learn.quiet import QuietLearnWorker
from penstock.stream.roles import in_memory
from tests.stream.bootstrap.in_files import (
    at_of,
    bootstrapped,
    entries_of,
    flow_of,
    learned,
    plan_of,
    published,
    states_of,
    written,
)
from tests.stream.generated import card_events, cards, parcel_events, parcels


def test_each_shard_gets_what_the_topics_give_it() -> None:
    pipeline, events = cards(shard_by="card", shards=3), list(card_events(150, 4))
    found = []
    for with_files in (True, False):
        flow = flow_of(pipeline, 2)
        flow.feed(published(pipeline, events, 2))
        if with_files:
            bootstrapped(flow, plan_of(flow, written(pipeline, events), at_of(pipeline, events[90])))
        flow.settle()
        entries = [
            [entry for entry in entries_of(flow, shard) if hasattr(entry, "origin")] for shard in range(3)
        ]
        digests = [flow.shard(shard).fold.digest().partition("-")[0] for shard in range(3)]  # type: ignore[union-attr]
        found.append((entries, states_of(flow), digests))
        flow.close()
    assert found[0] == found[1] and all(found[0][0])


def test_learning_from_files_learns_the_same_and_publishes_nothing_of_the_past(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline, events = parcels(), list(parcel_events(200, 4))
    models, told = [], []
    for kind in (QuietLearnWorker, learn_worker.LearnWorker):
        monkeypatch.setattr(in_memory, "LearnWorker", kind)
        flow = flow_of(pipeline, 2)
        flow.feed(published(pipeline, events, 2))
        flow.settle()
        models.append(learned(flow))
        told.append(len(flow.log.part((topology.predictions(pipeline.name), 0)).records))
        assert flow.log.part((topology.history(pipeline.name), 0)).records
        flow.close()
    assert models[0] == models[1]
    assert told[0] == 0 and told[1] == 200


def test_a_position_says_from_which_event_time_on_topics_count() -> None:
    for position in (
        Position("r", {"t/0": [1, 2, "id"]}, None, {}, 17),
        Position("r", {}, Change("r", 3, "files:a"), {"t": [1]}, 0),
        Position("r", {}, None, {"t": [1]}),
    ):
        assert decode_position(position.encode()) == position
        assert decode_position(position.encode()).encode() == position.encode()
    assert Position("r", {}).encode() == Position("r", {}, None, {}, -1).encode()


def test_an_origin_names_the_plan_of_its_files() -> None:
    assert plan_in(origin_of("0123456789ab", 12)) == "0123456789ab"
    assert plan_in("files") == ""


def test_records_that_are_skipped_are_counted_by_source() -> None:
    pipeline, events = parcels(), list(parcel_events(60, 3))
    flow = flow_of(pipeline, 2)
    flow.feed(published(pipeline, events, 2))
    until_ms = at_of(pipeline, events[40])
    bootstrapped(flow, plan_of(flow, written(pipeline, events), until_ms))
    flow.settle()
    before = flow.featurize.tasks["all"].featurize.counts.before
    wanted = {
        source.name: sum(e[0] == source.name and at_of(pipeline, e) < until_ms for e in events)
        for source in pipeline.sources
    }
    assert dict(before) == wanted and sum(wanted.values()) > 30
    flow.close()


def test_a_view_that_looks_back_into_files_is_not_rebuilt_from_topics_unsaid() -> None:
    from penstock import View, count
    from penstock.stream.backfill.run import Backfill
    from penstock.stream.roles.in_memory import MemoryKeyspace
    from tests.stream.generated import SENT

    pipeline, events = parcels(), list(parcel_events(60, 3))
    flow = flow_of(pipeline, 2)
    flow.feed(published(pipeline, events, 2))
    bootstrapped(flow, plan_of(flow, written(pipeline, events), at_of(pipeline, events[40])))
    flow.settle()
    wider = View("traffic", SENT, key="depot", features={"sent_9d": count("9d")})
    changed = parcels(views=[*pipeline.views[:2], wider])
    backfill = Backfill(changed, flow.log, flow.store, MemoryKeyspace(flow.server), lambda: 0)
    with pytest.raises(DefinitionError, match="read from files"):
        backfill.plan()
    flow.close()

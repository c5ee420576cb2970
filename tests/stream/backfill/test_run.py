"""A changed definition brought over: as if it had always been so, whenever it is stopped, and never a mixture for a reader."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count as count_up
from typing import Any

import pytest
import redis

from penstock import View, count, last, max, mean, since_last, sum
from penstock.features.read.client import FeatureReader
from penstock.features.redis.keys import live_key, public_key, state_key
from penstock.features.redis.keyspace import MemoryKeyspace, RedisKeyspace
from penstock.features.redis.memory import MemoryServer, MemoryStateStore
from penstock.features.units import Unit
from penstock.stream import topology
from penstock.stream.backfill import build
from penstock.stream.backfill.build import Rebuild
from penstock.stream.backfill.run import Backfill, CannotBackfill
from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.featurize import merge
from penstock.stream.featurize.worker import FeaturizeWorker
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.replay import replay
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import LabelRecord, Recipe, Sample, decode_entry
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.generated import (
    DELIVERED,
    SENT,
    START_MS,
    card_events,
    cards,
    outs,
    parcel_events,
    parcels,
)
from tests.stream.naive_flow import everything


def changed(pipeline: Pipeline) -> Pipeline:
    """A feature gone, one changed, some added, a view gone and one added; one view stays."""
    if pipeline.name == "cards":
        source = pipeline.predict
        features = {"paid_1h": count("1h"), "most": max("amount", "1d"), "idle": since_last()}
        return replace(pipeline, views=[View("card", source, "card", features)])
    depot = View(
        "depot",
        DELIVERED,
        "depot",
        {"late_3h": mean("late", "3h"), "late_ever": sum("late"), "done_1h": count("6h")},
    )
    van = View("van", SENT, "van", {"sent_1d": count("1d"), "weight": last("weight")})
    return replace(pipeline, views=[depot, pipeline.views[2], van])


class World:
    """One pipeline on a log and a server in memory, under one definition after the other."""

    def __init__(self, before: Pipeline, number: int = 300, server: MemoryServer | None = None) -> None:
        self.before, self.after = before, changed(before)
        self.server = server or MemoryServer()
        self.log = MemoryLog()
        for source in self.after.sources:
            self.log.create(source.name, 2)
        for topic in topology.owned(before.name):
            self.log.create(topic.name, 1)
        events = card_events(number) if before.name == "cards" else parcel_events(number)
        made = outs(events)
        self.first, self.rest = made[: number // 2], made[number // 2 :]

    def worker(self, pipeline: Pipeline) -> FeaturizeWorker:
        return FeaturizeWorker(pipeline, self.log, self.store_of(pipeline), lambda: 7)

    def store_of(self, pipeline: Pipeline) -> Callable[[str], MemoryStateStore]:
        kind = MortalStore if isinstance(self.server, Mortal) else MemoryStateStore
        return lambda task: kind(self.server, pipeline.name, task)

    def run(self, pipeline: Pipeline, made: list[Out]) -> None:
        """Feed and work everything off, then stop."""
        self.log.append(made)
        worker = self.worker(pipeline)
        settle(worker)
        worker.close()

    def backfill(self, pipeline: Pipeline, **options: Any) -> Backfill:
        keyspace = MemoryKeyspace(self.server)
        return Backfill(pipeline, self.log, self.store_of(pipeline), keyspace, lambda: 7, **options)

    def kept(self) -> dict[str, bytes]:
        """Everything of the pipeline in the server, but for tokens, generations and what a run draws at random."""
        return {
            key: value
            for key, value in self.server.data.items()
            if not key.endswith((":token", ":generation", ":position"))
        }

    def entries(self) -> list[Any]:
        return [
            decode_entry(record.value or b"")
            for record in everything(self.log, f"{self.before.name}.samples")
        ]


def settle(worker: FeaturizeWorker) -> None:
    quiet = 0
    while quiet < 4:
        quiet = 0 if worker.process_batch(0.0) else quiet + 1


def refusal(world: World, pipeline: Pipeline) -> str:
    """Why a worker of this definition does not run; empty if it does."""
    worker = world.worker(pipeline)
    try:
        settle(worker)
    except DefinitionError as error:
        return str(error)
    finally:
        worker.close()
    return ""


def always(world: World) -> World:
    """The same records under the newer definition from the start."""
    other = World(world.before)
    other.log = MemoryLog()
    for source in world.after.sources:
        other.log.create(source.name, 2)
    for topic in topology.owned(world.before.name):
        other.log.create(topic.name, 1)
    other.run(world.after, world.first)
    other.run(world.after, world.rest)
    return other


def states(world: World) -> dict[str, bytes]:
    return {key: value for key, value in world.server.data.items() if ":state:" in key}


def values(world: World) -> dict[str, Any]:
    """The values of every public document of a view; what was written when differs between runs."""
    prefix = f"features:{world.before.name}:"
    return {
        key: (found["recipe"], found["values"])
        for key, value in world.server.data.items()
        if key.startswith(prefix) and (found := json.loads(value))
    }


@pytest.mark.parametrize("before", [parcels(), cards()], ids=["one task", "a task per partition"])
def test_after_a_backfill_everything_is_as_if_it_had_always_been_defined_so(before: Pipeline) -> None:
    world = World(before)
    world.run(world.before, world.first)
    assert "`penstock backfill FILE`" in refusal(world, world.after)
    report = world.backfill(world.after).run()
    assert report.records_read > 0 and report.kept_states > 0
    twin = always(world)
    world.run(world.after, world.rest)
    assert states(world) == states(twin)
    assert values(world).keys() == values(twin).keys()
    samples = [entry for entry in world.entries() if isinstance(entry, Sample)]
    expected = {entry.id: entry.x for entry in twin.entries() if isinstance(entry, Sample)}
    recipes = [n for n, entry in enumerate(world.entries()) if isinstance(entry, Recipe)]
    switched = [entry for entry in world.entries()[recipes[-1] :] if isinstance(entry, Sample)]
    assert len({entry.origin for entry in samples}) == len(samples) == len(expected), "none lost, none twice"
    assert switched and all(entry.x == expected[entry.id] for entry in switched)
    assert not [key for key in world.server.data if "+" in key or b'"next"' in world.server.data[key]]


def test_a_worker_with_another_definition_does_not_take_the_place_of_one_that_runs() -> None:
    world = World(parcels())
    world.run(world.before, world.first)
    running = world.worker(world.before)
    settle(running)
    keyspace = MemoryKeyspace(world.server)
    with pytest.raises(DefinitionError, match="penstock backfill"):
        FeaturizeWorker(world.after, world.log, world.store_of(world.after), lambda: 7, keyspace=keyspace)
    world.log.append(world.rest)
    settle(running)
    assert running.tasks["all"].featurize.counts.items == len(world.rest)


def test_a_dry_run_says_what_would_be_kept_and_touches_nothing() -> None:
    world = World(parcels())
    world.run(world.before, world.first)
    before = dict(world.server.data)
    backfill = world.backfill(world.after)
    backfill.plan()
    assert backfill.report.changes == [
        "view depot: late_3h kept, late_ever, done_1h rebuilt",
        "view street goes",
        "new view van: sent_1d, weight rebuilt",
    ]
    assert world.server.data == before


def test_the_former_worker_goes_on_until_its_task_is_closed_and_then_stops_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("penstock.stream.backfill.run.NEAR_RECORDS", 5)
    world = World(parcels())
    world.run(world.before, world.first)
    clock = count_up(0, 100)
    former = FeaturizeWorker(world.before, world.log, world.store_of(world.before), lambda: next(clock))
    rest = iter([world.rest[n : n + 10] for n in range(0, len(world.rest), 10)])
    worked = []

    def meanwhile(what: str, done: int, total: int) -> None:
        if what.startswith("rebuilding"):
            world.log.append(next(rest, []))
        worked.append(former.process_batch(0.0))

    with pytest.raises(
        DefinitionError, match=r"a change of 'parcels' to recipe .* is under way|changed since"
    ):
        world.backfill(world.after, progress=meanwhile).run()
        settle(former)
    former.close()
    assert any(worked), "it went on while the next state was built"
    world.backfill(world.after).run()
    for made in rest:
        world.log.append(made)
    settle(world.worker(world.after))
    assert states(world) == states(always(world))


class Crash(Exception):
    """The process is gone."""


class Mortal(MemoryServer):
    """A server whose client dies before its nth write outside of a unit, or its nth unit."""

    left = -1
    within = False

    def put(self, key: str, value: bytes, ttl_ms: int = 0) -> None:
        if not self.within:
            self.step()
        super().put(key, value, ttl_ms)

    def step(self) -> None:
        if self.left == 0:
            raise Crash
        self.left -= 1


class MortalStore(MemoryStateStore):
    """A unit is whole or not there, as in a script."""

    def save(self, units: Sequence[Unit]) -> None:
        server = self._server
        assert isinstance(server, Mortal)
        for unit in units:
            server.step()
            server.within = True
            super().save([unit])
            server.within = False


def crashes(world: Callable[[], World]) -> Iterator[tuple[World, Mortal]]:
    """The same world, stopped at ever later writes of its backfill, until it is not stopped any more."""
    number, step = 0, 1
    while True:
        one = world()
        server = one.server
        assert isinstance(server, Mortal)
        one.run(one.before, one.first)
        server.left = number
        try:
            one.backfill(one.after).run()
        except Crash:
            server.left = -1
            yield one, server
            number += step
            step = number // 8 + 1
            continue
        assert number > 20
        return


def test_a_backfill_stopped_anywhere_is_finished_by_the_next() -> None:
    expected = None
    for world, _ in crashes(lambda: World(parcels(), 120, Mortal())):
        assert refusal(world, world.before) or refusal(world, world.after), "never may both go on"
        world.backfill(world.after).run()
        world.run(world.after, world.rest)
        if expected is None:
            expected = states(always(world))
        assert states(world) == expected
        assert not [key for key in world.server.data if "+" in key or b'"next"' in world.server.data[key]]


def test_a_backfill_stopped_before_the_switch_can_be_called_off() -> None:
    for world, server in crashes(lambda: World(parcels(), 120, Mortal())):
        live = json.loads(server.data[live_key("parcels")])
        if live["recipe"] == world.after.digest:
            continue  # too late: it is the former definition now that would have to be brought over
        world.backfill(world.before).run()
        world.run(world.before, world.rest)
        twin = World(parcels(), 120)
        twin.run(twin.before, twin.first)
        twin.run(twin.before, twin.rest)
        assert states(world) == states(twin)
        assert values(world) == values(twin)


def test_a_reader_never_sees_a_mixture_nor_loses_an_entity_while_the_definition_changes() -> None:
    """Asked after every single write, for every entity of a view, without definitions and with them."""
    world = World(parcels(), 160)
    world.run(world.before, world.first)
    depots = sorted(
        key.rpartition(":")[2] for key in world.server.data if key.startswith("features:parcels:depot:")
    )
    versions = {view.version: tuple(view.features) for p in (world.before, world.after) for view in p.views}
    reader = FeatureReader(world.server, "parcels")
    seen: list[str | None] = []
    put = world.server.put

    def put_and_look(key: str, value: bytes, ttl_ms: int = 0) -> None:
        put(key, value, ttl_ms)
        found = reader.read([("depot", depot) for depot in depots])
        assert all(one.found for one in found), key
        (version,) = {one.recipe for one in found}
        assert all(tuple(one.values) == versions[version or ""] for one in found)
        if version not in seen[-1:]:
            seen.append(version)

    world.server.put = put_and_look  # type: ignore[method-assign]
    world.backfill(world.after).run()
    world.run(world.after, world.rest)
    assert seen == [world.before.views[0].version, world.after.views[0].version]
    (state,) = FeatureReader(world.server, "parcels", world.after.views).read([("depot", depots[0])])
    assert state.found


def test_a_document_that_expired_stays_away_and_one_that_lives_keeps_its_ttl() -> None:
    world = World(parcels())
    world.run(world.before, world.first)
    expired, alive = (public_key("parcels", "depot", depot) for depot in ("d0", "d1"))
    world.server.put(expired, b"")
    world.server.ttl_ms[alive] = 1_234
    world.backfill(world.after).run()
    assert expired not in world.server.data
    assert world.server.ttl_ms[alive] == 1_234
    depot = world.after.views[0]
    assert state_key("parcels", "all", "depot", depot.version, "d0") in world.server.data


def test_what_a_topic_no_longer_holds_is_said_and_only_accepted_on_request() -> None:
    world = World(parcels())
    world.run(world.before, world.first)
    world.log.trim(DELIVERED.name, 0, 5)
    with pytest.raises(
        CannotBackfill, match=r"depot: late_ever, done_1h look back further than parcels.delivered\[0\]"
    ):
        world.backfill(world.after).run()
    world.backfill(world.after, partial=True).run()
    view, key = world.after.views[0], public_key("parcels", "depot", "d0")
    found = json.loads(world.server.data[key])
    twin = World(parcels())
    twin.run(twin.after, twin.first)
    expected = json.loads(twin.server.data[key])
    assert found["recipe"] == view.version
    assert found["values"]["late_3h"] == expected["values"]["late_3h"], (
        "what was kept does not need the topic"
    )


def test_a_partition_far_ahead_in_event_time_is_not_read_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "MOST_BUFFERED", 500)
    monkeypatch.setattr(build, "POLL_RECORDS", 100)
    world = World(parcels())
    common = {"van": "v", "depot": "d", "street": "s", "late": 1.0}
    paces = [(0, 600_000), (1, 60)]
    world.first = [
        Out(
            DELIVERED.name,
            b"v",
            json.dumps({**common, "parcel": f"{p}-{n}", "done_at": START_MS + n * ms}).encode(),
            (),
            p,
        )
        for p, ms in paces
        for n in range(3_000)
    ]
    world.run(world.before, world.first)
    most: list[int] = []
    step = Rebuild._step

    def watched(build: Rebuild, at_end: set[tuple[int, int]], wall_ms: int) -> None:
        most.append(len(build.task.merge))
        step(build, at_end, wall_ms)

    monkeypatch.setattr(Rebuild, "_step", watched)
    report = world.backfill(world.after).run()
    assert report.records_read == 6_000
    assert most and sorted(most)[-1] <= 500 + 2 * 100
    world.rest = []
    assert states(world) == states(always(world))


def test_a_change_that_moves_state_between_tasks_is_refused() -> None:
    world = World(cards())
    world.run(world.before, world.first)
    other = View("amount", world.before.predict, "merchant", {"n": count()})
    with pytest.raises(CannotBackfill, match="penstock reset"):
        world.backfill(replace(world.before, views=[*world.before.views, other])).run()


def test_a_pipeline_that_never_ran_has_nothing_to_bring_over_and_one_that_did_not_change_neither() -> None:
    world = World(parcels())
    with pytest.raises(CannotBackfill, match="no state yet"):
        world.backfill(world.after).run()
    world.run(world.before, world.first)
    before = dict(world.server.data)
    report = world.backfill(world.before).run()
    assert world.server.data == before
    assert (report.before, report.records_read, report.stood_still_ms) == (world.before.digest, 0, 0)


def test_the_model_goes_on_with_what_the_older_samples_teach(valkey: redis.Redis) -> None:
    """And its digest is still that of an offline fold of the whole log."""
    before = parcels(f"p{uuid.uuid4().hex[:8]}")
    after = changed(before)
    flow = MemoryFlow(before, client=valkey)
    made = outs(parcel_events(600))
    flow.feed(made[:500])
    flow.settle()
    flow.close()
    Backfill(after, flow.log, flow.store, RedisKeyspace(valkey), lambda: 7).run()
    again = MemoryFlow(after, log=flow.log, client=valkey)
    again.feed(made[500:])
    again.settle()
    fold = again.learn.fold
    assert isinstance(fold, Fold) and not fold.recipes.foreign
    samples = f"{before.name}.samples"
    entries = [decode_entry(record.value or b"") for record in everything(flow.log, samples)]
    assert (
        fold.counts.learned
        == fold.counts.joined
        > 0.8 * len([entry for entry in entries if isinstance(entry, LabelRecord)])
    )
    predicted = [json.loads(r.value or b"") for r in everything(flow.log, f"{before.name}.predictions")]
    assert len({one["id"] for one in predicted}) == len(predicted) == fold.counts.samples
    assert {one["recipe"] for one in predicted} == {before.digest, after.digest}
    assert replay(after, again.log, samples).digest() == fold.digest()
    live = json.loads(everything(flow.log, "control.models")[-1].value or b"")
    assert (live["version"], live["recipe"]) == (fold.version, after.digest), (
        "what is live is said, though folded anew"
    )
    again.close()

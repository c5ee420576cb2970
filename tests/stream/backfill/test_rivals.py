"""A change of definition among others who write: another run, a run after an unfinished one, a lost answer, a lost server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from penstock import View, count, max, sum
from penstock.features.read.client import FeatureReader
from penstock.features.redis.keys import live_key, public_key
from penstock.features.redis.memory import MemoryServer, MemoryStateStore
from penstock.features.units import Fenced
from penstock.stream.backfill.ownership import Owner
from penstock.stream.backfill.run import CannotBackfill
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.position import decode_position
from penstock.stream.featurize.task import opening
from penstock.stream.learn.learner import at_once
from penstock.stream.learn.replay import replay, retraining
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Origin, Sample, encode_entry
from penstock.stream.models.digest import digest
from penstock.stream.recipes import live_document
from tests.stream.backfill.test_run import Crash, Mortal, World, always, crashes, refusal, states, values
from tests.stream.generated import DELIVERED, PAID, SENT, START_MS, cards, parcels


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units, batches and passes so small that there is something between them."""
    monkeypatch.setattr("penstock.stream.backfill.convert.UNIT_KEYS", 16)
    monkeypatch.setattr("penstock.features.redis.keyspace.BATCH_KEYS", 2)
    monkeypatch.setattr("penstock.stream.backfill.run.NEAR_RECORDS", 5)


def third(before: Pipeline) -> Pipeline:
    """Another definition of the same pipeline again."""
    if before.name == "cards":
        return replace(before, views=[View("card", PAID, "card", {"spent": sum("amount")})])
    depot = View("depot", DELIVERED, "depot", {"late_most": max("late"), "done_1h": count("1h")})
    return replace(before, views=[depot, before.views[1], before.views[2]])


class At:
    """A progress at whose nth step something else happens, once."""

    def __init__(self, n: int, deed: Callable[[], None]) -> None:
        self.n, self.deed, self.steps = n, deed, 0

    def __call__(self, what: str, done: int, total: int) -> None:
        self.steps += 1
        if self.steps == self.n + 1:
            self.deed()

    @property
    def done(self) -> bool:
        return self.steps > self.n


def started(before: Pipeline, server: MemoryServer | None = None) -> World:
    world = World(before, 120, server)
    world.run(world.before, world.first)
    return world


def bring(world: World, pipeline: Pipeline, **options: Any) -> None:
    world.backfill(pipeline, **options).run()


def as_if_always(world: World, pipeline: Pipeline) -> None:
    """Go on under this definition to the end, and compare with a pipeline that was never defined otherwise."""
    for key in states(world):
        view, version, entity = re.split("[@:]", key.partition(":state:")[2], maxsplit=2)
        document = world.server.data.get(public_key(pipeline.name, view, entity))
        assert document is not None and json.loads(document)["recipe"] == version, key
    world.run(pipeline, world.rest)
    twin = World(world.before, 120)
    twin.after = pipeline
    twin = always(twin)
    assert states(world) == states(twin)
    served, wanted = values(world), values(twin)  # of moments that differ where nothing came since
    assert {key: recipe for key, (recipe, _) in served.items()} == {key: r for key, (r, _) in wanted.items()}
    assert not [key for key in world.server.data if "+" in key]


def test_a_run_that_slept_while_another_finished_changes_nothing_any_more() -> None:
    """Woken at any of its steps, after the other run switched, settled, and a worker of the new definition went on."""
    for n in range(300):
        world = started(parcels())
        part, world.rest = world.rest[:20], world.rest[20:]

        def overtake(world: World = world, part: list[Out] = part) -> None:
            bring(world, world.after)
            world.run(world.after, part)

        sleeps = At(n, overtake)
        try:
            bring(world, world.after, progress=sleeps)
        except CannotBackfill as error:
            assert "taken over" in str(error) or "run this again" in str(error)
        if not sleeps.done:
            assert n > 8
            return
        as_if_always(world, world.after)


def test_a_run_that_slept_while_another_changed_to_a_third_definition_undoes_nothing() -> None:
    """Also one that was only deleting what it thought was left over."""
    for n in range(300):
        world = started(parcels())
        other = third(world.before)
        sleeps = At(n, lambda world=world, other=other: bring(world, other))  # type: ignore[misc]
        try:
            bring(world, world.after, progress=sleeps)
        except CannotBackfill as error:
            assert "taken over" in str(error) or "run this again" in str(error)
        if not sleeps.done:
            assert n > 8
            return
        assert json.loads(world.server.data[live_key("parcels")])["recipe"] == other.digest
        as_if_always(world, other)


def test_another_change_may_follow_one_that_was_stopped_anywhere() -> None:
    for world, _ in crashes(lambda: World(parcels(), 120, Mortal())):
        reader = FeatureReader(world.server, "parcels")

        def look(what: str, done: int, total: int, reader: FeatureReader = reader) -> None:
            found = reader.read([("depot", f"d{n}") for n in range(4)])
            assert all(one.found for one in found) and len({one.recipe for one in found}) == 1, what

        bring(world, third(world.before), progress=look)
        assert all(b'"next"' not in document for document in world.server.data.values())
        as_if_always(world, third(world.before))


def test_back_to_the_first_definition_after_a_switch_that_was_not_settled() -> None:
    for world, server in crashes(lambda: World(parcels(), 120, Mortal())):
        if json.loads(server.data[live_key("parcels")])["recipe"] == world.after.digest:
            world.run(world.after, world.rest[:40])
            world.rest = world.rest[40:]
        bring(world, world.before)
        as_if_always(world, world.before)


@pytest.mark.long
def test_tasks_of_which_some_are_switched_are_finished_first_whatever_else_is_wanted() -> None:
    seen = 0
    for left in range(200):
        server = Mortal()
        world = started(cards(), server)
        server.left = left
        try:
            bring(world, world.after)
        except Crash:
            server.left = -1
        else:
            assert seen > 0
            return
        stored = [server.data[f"penstock:cards:{task}:position"] for task in range(2)]
        if len({decode_position(position).recipe for position in stored}) == 2:
            seen += 1
            for other in (world.before, third(world.before)):
                with pytest.raises(CannotBackfill, match=f"finish it first.*{world.after.digest}"):
                    bring(world, other)
            bring(world, world.after)
            as_if_always(world, world.after)
    raise AssertionError("it never ended")


def test_a_task_without_state_is_begun_by_the_definition_that_is_served_and_by_no_other() -> None:
    world = started(cards())
    for key in [key for key in world.server.data if key.startswith("penstock:cards:0:")]:
        world.server.put(key, b"")
    bring(world, world.after)
    live = world.server.data[live_key("cards")]
    assert f"serves recipe {world.after.digest}" in refusal(world, world.before)
    assert world.server.data[live_key("cards")] == live
    as_if_always(world, world.after)


def test_a_view_that_keeps_its_name_and_changes_its_key_is_served_to_the_switch_and_from_it_on() -> None:
    """The same names of entities under both: every van has the name of some depot."""
    before = parcels(views=[View("place", DELIVERED, "depot", {"done": count()})])
    after = replace(
        before, views=[View("place", DELIVERED, "street", {"done": count(), "late": sum("late")})]
    )
    world, twin = World(parcels(), 120), World(parcels(), 120)
    world.before, world.after = before, after
    for which in (world.first, world.rest):
        which[:] = [
            one._replace(value=(one.value or b"").replace(b'"street": "s', b'"street": "d')) for one in which
        ]
    world.run(before, world.first)
    names = [key.rpartition(":")[2] for key in world.server.data if key.startswith("features:parcels:place:")]
    reader = FeatureReader(world.server, "parcels")
    put, seen = world.server.put, set[str | None]()

    def put_and_look(key: str, value: bytes, ttl_ms: int = 0) -> None:
        put(key, value, ttl_ms)
        if json.loads(world.server.data[live_key("parcels")])["recipe"] != before.digest:
            return
        found = reader.read([("place", name) for name in names])
        assert all(one.found for one in found), key
        seen.update(one.recipe for one in found)

    world.server.put = put_and_look  # type: ignore[method-assign]
    bring(world, after)
    assert seen == {before.views[0].version}
    world.run(after, world.rest)
    twin.first, twin.rest = world.first, world.rest
    twin.run(after, [*twin.first, *twin.rest])
    assert states(world) == states(twin)
    assert values(world) == values(twin), "nothing of the former key is left"


@pytest.mark.parametrize("length", ["another length", "the same length"])
def test_what_a_former_worker_appends_after_the_switch_is_passed_over_and_the_right_sample_is_learned(
    length: str,
) -> None:
    """It stood still between two lines for as long as the whole change took."""
    worlds = [started(parcels()) for _ in range(2)]
    for world, late in zip(worlds, (True, False), strict=True):
        bring(world, world.after)
        if late:
            values = [0.0] * len(world.before.vector_names)
            assert len(values) != len(world.after.vector_names)
            if length == "the same length":
                values = [0.0] * len(world.after.vector_names)
            ends = world.log.bounds([(SENT.name, partition) for partition in range(2)])
            for (topic, partition), (_, end) in ends.items():
                origin = Origin(world.log.topic_id(topic), partition, end, 0)
                entry = encode_entry(Sample(origin, "late", "", START_MS, values, world.before.digest))
                world.log.append([Out("parcels.samples", None, entry)])
        world.run(world.after, world.rest)
    with_late, without = (replay(world.after, world.log, "parcels.samples") for world in worlds)
    assert (with_late.counts.unreadable, without.counts.unreadable) == (2, 0)
    assert with_late.counts.learned == without.counts.learned > 0
    assert digest(with_late.experts.first.model) == digest(without.experts.first.model)
    start, stop = worlds[0].log.bounds([("parcels.samples", 0)])[("parcels.samples", 0)]
    trained, other = (
        at_once(retraining(world.after, world.log, "parcels.samples", start, end, [])).model
        for world, end in zip(worlds, (stop, stop - 2), strict=True)
    )
    assert digest(trained) == digest(other)


class Unheard(MemoryStateStore):
    """Writes, and then says that another worker has the task: the answer was lost, and a former worker came in between."""

    deaf = False

    def save(self, units: Any) -> None:
        super().save(units)
        if self.deaf:
            self.deaf = False
            MemoryStateStore(self._server, "parcels", "all").acquire()
            raise Fenced("lost")


def owner_of(world: World, store: MemoryStateStore, run: str = "1") -> Owner:
    owner = Owner(store, world.after.digest, run)
    owner.close(world.before.digest, {})
    return owner


def test_a_unit_whose_answer_was_lost_is_written_once_and_the_change_goes_on() -> None:
    world = started(parcels())
    store = Unheard(world.server, "parcels", "all")
    owner = owner_of(world, store)
    for number in range(3):
        store.deaf = number != 1
        write = opening(world.after, "all")._replace(public_key="", state_key=f"written{number}")
        owner.save([write])
    assert [f"written{number}" in world.server.data for number in range(3)] == [True] * 3
    store.deaf = True
    owner.open(owner.position.positions, opening(world.after, "all"))
    assert decode_position(world.server.data["penstock:parcels:all:position"]).recipe == world.after.digest
    assert world.server.data[live_key("parcels")] == live_document(world.after)


def test_of_two_runs_that_hold_the_same_task_only_the_later_goes_on() -> None:
    world = started(parcels())
    stores = [MemoryStateStore(world.server, "parcels", "all") for _ in range(2)]
    first, second = (owner_of(world, store, run) for store, run in zip(stores, "12", strict=True))
    second.save([])
    with pytest.raises(CannotBackfill, match="has taken over"):
        first.save([])
    second.save([])
    second.open(second.position.positions, opening(world.after, "all"))
    with pytest.raises(CannotBackfill, match="run this again"):
        owner_of(world, stores[0])


@pytest.mark.parametrize("lost", ["everything", "the build"])
def test_a_server_that_forgets_during_a_change_ends_it_with_one_line_and_it_can_begin_anew(lost: str) -> None:
    ended = 0
    for n in range(12):
        world = started(parcels())

        def forget(world: World = world) -> None:
            for key in [key for key in world.server.data if lost == "everything" or "+" in key]:
                world.server.put(key, b"")

        try:
            bring(world, world.after, progress=At(n, forget))
        except CannotBackfill as error:
            assert "\n" not in str(error)
            ended += 1
        if lost == "the build":
            bring(world, world.after)
        as_if_always(world, world.after)
    assert ended > 2

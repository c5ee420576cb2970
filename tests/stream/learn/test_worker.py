"""The learn shell: killed, cut off, robbed of its store or handed rubbish, the live model stays the fold of the log."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count as numbers
from typing import Any

import msgspec
import pytest
import river

from penstock.features.redis.store import MemoryServer, MemoryStateStore, StoreUnavailable, Unit
from penstock.stream import topology
from penstock.stream.learn.anchors import Anchors
from penstock.stream.learn.replay import entry_of, replay
from penstock.stream.learn.retrain import InlineRetrainer
from penstock.stream.learn.stored_snapshot import StoredSnapshot
from penstock.stream.learn.worker import LearnWorker
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import TP, AppendFailed, CommitFailed, LogUnavailable, Out
from penstock.stream.messages import (
    Command,
    Prediction,
    Sample,
    decode_control_event,
    decode_live_model,
    encode_entry,
)
from penstock.stream.models.retention import Retention
from penstock.stream.models.store import MemoryModelStore
from penstock.stream.models.version import Version
from tests.stream.generated import DAY, entries, parcels
from tests.stream.naive_flow import everything

PIPELINE = parcels()
SAMPLES = topology.samples("parcels")
PREDICTIONS = topology.predictions("parcels")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("penstock.stream.learn.fold.FIRST_PROBATION_LABELS", 100)
    monkeypatch.setattr(Anchors.__init__, "__defaults__", (100, 8))
    monkeypatch.setattr("penstock.stream.learn.worker.BATCH_RECORDS", 60)
    monkeypatch.setattr("penstock.stream.learn.worker.SNAPSHOT_EVERY_MS", 200)
    # every look at this clock takes a while
    monkeypatch.setattr("penstock.stream.learn.worker.SNAPSHOT_SPACING", 0)
    yield


class Crash(Exception):
    """The process is gone: nothing catches this."""


class Fragile(MemoryLog):
    """A log whose appends fail as told."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def append(self, outs: Sequence[Out]) -> None:
        self.world.fail("before append")
        super().append(outs)
        self.world.fail("after append")


class World:
    """What outlives a worker, and where it may fail."""

    def __init__(self) -> None:
        self.log = Fragile(self)
        self.server = MemoryServer()
        self.models = MemoryModelStore()
        self.wall = numbers(1_000_000, 100)
        self.fail: Callable[[str], None] = lambda step: None
        for topic in topology.owned("parcels"):
            self.log.create(topic.name, topic.partitions)

    def worker(self, secret: str = "secret") -> LearnWorker:
        world, log, store = self, self.log, MemoryStateStore(self.server, "parcels", "learn")
        save = store.save

        def fragile_save(units: Sequence[Unit]) -> None:
            world.fail("before save")
            save(units)
            world.fail("after save")

        store.save = fragile_save  # type: ignore[method-assign]
        retrainer = InlineRetrainer(PIPELINE, log, self.models)
        worker = LearnWorker(
            PIPELINE, log, store, self.models, retrainer, secret, lambda: next(self.wall), instance_id="0"
        )
        commit = worker.member.commit

        def fragile_commit(positions: dict[TP, int]) -> None:
            world.fail("before commit")
            commit(positions)
            world.fail("after commit")

        worker.member.commit = fragile_commit  # type: ignore[method-assign]
        return worker

    def give(self, log: Sequence[Any]) -> None:
        self.log.append([Out(SAMPLES, None, encode_entry(entry), (), 0) for entry in log])

    def settle(self, worker: LearnWorker) -> LearnWorker:
        quiet = 0
        while quiet < 10:
            quiet = 0 if worker.process_batch(0.0) else quiet + 1
        return worker

    def check(self, worker: LearnWorker) -> None:
        """Live equals replay; every sample was predicted, and twice said is said the same."""
        assert worker.fold is not None
        assert worker.fold.digest() == replay(PIPELINE, self.log, SAMPLES).digest()
        predictions = self.predictions()
        samples = {e.id for e in self.entries() if isinstance(e, Sample)}
        assert {p.id for p in predictions} == samples and samples
        assert len({(p.id, p.prediction, p.model.version, p.position) for p in predictions}) == len(samples)

    def predictions(self) -> list[Prediction]:
        decode = msgspec.json.Decoder(Prediction).decode
        return [decode(record.value or b"") for record in everything(self.log, PREDICTIONS)]

    def entries(self) -> list[Any]:
        return [entry_of(record.value) for record in everything(self.log, SAMPLES)]


LOG = entries(420, late=90)


def busy() -> list[Any]:
    """A log with commands in it."""
    log: list[Any] = list(LOG)
    commands = {300: Command("c1", "hold"), 340: Command("c2", "resume"), 600: Command("c3", "rollback")}
    for place, command in reversed([*commands.items(), (640, Command("c4", "retrain", from_position=10))]):
        log.insert(place, command)
    return log


def test_a_prediction_for_every_sample_and_the_live_model_is_the_fold_of_the_log() -> None:
    world = World()
    world.give(busy())
    worker = world.settle(world.worker())
    world.check(worker)
    assert len(world.predictions()) == 420
    assert worker.fold is not None and worker.fold.counts.joined > 300 and "adopt-c4" in worker.fold.applied


def test_what_is_live_is_told_at_every_change_and_agrees_with_the_fold() -> None:
    world = World()
    world.give(busy())
    worker = world.settle(world.worker())
    told = [
        decode_live_model(record.value or b"") for record in everything(world.log, topology.CONTROL_MODELS)
    ]
    assert worker.fold is not None
    assert told[-1].version == worker.fold.version and told[-1].applied == list(worker.fold.applied)
    assert [m.position for m in told] == sorted(m.position for m in told)
    assert any(m.held for m in told) and not told[-1].held


def test_bytes_that_are_no_entry_are_passed_over_live_and_in_the_replay() -> None:
    world = World()
    world.give(LOG[:300])
    world.log.append(
        [Out(SAMPLES, None, value, (), 0) for value in (b"", b"rubbish", None, b"\x91\xa6recipe")]
    )
    world.give(LOG[300:])
    worker = world.settle(world.worker())
    world.check(worker)
    assert worker.unreadable == 4


STEPS = ["before append", "after append", "before save", "after save", "before commit", "after commit"]


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_it_ends_as_if_it_never_was(step: str) -> None:
    world = World()
    world.give(busy())
    times, crashes = numbers(), []

    def fail(at: str) -> None:
        if at == step and next(times) % 3 == 1:
            crashes.append(at)
            raise Crash

    world.fail = fail
    while True:
        try:
            worker = world.settle(world.worker())
            break
        except Crash:
            assert len(crashes) < 200
    assert len(crashes) > 1
    world.check(worker)


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("before append", LogUnavailable("x")),
        ("after append", AppendFailed(1, 1, "x")),
        ("before save", StoreUnavailable("x", "y", "z")),
        ("after save", StoreUnavailable("x", "y", "z")),
        ("before commit", CommitFailed("x")),
    ],
)
def test_a_failed_write_is_survived_in_the_same_process(step: str, error: Exception) -> None:
    world = World()
    world.give(busy())
    times = numbers()

    def fail(at: str) -> None:
        if at == step and next(times) % 4 == 1:
            raise error

    world.fail = fail
    worker = world.settle(world.worker())
    assert next(times) > 4
    world.check(worker)


def test_a_restart_goes_on_from_the_snapshot_and_says_nothing_twice() -> None:
    world = World()
    world.give(busy()[:500])
    worker = world.settle(world.worker())
    worker.close()
    world.give(busy()[500:])
    again = world.worker()
    again.process_batch(0.0)
    again.process_batch(0.0)
    assert again.fold is not None and again.fold.position >= 400, "not from the log's start"
    world.settle(again)
    world.check(again)
    assert max(Counter(p.id for p in world.predictions()).values()) == 1


def test_a_lost_store_folds_the_log_anew_and_says_nothing_twice() -> None:
    world = World()
    world.give(busy()[:600])
    worker = world.settle(world.worker())
    world.server.flushall()
    world.give(busy()[600:])
    world.settle(worker)
    world.check(worker)
    assert max(Counter(p.id for p in world.predictions()).values()) == 1


def test_a_lost_store_of_versions_does_not_change_what_the_log_says() -> None:
    """A retrain was adopted; its version is gone when the log is folded anew: it is trained again."""
    world = World()
    world.give(busy())
    first = world.settle(world.worker())
    assert first.fold is not None and "adopt-c4" in first.fold.applied
    before = first.fold.digest()
    first.close()
    world.server.flushall()
    world.models.stored.clear()
    again = world.settle(world.worker())
    assert again.fold is not None and again.fold.digest() == before
    world.check(again)


@pytest.mark.parametrize("spoil", ["another secret", "torn", "rubbish", "gone"])
def test_a_snapshot_that_may_not_be_opened_is_folded_over(spoil: str) -> None:
    world = World()
    world.give(busy())
    worker = world.settle(world.worker())
    worker.close()
    key = worker.snapshot.key
    if spoil == "torn":
        world.server.data[key] = world.server.data[key][:-7]
    elif spoil == "rubbish":
        world.server.data[key] = b"\x80\x05rubbish"
    elif spoil == "gone":
        del world.server.data[key]
    again = world.settle(world.worker("other" if spoil == "another secret" else "secret"))
    world.check(again)
    assert max(Counter(p.id for p in world.predictions()).values()) == 1


def test_snapshots_that_take_long_are_taken_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of tens of megabytes takes seconds to write down; predictions wait meanwhile."""
    saves = list[int]()
    for spacing in (0, 1_000):
        monkeypatch.setattr("penstock.stream.learn.worker.SNAPSHOT_SPACING", spacing)
        world, steps = World(), list[str]()
        world.fail = steps.append
        world.give(LOG)
        world.check(world.settle(world.worker()))
        saves.append(steps.count("after save"))
    assert saves[1] == 1 and saves[0] > 5


GONE_CLASS = b"cno_such_module\nModel\n."


def foreign(version_id: str, position: int = 0, **changes: str) -> Version:
    """A version of this pipeline and recipe that this fold did not make."""
    made: dict[str, Any] = {"python": platform.python_version(), "river": river.__version__, **changes}
    return Version(
        id=version_id, pipeline="parcels", parent=None, kind="retrained", position=position, join_from=0, at=0, labels=0,
        recipe=PIPELINE.digest, digest="d", **made,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"river": "0.1"}, "river 0.1"), ({"python": "3.2.1"}, "Python 3.2.1"), ({}, "does not open here")],
)
def test_a_version_that_does_not_open_refuses_the_command_with_the_reason_and_stops_nothing(
    changes: dict[str, str], said: str
) -> None:
    world = World()
    world.models.put(foreign("retrain-old", **changes), GONE_CLASS)
    world.give([*LOG, Command("r1", "rollback", version="retrain-old")])
    worker = world.settle(world.worker())
    assert worker.fold is not None
    assert said in worker.fold.refused["r1"] and "retrain" in worker.fold.refused["r1"]
    world.check(worker)


def test_a_snapshot_that_does_not_unpickle_is_folded_over_and_said_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    world.give(busy())
    world.settle(world.worker()).close()
    store = MemoryStateStore(world.server, "parcels", "learn")
    base, stored = store.acquire(), StoredSnapshot(store, "parcels", "secret")
    taken = stored.load()
    assert base is not None and taken is not None
    stored.save(base, taken._replace(parts={**taken.parts, "state": GONE_CLASS}), b"{}")
    caplog.clear()
    again = world.settle(world.worker())
    world.check(again)
    (line,) = [record.getMessage() for record in caplog.records if "snapshot" in record.getMessage()]
    assert "no_such_module" in line and "folds the log anew" in line and river.__version__ in line
    again.close()
    last = world.worker()
    last.process_batch(0.0)
    last.process_batch(0.0)
    assert last.fold is not None and last.fold.position > 400, "the next snapshot opens again"


def few_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retention.__init__, "__defaults__", (2, 365 * DAY))
    monkeypatch.setattr("penstock.stream.learn.fold.FIRST_PROBATION_LABELS", 20)
    monkeypatch.setattr(Anchors.__init__, "__defaults__", (20, 3))


def test_versions_beyond_the_newest_and_those_in_use_are_deleted_and_a_rollback_to_one_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few_versions(monkeypatch)
    world = World()
    world.give([*busy(), Command("r1", "rollback", version="v2"), Command("r2", "rollback", version="v1")])
    worker = world.settle(world.worker())
    worker.close()
    fold = worker.fold
    assert fold is not None and fold.version_count > 12
    assert world.models.ids() == set(fold.retention.born) >= fold.in_use().keys() - {"v0"}
    assert len(world.models.ids()) <= 2 + len(fold.in_use())
    assert "no longer kept" in fold.refused["r1"] and "no longer kept" in fold.refused["r2"]
    world.check(worker)


@pytest.mark.parametrize("seed", range(4))
def test_killed_or_folded_anew_the_same_versions_are_kept_and_what_a_command_named_was_there(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """A rollback to a version that was dropped soon after it was live: on every later pass it must be found again."""
    few_versions(monkeypatch)
    log = busy()
    log.insert(450, Command("r1", "rollback", version="v3"))
    straight = World()
    straight.give(log)
    first = straight.settle(straight.worker())
    first.close()
    world, times = World(), numbers(seed)
    world.give(log)

    def fail(at: str) -> None:
        if next(times) % 7 == 6:
            raise Crash(at)

    world.fail = fail
    for _ in range(300):
        worker = world.worker()
        try:
            world.settle(worker)
            worker.close()
            break
        except Crash:
            world.log.expel(worker.member)  # type: ignore[arg-type]
    world.fail = lambda step: None
    for lost in (False, True):
        if lost:
            world.server.flushall()
        worker = world.settle(world.worker())
        worker.close()
        assert worker.fold is not None and first.fold is not None
        assert worker.fold.refused == first.fold.refused and worker.fold.digest() == first.fold.digest()
        assert world.models.ids() == straight.models.ids()


def test_versions_that_the_fold_does_not_know_are_bounded_too() -> None:
    world = World()
    for number in range(40):
        world.models.put(foreign(f"v{number}.other", number), b"bytes")
    world.give(LOG)
    worker = world.settle(world.worker())
    worker.close()
    others = {name for name in world.models.ids() if name.endswith(".other")}
    assert others == {f"v{number}.other" for number in range(8, 40)}
    world.check(worker)


def test_a_stalled_worker_that_wakes_cannot_overwrite_its_successors_snapshot() -> None:
    world = World()
    world.give(LOG[:200])
    stalled = world.settle(world.worker())
    world.log.expel(stalled.member)  # type: ignore[arg-type]
    successor = LearnWorker(
        PIPELINE, world.log, MemoryStateStore(world.server, "parcels", "learn"), world.models,
        InlineRetrainer(PIPELINE, world.log, world.models), "secret", lambda: next(world.wall), instance_id="1",
    )  # fmt: skip
    world.give(LOG[200:])
    world.settle(successor)
    stored = world.server.data[successor.snapshot.key]
    assert stalled.fold is not None
    stalled.close()
    assert world.server.data[successor.snapshot.key] == stored
    world.check(successor)


def test_two_workers_one_folds_and_the_other_takes_over() -> None:
    world = World()
    world.give(LOG[:300])
    workers = [world.worker()]
    workers.append(
        LearnWorker(
            PIPELINE, world.log, MemoryStateStore(world.server, "parcels", "learn"), world.models,
            InlineRetrainer(PIPELINE, world.log, world.models), "secret", lambda: next(world.wall), instance_id="1",
        )
    )  # fmt: skip
    for _ in range(10):
        for worker in workers:
            worker.process_batch(0.0)
    owners = [worker for worker in workers if worker.fold is not None]
    assert len(owners) == 1
    owners[0].close()
    world.give(LOG[300:])
    (spare,) = [worker for worker in workers if worker is not owners[0]]
    world.settle(spare)
    world.check(spare)


def test_a_trimmed_log_starts_the_model_after_what_is_gone() -> None:
    world = World()
    world.give(LOG)
    world.log.trim(SAMPLES, 0, 200)
    worker = world.settle(world.worker())
    assert worker.fold is not None
    assert worker.fold.digest() == replay(PIPELINE, world.log, SAMPLES).digest()
    assert 0 < worker.fold.counts.samples < 420


def test_control_events_have_ids_that_do_not_repeat_without_a_crash() -> None:
    world = World()
    log = entries(6_000, invert=range(4_000, 6_000))
    middle = len(log) // 2
    world.give(log[:middle])
    world.settle(world.worker()).close()  # a restart is none
    world.give(log[middle:])
    worker = world.settle(world.worker())
    events = [
        decode_control_event(record.value or b"")
        for topic in (topology.CONTROL_RETRAIN, topology.CONTROL_ROLLBACK, topology.CONTROL_ALERTS)
        for record in everything(world.log, topic)
    ]
    assert len({event.id for event in events}) == len(events) >= 2
    again = World()
    again.give(log)
    again.settle(again.worker())
    repeated = [
        decode_control_event(record.value or b"").id
        for topic in (topology.CONTROL_RETRAIN, topology.CONTROL_ROLLBACK, topology.CONTROL_ALERTS)
        for record in everything(again.log, topic)
    ]
    assert repeated == [event.id for event in events]
    world.check(worker)

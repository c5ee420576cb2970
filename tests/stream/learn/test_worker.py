"""The learn shell: killed, cut off, robbed of its store or handed rubbish, the live model stays the fold of the log."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import count as numbers
from itertools import cycle
from typing import Any, NamedTuple
from unittest.mock import Mock

import msgspec
import pytest
import river

from penstock.features.redis.store import MemoryServer, MemoryStateStore, StoreUnavailable, Unit
from penstock.stream import topology
from penstock.stream.history_record import decode_history
from penstock.stream.learn import writing as learn_writing
from penstock.stream.learn.entries import entry_of
from penstock.stream.learn.records import Job, lineage
from penstock.stream.learn.replay import replay
from penstock.stream.learn.retrain import InlineRetrainer, run_job
from penstock.stream.learn.runs import Runs
from penstock.stream.learn.snapshot import SamplesGone
from penstock.stream.learn.stored_snapshot import StoredSnapshot
from penstock.stream.learn.turn_parts import FIRST_RECORDS, LATE_S, LOOK_EVERY, TURN_S, TurnParts
from penstock.stream.learn.worker import LearnWorker
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import TP, AppendFailed, CommitFailed, LogUnavailable, Out
from penstock.stream.messages import (
    Command,
    LabelRecord,
    Origin,
    Sample,
    decode_control_event,
    decode_live_model,
    encode_entry,
)
from penstock.stream.models.retention import Retention
from penstock.stream.models.store import MemoryModelStore
from penstock.stream.models.version import Version
from penstock.stream.prediction import Prediction
from penstock.stream.process.write_behind import Writer, WriteThrough
from tests.stream.generated import DAY, START_MS, entries, parcels
from tests.stream.later import Later
from tests.stream.naive_flow import everything

PIPELINE = parcels()
SAMPLES = topology.samples("parcels")
PREDICTIONS = topology.predictions("parcels")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("penstock.stream.learn.births.FREEZE_EVERY", 100)
    monkeypatch.setattr("penstock.stream.learn.worker.BATCH_RECORDS", 60)
    monkeypatch.setattr("penstock.stream.learn.worker.SNAPSHOT_EVERY_MS", 200)
    monkeypatch.setattr("penstock.stream.learn.learner.SLICE_RECORDS", 40)
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
        self.writer_of: Callable[[], Writer] = WriteThrough
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
            PIPELINE,
            log,
            store,
            self.models,
            retrainer,
            secret,
            lambda: next(self.wall),
            instance_id="0",
            writer=self.writer_of(),
        )  # fmt: skip
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


LOG = entries(700, late=90)
ROLLED_BACK = "c5"


def busy() -> list[Any]:
    """A log with commands in it that are carried out, and a number that ruins the model."""
    log: list[Any] = list(LOG)
    commands = {
        300: Command("c1", "hold"),
        340: Command("c2", "resume"),
        345: Command("c3", "rollback", version="v99"),
        1_000: Command("h5", "hold"),
        1_080: Command(ROLLED_BACK, "rollback", "as told", "ann"),
        1_150: Command("c4", "retrain", from_position=710),
    }
    for place, command in reversed(commands.items()):
        log.insert(place, command)
    x: list[Any] = [1e200, 0.5, 2.0, None, 3.0, 1.0, 60.0]
    log[700:700] = [
        Sample(Origin("odd", 0, 0), "odd", "van", START_MS, x),
        LabelRecord(Origin("odd", 0, 0, 1), "odd", START_MS, True),
    ]
    return log


class Outcome(NamedTuple):
    """Where a worker came to, by names that do not depend on the log's id."""

    digest: str
    version: str
    applied: list[str]
    events: dict[str, Any]
    history: dict[str, bytes]


def outcome(world: World, worker: LearnWorker) -> Outcome:
    """Control events are those of all topics, by id, and so is the history; told twice they were told alike."""
    fold = worker.fold
    assert fold is not None
    found: dict[str, Any] = {}
    for topic in (topology.CONTROL_RETRAIN, topology.CONTROL_ROLLBACK, topology.CONTROL_ALERTS):
        for record in everything(world.log, topic):
            value = (record.value or b"").replace(f".{fold.lineage}".encode(), b"")
            event = decode_control_event(value)
            assert found.setdefault(event.id, event) == event
    told: dict[str, bytes] = {}
    for record in everything(world.log, topology.history("parcels")):
        value = (record.value or b"").replace(f".{fold.lineage}".encode(), b"")
        assert told.setdefault(decode_history(value).id, value) == value
    return Outcome(fold.digest(), fold.version.split(".")[0], list(fold.applied), found, told)


@cache
def undisturbed() -> Outcome:
    """Where a worker comes to that nothing happens to."""
    world = World()
    world.give(busy())
    return outcome(world, world.settle(world.worker()))


def test_what_the_kills_go_through_holds_a_rollback_that_is_carried_out_and_control_events() -> None:
    calm = undisturbed()
    assert calm.applied == ["c1", "c2", "h5", ROLLED_BACK, "c4", "adopt-c4"]
    kinds = Counter(name.partition("-")[0] for name in calm.history)
    assert kinds["labels"] >= 1 and kinds["hour"] >= 10
    told = [event.data.state for event in calm.events.values() if event.data.kind == "failures"]
    assert told == ["firing", "resolved"], "the ruinous number cost models their place, and others took it"


def test_a_prediction_for_every_sample_and_the_live_model_is_the_fold_of_the_log() -> None:
    world = World()
    world.give(busy())
    worker = world.settle(world.worker())
    world.check(worker)
    assert len(world.predictions()) == 701
    assert worker.fold is not None and worker.fold.counts.joined > 600 and ROLLED_BACK in worker.fold.applied


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


WRITERS: dict[str, Callable[[], Writer]] = {
    "before the next poll": WriteThrough,
    "when waited for": lambda: Later(cycle([3])),
    "now and then": lambda: Later(cycle([3, 3, 0])),
}


@pytest.mark.parametrize("written", WRITERS)
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_it_ends_as_if_it_never_was(step: str, written: str) -> None:
    world = World()
    world.writer_of = WRITERS[written]
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
    assert outcome(world, worker) == undisturbed()


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
@pytest.mark.parametrize("written", WRITERS)
def test_a_failed_write_is_survived_in_the_same_process(step: str, error: Exception, written: str) -> None:
    world = World()
    world.writer_of = WRITERS[written]
    world.give(busy())
    times = numbers()

    def fail(at: str) -> None:
        if at == step and next(times) % 4 == 1:
            raise error

    world.fail = fail
    worker = world.settle(world.worker())
    assert next(times) > 4
    world.check(worker)


@pytest.mark.parametrize("written", WRITERS)
@pytest.mark.parametrize("error", [RuntimeError("nobody expects it"), OSError(28, "No space left on device")])
def test_versions_that_cannot_be_stored_lose_nothing_whether_the_worker_ends_or_waits(
    error: Exception, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    world.writer_of = WRITERS[written]
    world.give(busy())
    put, tries = world.models.put, numbers()

    def full(version: Version, payload: bytes) -> None:
        if next(tries) < 2:
            raise error
        put(version, payload)

    monkeypatch.setattr(world.models, "put", full)
    worker = world.worker()
    for _ in range(2):
        if isinstance(error, OSError):
            world.settle(worker)
            continue
        with pytest.raises(RuntimeError):
            world.settle(worker)
        worker.close()
        worker = world.worker()
    assert outcome(world, world.settle(worker)) == undisturbed()
    world.check(worker)


def test_one_commit_serves_several_batches_and_what_featurize_waits_for_is_committed_as_soon_as_nothing_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("penstock.stream.learn.writing.COMMIT_EVERY_MS", 10**9)
    monkeypatch.setattr("penstock.stream.learn.worker.SNAPSHOT_EVERY_MS", 10**9)
    world = World()
    world.give(LOG)
    worker = world.worker()
    worker.process_batch(0.0)
    steps: list[str] = []
    world.fail = steps.append
    waits: list[float] = []
    poll = worker.member.poll
    monkeypatch.setattr(
        worker.member, "poll", lambda most, wait_s: (waits.append(wait_s), poll(most, wait_s))[1]
    )
    batches = 0
    while worker.process_batch(0.05):
        batches += 1
    assert batches > 10 and steps.count("after commit") == 1 and steps[-1] == "after commit"
    assert waits == [0.05, *[0.0] * batches], "not waiting for more with something to commit"
    assert world.log.committed(worker.group, [worker.tp]) == {worker.tp: len(LOG)}


class Slow(InlineRetrainer):
    """Does its job when told to."""

    def start(self, command_id: str, job: Job) -> None:
        self.told = (command_id, job)


def test_a_job_run_twice_ends_at_its_command_and_makes_one_version() -> None:
    world = World()
    worker = world.worker()
    worker.retrainer = Slow(PIPELINE, world.log, world.models)
    world.give([*LOG[:600], Command("c1", "retrain", from_position=10)])
    world.settle(worker)
    command_id, job = worker.retrainer.told
    assert job == (10, 600, [], "unknown", 0)
    made = []
    for more in (LOG[600:700], LOG[700:800]):
        world.give(more)
        made.append(run_job(PIPELINE, world.log, world.models, command_id, job))
    assert made[0] == made[1] and made[0].id == f"retrain-c1.{made[0].digest[:6]}"
    adopts = [entry for entry in world.entries() if isinstance(entry, Command) and entry.verb == "adopt"]
    assert adopts[0] == adopts[1] and adopts[0].trained_to == 600
    world.check(world.settle(worker))
    assert worker.fold is not None and list(worker.fold.applied) == ["c1", "adopt-c1"]


def test_what_a_command_needs_is_read_in_slices_while_the_loop_goes_on_turning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only from the oldest label still to come, and a few records a turn, however much came while the job ran."""
    world = World()
    worker = world.worker()
    worker.retrainer = Slow(PIPELINE, world.log, world.models)
    world.give([*LOG[:600], Command("c1", "retrain", from_position=0)])
    world.settle(worker)
    run_job(PIPELINE, world.log, world.models, *worker.retrainer.told)
    adopt = world.entries()[-1]
    assert isinstance(adopt, Command) and adopt.join_from is not None and 0 < adopt.join_from < 600
    later = World()
    later.models = world.models
    later.give([*LOG[:600], Command("c1", "retrain", from_position=0), *LOG[600:1_200], adopt, *LOG[1_200:]])
    slow = later.worker()
    slow.retrainer = Slow(PIPELINE, later.log, later.models)
    turns: list[tuple[int, int]] = []
    quiet = 0
    while quiet < 10:
        worked = slow.process_batch(0.0)
        turns.append((slow.fold.position if slow.fold else -1, worked))
        quiet = 0 if worked else quiet + 1
    waited = [worked for position, worked in turns if position == 1_201 and worked]
    assert len(waited) >= (1_201 - adopt.join_from) // 40 - 1 > 10
    assert max(worked for _, worked in turns) <= 60 + 40
    assert slow.fold is not None and "adopt-c1" in slow.fold.applied
    later.check(slow)


def test_a_worker_that_loses_its_task_while_a_command_is_prepared_begins_the_preparation_anew() -> None:
    world = World()
    world.give(busy())
    worker = world.worker()
    while worker.preparing is None:
        worker.process_batch(0.0)
    world.log.expel(worker.member)  # type: ignore[arg-type]
    world.settle(worker)
    again = world.settle(world.worker()) if worker.fold is None else worker
    assert outcome(world, again) == undisturbed()


def test_a_version_id_names_one_model_for_ever_whatever_the_rules_and_however_often_the_log_is_made_anew() -> (
    None
):
    world = World()
    world.give(LOG)
    first = world.settle(world.worker())
    before = dict(world.models.stored)
    assert first.fold is not None and any(version.startswith("v1.") for version in before)
    first.close()
    # Folded anew under other rules: other models, other ids.
    other = world.worker()
    other.guard = False
    world.server.flushall()
    world.settle(other)
    assert other.fold is not None and other.fold.lineage != first.fold.lineage
    assert {v: world.models.stored[v] for v in before} == before and len(world.models.stored) > len(before)
    again = replay(PIPELINE, world.log, SAMPLES, store=(made := MemoryModelStore()))
    assert again.digest() == first.fold.digest() and set(made.stored) == set(before), (
        "the replay has the same ids"
    )
    # And after a reset, when the log is another one.
    anew = World()
    anew.give(LOG)
    last = anew.settle(anew.worker())
    assert last.fold is not None and last.fold.lineage not in (first.fold.lineage, other.fold.lineage)
    assert not set(anew.models.stored) & set(world.models.stored)


def test_another_folds_version_is_not_restored_by_a_command_that_names_it() -> None:
    """Whoever replays this log does not have it."""
    world = World()
    world.give(LOG)
    first = world.settle(world.worker())
    assert first.fold is not None
    name = next(one.version for one in first.fold.experts.models if one.kind == "frozen")
    other = World()
    other.models = world.models
    other.give([*LOG, Command("c1", "rollback", version=name)])
    worker = other.settle(other.worker())
    assert worker.fold is not None and worker.fold.refused == {"c1": f"version {name!r} is not known"}
    other.check(worker)


def test_the_time_of_a_turn_is_split_into_its_parts_by_looks_at_the_clock_that_no_record_adds_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every look takes a thousandth of a second here, so a part has as many of them as it was ended."""
    monkeypatch.setattr("penstock.stream.learn.worker.BATCH_RECORDS", 250)
    monkeypatch.setattr("penstock.stream.learn.worker.SNAPSHOT_EVERY_MS", 1e9)
    clock = numbers(1)
    monkeypatch.setattr("penstock.stream.learn.worker.time.perf_counter", lambda: next(clock) / 1_000)
    # Where records are stepped one by one, it looks now and then.
    monkeypatch.setattr(TurnParts, "late", lambda self, number: False)
    world = World()
    worker = world.worker()
    worker.process_batch(0.0)  # it becomes the owner
    world.give([entry for entry in LOG if isinstance(entry, Sample)][: 500 + FIRST_RECORDS])
    assert [worker.process_batch(0.0) for _ in range(3)] == [FIRST_RECORDS, 250, 250]

    def looks() -> dict[str, int]:
        return {part: round(1_000 * seconds) for part, seconds in worker.parts.seconds.items()}

    assert looks() == {"decode": 3, "fold": 3, "write": 3, "commit": 0, "snapshot": 0}
    monkeypatch.setattr("penstock.stream.learn.worker.SNAPSHOT_EVERY_MS", 0)
    worker.snapshot_wait_ms = 0
    worker.process_batch(0.0)
    now = looks()
    assert now["snapshot"] == 1 and now["fold"] == 4, "nothing came"
    assert now["write"] == 4 and now["commit"] == 1, "so what was folded is committed"


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


def in_full(world: World, version: str) -> str:
    """The id that the worker's fold gives its version of this number."""
    topic_id = world.log.topic_id(SAMPLES)
    return f"{version}.{lineage(PIPELINE, guard=True, topic_id=topic_id, start=0)}"


def short(world: World, said: Any) -> Any:
    """Ids and texts without the world's own ending."""
    end = in_full(world, "")
    if isinstance(said, dict):
        return {key: value.replace(end, "") for key, value in said.items()}
    return {name.replace(end, "") for name in said}


def few_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retention.__init__, "__defaults__", (2, 365 * DAY))
    monkeypatch.setattr("penstock.stream.learn.births.FREEZE_EVERY", 20)


def test_versions_beyond_the_newest_and_those_in_use_are_deleted_and_a_rollback_to_one_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few_versions(monkeypatch)
    world = World()
    names = [in_full(world, version) for version in ("v2", "v3")]
    world.give([*busy(), *(Command(f"r{n}", "rollback", version=name) for n, name in enumerate(names, 1))])
    worker = world.settle(world.worker())
    worker.close()
    fold = worker.fold
    assert fold is not None and fold.version_count > 12
    frozen = {one.version for one in fold.experts.models if one.kind == "frozen"}
    assert world.models.ids() == set(fold.retention.born) >= frozen != set()
    assert len(world.models.ids()) <= 2 + len(fold.in_use())
    assert "no longer kept" in fold.refused["r1"] and "no longer kept" in fold.refused["r2"]
    world.check(worker)


@pytest.mark.parametrize("seed", range(4))
def test_killed_or_folded_anew_the_same_versions_are_kept_and_what_a_command_named_was_there(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """A rollback to a version that was dropped soon after it was live: on every later pass it must be found again."""
    few_versions(monkeypatch)
    straight, world, times = World(), World(), numbers(seed)
    for one in (straight, world):
        log = busy()
        log.insert(450, Command("r1", "rollback", version=in_full(one, "v3")))
        one.give(log)
    first = straight.settle(straight.worker())
    first.close()

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
        assert short(world, worker.fold.refused) == short(straight, first.fold.refused)
        assert worker.fold.digest() == first.fold.digest()
        assert short(world, world.models.ids()) == short(straight, straight.models.ids())


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
    assert 0 < worker.fold.counts.samples < 700


def test_samples_that_are_gone_before_they_were_folded_end_learn_until_somebody_begins_a_new_model() -> None:
    world = World()
    world.give(LOG[:300])
    worker = world.settle(world.worker())
    worker.close()
    world.give(LOG[300:])
    world.log.trim(SAMPLES, 0, 400)
    for _ in range(2):  # whoever begins it again is told again
        with pytest.raises(SamplesGone, match=r"records 300 to 399 of .* are gone.*`penstock reset FILE`"):
            world.settle(world.worker())
    del world.server.data[worker.snapshot.key]
    again = world.settle(world.worker())
    assert again.fold is not None
    assert again.fold.digest() == replay(PIPELINE, world.log, SAMPLES).digest()


def test_a_commit_that_failed_is_made_again_though_nothing_new_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.give(LOG)
    worker = world.worker()
    tp = (SAMPLES, 0)
    with monkeypatch.context() as patch:
        patch.setattr(worker.member, "commit", Mock(side_effect=CommitFailed("told to")))
        world.settle(worker)
        assert world.log.committed(worker.group, [tp]) == {}
    monkeypatch.setattr(learn_writing, "COMMIT_AGAIN_MS", 5)
    world.settle(worker)
    assert world.log.committed(worker.group, [tp]) == {tp: world.log.bounds([tp])[tp][1]}


def test_control_events_have_ids_that_do_not_repeat_without_a_crash() -> None:
    world = World()
    log = busy()
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
    assert repeated == [event.id for event in events], "and another pass over the same log has the same"
    world.check(worker)


def test_however_slow_a_model_is_or_becomes_turns_stay_short_and_nothing_else_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("penstock.stream.learn.worker.BATCH_RECORDS", 500)
    world, now_s, slow_s = World(), 0.0, 0.2
    world.give(entries(1_500))
    worker = world.worker()
    worker.parts = TurnParts(lambda: now_s)
    step = LearnWorker._step

    def slow_step(self: LearnWorker, fold: Any, record: Any, entry: Any) -> int:
        nonlocal now_s
        now_s += slow_s
        return step(self, fold, record, entry)

    monkeypatch.setattr(Runs, "run", lambda self, decoded, offsets, number: number)
    monkeypatch.setattr(LearnWorker, "_step", slow_step)

    def turns(count: int) -> list[int]:
        found: list[int] = []
        while len(found) < count:
            folded = worker.process_batch(0.0)
            found += [folded] if folded else []
        return found

    polled: list[int] = []
    poll = worker.member.poll
    monkeypatch.setattr(worker.member, "poll", lambda *given: (polled.append(given[0]), poll(*given))[1])
    most = (LATE_S + LOOK_EVERY * slow_s) / slow_s
    assert max(turns(6)) <= min(most, FIRST_RECORDS)
    assert polled[0] == FIRST_RECORDS and polled[-1] == round(TURN_S / slow_s), "no more than a turn can do"
    slow_s = 0.0
    assert max(turns(4)) == 500
    slow_s = 0.2
    polled.clear()
    assert max(turns(8)) <= most and len(polled) >= 8
    slow_s = 0.0
    world.settle(worker)
    worker.close()
    world.check(worker)


def test_a_quick_model_takes_whole_batches_from_the_second_turn_on() -> None:
    parts = TurnParts(iter([0.0, 0.001, 1.0, 601.0]).__next__)
    assert parts.due(1_500) == FIRST_RECORDS and parts.due(20) == 20
    parts.start()
    parts.ends("fold", 50)
    assert parts.due(1_500) == 1_500
    parts.start()
    parts.ends("fold", 5)
    assert parts.due(1_500) == 1

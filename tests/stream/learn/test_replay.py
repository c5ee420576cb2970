"""Folding a log again: stretches, rubbish in it, commands that need models, and what the job of a retrain makes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from penstock.stream import topology
from penstock.stream.cli.retrain_job import Order
from penstock.stream.learn.engine import probability
from penstock.stream.learn.entries import entry_of
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.learner import at_once, vector
from penstock.stream.learn.records import Job
from penstock.stream.learn.replay import entries as entries_of
from penstock.stream.learn.replay import prepare, replay, retraining
from penstock.stream.learn.retrain import ProcessRetrainer, run_job
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import OffsetLost, Out
from penstock.stream.messages import Command, Entry, Sample, decode_entry, encode_entry
from penstock.stream.models.digest import digest
from penstock.stream.models.store import MemoryModelStore
from penstock.stream.models.version import BadEnvelope, Version, dump, restore
from tests.stream.generated import entries, parcels

PIPELINE = parcels()
TOPIC = topology.samples("parcels")
LOG = entries(500, late=90)


@pytest.fixture(autouse=True)
def frozen_often(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("penstock.stream.learn.births.FREEZE_EVERY", 100)
    yield


def log_of(records: list[Entry | bytes | None]) -> MemoryLog:
    log = MemoryLog()
    log.create(TOPIC)
    values = [
        record if record is None or isinstance(record, bytes) else encode_entry(record) for record in records
    ]
    log.append([Out(TOPIC, None, value, (), 0) for value in values])
    return log


def test_a_stretch_is_read_from_its_start_to_before_its_end() -> None:
    log = log_of([*LOG])
    assert [position for position, _ in entries_of(log, TOPIC, 10, 15)] == [10, 11, 12, 13, 14]
    assert list(entries_of(log, TOPIC, 15, 15)) == [] and list(entries_of(log, TOPIC, 15, 10)) == []


def test_rubbish_is_passed_over_and_does_not_end_a_stretch() -> None:
    log = log_of([LOG[0], b"", None, LOG[1], b"\xc1"])
    assert [position for position, _ in entries_of(log, TOPIC, 0, 5)] == [0, 3]
    assert entry_of(None) is None and entry_of(b"x") is None


def test_a_stretch_that_is_gone_is_an_error_not_a_shorter_stretch() -> None:
    log = log_of([*LOG])
    log.trim(TOPIC, 0, 20)
    with pytest.raises(OffsetLost, match="are gone"):
        list(entries_of(log, TOPIC, 10, 30))


def test_a_replay_up_to_anywhere_is_the_fold_up_to_there() -> None:
    log = log_of([*LOG])
    fold = Fold(PIPELINE)
    for position, entry in enumerate(LOG[:400]):
        fold.step(position, entry)
    assert replay(PIPELINE, log, TOPIC, stop=400).digest() == fold.digest()
    assert replay(PIPELINE, log, TOPIC).digest() != fold.digest()


def test_progress_is_told_and_predictions_are_not_kept() -> None:
    told: list[tuple[int, int]] = []
    fold = replay(PIPELINE, log_of([*LOG]), TOPIC, progress=lambda done, of: told.append((done, of)))
    assert told and told[-1][1] == len(LOG)
    assert fold.outputs.predictions == []


def adoption(log: MemoryLog, models: MemoryModelStore, job_id: str = "c1") -> tuple[Version, Command]:
    """Run a job over the log so far: its version, and the command it appended."""
    version = run_job(PIPELINE, log, models, job_id, Job(0, len(LOG), []))
    end = log.bounds([(TOPIC, 0)])[(TOPIC, 0)][1]
    (record,) = log.reader({(TOPIC, 0): end - 1}).poll(1, 0.0)
    adopt = decode_entry(record.value or b"")
    assert isinstance(adopt, Command)
    return version, adopt


def test_a_job_is_a_function_of_its_command() -> None:
    models = MemoryModelStore()
    log = log_of([*LOG])
    version, adopt = adoption(log, models)
    assert (adopt.verb, adopt.version, adopt.digest, adopt.trained_to) == (
        "adopt",
        f"retrain-c1.{version.digest[:6]}",
        version.digest,
        len(LOG),
    )
    stored = models.get(version.id)
    assert stored is not None and digest(restore(stored[1])) == version.digest
    other = MemoryModelStore()
    assert adoption(log_of([*LOG]), other)[1] == adopt and other.versions() == models.versions()


def test_a_job_leaves_out_what_was_quarantined() -> None:
    log = log_of([*LOG])
    whole, without = (
        at_once(retraining(PIPELINE, log, TOPIC, 0, len(LOG), skip)).model for skip in ([], [(100, 300)])
    )
    assert digest(whole) != digest(without)


def test_a_job_in_a_process_of_its_own_is_given_where_it_begins_and_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[list[str]] = []

    def started(line: list[str], **options: object) -> SimpleNamespace:
        lines.append(line)
        return SimpleNamespace(poll=lambda: None)

    monkeypatch.setattr("penstock.stream.learn.retrain.subprocess.Popen", started)
    retrainer = ProcessRetrainer(Path("x.py"))
    for _ in range(2):
        retrainer.start("c1", Job(5, 90, [(20, 30)]))
    (line,) = lines
    order = msgspec.json.decode(line[-1], type=Order)
    assert (order.id, order.start, order.stop, order.quarantined) == ("c1", 5, 90, [(20, 30)])


def waiting(log: MemoryLog) -> Fold:
    """A fold that waits for the product of job c1."""
    fold = replay(PIPELINE, log, TOPIC)
    fold.step(fold.position, Command("c1", "retrain", from_position=0))
    return fold


def get(fold: Fold, log: MemoryLog, store: MemoryModelStore, command: Command) -> object:
    need = fold.needs(command)
    assert need is not None
    return prepare(fold, log, TOPIC, store, fold.position, command, need)


class Spoilt(MemoryModelStore):
    """A store whose envelopes do not open."""

    def get(self, version_id: str) -> tuple[Version, bytes] | None:
        raise BadEnvelope("the signature does not fit")


def test_the_product_of_a_job_is_the_stored_one_or_trained_again_when_it_is_lost_or_spoilt() -> None:
    log, models = log_of([*LOG]), MemoryModelStore()
    fold = waiting(log)
    _, adopt = adoption(log, models)
    first = get(fold, log, models, adopt)
    assert first is not None
    for store in (MemoryModelStore(), Spoilt()):
        assert digest(get(fold, log, store, adopt)) == digest(first)
    wrong = MemoryModelStore()
    stored = models.get(adopt.version or "")
    assert stored is not None
    wrong.put(stored[0], dump(PIPELINE.model.clone()))
    assert digest(get(fold, log, wrong, adopt)) == digest(first), "a model of another digest is not taken"


def test_a_product_that_cannot_be_made_again_with_the_digest_it_had_is_not_adopted() -> None:
    log = log_of([*LOG])
    fold = waiting(log)
    adopt = Command(
        "adopt-c1", "adopt", version="retrain-c1", from_position=0, trained_to=400, digest="another"
    )
    assert get(fold, log, MemoryModelStore(), adopt) is None


def test_a_version_of_another_recipe_is_not_restored() -> None:
    log, models = log_of([*LOG]), MemoryModelStore()
    version, _ = adoption(log, models)
    stored = models.get(version.id)
    assert stored is not None
    fold = replay(PIPELINE, log, TOPIC)
    rollback = Command("r1", "rollback", version=version.id)
    assert get(fold, log, models, rollback) is not None
    old = Version(
        **{**{name: getattr(version, name) for name in version.__struct_fields__}, "recipe": "older"}
    )
    models.put(old, stored[1])
    assert get(fold, log, models, rollback) is None


def test_a_version_that_is_no_expert_any_more_is_brought_as_it_was_stored() -> None:
    made = MemoryModelStore()
    log = log_of([*LOG])
    fold = replay(PIPELINE, log, TOPIC, store=made)
    gone = next(name for name in made.stored if fold.experts.find(name) is None)
    log.append([Out(TOPIC, None, encode_entry(Command("r1", "rollback", version=gone)), (), 0)])
    fold = replay(PIPELINE, log, TOPIC)
    leader = fold.experts.leader
    stored = made.get(gone)
    assert stored is not None and (leader.kind, leader.parent) == ("resumed", gone)
    assert says(leader.model) == says(restore(stored[1]))


def test_a_replay_with_actions_off_has_one_model_and_obeys_no_command() -> None:
    log = log_of([*LOG, Command("h1", "hold"), Command("r1", "rollback")])
    fold = replay(PIPELINE, log, TOPIC, actions=False, trace=True)
    assert [one.kind for one in fold.experts.models] == ["first"] and not fold.applied
    assert fold.trace is not None and len(fold.trace) == fold.counts.learned > 300


def says(model: object) -> list[float]:
    return [
        probability(model, vector(PIPELINE.vector_names, e.x)) for e in LOG[:200] if isinstance(e, Sample)
    ]

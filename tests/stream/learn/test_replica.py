"""The replica: the fold's own answer to its next sample, to the bit, and nothing learned by giving it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import linear_model, preprocessing

from penstock.features.redis.keys import wanted_key
from penstock.features.redis.store import MemoryServer, MemoryStateStore
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.published import prediction_of
from penstock.stream.learn.replica import Replica
from penstock.stream.learn.replica_snapshot import ReplicaWriter, open_replica, stored_replica, take_replica
from penstock.stream.messages import Origin, Sample
from penstock.stream.models.version import BadEnvelope
from tests.stream.generated import MINUTE, START_MS, entries, parcels
from tests.stream.learn import task_courses
from tests.stream.learn.courses import Course, quick_guard


def replica_of(fold: Fold) -> Replica:
    return open_replica(fold.pipeline, take_replica(fold, "topic"))


def answers_alike(fold: Fold, replica: Replica, sample: Sample, position: int) -> None:
    """Ask the replica, then fold the sample, and compare what was published."""
    asked = replica.ask(sample.id, sample.at, sample.x).prediction
    fold.outputs.predictions.clear()
    fold.step(position, sample)
    (made,) = fold.outputs.predictions
    assert asked == prediction_of(made, fold.task, fold.uncertainty, fold.recipe)


def check(pipeline: Pipeline, log: list[Any], every: int, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("penstock.stream.learn.births.FREEZE_EVERY", 100)
    patch.setattr("penstock.stream.learn.experts.THIN_AFTER_LABELS", 20)
    fold, asked = Fold(pipeline), 0
    for position, entry in enumerate(log):
        if isinstance(entry, Sample) and position % every == 0:
            answers_alike(fold, replica_of(fold), entry, position)
            asked += 1
        else:
            fold.step(position, entry)
    assert asked > 5


@pytest.mark.parametrize("more", [{}, {"interval": 0.9, "calibrate": True}, {"approval": True}])
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1_000), every=st.integers(7, 31))
def test_an_answer_is_that_of_the_fold_to_its_next_sample(
    more: dict[str, Any], seed: int, every: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        check(parcels(**more), entries(500, seed), every, patch)


@pytest.mark.parametrize("name", sorted(task_courses.CASES))
def test_an_answer_is_that_of_the_fold_whatever_the_task(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(task_courses.pipeline_of(name), task_courses.log_of(name, 300), 11, monkeypatch)


def test_a_value_far_outside_its_range_is_answered_as_if_the_copy_that_leaves_it_out_were_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    course = Course(parcels(views=[]))
    quick_guard(course, monkeypatch)
    course.go(1_200)
    fold = course.fold
    replica = replica_of(fold)
    at = START_MS + 5_000 * MINUTE
    odd, again = (Sample(Origin("sent", 0, 10**6 + n), f"odd{n}", "van", at + n, [1e6]) for n in (0, 1))
    assert replica.outside(odd.x) == ("weight",) and fold.experts.careful is None
    answers_alike(fold, replica, odd, fold.position)
    assert fold.experts.careful is not None and replica.standing.experts.careful is None
    answers_alike(fold, replica_of(fold), again, fold.position)


@pytest.mark.parametrize("name", ["binary", *sorted(task_courses.CASES)])
def test_answering_leaves_every_model_and_weight_as_it_was(name: str) -> None:
    pipeline = parcels() if name == "binary" else task_courses.pipeline_of(name)
    log = entries(300) if name == "binary" else task_courses.log_of(name, 300)
    fold = Fold(pipeline)
    for position, entry in enumerate(log):
        fold.step(position, entry)
    replica = replica_of(fold)
    before, fold_before = replica.digest(), fold.digest()
    vectors = [entry.x for entry in log if isinstance(entry, Sample)]
    first = replica.ask("a", 0, vectors[0]).prediction
    for x in [*vectors, [1e9] * len(vectors[0]), [None] * len(vectors[0])]:
        replica.ask("b", 0, x)
    assert (replica.digest(), fold.digest()) == (before, fold_before)
    assert replica.ask("a", 0, vectors[0]).prediction == first


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


def writing(fold: Fold) -> tuple[MemoryServer, MemoryStateStore, ReplicaWriter, Clock]:
    server, clock = MemoryServer(), Clock()
    store = MemoryStateStore(server, "parcels", "learn")
    store.acquire()
    store.start(b"start")
    return server, store, ReplicaWriter(store, "parcels", "secret", clock, "topic"), clock


def folded(number: int, **more: Any) -> Fold:
    fold = Fold(parcels(**more))
    for position, entry in enumerate(entries(number)):
        fold.step(position, entry)
    return fold


def test_replicas_are_written_while_somebody_wants_them_once_a_second_and_at_once_when_what_is_live_changes() -> (
    None
):
    fold = folded(200)
    server, store, writer, clock = writing(fold)
    base = writer.write(b"start", fold, clock())
    assert base == b"start" and writer.written == 0  # nobody wants it
    server.put(wanted_key("parcels"), b"1")
    base = writer.write(base, fold, 500)
    assert writer.written == 0  # nobody was there when it looked last
    base = writer.write(base, fold, 1_000)
    assert writer.written == 1
    fold.position += 1
    base = writer.write(base, fold, 1_500)
    assert writer.written == 1
    fold.publish("another")
    base = writer.write(base, fold, 1_600)
    assert writer.written == 2
    base = writer.write(base, fold, 9_000)
    assert writer.written == 2  # the log stands still
    taken = stored_replica(store, "parcels", "secret").load()
    assert taken is not None and open_replica(fold.pipeline, taken).position == fold.position
    store.alive()


def test_writing_takes_a_fiftieth_of_the_time_at_most() -> None:
    fold = folded(50)
    server, store, writer, clock = writing(fold)
    server.put(wanted_key("parcels"), b"1")
    clock.now = 200  # it took 200 ms
    base = writer.write(b"start", fold, 0)
    fold.position += 1
    assert writer.write(base, fold, 9_000) == base and writer.written == 1
    writer.write(base, fold, 10_200)
    assert writer.written == 2


def test_a_replica_of_another_definition_is_refused_and_one_of_another_secret_replaced() -> None:
    fold = folded(50)
    other = parcels(model=preprocessing.StandardScaler() | linear_model.LogisticRegression(l2=0.1))
    with pytest.raises(BadEnvelope, match="same definition"):
        open_replica(other, take_replica(fold, "topic"))
    server, store, writer, _ = writing(fold)
    server.put(wanted_key("parcels"), b"1")
    base = writer.write(b"start", fold, 0)
    again = ReplicaWriter(store, "parcels", "another secret", Clock(), "topic")
    again.write(base, fold, 0)
    with pytest.raises(BadEnvelope):
        stored_replica(store, "parcels", "secret").load()
    assert stored_replica(store, "parcels", "another secret").load() is not None


def test_a_replica_says_what_it_was_trained_to_and_which_versions_it_knows() -> None:
    fold = folded(200)
    replica = replica_of(fold)
    assert replica.trained_to == replica.position == fold.position
    assert replica.holds("v0") and replica.holds(fold.version) and not replica.holds("v99")
    frozen = next((one for one in replica.standing.experts.models if one.kind == "frozen"), None)
    if frozen is not None:
        replica.standing.experts.leader = frozen
        assert replica.trained_to == frozen.born_position

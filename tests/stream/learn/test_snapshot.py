"""A fold restored from a snapshot, taken anywhere, goes on as the uninterrupted one; a wrong one is refused with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.stream.definitions import Label
from penstock.stream.learn import join
from penstock.stream.learn.entries import entries_around
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.replay import prepare, replay
from penstock.stream.learn.snapshot import restore_fold, take
from penstock.stream.log.memory import MemoryLog
from penstock.stream.messages import Command, Entry, LabelRecord, Recipe, Sample, Tick
from penstock.stream.models.digest import digest
from penstock.stream.models.store import MemoryModelStore
from penstock.stream.models.version import BadEnvelope, restore
from tests.stream.generated import DELIVERED, MINUTE, entries, parcels
from tests.stream.same_log import TOPIC, births_often, stored

PIPELINE = parcels()


def with_commands() -> list[Entry]:
    """Some hundred labels with everything an operator can do in between."""
    log = entries(500, late=90)
    commands = {
        300: Command("c1", "retrain", from_position=20),
        420: Command("c2", "hold"),
        500: Command("c3", "rollback"),
        600: Command("c4", "hold"),
        640: Command("c5", "resume"),
        700: Command("c6", "rollback", from_position=560),
        760: Command("c7", "promote"),
        800: Command("c8", "accept"),
    }
    for place, command in reversed(commands.items()):
        log.insert(place, command)
    return log


LOG = with_commands()


@pytest.fixture(scope="module", autouse=True)
def short_log() -> Iterator[None]:
    with births_often(50, lambda labels: labels % 70 == 0):
        yield


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    return stored(LOG)


def go_on(fold: Fold, log: MemoryLog, stop: int) -> Fold:
    for position in range(fold.position, stop):
        entry = LOG[position]
        need = fold.needs(entry)
        prepared = None
        if need is not None and isinstance(entry, Command):
            prepared = prepare(fold, log, TOPIC, MemoryModelStore(), position, entry, need)
        fold.step(position, entry, prepared)
    return fold


def everything(fold: Fold) -> dict[str, str]:
    """A digest of each part of a fold's state, outputs not yet written left out."""
    parts = {
        name: value
        for name, value in vars(fold).items()
        if name not in ("pipeline", "outputs", "join", "drift")
    }
    parts.update({f"join.{name}": value for name, value in vars(fold.join).items()})
    parts.update({f"drift.{name}": value for name, value in vars(fold.drift).items()})
    # The bytes of a pickle follow identity, not state: what they hold is compared.
    experts = vars(parts.pop("experts"))
    parts.update({f"experts.{name}": value for name, value in experts.items()})
    parts["experts.all"] = [
        {name: getattr(one, name) for name in one.__slots__ if name != "payload"} for one in fold.experts.all
    ]
    parts["payloads"] = [restore(one.payload) for one in fold.experts.all if one.payload is not None]
    for name in ("first", "leader", "committed", "rival"):
        parts[f"experts.{name}"] = getattr(fold.experts, name).number
    parts["experts.gate"] = [fold.experts.gate.weights, fold.experts.gate.rate_weights]
    return {name: digest(value) for name, value in parts.items()} | {"digest": fold.digest()}


@pytest.fixture(scope="module")
def straight(log: MemoryLog) -> dict[str, str]:
    fold = go_on(Fold(PIPELINE), log, len(LOG))
    assert len(fold.applied) >= 5 and fold.counts.held_back > 10
    assert {"frozen", "new", "first"} <= {one.kind for one in fold.experts.models}
    return everything(fold)


def again(fold: Fold, log: MemoryLog) -> Fold:
    return restore_fold(PIPELINE, take(fold, log.topic_id(TOPIC)), log, TOPIC)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example(places=[len(LOG)])
@given(places=st.lists(st.integers(0, len(LOG)), min_size=1, max_size=3))
def test_restored_anywhere_any_number_of_times_it_ends_as_the_uninterrupted_fold(
    places: list[int], log: MemoryLog, straight: dict[str, str]
) -> None:
    fold = Fold(PIPELINE)
    for place in sorted(places):
        fold = again(go_on(fold, log, place), log)
    found = everything(go_on(fold, log, len(LOG)))
    assert {name for name in straight if found[name] != straight[name]} == set()


@pytest.mark.parametrize("place", [301, 425, 501, 641, 701])
def test_right_after_a_command_too(place: int, log: MemoryLog, straight: dict[str, str]) -> None:
    fold = again(go_on(Fold(PIPELINE), log, place), log)
    assert everything(go_on(fold, log, len(LOG))) == straight


def test_after_a_snapshot_every_prediction_and_every_weight_is_the_same_to_the_last_bit(
    log: MemoryLog,
) -> None:
    fold = go_on(Fold(PIPELINE), log, 560)
    restored = again(fold, log)
    assert restored.outputs.predictions == []
    fold.outputs.predictions.clear()
    for place in range(560, len(LOG), 40):
        go_on(fold, log, place)
        go_on(restored, log, place)
        assert restored.outputs.predictions == fold.outputs.predictions
        assert restored.experts.gate.weights == fold.experts.gate.weights
        assert restored.experts.gate.rate_weights == fold.experts.gate.rate_weights
        assert restored.experts.delay == fold.experts.delay
        assert restored.digest() == fold.digest()
    assert len(fold.outputs.predictions) > 150


def test_each_model_is_stored_once_whatever_refers_to_it_and_a_frozen_one_as_the_bytes_it_was_made_from(
    log: MemoryLog,
) -> None:
    fold = go_on(Fold(PIPELINE), log, 560)
    experts = fold.experts
    assert experts.leader is experts.committed, "it is referred to more than once"
    parts = take(fold, log.topic_id(TOPIC)).parts
    assert parts.keys() == {"state", *(f"model {one.number}" for one in experts.models)}
    frozen = [one for one in experts.models if one.kind == "frozen"]
    assert frozen and all(parts[f"model {one.number}"] is one.payload for one in frozen)
    assert all(one.payload not in parts["state"] for one in frozen if one.payload is not None)
    assert b"LogisticRegression" not in parts["state"]
    restored = again(fold, log)
    assert restored.experts.first is restored.experts.all[1] in restored.experts.models
    assert restored.experts.leader is restored.experts.all[experts.all.index(experts.leader)]
    later = take(restored, log.topic_id(TOPIC)).parts
    assert all(later[f"model {one.number}"] == one.payload for one in frozen), "no byte is written again"


def test_what_goes_beyond_the_cap_is_the_same_after_a_snapshot_and_in_a_replay(
    log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(join, "MOST_WAITING", 12)
    straight = go_on(Fold(PIPELINE), log, len(LOG))
    fold = Fold(PIPELINE)
    for place in (150, 301, 640):
        fold = again(go_on(fold, log, place), log)
        assert len(fold.pending) == 12
    assert everything(go_on(fold, log, len(LOG))) == everything(straight)
    assert fold.counts.dropped == straight.counts.dropped > 100
    assert replay(PIPELINE, log, TOPIC).digest() == straight.digest()


@pytest.mark.parametrize("key", [None, "k"])
def test_what_may_still_be_corrected_is_the_same_after_a_snapshot(key: str | None) -> None:
    span = {"within": "30m", "key": "van"} if key else {"wait": "30m"}
    label = Label(DELIVERED, "late", absent=False, corrected_for="3h", **span)  # type: ignore[arg-type]
    pipeline = parcels(label=label)
    plain = [entry for entry in entries(300, late=90) if not isinstance(entry, Recipe)]
    given = [replace(entry, label_key=key) if isinstance(entry, Sample) else entry for entry in plain]
    given = [replace(entry, key=key) if isinstance(entry, LabelRecord) else entry for entry in given]
    if key:  # an hour after its time, when the clock has passed it
        late = [
            replace(one, at=one.at - 60 * MINUTE) if isinstance(one, LabelRecord) else one for one in given
        ]
        given = late
    made = stored(given)
    straight, fold = Fold(pipeline), Fold(pipeline)
    seen = 0
    for position, entry in enumerate(given):
        straight.step(position, entry)
        if position % 97 == 96:
            seen += len(fold.join.defaulted)
            fold = restore_fold(pipeline, take(fold, made.topic_id(TOPIC)), made, TOPIC)
        fold.step(position, entry)
    assert everything(fold) == everything(straight)
    assert seen > 30 and straight.counts.corrected > 20


def test_vectors_are_not_in_the_snapshot_but_in_the_log(log: MemoryLog) -> None:
    fold = go_on(Fold(PIPELINE), log, 400)
    taken = take(fold, log.topic_id(TOPIC))
    header = taken.header
    assert (
        header.rescan_from == min(waits.position for waits in fold.pending.values()) < header.position == 400
    )
    assert len(fold.pending) > 20
    found = restore_fold(PIPELINE, taken, log, TOPIC)
    assert {name: waits.x for name, waits in found.pending.items()} == {
        name: waits.x for name, waits in fold.pending.items()
    }


@pytest.mark.parametrize("beyond", [0, 1, 5, 50])
def test_what_lies_between_samples_that_wait_far_from_each_other_is_not_read(
    log: MemoryLog, beyond: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.stream.learn.entries.SEEK_BEYOND", beyond)
    fold = go_on(Fold(PIPELINE), log, 560)
    waiting = sorted(one.position for one in fold.pending.values())
    expected = {
        place
        for here, there in zip(waiting, waiting[1:], strict=False)
        if there - here <= beyond
        for place in range(here, there + 1)
    } | set(waiting)
    assert [place for place, _ in entries_around(log, TOPIC, waiting)] == sorted(expected)
    assert everything(again(fold, log)) == everything(fold)
    assert [*entries_around(log, TOPIC, ())] == []


def test_the_same_fold_gives_the_same_rescan_even_with_nothing_pending(log: MemoryLog) -> None:
    fold = Fold(PIPELINE)
    taken = take(fold, log.topic_id(TOPIC))
    header = taken.header
    assert (header.position, header.rescan_from) == (0, 0)
    assert restore_fold(PIPELINE, taken, log, TOPIC).position == 0


def refusal(
    log: MemoryLog,
    pipeline: Any = PIPELINE,
    topic_id: str | None = None,
    sealed_at: int = 400,
) -> str:
    fold = go_on(Fold(PIPELINE), log, sealed_at)
    taken = take(fold, log.topic_id(TOPIC) if topic_id is None else topic_id)
    with pytest.raises(BadEnvelope) as error:
        restore_fold(pipeline, taken, log, TOPIC)
    return str(error.value)


def test_another_recipe_or_topic_is_refused(log: MemoryLog) -> None:
    assert "recipe" in refusal(log, pipeline=parcels(inputs=[]))
    assert "pipeline" in refusal(log, pipeline=parcels("letters"))
    assert "topic id" in refusal(log, topic_id="recreated")


@pytest.mark.parametrize("what", ["python", "river"])
def test_another_python_or_river_is_refused(
    log: MemoryLog, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold = go_on(Fold(PIPELINE), log, 100)
    taken = take(fold, log.topic_id(TOPIC))
    if what == "python":
        monkeypatch.setattr("platform.python_version", lambda: "3.99")
    else:
        monkeypatch.setattr("river.__version__", "9.9")
    with pytest.raises(BadEnvelope, match=what):
        restore_fold(PIPELINE, taken, log, TOPIC)


def test_a_log_that_ends_before_the_snapshot_is_refused() -> None:
    assert "ends at 200" in refusal(stored(LOG[:200]), sealed_at=250)


def test_a_log_that_lost_the_samples_that_wait_is_refused() -> None:
    trimmed = stored(LOG)
    fold = go_on(Fold(PIPELINE), trimmed, 290)
    taken = take(fold, trimmed.topic_id(TOPIC))
    header = taken.header
    trimmed.trim(TOPIC, 0, header.rescan_from + 5)
    with pytest.raises(BadEnvelope, match="retention is too short"):
        restore_fold(PIPELINE, taken, trimmed, TOPIC)


def test_the_log_used_here_has_every_kind_of_entry() -> None:
    kinds = {type(entry) for entry in LOG}
    assert {Sample, Tick, Command} <= kinds and len(kinds) == 5

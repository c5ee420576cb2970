"""The guarantee: the live model is the fold of its log, and so is every prediction, however often learn was killed.

Laws of this file: the samples log is written by the test, so that commands stand where leaders change and values run wild; it is
written in two parts, the second once the retrain's product stands in it; moments of harm are seeded points of progress.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest

from penstock.stream import topology
from penstock.stream.history_record import HistoryRecord, decode_history
from penstock.stream.learn import births, drift
from penstock.stream.learn.entries import entries
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.replay import fresh, prepare, replay
from penstock.stream.log.protocol import Out
from penstock.stream.messages import (
    Command,
    ControlEvent,
    Entry,
    LabelRecord,
    Origin,
    Sample,
    encode_entry,
)
from penstock.stream.models.store import MemoryModelStore
from penstock.stream.prediction import Prediction
from penstock.stream.recipes import recipe_of
from tests.integration.test_kill import Making, Place, Role, again, place
from tests.stream.naive_flow import everything

__all__ = ["place"]

KILLS = 10 if os.environ.get("CI") else 4
SAMPLES, LATE = 7_000, 30
MINUTE_MS = 60_000
START_MS = 1_700_000_000_000
INVERTED_AT = 3_300
WILD = [*range(4_600, 4_900, 7), *range(5_600, 5_680, 2)]
FIRST_PART = 2_600

# Copies are frozen, and ranges known, sooner than the stream is over.
SOON = """
from functools import partial
from penstock.monitors.inputs.guard import RangeGuard
from penstock.stream.learn import births, drift
births.FREEZE_EVERY = 400
drift.RangeGuard = partial(RangeGuard, learn_samples=2_000)
"""
PUMPS = """
from river import linear_model, preprocessing
from penstock import Label, Pipeline, Source
read = Source("NAME.read", id="reading", time="at", key="pump")
pipeline = Pipeline(
    "NAME", views=[], predict=read, inputs=["flow", "heat", "noise"],
    label=Label(read, lambda e: e["failed"], wait="2h", fields=("failed",)),
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
)
"""


def asked(number: int) -> Iterator[Command]:
    """What people ask for when so many samples have come."""
    commands: dict[int, dict[str, Any]] = {
        2_500: {"verb": "retrain", "from_position": 900},
        3_450: {"verb": "promote"},
        3_900: {"verb": "rollback", "from_position": 6_200},
        5_000: {"verb": "rollback", "version": "v0", "pin": True},
        5_250: {"verb": "resume"},
        5_400: {"verb": "hold"},
        5_550: {"verb": "resume"},
    }
    if number in commands:
        yield Command(f"asked-{number}", reason="a test", by="a person", **commands[number])


def stream(source: str) -> Iterator[tuple[int, Entry]]:
    """The samples log without its recipe: each entry with the number of the newest sample. Labels come `LATE` samples late."""
    chance = random.Random(5)
    truth: list[bool] = []
    for number in range(SAMPLES + LATE):
        at = START_MS + number * MINUTE_MS
        if number < SAMPLES:
            x = [chance.gauss(0.0, 1.0) for _ in range(3)]
            odds = 2.5 * x[0] - 1.5 * x[1]
            truth.append(chance.random() < 1 / (1 + math.exp(-odds if number < INVERTED_AT else odds)))
            if number in WILD:
                x[1] *= 1e6
            yield number, Sample(Origin(source, 0, number), f"r{number}", f"p{number % 9}", at, list(x))
        due = number - LATE
        if due >= 0 and due % 11:  # of every eleventh reading nobody learns what became of it
            yield number, LabelRecord(Origin(f"{source}.known", 0, due), f"r{due}", at, truth[due])
        for command in asked(number):
            yield number, command


class Folded(NamedTuple):
    """A fold of the log from its start, and what it said on the way."""

    fold: Fold
    said: dict[str, tuple[float, str, float, int]]
    kinds: set[str]
    events: set[str]


def fold_log(here: Place, stop: int) -> Folded:
    """Fold the log up to `stop` one entry at a time; whatever is told is kept."""
    fold, store = fresh(here.pipeline, here.log, here.samples), MemoryModelStore()
    found = Folded(fold, {}, set(), set())
    for position, entry in entries(here.log, here.samples, 0, stop):
        need = fold.needs(entry)
        prepared = None
        if need is not None and isinstance(entry, Command):
            prepared = prepare(fold, here.log, here.samples, store, position, entry, need)
        fold.step(position, entry, prepared)
        for version, payload in fold.outputs.versions:
            store.put(version, payload)
        fold.outputs.versions.clear()
        for made in fold.outputs.predictions:
            found.said[made.id] = (made.p, made.version, made.weight, made.position)
        fold.outputs.predictions.clear()
        found.kinds.update(one.kind for one in fold.experts.all)
        found.events.update(request.event.id for request in fold.drift.requests)
        fold.drift.requests.clear()
    return found


def published(here: Place) -> dict[str, tuple[float, str, float, int]]:
    """Every prediction on the topic by event id; a repeat must say the same."""
    found: dict[str, tuple[float, str, float, int]] = {}
    for record in everything(here.log, topology.predictions(here.pipeline.name)):
        one = msgspec.json.decode(record.value or b"", type=Prediction)
        said = (one.prediction, one.model.version, one.model.weight, one.position)
        assert found.setdefault(one.id, said) == said
    return found


def written_down(here: Place) -> dict[str, HistoryRecord]:
    """The history topic by id; a repeat must say the same."""
    found: dict[str, HistoryRecord] = {}
    for record in everything(here.log, topology.history(here.pipeline.name)):
        one = decode_history(record.value or b"")
        assert found.setdefault(one.id, one) == one
    return found


def told(here: Place) -> set[str]:
    """The ids of all control events about this pipeline."""
    topics = (topology.CONTROL_RETRAIN, topology.CONTROL_ROLLBACK, topology.CONTROL_ALERTS)
    records = [record for topic in topics for record in everything(here.log, topic)]
    events = [msgspec.json.decode(record.value or b"", type=ControlEvent) for record in records]
    return {event.id for event in events if event.data.pipeline == here.pipeline.name}


def killed_on_the_way(here: Place, learn: Role, kills: int, upto: int, chance: random.Random) -> None:
    """Kill and restart learn at seeded numbers of predictions between what there is and `upto`."""
    predictions = topology.predictions(here.pipeline.name)
    start = here.end_of(predictions)
    for at in sorted(chance.sample(range(start + 1, upto), kills)):
        here.until_progress(predictions, at)
        again(learn)()


def adopted(here: Place) -> bool:
    stop = here.end_of(here.samples)
    return any(
        isinstance(entry, Command) and entry.verb == "adopt"
        for _, entry in entries(here.log, here.samples, 0, stop)
    )


@pytest.mark.long
def test_every_prediction_and_the_live_model_are_those_of_a_fold_of_the_log_however_often_learn_is_killed(
    place: Making,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(births, "FREEZE_EVERY", births.FREEZE_EVERY)
    monkeypatch.setattr(drift, "RangeGuard", drift.RangeGuard)
    here = place(PUMPS + SOON, 1)
    chance = random.Random(3)
    log = [(0, recipe_of(here.pipeline)), *stream(here.pipeline.predict.name)]
    outs = [(number, Out(here.samples, b"pumps", encode_entry(entry), (), 0)) for number, entry in log]
    here.log.append([out for number, out in outs if number < FIRST_PART])
    learn = here.role("learn")
    killed_on_the_way(here, learn, KILLS // 3, 2_400, chance)
    here.until_progress(topology.predictions(here.pipeline.name), 2_501)
    again(learn)()  # as the retrain's job begins, or runs, or has just ended
    here.until(lambda: adopted(here), "the retrain brought nothing")
    here.log.append([out for number, out in outs if number >= FIRST_PART])
    killed_on_the_way(here, learn, KILLS - KILLS // 3 - 1, SAMPLES * 9 // 10, chance)
    stop = here.end_of(here.samples)
    here.until(lambda: here.live().get("position") == stop, "learn did not come to the end")
    assert learn.stop() == 0, learn.said()

    naive = fold_log(here, stop)
    again_folded = replay(here.pipeline, here.log, here.samples, stop=stop)
    assert here.live()["digest"] == naive.fold.digest() == again_folded.digest()
    assert len(naive.said) == SAMPLES and published(here) == naive.said
    assert told(here) == naive.events
    history = naive.fold.outputs.history
    assert len(history) > 20 and written_down(here) == {one.id: one for one in history}
    # It was worth killing: what should have happened did.
    assert {"base", "first", "new", "frozen", "resumed", "retrained", "careful"} <= naive.kinds
    assert naive.fold.counts.leads >= 2 and len({version for _, version, _, _ in naive.said.values()}) >= 4
    assert {f"asked-{number}" for number in (2_500, 3_450, 3_900, 5_000, 5_250, 5_400, 5_550)} <= set(
        naive.fold.applied
    )
    assert not naive.fold.refused

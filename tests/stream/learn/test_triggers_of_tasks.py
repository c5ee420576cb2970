"""Triggers do their work whatever the task is, with labels of any kind and without any."""

from __future__ import annotations

import msgspec
import pytest

from penstock import OnLabels, OnSchedule
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.learner import Trained, at_once
from penstock.stream.learn.replay import retraining
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Command, Entry, Sample, encode_entry
from penstock.stream.models.digest import digest
from tests.stream.generated import HOUR
from tests.stream.learn.task_courses import CASES, log_of, pipeline_of

TOPIC = "parcels.samples"


@pytest.mark.parametrize("name", CASES)
def test_schedules_and_counts_ask_whatever_the_task_is(name: str) -> None:
    counted = [] if name == "unlabelled" else [OnLabels(150)]
    fold = Fold(pipeline_of(name, retrain=[OnSchedule("1h"), *counted]))
    for position, entry in enumerate(log_of(name, 400)):
        fold.step(position, entry)
    fired = [one.event.data.trigger for one in fold.drift.requests if one.event.data.trigger is not None]
    assert {one.kind for one in fired} == {"schedule", *(rule.kind for rule in counted)}
    assert [one.labels for one in fired if one.kind == "labels"] == [150] * (
        fold.counts.learned // 150
    ) * len(counted)


@pytest.mark.parametrize("name", CASES)
def test_a_retrain_over_the_last_hours_learns_what_it_would_have_if_nothing_had_come_before(
    name: str,
) -> None:
    entries = log_of(name, 400)
    fold = Fold(pipeline_of(name))
    for position, entry in enumerate(entries):
        fold.step(position, entry)
    fold.step(len(entries), Command("c1", "retrain", by="ann", window="5h"))
    job = fold.open_jobs["c1"]
    assert (job.by, job.since_at) == ("ann", fold.at - 5 * HOUR)
    shorter = [
        msgspec.structs.replace(one, recipe="another")
        if isinstance(one, Sample) and one.at < job.since_at
        else one
        for one in entries
    ]
    made = trained(name, entries, job.start, job.since_at)
    assert made.labels > 20 and digest(made.model) == digest(trained(name, shorter, 0, 0).model)
    assert digest(made.model) != digest(trained(name, entries, 0, 0).model)


def trained(name: str, given: list[Entry], start: int, since_at: int) -> Trained:
    log = MemoryLog()
    log.create(TOPIC)
    log.append([Out(TOPIC, None, encode_entry(one), (), 0) for one in given])
    return at_once(retraining(pipeline_of(name), log, TOPIC, start, len(given), [], since_at))

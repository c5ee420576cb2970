"""What the history topic says of a block or an hour is what the log, the predictions topic and the control events say of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.monitors.losses.drift import log_loss
from penstock.stream import topology
from penstock.stream.history_record import HistoryRecord, decode_history
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.published import published
from penstock.stream.learn.tasks.measures import auc
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Entry, LabelRecord, Origin, Sample, encode_json
from penstock.stream.prediction import Prediction, decode_prediction
from tests.stream.generated import HOUR, MINUTE, START_MS, parcels
from tests.stream.learn.courses import Course, light_is_late, quick_guard, quick_losses
from tests.stream.learn.task_courses import CASES, log_of, pipeline_of

BLOCK = 100
MILLIONTH = 1.1e-6


@pytest.fixture(autouse=True)
def short_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.stream.learn.history.BLOCK_LABELS", BLOCK)
        patch.setattr("penstock.stream.learn.recording.BLOCK_LABELS", BLOCK)
        yield


def told(outs: Sequence[Out], name: str) -> list[bytes]:
    return [out.value or b"" for out in outs if out.topic == name]


def lived(fold: Fold, log: Sequence[Entry]) -> tuple[list[HistoryRecord], list[Prediction]]:
    """The history and the predictions of a log, as they stand in the topics."""
    for position, entry in enumerate(log):
        fold.step(position, entry)
    outs = published(fold, 0, "predictions", "")
    history = topology.history(fold.pipeline.name)
    return (
        [decode_history(one) for one in told(outs, history)],
        [decode_prediction(one) for one in told(outs, "predictions")],
    )


def joined(log: Sequence[Entry], predictions: Sequence[Prediction]) -> list[tuple[int, Prediction, Any]]:
    """Each label's position, with the prediction it is for, in the order they met."""
    said = {one.id: one for one in predictions}
    waiting: set[str] = set()
    found = []
    for position, entry in enumerate(log):
        if isinstance(entry, Sample):
            waiting.add(entry.id)
        elif isinstance(entry, LabelRecord) and entry.id in waiting:
            waiting.remove(entry.id)
            found.append((position, said[entry.id], entry.y))
    return found


def blocks(records: Sequence[HistoryRecord]) -> list[HistoryRecord]:
    return [one for one in records if one.kind == "labels"]


def loss_of(said: Prediction, y: Any) -> float:
    if said.classes is not None:
        return log_loss(said.classes.get(str(y), 0.0), 1.0)
    assert isinstance(said.prediction, float)
    return log_loss(said.prediction, y)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.truth is not None])
def test_a_block_says_what_the_published_predictions_and_the_labels_of_the_log_say(name: str) -> None:
    log = log_of(name, 700)
    fold = Fold(pipeline_of(name))
    records, predictions = lived(fold, log)
    pairs = joined(log, predictions)
    found = blocks(records)
    assert len(found) == len(pairs) // BLOCK >= 5
    for number, block in enumerate(found):
        part = pairs[number * BLOCK : (number + 1) * BLOCK]
        assert (block.counts.joined, block.position) == (BLOCK, part[-1][0])
        if fold.task.kind == "regression":
            error = sum(abs(said.prediction - y) for _, said, y in part) / BLOCK  # type: ignore[operator]
            assert block.means["mae"] == pytest.approx(error, abs=MILLIONTH)
        else:
            loss = sum(loss_of(said, y) for _, said, y in part) / BLOCK
            assert block.loss == pytest.approx(loss, abs=MILLIONTH)
        if fold.task.kind == "multiclass":
            right = sum(said.prediction == str(y) for _, said, y in part) / BLOCK
            assert block.means["accuracy"] == pytest.approx(right, abs=MILLIONTH)
        if fold.task.kind in ("binary", "anomaly"):
            pair = [(said.prediction, y) for _, said, y in part]
            assert block.means["auc"] == pytest.approx(naive_auc(pair), abs=MILLIONTH)


def naive_auc(pairs: Sequence[tuple[Any, bool]]) -> float:
    won = [(p > q) + (p == q) / 2 for p, y in pairs if y for q, z in pairs if not z]
    return sum(won) / len(won)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.booleans()), min_size=2, max_size=40))
def test_the_area_under_the_roc_curve_is_how_often_a_true_one_is_ranked_above_a_false_one(
    pairs: list[tuple[float, bool]],
) -> None:
    if len({y for _, y in pairs}) < 2:
        assert auc(pairs) is None
    else:
        assert auc(pairs) == pytest.approx(naive_auc(pairs))


@pytest.mark.parametrize("name", ["binary", "regression", "unlabelled"])
def test_an_hour_holds_what_came_while_the_newest_event_lay_in_it(name: str) -> None:
    log = log_of(name, 700)
    records, _ = lived(Fold(pipeline_of(name)), log)
    hours: dict[int, list[int]] = {}
    newest = 0
    for entry in log:
        if isinstance(entry, Sample | LabelRecord):
            newest = max(newest, entry.at)
            counts = hours.setdefault(newest - newest % HOUR, [0, 0])
            counts[isinstance(entry, LabelRecord)] += 1
    del hours[max(hours)]  # it goes on
    found = [one for one in records if one.kind == "hour"]
    assert [(one.since, one.at) for one in found] == [(at, at + HOUR) for at in hours]
    known = [(one.counts.samples, one.counts.labels) for one in found]
    assert known == [tuple(counts) for counts in hours.values()]
    for before, after in zip(found, found[1:], strict=False):
        assert after.since_position == before.position


def test_each_experts_losses_of_all_blocks_are_what_the_fold_charged_it() -> None:
    fold = Fold(pipeline_of("binary"))
    log = log_of("binary", 1_200)
    records, _ = lived(fold, log)
    found = blocks(records)
    for expert in found[-1].experts:
        assert 0.0 <= expert.weight <= 1.0
    for block in found:
        assert sum(one.weight for one in block.experts) == pytest.approx(1.0, abs=1e-5)
    lost: Counter[str] = Counter()
    judged: Counter[str] = Counter()
    for block in found:
        for one in block.experts:
            lost[one.version] += (one.loss or 0.0) * one.judged  # type: ignore[assignment]
            judged[one.version] += one.judged
    replayed = Fold(pipeline_of("binary"))
    for position, entry in enumerate(log[: found[-1].position + 1]):
        replayed.step(position, entry)
    for expert, loss in zip(replayed.experts.all, replayed.experts.losses, strict=True):
        assert judged[expert.version] == replayed.experts.judged - expert.judged_before
        assert lost[expert.version] == pytest.approx(loss, abs=len(found) * BLOCK * MILLIONTH)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(list(CASES)))
def test_the_same_log_gives_the_same_bytes_and_every_record_its_own_id(seed: int, name: str) -> None:
    log = log_of(name, 250, seed=seed)
    once, _ = lived(Fold(pipeline_of(name)), log)
    again, _ = lived(Fold(pipeline_of(name)), log)
    assert once and [encode_json(one) for one in once] == [encode_json(one) for one in again]
    assert len({one.id for one in once}) == len(once)


def test_a_block_takes_ten_minutes_of_event_time_at_least_however_many_labels_come() -> None:
    fold = Fold(parcels(views=[]))
    x = [0.0] * len(fold.pipeline.vector_names)
    start, each = START_MS, 2_000
    log: list[Entry] = []
    for n in range(1_300):
        log.append(Sample(Origin("sent", 0, n), f"p{n}", "van", start + n * each, x))
        log.append(LabelRecord(Origin("done", 0, n, 1), f"p{n}", start + n * each, n % 3 == 0))
    records, predictions = lived(fold, log)
    found = blocks(records)
    assert [one.counts.joined for one in found] == [400, 300, 300, 300]
    assert found[0].since == start and all(one.at - one.since >= 10 * MINUTE for one in found[1:])
    loss = sum(loss_of(said, y) for _, said, y in joined(log, predictions)[400:700]) / 300
    assert found[1].loss == pytest.approx(loss, abs=MILLIONTH)


def test_while_learning_is_held_the_published_predictions_are_judged_and_no_model_is() -> None:
    course = Course()
    course.go(BLOCK)
    course.command("hold")
    course.go(BLOCK)
    before, held = blocks(course.fold.outputs.history)
    assert (before.held, before.judged, before.counts.held_back) == (False, BLOCK, 0)
    assert (held.held, held.judged, held.counts.held_back, held.counts.learned) == (True, 0, BLOCK, 0)
    assert held.loss is not None and held.mixture_loss is None
    assert {one.loss for one in held.experts} == {None}


def test_a_record_names_the_episodes_of_which_something_was_told_and_is_not_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    course = Course()
    quick_losses(course)
    quick_guard(course, monkeypatch)
    course.go(1_000, noise=0.1)
    course.go(2 * BLOCK, noise=0.1, rule=light_is_late, weight=9e4)
    course.go(4 * BLOCK, noise=0.1)
    (asked,) = [data for data in course.told() if data.target_version]
    course.command(asked.suggested_action, version=asked.target_version, episode=asked.episode)
    course.go(4 * BLOCK, noise=0.1)
    seen = set()
    for record in course.fold.outputs.history:
        still: dict[tuple[str, str], str] = {}
        for data in course.told():
            finding = data.kind, str(data.detector["subject"])
            if data.detected_at["position"] > record.position - (record.kind == "hour"):
                break
            if data.state == "firing":
                still[finding] = data.episode
            elif data.state == "resolved":
                still.pop(finding, None)
        assert {one.id for one in record.episodes} == set(still.values()), record.position
        seen |= {(one.kind, one.subject) for one in record.episodes}
        if record.position > asked.detected_at["position"] and not still:
            seen.add(("over", ""))
    assert seen == {("range", "weight"), ("over", "")}
    (event,) = [data for data in course.told(of="range") if data.state == "firing"]
    during = next(one for record in course.fold.outputs.history for one in record.episodes)
    assert {"at": during.since, "position": during.since_position} == event.since


def test_hours_in_which_nothing_came_have_no_record_and_what_comes_late_belongs_to_the_hour_in_which_it_came() -> (
    None
):
    fold = Fold(parcels(views=[]))
    x = [0.0] * len(fold.pipeline.vector_names)
    times = [0, 5 * MINUTE, 7 * HOUR, 10 * MINUTE, 8 * HOUR]
    start = START_MS - START_MS % HOUR
    log = [Sample(Origin("sent", 0, n), f"p{n}", "van", start + at, x) for n, at in enumerate(times)]
    records, _ = lived(fold, log)
    assert [((one.since - start) // HOUR, one.counts.samples, one.position) for one in records] == [
        (0, 2, 2),
        (7, 2, 4),
    ]

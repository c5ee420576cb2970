"""Coverage that holds for any sequence, and probabilities corrected by their labels."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from math import inf, log
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import linear_model, preprocessing

from penstock.stream import topology
from penstock.stream.definitions import DefinitionError, Label, Pipeline, Source
from penstock.stream.learn.calibration import LEAST, Calibration
from penstock.stream.learn.conformal import GAMMA, MOST_CLASSES, WINDOW, ClassSets, Interval, Oddness
from penstock.stream.learn.entries import entries
from penstock.stream.learn.replay import fresh, replay
from penstock.stream.learn.snapshot import restore_fold, take
from penstock.stream.learn.uncertainty import Uncertainty
from penstock.stream.log.protocol import Out
from penstock.stream.roles.in_memory import MemoryFlow
from tests.stream.generated import MINUTE, START_MS
from tests.stream.naive_flow import everything

READ = Source("pumps.read", id="reading", time="at", key="pump")
WRONG = st.sampled_from([0.05, 0.1, 0.2, 0.5])
ODD = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, inf]))


@given(WRONG, st.lists(ODD, min_size=1, max_size=400), st.integers(0, 60))
def test_the_share_of_wrong_sets_keeps_its_bound_for_any_labels_however_late(wrong, odds, late):
    seen, waiting = Oddness(wrong), deque()
    for odd in odds:
        waiting.append((odd, seen.most()))
        if len(waiting) > late:
            seen.add(*waiting.popleft())
    while waiting:
        seen.add(*waiting.popleft())
    assert seen.labels == len(odds)
    bound = (1.0 + GAMMA * (late + 1)) / (GAMMA * seen.labels)
    assert abs(seen.missed / seen.labels - wrong) <= bound + 1e-12


@given(WRONG, st.integers(1_500, 3_000), st.integers(0, 100), st.integers(0, 2**32))
def test_an_adversary_that_looks_at_the_bound_it_was_given_cannot_break_it(wrong, labels, late, seed):
    seen, chance, waiting = Oddness(wrong), Random(seed), deque()
    for _ in range(labels):
        most = seen.most()
        above = chance.random() < 0.9 and most < inf
        waiting.append((most + 1.0 if above else chance.gauss(0.0, 1.0), most))
        if len(waiting) > late:
            seen.add(*waiting.popleft())
    bound = (1.0 + GAMMA * (late + 1)) / (GAMMA * seen.labels)
    assert abs(seen.missed / seen.labels - wrong) <= bound + 1e-12


@given(WRONG, st.lists(st.floats(-5, 5), max_size=300))
def test_the_bound_is_that_of_the_sorted_newest_labels(wrong, odds):
    seen = Oddness(wrong)
    for odd in odds:
        seen.add(odd, seen.most())
    newest = sorted(odds[-WINDOW:])
    inside = [one for one in newest if one <= seen.most()]
    assert seen.ordered == newest
    if seen.most() < inf:
        assert len(inside) >= (1.0 - seen.alpha) * (len(newest) + 1) - 1e-9


def test_a_rare_class_is_held_as_often_as_a_frequent_one():
    chance, sets, held = Random(3), ClassSets(0.1), {"true": [0, 0], "false": [0, 0]}
    for _ in range(60_000):
        truth = "true" if chance.random() < 0.05 else "false"
        p = min(max(chance.gauss(0.12 if truth == "true" else 0.04, 0.05), 0.0), 1.0)
        bound = sets.issue({"true": p, "false": 1.0 - p})
        held[truth][0] += sets.add(truth, p if truth == "true" else 1.0 - p, bound[truth])
        held[truth][1] += 1
    assert all(inside / n == pytest.approx(0.9, abs=0.01) for inside, n in held.values())


def test_classes_beyond_the_most_share_one_bound():
    sets = ClassSets(0.1)
    for number in range(MOST_CLASSES + 50):
        sets.add(str(number), 0.5, sets.issue({str(number): 0.5})[str(number)])
    assert len(sets.classes) == MOST_CLASSES
    assert sets.others.labels == 50


def test_an_interval_reaches_further_where_errors_are_larger():
    chance, interval, held = Random(5), Interval(0.1), 0
    for _ in range(20_000):
        held += interval.add(0.0, chance.expovariate(1.0) - 0.1, interval.issue())
    below, above = interval.issue()
    assert held / 20_000 == pytest.approx(0.9, abs=0.012)
    assert above > 10 * below


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=200))
def test_the_correction_never_costs_more_than_a_few_nats_in_all(course):
    calibration, loss, own = Calibration(), 0.0, 0.0
    for p, y in course:
        q = calibration.corrected(p)
        assert 0.0 <= q <= 1.0
        loss -= log(max(q if y else 1.0 - q, LEAST))
        own -= log(max(p if y else 1.0 - p, LEAST))
        calibration.add(p, y)
    assert loss <= own + 3.0


def test_an_overconfident_model_is_corrected():
    chance, calibration, before, after = Random(7), Calibration(), 0.0, 0.0
    for _ in range(20_000):
        truth = chance.choice([0.3, 0.4, 0.6, 0.7])
        said, y = (0.02 if truth < 0.5 else 0.98), chance.random() < truth
        q = calibration.corrected(said)
        before -= log(said if y else 1.0 - said)
        after -= log(q if y else 1.0 - q)
        calibration.add(said, y)
    assert after < 0.66 * before
    assert calibration.corrected(0.98) == pytest.approx(0.65, abs=0.03)


# -- in the fold -----------------------------------------------------------------------------------------------------------


def readings(count: int, kind: str, seed: int = 2) -> Iterator[Out]:
    """A reading a minute whose label comes with the event after next; from the middle on errors are three times as large."""
    chance = Random(seed)
    for number in range(count):
        flow, heat = chance.gauss(0.0, 1.0), chance.gauss(0.0, 1.0)
        noise = (1.0 if number < count // 2 else 3.0) * chance.gauss(0.0, 1.0)
        value = 2.0 * flow - heat + noise
        event = {
            "reading": f"r{number}", "pump": f"p{number % 7}", "at": START_MS + number * MINUTE, "flow": flow, "heat": heat,
            "value": value if kind == "regression" else value > 0,
        }  # fmt: skip
        yield Out(READ.name, event["pump"].encode(), json.dumps(event).encode())


def pumps(kind: str, **options: Any) -> Pipeline:
    last = linear_model.LinearRegression() if kind == "regression" else linear_model.LogisticRegression()
    return Pipeline(
        "pumps",
        views=[],
        predict=READ,
        inputs=["flow", "heat"],
        label=Label(READ, lambda e: e["value"], wait="1h", fields=("value",)),
        model=preprocessing.StandardScaler() | last,
        **options,
    )


@pytest.mark.parametrize("kind", ["regression", "binary"])
def test_published_predictions_hold_their_labels_as_often_as_asked_before_and_after_a_change(kind):
    pipeline = pumps(kind, interval=0.8, calibrate=kind == "binary")
    flow = MemoryFlow(pipeline, partitions=1)
    truth = {}
    for start in range(0, 4_000, 500):
        outs = list(readings(4_000, kind))[start : start + 500]
        truth |= {event["reading"]: event["value"] for event in (json.loads(out.value) for out in outs)}
        flow.feed(outs)
        flow.settle()
    said = [json.loads(record.value) for record in everything(flow.log, topology.predictions("pumps"))]
    assert len(said) == 4_000
    for part in (said[1_000:2_000], said[2_700:]):
        held = [
            one["interval"][0] <= truth[one["id"]] <= one["interval"][1] if kind == "regression"
            else str(truth[one["id"]]).lower() in one["set"]
            for one in part
        ]  # fmt: skip
        # an end moves slowly, so that it is seldom infinite
        assert sum(held) / len(held) == pytest.approx(0.8, abs=0.06 if kind == "regression" else 0.04)
    assert ("calibrated" in said[-1]) is (kind == "binary")
    if kind == "regression":
        widths = [one["interval"][1] - one["interval"][0] for one in (said[1_900], said[-1])]
        assert widths[1] > 2.0 * widths[0]
    fold = flow.learn.fold
    assert fold is not None
    assert fold.measures()["coverage"] == pytest.approx(0.8, abs=0.06 if kind == "regression" else 0.01)
    assert fold.measures().get("open_intervals", 0.0) < 0.05
    assert replay(pipeline, flow.log, topology.samples("pumps")).digest() == fold.digest()


@pytest.mark.parametrize("kind", ["regression", "binary"])
def test_a_snapshot_in_the_middle_says_the_same_of_every_later_prediction(kind):
    pipeline = pumps(kind, interval=0.9, calibrate=kind == "binary")
    flow = MemoryFlow(pipeline, partitions=1)
    flow.feed(list(readings(1_500, kind)))
    flow.settle()
    topic = topology.samples("pumps")
    end = flow.log.bounds([(topic, 0)])[(topic, 0)][1]
    whole = fresh(pipeline, flow.log, topic)
    halves = fresh(pipeline, flow.log, topic)
    for position, entry in entries(flow.log, topic, 0, end):
        whole.step(position, entry)
        if position == end // 2:
            halves = restore_fold(pipeline, take(halves, flow.log.topic_id(topic)), flow.log, topic)
        halves.step(position, entry)
    later = [one for one in whole.outputs.predictions if one.position >= end // 2]
    assert [(one.p, one.issued) for one in halves.outputs.predictions] == [
        (one.p, one.issued) for one in later
    ]
    assert halves.measures() == whole.measures()


@pytest.mark.parametrize(
    ("kind", "options", "why"),
    [
        ("binary", {"interval": 90}, "share of labels"),
        ("regression", {"calibrate": True}, "the task here is 'regression'"),
    ],
)
def test_what_cannot_be_promised_is_refused(kind, options, why):
    with pytest.raises(DefinitionError, match=why):
        pumps(kind, **options)


def test_what_a_model_said_before_it_learned_anything_is_no_measure_of_it_where_labels_come_late():
    """Untrained it is ten away; trained it is right but for noise. Its first labels come a thousand samples late."""
    chance, uncertain, waiting, open_ = Random(4), Uncertainty("regression", 0.9, False), deque(), 0
    for number in range(8_000):
        p, y = (0.0 if number < 1_050 else 10.0), 10.0 + chance.gauss(0.0, 1.0)
        issued = uncertain.issue(p)
        open_ += inf in issued.bounds
        waiting.append((p, issued, y))
        if len(waiting) > 1_000:
            uncertain.label(*waiting.popleft())
    assert open_ < 0.35 * 8_000

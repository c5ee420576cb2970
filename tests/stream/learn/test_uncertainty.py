"""Coverage that holds for any sequence, and probabilities corrected by their labels."""

from __future__ import annotations

from collections import deque
from math import inf, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.stream.learn.calibration import LEAST, Calibration
from penstock.stream.learn.conformal import GAMMA, MOST_CLASSES, WINDOW, ClassSets, Interval, Oddness

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
    chance, sets, held = Random(3), ClassSets(0.1), {True: [0, 0], False: [0, 0]}
    for _ in range(60_000):
        truth = chance.random() < 0.05
        p = min(max(chance.gauss(0.12 if truth else 0.04, 0.05), 0.0), 1.0)
        bound = sets.issue({True: p, False: 1.0 - p})
        held[truth][0] += sets.add(truth, p if truth else 1.0 - p, bound[truth])
        held[truth][1] += 1
    assert all(inside / n == pytest.approx(0.9, abs=0.01) for inside, n in held.values())


def test_classes_beyond_the_most_share_one_bound():
    sets = ClassSets(0.1)
    for number in range(MOST_CLASSES + 50):
        sets.add(number, 0.5, sets.issue({number: 0.5})[number])
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

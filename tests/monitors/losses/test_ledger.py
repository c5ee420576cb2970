"""What an incident cost: against a naive sum over labels, and that what is hard for everybody is no cost."""

from __future__ import annotations

import random

import pytest

from penstock.monitors.losses.drift import LossConfig, LossMonitor
from penstock.monitors.losses.ledger import MARKS, Ledger

BLOCK = 10


def filled(blocks: int, *, broken: range = range(0), hard: range = range(0), seed: int = 1) -> Ledger:
    """A block of labels each hundred positions; a broken one costs 5 nats more, a hard one twice as much for everybody."""
    chance, ledger = random.Random(seed), Ledger()
    for number in range(blocks):
        factor = 2.0 if number in hard else 1.0
        base = factor * (6.0 + chance.gauss(0, 0.1))
        live = 0.5 * base + chance.gauss(0, 0.2) + (5.0 if number in broken else 0.0)
        ledger.add(100 * (number + 1), BLOCK, live, base)
    return ledger


def test_the_cost_of_an_incident_is_what_was_lost_more_than_expected() -> None:
    ledger = filled(240, broken=range(200, 220))
    start, end = ledger.before(20_000 + 1), ledger.before(22_000 + 1)
    cost = ledger.cost(start, end, ledger.clean_before(start))
    assert cost.labels == 20 * BLOCK and cost.error is not None
    assert cost.excess == pytest.approx(100.0, abs=3 * cost.error) and cost.error < 5.0


def test_what_is_harder_for_everybody_is_no_cost() -> None:
    ledger = filled(240, hard=range(200, 220))
    start, end = ledger.before(20_001), ledger.before(22_001)
    cost = ledger.cost(start, end, ledger.clean_before(start))
    assert cost.excess is not None and cost.error is not None and abs(cost.excess) < 3 * cost.error


def test_the_standard_error_is_that_of_many_streams_on_which_nothing_happens() -> None:
    inside = 0
    for seed in range(200):
        ledger = filled(140, seed=seed)
        start = ledger.before(12_001)
        cost = ledger.cost(start, ledger.now, ledger.clean_before(start))
        assert cost.excess is not None and cost.error is not None
        inside += abs(cost.excess) <= cost.error
    assert 0.55 < inside / 200 < 0.80, "about two in three lie within one standard error"


def test_what_was_lost_while_something_was_open_is_not_what_is_usual() -> None:
    ledger = filled(40)
    ledger.clean = False
    for number in range(40, 80):
        ledger.add(100 * (number + 1), BLOCK, 50.0, 6.0)
    ledger.clean = True
    clean = ledger.clean_before(ledger.now)
    assert clean is not None and clean.ratio == pytest.approx(0.5, abs=0.05)


def test_nothing_is_expected_from_too_few_blocks() -> None:
    ledger = filled(30)
    start = ledger.before(2_301)
    assert ledger.clean_before(start) is None
    cost = ledger.cost(start, ledger.now, None)
    assert (cost.labels, cost.excess, cost.error) == (7 * BLOCK, None, None)


def test_the_ledger_is_bounded_and_what_lies_before_it_is_its_oldest_mark() -> None:
    ledger = filled(3 * MARKS)
    assert ledger.before(5).position == ledger.before(100 * MARKS).position == 100 * (2 * MARKS + 1)


def test_a_monitors_sums_hold_every_label_it_was_told_of() -> None:
    monitor = LossMonitor(LossConfig(base_labels=20, reference_labels=1_200, min_blocks=24))
    chance, live, base = random.Random(1), 0.0, 0.0
    for number in range(1_010):
        losses = chance.random(), chance.random()
        live, base = live + losses[0], base + losses[1]
        monitor.update(number, number, *losses)
        if number == 505:
            monitor.live_changed(number, number, "a person put another model in place")
    sums = monitor.sums(1_010)
    assert sums.labels == 1_010
    assert (sums.live, sums.base) == (pytest.approx(live), pytest.approx(base))

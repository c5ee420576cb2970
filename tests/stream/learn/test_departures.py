"""Departures: who may not go, how many there are, what stays of the past, and who won nothing."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.stream.learn import departures
from penstock.stream.learn.departures import hopeless, quiet, surplus
from penstock.stream.learn.expert import YOUNG_LABELS, Expert, Kind
from tests.effort import examples
from tests.stream.learn.test_experts import born, pool

KINDS: list[Kind] = [kind for kind in get_args(Kind) if kind not in ("base", "first")]


@settings(max_examples=examples(150))
@given(st.data(), st.sampled_from([6, 8, 16]))
def test_neither_the_first_nor_the_leader_nor_the_committed_one_has_to_go_and_the_rest_is_bounded(
    data: st.DataObject, most: int
) -> None:
    experts, labels = pool(most=most), 0
    for _ in range(data.draw(st.integers(1, 20))):
        labels += data.draw(st.integers(1, 3_000))
        born(experts, data.draw(st.sampled_from(KINDS)), at=labels)
        if data.draw(st.booleans()):
            place = data.draw(st.integers(1, len(experts.all) - 1))
            experts.gate.give(place, data.draw(st.floats(0.1, 0.999)))
            experts.lead(labels)
        if data.draw(st.booleans()):
            experts.committed = data.draw(st.sampled_from(experts.models))
        stay = [experts.first, experts.leader, experts.committed]
        for one in surplus(experts, labels):
            assert one not in stay
            experts.remove(one)
        assert all(one in experts.all for one in stay) and experts.all[0].kind == "base"
        assert len(experts.models) <= most + 2, "the first and the careful one beside"
        assert sum(one.kind == "frozen" for one in experts.models) <= departures.MOST_FROZEN


def test_of_those_that_learn_the_weakest_goes_unless_it_was_just_born() -> None:
    experts = pool(most=6)
    old = [born(experts, at=1) for _ in range(3)]
    young = born(experts, at=10_000)
    for one, share in zip(old, (0.3, 0.2, 0.01), strict=True):
        experts.gate.give(experts.all.index(one), share)
    assert experts.weights()[young.version] < experts.weights()[old[2].version] < 0.1
    assert surplus(experts, 10_001) == [old[2]]
    assert surplus(experts, 10_002 + YOUNG_LABELS) == [young]


def test_fresh_models_that_are_much_worse_when_they_come_of_age_are_hopeless_and_nobody_else() -> None:
    experts = pool(0.8, most=16)
    good, alike, bad = (born(experts, p=p) for p in (0.9, 0.89, 0.1))
    frozen, leads = born(experts, "frozen", p=0.1), born(experts, p=0.1)
    experts.leader = leads
    gone: list[Expert] = []
    for labels in range(1, 5 * YOUNG_LABELS):
        experts.charge(experts.ask({}, 0.5, labels), True, 0)
        found = hopeless(experts, labels)
        assert not found or labels >= YOUNG_LABELS, "too young to be judged"
        gone += found
        for one in found:
            experts.remove(one)
    assert gone == [bad]
    assert {good, alike, frozen, leads, experts.first} <= set(experts.models)


def test_who_passed_is_looked_at_again_when_it_is_twice_as_old() -> None:
    experts = pool(0.8, most=16)
    one = born(experts, p=0.85)
    for labels in range(1, 2 * YOUNG_LABELS + 1):
        experts.charge(experts.ask({}, 0.5, labels), True, 0)
        found = hopeless(experts, labels)
        if labels == YOUNG_LABELS:
            one.model.p = 0.1
        assert found == ([one] if labels == 2 * YOUNG_LABELS else [])


@pytest.mark.parametrize("frozen", [4, 6])
def test_the_ages_of_frozen_copies_stay_geometric(monkeypatch: pytest.MonkeyPatch, frozen: int) -> None:
    """A copy at every 2,000 labels for 200,000: from one that is kept to the next the age grows by a bounded factor."""
    monkeypatch.setattr(departures, "MOST_FROZEN", frozen)
    experts, every = pool(most=16), 2_000
    factors = []
    for labels in range(every, 200_001, every):
        born(experts, "frozen", at=labels)
        for one in surplus(experts, labels):
            experts.remove(one)
        ages = sorted(labels - one.born + every for one in experts.models if one.kind == "frozen")
        assert ages[0] == every and ages[-1] == labels, "the newest and the oldest stay"
        factors.append(max(b / a for a, b in zip(ages, ages[1:], strict=False)) if len(ages) > 1 else 1.0)
    spread = (200_000 / every) ** (1 / (frozen - 1))
    assert max(factors) <= 4.0 * spread, "evenly spread on a scale of logarithms, give or take"


def test_with_two_frozen_copies_the_first_and_the_newest_stay() -> None:
    experts, every = pool(most=6), 2_000
    for labels in range(every, 60_001, every):
        born(experts, "frozen", at=labels)
        for one in surplus(experts, labels):
            experts.remove(one)
        assert {one.born for one in experts.models if one.kind == "frozen"} == {every, labels}


def test_a_frozen_copy_that_leads_is_not_crowded_out() -> None:
    experts = pool(most=6)
    made = []
    for labels in (2_000, 4_000, 6_000, 8_000, 10_000):
        made.append(born(experts, "frozen", at=labels))
        if labels == 4_000:
            experts.give(made[-1])
        for one in surplus(experts, labels):
            experts.remove(one)
    assert made[1] in experts.all


def test_the_careful_expert_goes_when_no_value_lay_outside_for_long() -> None:
    experts = pool(0.95)
    careful = born(experts, "careful", p=0.05)
    experts.charge(experts.ask({}, 0.5, 7, ("a",)), True, 0)
    quiet(experts, 7 + departures.QUIET_SAMPLES - 1)
    assert experts.careful is careful
    quiet(experts, 7 + departures.QUIET_SAMPLES)
    assert experts.careful is None and careful not in experts.all


def test_a_careful_expert_that_leads_stays_as_one_like_others() -> None:
    experts = pool()
    careful = born(experts, "careful")
    experts.give(careful)
    quiet(experts, 10 * departures.QUIET_SAMPLES)
    assert experts.leader is careful and careful.kind == "resumed" and experts.careful is None

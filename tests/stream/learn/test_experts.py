"""Experts: charged by what they said, whoever was born or gone since; who stays; and what the careful one sees."""

from __future__ import annotations

from math import log
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.stream.learn import experts as of_experts
from penstock.stream.learn.experts import Answer, Expert, Experts, Kind
from penstock.stream.learn.gate import Gate
from tests.effort import examples

KINDS: list[Kind] = [kind for kind in get_args(Kind) if kind not in ("base", "first")]


class Says:
    """A model that says what it is told to, and remembers what it saw."""

    def __init__(self, p: float | None = 0.7) -> None:
        self.p = p
        self.asked: list[dict[str, Any]] = []
        self.taught: list[dict[str, Any]] = []

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        self.asked.append(x)
        if self.p is None:
            raise ZeroDivisionError
        return {True: self.p}

    def learn_one(self, x: dict[str, Any], y: bool) -> None:
        if self.p is None:
            raise ZeroDivisionError
        self.taught.append(x)


def pool(p: float | None = 0.7, most: int = 6) -> Experts:
    return Experts(Says(p), "v0", most)


def born(experts: Experts, kind: Kind = "new", p: float | None = 0.4, at: int = 0) -> Expert:
    return experts.add(kind, Says(p), f"v{experts.born}", (at, at * 1_000, at))


# -- samples and labels -------------------------------------------------------------------------------------------------------


def test_every_expert_answers_the_base_rate_first_and_who_cannot_sleeps() -> None:
    experts = pool(0.9)
    born(experts, p=None)
    born(experts, "frozen", p=0.2)
    answer = experts.ask({"a": 1.0}, 0.3, 0)
    assert answer.said == (0.3, 0.9, None, 0.2) and answer.asked == (0, 1, 2, 3)
    assert experts.silent and [one.failures for one in experts.all] == [0, 0, 1, 0]
    assert answer.mixture.p == experts.usual.mix([0.3, 0.9, None, 0.2]).p
    experts.all[2].model.p = 0.5
    experts.ask({"a": 1.0}, 0.3, 0)
    assert not experts.silent and experts.all[2].failures == 0


def test_when_all_models_fail_the_base_rate_is_said() -> None:
    experts = pool(None)
    born(experts, p=None)
    assert experts.ask({}, 0.3, 0).mixture.p == pytest.approx(0.3)


def test_a_label_charges_what_was_said_at_the_sample_not_what_would_be_said_now() -> None:
    experts = pool(0.9)
    other = born(experts, p=0.1)
    experts.usual.give(1, 0.5)
    answer = experts.ask({}, 0.5, 0)
    experts.first.model.p, other.model.p = 0.1, 0.9
    experts.charge(answer, True, 0, unusual=False)
    weights = experts.weights()
    assert weights["v0"] > weights["v2"]


@settings(max_examples=examples(150))
@given(st.data())
def test_late_labels_charge_who_was_asked_and_whoever_was_not_sleeps(data: st.DataObject) -> None:
    """Against a gate of its own that is told, by name, what each said; None for who was born since."""
    experts, naive = pool(), Gate()
    naive.add()
    naive.add()
    naive.give(1, experts.usual.weights[0][1])
    names = [0, 1]
    waiting: list[tuple[Answer, dict[int, float | None]]] = []
    for _ in range(data.draw(st.integers(1, 25))):
        verb = data.draw(st.sampled_from(["ask", "ask", "born", "copied", "gone", "label", "label"]))
        if verb == "ask":
            for one in experts.models:
                one.model.p = data.draw(st.one_of(st.none(), st.floats(0.0, 1.0)))
            answer = experts.ask({}, 0.4, 0)
            waiting.append((answer, {0: 0.4, **{one.number: one.model.p for one in experts.models}}))
        elif verb == "born" and len(names) < 6:
            names.append(born(experts, p=0.5).number)
            naive.add()
        elif verb == "copied" and len(names) < 6:
            of = data.draw(st.sampled_from(experts.models))
            copy = experts.add("resumed", Says(), f"v{experts.born}", (0, 0, 0), of=of, halved=True)
            naive.split(names.index(of.number))
            names.append(copy.number)
        elif verb == "gone" and len(experts.models) > 1:
            one = data.draw(st.sampled_from(experts.models))
            naive.remove(names.index(one.number))
            names.remove(one.number)
            experts.remove(one)
        elif verb == "label" and waiting:
            answer, said = waiting.pop(data.draw(st.integers(0, len(waiting) - 1)))
            y = data.draw(st.booleans())
            experts.charge(answer, y, 0, unusual=False)
            naive.charge([said.get(name) for name in names], answer.mixture, y)
        assert [one.number for one in experts.all] == names
        for own, weights in zip(experts.usual.weights, naive.weights, strict=True):
            assert own == pytest.approx(weights, rel=1e-9)


def test_labels_that_come_after_many_samples_move_the_weights_less() -> None:
    moved = []
    for delay in (0, 50, 5_000):
        experts = pool(0.9)
        born(experts, p=0.1)
        experts.usual.give(1, 0.5)
        before = experts.weights()["v0"]
        experts.charge(experts.ask({}, 0.5, 0), True, delay, unusual=False)
        moved.append(experts.weights()["v0"] - before)
    assert moved[0] > moved[1] > moved[2] > 0.0


def test_what_each_lost_is_counted_since_its_birth_beside_what_was_predicted_of_the_same_labels() -> None:
    experts = pool(0.9)
    early = experts.ask({}, 0.5, 0)
    experts.charge(early, True, 0, unusual=False)
    late = born(experts, p=0.2)
    experts.charge(early, True, 0, unusual=False)
    lost = dict(zip(experts.numbers, experts.losses, strict=True))
    assert lost[1] == pytest.approx(-2 * log(0.9)) and lost[0] == pytest.approx(2 * log(2))
    assert (experts.judged, late.judged_before, experts.first.judged_before) == (2, 1, 0)
    live = -log(early.mixture.p)
    assert (experts.live_loss, late.live_before) == (pytest.approx(2 * live), pytest.approx(live))
    assert lost[late.number] == pytest.approx(live), "what it could not say, the live prediction lost"
    experts.remove(experts.first)
    assert experts.losses == [lost[0], lost[late.number]]


def test_only_who_learns_is_taught_and_who_cannot_is_known() -> None:
    experts = pool()
    frozen, broken = born(experts, "frozen"), born(experts, p=None)
    assert experts.teach({"a": 1.0}, True) == 1
    assert experts.dull and broken.unlearned == 1 and frozen.model.taught == []
    assert (experts.first.taught, frozen.taught) == (1, 0)


# -- records with values far outside what was learned ----------------------------------------------------------------------------


def test_the_careful_expert_never_sees_values_named_outside_and_the_others_do() -> None:
    experts = pool()
    careful = born(experts, "careful")
    x = {"weight": 5e6, "hour": 3.0}
    experts.ask(x, 0.5, 0, ("weight",))
    experts.teach(x, True, ("weight",))
    assert careful.model.asked == careful.model.taught == [{"hour": 3.0}]
    assert experts.first.model.asked == experts.first.model.taught == [x]
    experts.ask(x, 0.5, 0)
    experts.teach(x, True)
    assert careful.model.asked[-1] == careful.model.taught[-1] == x


def test_unusual_records_have_weights_of_their_own() -> None:
    experts = pool(0.9)
    careful = born(experts, "careful", p=0.1)
    place = experts.all.index(careful)
    assert experts.unusual.weight(place) > 0.5 > experts.usual.weight(place)
    assert experts.ask({}, 0.5, 0, ("a",)).mixture.p < 0.5 < experts.ask({}, 0.5, 0).mixture.p
    usual, unusual = experts.usual.totals(), experts.unusual.totals()
    experts.charge(experts.ask({}, 0.5, 0, ("a",)), True, 0, unusual=True)
    assert experts.usual.totals() == usual and experts.unusual.totals() != unusual
    unusual = experts.unusual.totals()
    experts.charge(experts.ask({}, 0.5, 0), True, 0, unusual=False)
    assert experts.unusual.totals() == unusual and experts.usual.totals() != usual


def test_labels_of_unusual_records_tell_whether_the_careful_expert_is_right() -> None:
    for y, careful_is_right in ((False, True), (True, False)):
        experts = pool(0.95)
        born(experts, "careful", p=0.05)
        for _ in range(40):
            experts.charge(experts.ask({}, 0.5, 0, ("a",)), y, 0, unusual=True)
        assert (experts.careful_weight() > 0.9) == careful_is_right
        assert (experts.careful_weight() < 0.05) != careful_is_right
    assert pool().careful_weight() == 1.0, "nobody leaves anything out"


def test_when_a_guard_fires_the_careful_expert_is_believed_until_labels_of_this_incident_say_otherwise() -> (
    None
):
    experts = pool(0.95)
    born(experts, "careful", p=0.05)
    for _ in range(40):
        experts.charge(experts.ask({}, 0.5, 0, ("a",)), True, 0, unusual=True)
    assert experts.careful_weight() < 0.05 and experts.heard_unusual == 40
    usual = experts.usual.totals()
    experts.doubt()
    assert experts.careful_weight() == pytest.approx(of_experts.CAREFUL_WEIGHT)
    assert experts.heard_unusual == 0 and experts.usual.totals() == usual
    alone = pool()
    alone.doubt()
    assert alone.careful_weight() == 1.0


def test_the_careful_expert_goes_when_no_value_lay_outside_for_long_and_its_successor_is_trusted_as_it_was() -> (
    None
):
    for y, trusted in ((True, False), (False, True)):
        experts = pool(0.95)
        careful = born(experts, "careful", p=0.05)
        for _ in range(40):
            experts.charge(experts.ask({}, 0.5, 7, ("a",)), y, 0, unusual=True)
        experts.quiet(7 + of_experts.QUIET_SAMPLES - 1)
        assert experts.careful is careful
        experts.quiet(7 + of_experts.QUIET_SAMPLES)
        assert experts.careful is None and careful not in experts.all
        born(experts, "careful")
        assert (experts.careful_weight() > 0.5) == trusted
        experts.doubt()
        assert experts.careful_weight() == pytest.approx(of_experts.CAREFUL_WEIGHT), "a guard fires"


def test_a_careful_expert_that_leads_stays_as_one_like_others() -> None:
    experts = pool()
    careful = born(experts, "careful")
    experts.give(careful)
    experts.quiet(10 * of_experts.QUIET_SAMPLES)
    assert experts.leader is careful and careful.kind == "resumed" and experts.careful is None


# -- who is asked ---------------------------------------------------------------------------------------------------------------


def thinned() -> tuple[Experts, list[Expert]]:
    """A pool of one heavy expert and three of little weight, of which the first and the committed one are two."""
    experts = pool()
    heavy, light, committed = born(experts), born(experts), born(experts)
    experts.usual.give(experts.all.index(heavy), 0.999)
    experts.lead()
    experts.committed = committed
    experts.lead()
    return experts, [experts.all[0], experts.first, heavy, committed, light]


def test_experts_of_little_weight_are_asked_at_one_sample_in_four_chosen_by_its_number_alone() -> None:
    asked: list[set[int]] = []
    for _ in range(2):
        experts, (*always, light) = thinned()
        asked.append(set())
        for sample in range(4_000):
            answer = experts.ask({}, 0.5, sample)
            said = dict(zip(answer.asked, answer.said, strict=True))
            assert all(said[one.number] is not None for one in always), (
                "the base rate, the first, the leader, the committed"
            )
            if said[light.number] is not None:
                asked[-1].add(sample)
        assert not experts.silent and light.failures == 0, "who was not asked did not fail"
    assert asked[0] == asked[1] and 900 < len(asked[0]) < 1_100
    gaps = {b - a for a, b in zip(sorted(asked[0]), sorted(asked[0])[1:], strict=False)}
    assert len(gaps) > 1, "a stream with a period of four has no blind spot"


def test_all_are_asked_of_unusual_records_and_as_soon_as_anybody_comes_or_goes() -> None:
    experts, _ = thinned()
    assert all(None not in experts.ask({}, 0.5, sample, ("a",)).said for sample in range(20))
    born(experts)
    assert all(None not in experts.ask({}, 0.5, sample).said for sample in range(20)), "until the next label"


def test_who_is_asked_seldom_gains_by_as_much_as_if_it_were_asked_always() -> None:
    """Over many labels, of which it hears a quarter, its weight grows about as fast; never faster than its full rate allows."""
    weight = []
    for thin in (True, False):
        experts = pool(0.3)
        better = born(experts, p=0.7)
        experts.usual.give(2, 0.001)
        for sample in range(60):
            experts.thin = (False, False, thin)
            experts.charge(experts.ask({}, 0.5, sample), True, 0, unusual=False)
        weight.append(experts.usual.weights[0][experts.all.index(better)])
    assert weight[1] > 0.005 and 0.4 < weight[0] / weight[1] < 2.5


# -- who leads ------------------------------------------------------------------------------------------------------------------


def test_another_leads_only_with_nearly_all_of_the_weight_and_the_base_rate_never() -> None:
    experts = pool(0.9)
    other = born(experts)
    experts.usual.give(2, 0.9 * of_experts.LEADS_AT)
    assert experts.lead() is None and experts.leader is experts.first
    assert experts.leader_weight == pytest.approx(experts.weights()["v0"])
    experts.usual.give(2, (1.0 + of_experts.LEADS_AT) / 2)
    assert experts.lead() is other and experts.leader is other and experts.lead() is None
    experts.usual.give(2, 0.7)
    assert experts.lead() is None and experts.leader_weight == pytest.approx(0.7)
    experts.usual.give(0, 0.9999)
    assert experts.lead() is None and experts.leader is other


def test_who_leads_and_is_gone_is_followed_by_the_heaviest_model() -> None:
    experts = pool()
    second, third = born(experts), born(experts)
    experts.give(third)
    assert experts.leader is experts.committed is third and experts.weights()["v3"] > 0.99
    experts.usual.give(2, 0.6)
    experts.remove(third)
    assert experts.leader is experts.committed is second


# -- who stays ------------------------------------------------------------------------------------------------------------------


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
            experts.usual.give(place, data.draw(st.floats(0.1, 0.999)))
            experts.lead()
        if data.draw(st.booleans()):
            experts.committed = data.draw(st.sampled_from(experts.models))
        stay = [experts.first, experts.leader, experts.committed]
        for one in experts.surplus(labels):
            assert one not in stay
            experts.remove(one)
        assert all(one in experts.all for one in stay) and experts.all[0].kind == "base"
        assert len(experts.models) <= most
        assert sum(one.kind == "frozen" for one in experts.models) <= of_experts.MOST_FROZEN


def test_of_those_that_learn_the_weakest_goes_unless_it_was_just_born() -> None:
    experts = pool(most=6)
    old = [born(experts, at=1) for _ in range(3)]
    young = born(experts, at=10_000)
    for one, share in zip(old, (0.3, 0.2, 0.01), strict=True):
        experts.usual.give(experts.all.index(one), share)
    assert experts.weights()[young.version] < experts.weights()[old[2].version] < 0.1
    assert experts.surplus(10_001) == [old[2]]
    assert experts.surplus(10_002 + of_experts.YOUNG_LABELS) == [young]


def test_fresh_models_that_won_nothing_by_the_time_they_are_of_age_are_hopeless_and_nobody_else() -> None:
    experts = pool(0.8, most=16)
    good, bad, frozen, leads = (
        born(experts, p=0.9),
        born(experts, p=0.1),
        born(experts, "frozen", p=0.1),
        born(experts, p=0.1),
    )
    experts.leader = leads
    gone: list[Expert] = []
    for labels in range(1, 4 * of_experts.YOUNG_LABELS):
        experts.charge(experts.ask({}, 0.5, labels), True, 0, unusual=False)
        found = experts.hopeless(labels)
        assert not found or labels >= 2 * of_experts.YOUNG_LABELS, "too young to be judged"
        gone += found
        for one in found:
            experts.remove(one)
    assert gone == [bad]
    assert {good, frozen, leads, experts.first} <= set(experts.models)


@pytest.mark.parametrize("frozen", [4, 6])
def test_the_ages_of_frozen_copies_stay_geometric(monkeypatch: pytest.MonkeyPatch, frozen: int) -> None:
    """A copy at every 2,000 labels for 200,000: from one that is kept to the next the age grows by a bounded factor."""
    monkeypatch.setattr(of_experts, "MOST_FROZEN", frozen)
    experts, every = pool(most=16), 2_000
    factors = []
    for labels in range(every, 200_001, every):
        born(experts, "frozen", at=labels)
        for one in experts.surplus(labels):
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
        for one in experts.surplus(labels):
            experts.remove(one)
        assert {one.born for one in experts.models if one.kind == "frozen"} == {every, labels}


def test_a_frozen_copy_that_leads_is_not_crowded_out() -> None:
    experts = pool(most=6)
    made = []
    for labels in (2_000, 4_000, 6_000, 8_000, 10_000):
        made.append(born(experts, "frozen", at=labels))
        if labels == 4_000:
            experts.give(made[-1])
        for one in experts.surplus(labels):
            experts.remove(one)
    assert made[1] in experts.all

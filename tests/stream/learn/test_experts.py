"""Experts: charged by what they said, whoever was born or gone since; who stays; and what the careful one sees."""

from __future__ import annotations

from math import log
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.stream.learn import experts as of_experts
from penstock.stream.learn.expert import Answer, Expert, Kind
from penstock.stream.learn.experts import THIN_AFTER_LABELS, Experts
from penstock.stream.learn.gate import Gate
from tests.effort import examples

LATER = 10**6
"""Labels, so many that nobody is young."""


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
    assert answer.mixture.p == experts.gate.mix([0.3, 0.9, None, 0.2]).p
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
    experts.gate.give(1, 0.5)
    answer = experts.ask({}, 0.5, 0)
    experts.first.model.p, other.model.p = 0.1, 0.9
    experts.charge(answer, True, 0)
    weights = experts.weights()
    assert weights["v0"] > weights["v2"]


@settings(max_examples=examples(150))
@given(st.data())
def test_late_labels_charge_who_was_asked_and_whoever_was_not_sleeps(data: st.DataObject) -> None:
    """Against a gate of its own that is told, by name, what each said; None for who was born since."""
    experts, naive = pool(), Gate()
    naive.add()
    naive.add()
    naive.give(1, experts.gate.weights[0][1])
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
            experts.charge(answer, y, 0)
            naive.charge([said.get(name) for name in names], answer.mixture, y)
        assert [one.number for one in experts.all] == names
        for own, weights in zip(experts.gate.weights, naive.weights, strict=True):
            assert own == pytest.approx(weights, rel=1e-9)


def test_labels_that_come_after_many_samples_move_the_weights_less() -> None:
    moved = []
    for delay in (0, 50, 5_000):
        experts = pool(0.9)
        born(experts, p=0.1)
        experts.gate.give(1, 0.5)
        before = experts.weights()["v0"]
        experts.charge(experts.ask({}, 0.5, 0), True, delay)
        moved.append(experts.weights()["v0"] - before)
    assert moved[0] > moved[1] > moved[2] > 0.0


def test_what_each_lost_is_counted_since_its_birth_beside_what_was_predicted_of_the_same_labels() -> None:
    experts = pool(0.9)
    early = experts.ask({}, 0.5, 0)
    experts.charge(early, True, 0)
    late = born(experts, p=0.2)
    experts.charge(early, True, 0)
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


def test_a_careful_copy_shares_the_weight_of_its_source_so_nothing_changes_but_for_records_with_values_outside() -> (
    None
):
    experts = pool(0.95)
    leader = experts.leader
    before = experts.ask({}, 0.5, 0).mixture.p
    careful = experts.add("careful", leader.model, "copy", (0, 0, 0), of=leader, halved=True)
    weights = experts.weights()
    assert weights["copy"] == pytest.approx(weights[leader.version])
    assert experts.ask({}, 0.5, 0).mixture.p == pytest.approx(before)
    assert experts.careful is careful


# -- who is asked ---------------------------------------------------------------------------------------------------------------


def thinned() -> tuple[Experts, list[Expert]]:
    """A pool of one heavy expert and three of little weight, of which the first and the committed one are two."""
    experts = pool()
    heavy, light, committed = born(experts), born(experts), born(experts)
    experts.gate.give(experts.all.index(heavy), 0.999)
    experts.lead(LATER)
    experts.committed = committed
    experts.lead(LATER)
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


def test_after_a_suspicion_and_when_just_born_all_are_asked_for_a_while() -> None:
    experts, _ = thinned()
    assert True in experts.thin
    experts.suspect(LATER)
    for labels, thin in (
        (LATER, False),
        (LATER + THIN_AFTER_LABELS - 1, False),
        (LATER + THIN_AFTER_LABELS, True),
    ):
        assert (True in experts.thin) is False or thin
        experts.lead(labels)
        assert (True in experts.thin) == thin
    young = born(experts, at=LATER + THIN_AFTER_LABELS)
    experts.lead(LATER + THIN_AFTER_LABELS + 1)
    assert not experts.thin[experts.all.index(young)] and True in experts.thin
    experts.lead(LATER + 2 * THIN_AFTER_LABELS)
    assert experts.thin[experts.all.index(young)]


def test_who_is_asked_seldom_gains_by_as_much_as_if_it_were_asked_always() -> None:
    """Over many labels, of which it hears a quarter, its weight grows about as fast; never faster than its full rate allows."""
    weight = []
    for thin in (True, False):
        experts = pool(0.3)
        better = born(experts, p=0.7)
        experts.gate.give(2, 0.001)
        for sample in range(60):
            experts.thin = (False, False, thin)
            experts.charge(experts.ask({}, 0.5, sample), True, 0)
        weight.append(experts.gate.weights[0][experts.all.index(better)])
    assert weight[1] > 0.005 and 0.4 < weight[0] / weight[1] < 2.5


# -- who leads ------------------------------------------------------------------------------------------------------------------


def test_another_leads_only_with_nearly_all_of_the_weight_and_the_base_rate_never() -> None:
    experts = pool(0.9)
    other = born(experts)
    experts.gate.give(2, 0.9 * of_experts.LEADS_AT)
    assert experts.lead(LATER) is None and experts.leader is experts.first
    assert experts.leader_weight == pytest.approx(experts.weights()["v0"])
    experts.gate.give(2, (1.0 + of_experts.LEADS_AT) / 2)
    assert experts.lead(LATER) is other and experts.leader is other and experts.lead(LATER) is None
    experts.gate.give(2, 0.7)
    assert experts.lead(LATER) is None and experts.leader_weight == pytest.approx(0.7)
    experts.gate.give(0, 0.9999)
    assert experts.lead(LATER) is None and experts.leader is other


def test_who_leads_and_is_gone_is_followed_by_the_heaviest_model() -> None:
    experts = pool()
    second, third = born(experts), born(experts)
    experts.give(third)
    assert experts.leader is experts.committed is third and experts.weights()["v3"] > 0.99
    experts.gate.give(2, 0.6)
    experts.remove(third)
    assert experts.leader is experts.committed is second


@settings(max_examples=examples(150))
@given(
    st.lists(st.sampled_from([0.0, 1e-4, 0.002, 0.01, 0.3]), min_size=1, max_size=7),
    st.integers(0, 2_000),
    st.data(),
)
def test_who_is_thin_and_who_leads_is_as_looked_for_one_by_one(
    others: list[float], labels: int, data: st.DataObject
) -> None:
    experts = pool()
    for place, weight in enumerate(others, 2):
        born(experts, at=data.draw(st.integers(0, labels)))
        for weights in experts.gate.weights:
            weights[place] = weight
    experts.committed = data.draw(st.sampled_from(experts.models))
    weights = experts.gate.totals()
    kept = (experts.first, experts.leader, experts.committed)
    thin = tuple(
        weight < 0.003 and one.born <= labels - THIN_AFTER_LABELS and one.kind != "base" and one not in kept
        for one, weight in zip(experts.all, weights, strict=True)
    )
    top = experts.all[max(range(1, len(weights)), key=weights.__getitem__)]
    before = experts.leader
    led = experts.lead(labels)
    others_of = [place for place in range(1, len(weights)) if experts.all[place] is not experts.committed]
    if others_of:
        assert experts.rival is experts.all[max(others_of, key=weights.__getitem__)]
    assert experts.thin == (thin if True in thin and labels >= THIN_AFTER_LABELS else ())
    assert led is (top if top is not before and max(weights[1:]) > of_experts.LEADS_AT else None)
    assert experts.leader_weight == weights[experts.all.index(experts.leader)]

"""The gate's bound against any sequence of experts, an oracle of fixed share, sleepers, and what is clipped where."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from penstock.stream.learn.gate import (
    BOOST,
    OUTER_RATE,
    OUTER_SHARE,
    RATES,
    SHARE,
    Gate,
    least_probability,
    slowed,
)
from tests.effort import examples

Vector = list[float | None]
Round = tuple[Vector, bool]

probabilities = st.one_of(st.just(0.0), st.just(1.0), st.floats(0.0, 1.0), st.floats(0.0, 0.003))
bases = st.one_of(st.just(0.5), st.floats(0.0, 1.0))


def vectors(experts: int) -> st.SearchStrategy[Vector]:
    """What each says, or None where it sleeps; at least one is awake."""
    one = st.one_of(st.none(), probabilities)
    return st.lists(one, min_size=experts, max_size=experts).filter(
        lambda said: any(p is not None for p in said)
    )


@st.composite
def games(draw: st.DrawFn) -> tuple[int, list[Round], list[int]]:
    """Experts, what they say with the outcomes, and a comparator: which expert it follows at each label."""
    experts = draw(st.integers(2, 5))
    rounds: list[Round] = []
    follows: list[int] = []
    for _ in range(draw(st.integers(1, 5))):
        leader = draw(st.integers(0, experts - 1))
        fixed: Round | None = None
        if draw(st.booleans()):  # an adversary that insists makes weights as small as they get
            fixed = draw(vectors(experts)), draw(st.booleans())
        for _ in range(draw(st.integers(1, 40 if fixed else 6))):
            rounds.append(fixed or (draw(vectors(experts)), draw(st.booleans())))
            follows.append(leader)
    return experts, rounds, follows


def gate_of(experts: int) -> Gate:
    gate = Gate()
    for _ in range(experts):
        gate.add()
    gate.weights = [[1.0 / experts] * experts for _ in RATES]
    return gate


def loss(p: float, y: bool) -> float:
    return -log(p if y else 1.0 - p)


def clipped(p: float, least: float) -> float:
    return min(max(p, least), 1.0 - least)


@settings(max_examples=examples(300))
@given(games(), bases)
def test_no_sequence_of_experts_does_better_by_more_than_the_bound(
    game: tuple[int, list[Round], list[int]], base: float
) -> None:
    experts, rounds, follows = game
    gate, least = gate_of(experts), least_probability(base)
    mixed, compared = [0.0] * len(RATES), [0.0] * len(RATES)
    for (said, y), followed in zip(rounds, follows, strict=True):
        mixture = gate.mix(said, base)
        for k, p in enumerate(mixture.rates):
            own = said[followed]
            mixed[k] += loss(p, y)
            compared[k] += loss(p, y) if own is None else loss(clipped(own, least), y)
        gate.charge(said, mixture, y)
    switches = sum(one != other for one, other in zip(follows[1:], follows, strict=False))
    price = log(experts) + switches * log(experts / SHARE) + len(rounds) * log(1.0 / (1.0 - SHARE))
    for k, rate in enumerate(RATES):
        assert mixed[k] - compared[k] <= price / rate + 1e-6


@settings(max_examples=examples(150))
@given(games(), bases)
def test_mixing_the_rates_costs_little_more_than_the_best_of_them(
    game: tuple[int, list[Round], list[int]], base: float
) -> None:
    experts, rounds, _ = game
    gate = gate_of(experts)
    outer, each = 0.0, [0.0] * len(RATES)
    for said, y in rounds:
        mixture = gate.mix(said, base)
        outer += loss(sum(v * p for v, p in zip(gate.rate_weights, mixture.rates, strict=True)), y)
        each = [one + loss(p, y) for one, p in zip(each, mixture.rates, strict=True)]
        gate.charge(said, mixture, y)
    price = log(len(RATES)) + len(rounds) * log(1.0 / (1.0 - OUTER_SHARE))
    assert outer - min(each) <= price / OUTER_RATE + 1e-6


class FixedShare:
    """Herbster and Warmuth's, as the paper has it, for one rate; who counts `times` over has a rate of so many times it."""

    def __init__(self, experts: int, rate: float) -> None:
        self.rate, self.weights = rate, [1.0 / experts] * experts

    def mixed(self, said: Vector, least: float, times: list[float]) -> float:
        awake = [
            (w * more, clipped(p, least))
            for w, p, more in zip(self.weights, said, times, strict=True)
            if p is not None
        ]
        return sum(w * p for w, p in awake) / sum(w for w, _ in awake)

    def hear(self, said: Vector, y: bool, least: float, times: list[float]) -> None:
        own = loss(self.mixed(said, least, times), y)
        more_than = [0.0 if p is None else loss(clipped(p, least), y) - own for p in said]
        kept = [
            w * exp(-self.rate * more * lost)
            for w, lost, more in zip(self.weights, more_than, times, strict=True)
        ]
        pool = SHARE * sum(kept) / len(kept)
        shared = [(1.0 - SHARE) * w + pool for w in kept]
        self.weights = [w / sum(shared) for w in shared]


@settings(max_examples=examples(150))
@given(games(), bases, st.lists(st.booleans(), min_size=5, max_size=5))
def test_each_rate_is_the_fixed_share_of_the_paper(
    game: tuple[int, list[Round], list[int]], base: float, pattern: list[bool]
) -> None:
    experts, rounds, _ = game
    gate, least = gate_of(experts), least_probability(base)
    naive = [FixedShare(experts, rate) for rate in RATES]
    outer = [1.0 / len(RATES)] * len(RATES)
    for number, (said, y) in enumerate(rounds):
        boosted = pattern[:experts] if number % 2 else []
        times = [BOOST if more else 1.0 for more in boosted or [False] * experts]
        each = [times if one.rate * BOOST <= 1.0 else [1.0] * experts for one in naive]
        mixture = gate.mix(said, base, boosted)
        own = [one.mixed(said, least, more) for one, more in zip(naive, each, strict=True)]
        assert mixture.rates == pytest.approx(own, rel=1e-9)
        assert gate.rate_weights == pytest.approx(outer, rel=1e-9)
        charged, live = gate.charge(said, mixture, y)
        assert live == pytest.approx(loss(clipped(mixture.p, least), y))
        assert charged == pytest.approx(
            [live if p is None else loss(clipped(p, least), y) for p in said], rel=1e-9, abs=1e-12
        )
        outer = [v * exp(-OUTER_RATE * loss(p, y)) for v, p in zip(outer, own, strict=True)]
        outer = [(1.0 - OUTER_SHARE) * v / sum(outer) + OUTER_SHARE / len(RATES) for v in outer]
        for one, weights, more in zip(naive, gate.weights, each, strict=True):
            one.hear(said, y, least, more)
            assert weights == pytest.approx(one.weights, rel=1e-8)


@settings(max_examples=examples(200))
@given(games(), st.data())
def test_the_bound_holds_also_where_experts_that_are_asked_seldom_count_more(
    game: tuple[int, list[Round], list[int]], data: st.DataObject
) -> None:
    """What such an expert gains on the mixture at a label where it counts `BOOST` times is then bounded so many times over."""
    experts, rounds, follows = game
    gate = gate_of(experts)
    gained = [0.0] * len(RATES)
    slow_rates = [k for k, rate in enumerate(RATES) if rate * BOOST <= 1.0]
    pattern = data.draw(st.lists(st.booleans(), min_size=experts, max_size=experts))
    assert slow_rates, "at least one rate has room for it"
    for number, ((said, y), followed) in enumerate(zip(rounds, follows, strict=True)):
        boosted = pattern if number % 3 else ()
        mixture = gate.mix(said, 0.5, boosted)
        own = said[followed]
        for k, p in enumerate(mixture.rates):
            times = BOOST if boosted and boosted[followed] and k in slow_rates else 1.0
            gained[k] += 0.0 if own is None else times * (loss(p, y) - loss(clipped(own, mixture.least), y))
        gate.charge(said, mixture, y)
        assert_sound(gate)
    switches = sum(one != other for one, other in zip(follows[1:], follows, strict=False))
    price = log(experts) + switches * log(experts / SHARE) + len(rounds) * log(1.0 / (1.0 - SHARE))
    for rate, nats in zip(RATES, gained, strict=True):
        assert nats <= price / rate + 1e-6


# -- weights, whoever comes and goes ------------------------------------------------------------------------------------------


def assert_sound(gate: Gate) -> None:
    for weights in [*gate.weights, gate.rate_weights]:
        assert sum(weights) == pytest.approx(1.0, abs=1e-9)
        assert all(weight > 0.0 for weight in weights)
    assert len({len(weights) for weights in gate.weights}) == 1


@settings(max_examples=examples(200))
@given(st.data())
def test_weights_stay_positive_and_sum_to_one_whoever_comes_and_goes(data: st.DataObject) -> None:
    gate = gate_of(data.draw(st.integers(2, 3)))
    for _ in range(data.draw(st.integers(1, 30))):
        size = len(gate.weights[0])
        verb = data.draw(st.sampled_from(["add", "heavy", "split", "remove", "give", "charge"]))
        place = data.draw(st.integers(0, size - 1))
        before = [list(weights) for weights in gate.weights]
        if verb == "add":
            assert gate.add() == size
        elif verb == "heavy":
            gate.add(data.draw(st.floats(1e-6, 0.9)))
        elif verb == "split":
            assert gate.split(place) == size
            for weights, former in zip(gate.weights, before, strict=True):
                assert weights[place] == weights[-1] == former[place] / 2.0
        elif verb == "remove" and size > 2:
            gate.remove(place)
        elif verb == "give":
            share = data.draw(st.floats(1e-4, 0.9999))
            gate.give(place, share)
            assert gate.weight(place) == pytest.approx(share)
        elif verb == "charge":
            said = data.draw(vectors(size))
            mixture = gate.mix(said, data.draw(bases))
            gate.charge(said, mixture, data.draw(st.booleans()), data.draw(st.floats(0.0, 1.0)))
        assert_sound(gate)
        assert gate.totals() == pytest.approx([gate.weight(i) for i in range(len(gate.weights[0]))])


def test_who_is_gone_leaves_the_others_their_proportions_and_so_does_who_is_given_weight() -> None:
    gate = gate_of(4)
    said = (0.9, 0.6, 0.4, 0.2)
    gate.charge(said, gate.mix(said), True)
    before = gate.weight(3)
    ratios = [(w[0] / w[1], w[1] / w[3]) for w in gate.weights]
    gate.remove(2)
    assert [(w[0] / w[1], w[1] / w[2]) for w in gate.weights] == [pytest.approx(r) for r in ratios]
    gate.give(2, 0.75)
    assert [w[0] / w[1] for w in gate.weights] == [pytest.approx(r[0]) for r in ratios]
    assert gate.weight(2) == pytest.approx(0.75) and before < 0.75


# -- sleepers -----------------------------------------------------------------------------------------------------------------


@settings(max_examples=examples(200))
@given(games(), vectors(5), st.booleans())
def test_a_sleeper_neither_gains_nor_loses_but_by_sharing(
    game: tuple[int, list[Round], list[int]], last: Vector, y: bool
) -> None:
    """It is charged as if it had said what the mixture said; at the rate 1 its weight is then only shared."""
    experts, rounds, _ = game
    gate = gate_of(experts)
    for said, outcome in rounds:
        gate.charge(said, gate.mix(said), outcome)
    said = last[:experts]
    assume(any(p is not None for p in said) and None in said)
    before = [list(weights) for weights in gate.weights]
    mixture = gate.mix(said)
    gate.charge(said, mixture, y)
    sleepers = [place for place, p in enumerate(said) if p is None]
    for k, rate in enumerate(RATES):
        for place in sleepers:
            shared = (1.0 - SHARE) * before[k][place] + SHARE / experts
            assert gate.weights[k][place] >= shared * (1.0 - 1e-9)
            if rate == 1.0:
                assert gate.weights[k][place] == pytest.approx(shared, rel=1e-9)
        twin = gate_of(experts)
        twin.weights = [list(weights) for weights in before]
        awake: Vector = [mixture.rates[k] if p is None else p for p in said]
        twin.charge(awake, mixture, y)
        assert gate.weights[k] == pytest.approx(twin.weights[k], rel=1e-9)


# -- the prediction -----------------------------------------------------------------------------------------------------------


def weighted_mean(gate: Gate, said: Sequence[float | None]) -> float:
    p = 0.0
    for rate_weight, weights in zip(gate.rate_weights, gate.weights, strict=True):
        awake = [(w, one) for w, one in zip(weights, said, strict=True) if one is not None]
        p += rate_weight * sum(w * one for w, one in awake) / sum(w for w, _ in awake)
    return p


@settings(max_examples=examples(300))
@given(games(), vectors(5), bases)
def test_the_prediction_is_the_weighted_mean_of_what_was_said_clipped_or_not(
    game: tuple[int, list[Round], list[int]], last: Vector, base: float
) -> None:
    experts, rounds, _ = game
    gate = gate_of(experts)
    for said, y in rounds:
        gate.charge(said, gate.mix(said, base), y)
    said = last[:experts]
    assume(any(p is not None for p in said))
    mixture = gate.mix(said, base)
    assert 0.0 <= mixture.p <= 1.0
    assert mixture.p == pytest.approx(weighted_mean(gate, said), rel=1e-9, abs=1e-15)
    least = least_probability(base)
    assert all(least * (1.0 - 1e-9) <= p <= 1.0 - least * (1.0 - 1e-9) for p in mixture.rates)


@pytest.mark.parametrize("p", [0.0, 1e-9, 1e-4, 0.9999, 1.0])
def test_what_all_experts_say_is_said_however_near_to_0_or_1(p: float) -> None:
    assert gate_of(3).mix([p, None, p]).p == pytest.approx(p, rel=1e-12, abs=1e-15)


def test_an_expert_that_was_sure_and_wrong_loses_no_more_than_the_clipped_loss() -> None:
    gate = gate_of(2)
    said = (0.0, 0.5)
    mixture = gate.mix(said)
    gate.charge(said, mixture, True)
    for rate, weights in zip(RATES, gate.weights, strict=True):
        ratio = (weights[0] - SHARE / 2) / (weights[1] - SHARE / 2)
        assert ratio == pytest.approx((mixture.least / 0.5) ** rate, rel=1e-9)
        assert ratio > 0.0


# -- late labels and rare ones -------------------------------------------------------------------------------------------------


@settings(max_examples=examples(150))
@given(st.lists(probabilities, min_size=2, max_size=5), st.booleans(), st.floats(0.01, 1.0))
def test_a_slowed_label_moves_the_logarithms_of_ratios_by_as_much_less(
    said: list[float], y: bool, slow: float
) -> None:
    whole, part = gate_of(len(said)), gate_of(len(said))
    mixture = whole.mix(said)
    whole.charge(said, mixture, y)
    part.charge(said, mixture, y, slow)
    place = SHARE / len(said)
    for one, other in zip(whole.weights, part.weights, strict=True):
        for i in range(1, len(said)):
            moved = log((one[i] - place) / (one[0] - place))
            assert log((other[i] - place) / (other[0] - place)) == pytest.approx(slow * moved, abs=1e-7)


def test_the_more_labels_are_on_their_way_the_slower() -> None:
    assert slowed(0.0) == 1.0
    factors = [slowed(delay) for delay in (0.0, 1.0, 10.0, 100.0, 1e4, 1e7)]
    assert factors == sorted(factors, reverse=True) and 0.0 < factors[-1] < 1e-3


@given(st.floats(1e-4, 1.0 - 1e-4))
def test_what_is_clipped_lies_below_the_base_rate_however_rare(base: float) -> None:
    least = least_probability(base)
    assert 0.0 < least < min(base, 1.0 - base)
    assert least == pytest.approx(least_probability(1.0 - base))
    assert least <= least_probability(0.5)


@pytest.mark.parametrize("base", [2e-4, 1.0 - 2e-4])
def test_where_one_label_is_rare_experts_are_told_apart_that_all_say_next_to_nothing(base: float) -> None:
    y = base < 0.5
    knows, does_not = (1.8e-3, 2e-4) if y else (1.0 - 1.8e-3, 1.0 - 2e-4)
    gate, common = gate_of(2), gate_of(2)
    gate.charge((knows, does_not), gate.mix((knows, does_not), base), y)
    assert gate.weights[-1][0] > 0.85
    common.charge((knows, does_not), common.mix((knows, does_not), 0.5), y)
    assert common.weight(0) == pytest.approx(0.5), "at a usual base rate both say as good as nothing"


def test_the_rates_are_the_powers_of_one_number_that_charging_takes() -> None:
    assert pytest.approx([1.0, 4.0, 20.0]) == [rate / RATES[0] for rate in RATES]


def test_with_base_rates_of_0_and_1_a_label_still_costs_a_finite_loss() -> None:
    for base in (0.0, 1.0):
        gate = gate_of(2)
        gate.charge((base, 0.5), gate.mix((base, 0.5), base), base == 0.0)
        assert_sound(gate)

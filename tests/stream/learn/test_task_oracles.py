"""Each task against what its words say, written out naively: the mixture, the gate's weights, and answers that are none."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.stream.learn.expert import Answer
from penstock.stream.learn.gate import BOOST, LEAST_PROBABILITY, RATES, SHARE, Gate, least_probability
from penstock.stream.learn.records import Pending
from penstock.stream.learn.tasks.calibrated import CalibratedClassifier, CalibratedDetector, Recent
from penstock.stream.learn.tasks.multiclass import Multiclass, most_probable, text
from penstock.stream.learn.tasks.regression import FREEDOM, Regression
from tests.effort import examples

NAMES = ("a", "b", "c")
numbers = st.floats(-1e6, 1e6)
shares = st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3).filter(lambda found: sum(found) > 0.01)
classes = shares.map(lambda found: {n: p / sum(found) for n, p in zip(NAMES, found, strict=True)})


class Naive:
    """Fixed share by the paper for one rate, of likelihoods; the weights of a sample's moment are kept for its label."""

    def __init__(self, experts: int, rate: float) -> None:
        self.rate, self.weights = rate, [1.0 / experts] * experts

    def hear(self, likely: list[float | None], then: list[float], least: float, times: list[float]) -> None:
        clipped = [None if p is None else min(max(p, least), 1.0 - least) for p in likely]
        awake = [(w * more, p) for w, p, more in zip(then, clipped, times, strict=True) if p is not None]
        mixed = sum(w * p for w, p in awake) / sum(w for w, _ in awake)
        found = [
            w if p is None else w * (p / mixed) ** (self.rate * more)
            for w, p, more in zip(self.weights, clipped, times, strict=True)
        ]
        self.weights = [(1.0 - SHARE) * w / sum(found) + SHARE / len(found) for w in found]


def gate_of(experts: int) -> Gate:
    gate = Gate()
    for _ in range(experts):
        gate.add()
    gate.weights = [[1.0 / experts] * experts for _ in RATES]
    return gate


def waits_of(answers: list[Any], mixture: Any) -> Pending:
    return Pending(
        {}, 0, 0, 0, mixture.p, answers[0], Answer(tuple(range(len(answers))), tuple(answers), mixture)
    )


def play(task: Any, rounds: list[tuple[list[Any], Any, list[bool]]], delay: int, likely: Any) -> None:
    """Let the task and the naive gates see the same rounds, each label `delay` rounds late, and compare."""
    experts = len(rounds[0][0])
    gate, naive = gate_of(experts), [Naive(experts, rate) for rate in RATES]
    waiting: list[Any] = []
    base: Any = task.first_base
    for answers, label, boosts in rounds:
        said = [base, *answers[1:]]
        mixture = task.mix(gate, said, base, boosts)
        total = [0.0] * experts
        for k, (share, one) in enumerate(zip(gate.rate_weights, naive, strict=True)):
            times = [BOOST if more and k < 2 else 1.0 for more in boosts]
            mass = sum(w * t for w, t, a in zip(one.weights, times, said, strict=True) if a is not None)
            for i, answer in enumerate(said):
                if answer is not None:
                    total[i] += share * one.weights[i] * times[i] / mass
        assert_mean(mixture.p, said, total)
        then = [list(one.weights) for one in naive]
        waiting.append((said, mixture, label, boosts, then))
        if len(waiting) > delay:
            said, mixture, y, boosted, then = waiting.pop(0)
            waits, happened = task.heard(waits_of(said, mixture), y)
            assert happened is True
            found = [None if answer is None else likely(task, answer, y) for answer in said]
            assert list(waits.answer.said) == [None if p is None else pytest.approx(p) for p in found]
            gate.charge(waits.answer.said, waits.answer.mixture, True)
            for k, one in enumerate(naive):
                times = [BOOST if more and k < 2 else 1.0 for more in boosted]
                one.hear(found, then[k], mixture.least, times)
                assert gate.weights[k] == pytest.approx(one.weights, rel=1e-6, abs=1e-12)
            base = task.follow(base, y)


def assert_mean(p: Any, said: list[Any], total: list[float]) -> None:
    if isinstance(p, dict):
        names = {name for answer in said if answer is not None for name in answer}
        for name in names:
            wanted = sum(t * a.get(name, 0.0) for t, a in zip(total, said, strict=True) if a is not None)
            assert p.get(name, 0.0) == pytest.approx(wanted, abs=1e-12)
    else:
        wanted = sum(t * a for t, a in zip(total, said, strict=True) if a is not None)
        assert p == pytest.approx(wanted, rel=1e-9, abs=1e-6)


def rounds_of(answer: Any, label: Any) -> Any:
    one = st.tuples(
        st.lists(st.one_of(st.none(), answer), min_size=4, max_size=4),
        label,
        st.lists(st.booleans(), min_size=4, max_size=4),
    )
    return st.lists(one, min_size=1, max_size=30)


@settings(max_examples=examples(120), deadline=None)
@given(rounds_of(classes, st.sampled_from(NAMES)), st.integers(0, 4))
def test_classes_are_weighed_by_the_probability_of_the_one_that_came(rounds: Any, delay: int) -> None:
    play(Multiclass(), rounds, delay, lambda task, answer, y: answer.get(y, 0.0))


def t_density(task: Regression, answer: float, y: float) -> float:
    scale = max(task.scale, 1e-9 * (task.high - task.low), 1e-300)
    density = [
        (1.0 + (error / scale) ** 2 / FREEDOM) ** (-(FREEDOM + 1.0) / 2.0) for error in (answer - y, 0.0)
    ]
    return density[0] / density[1]


@settings(max_examples=examples(120), deadline=None)
@given(rounds_of(numbers, numbers), st.integers(0, 4))
def test_numbers_are_weighed_by_the_density_around_them(rounds: Any, delay: int) -> None:
    play(Regression(), rounds, delay, t_density)


class Says:
    """A model that says what it is told."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def predict_one(self, x: Any) -> Any:
        return self.value

    predict_proba_one = score_one = predict_one

    def learn_one(self, x: Any, y: Any = None) -> None:
        if isinstance(self.value, str):
            raise ValueError(self.value)


anything = st.one_of(st.none(), st.floats(), st.text(max_size=3), st.integers(), st.booleans())


@given(st.lists(st.floats(-1e300, 1e300), max_size=5), anything)
def test_a_number_is_kept_within_the_widened_range_or_is_none(seen: list[float], value: Any) -> None:
    task = Regression()
    for y in seen:
        task._judge(0.0, 0.0, y)
    said = task.said(Says(value), {})
    try:
        wanted = math.isfinite(float(value))
    except (TypeError, ValueError):
        wanted = False
    assert (said is not None) == wanted
    if said is not None and seen:
        width = max(seen) - min(seen)
        assert min(seen) - width <= said <= max(seen) + width


@given(
    st.dictionaries(st.one_of(st.booleans(), st.integers(0, 3), st.text(max_size=2)), anything, max_size=4)
)
def test_probabilities_add_up_to_1_or_are_none(given_: dict[Any, Any]) -> None:
    task = Multiclass()
    task.follow({}, "a")
    said = task.said(Says(given_), {})
    if said is not None:
        assert sum(said.values()) == pytest.approx(1.0) and min(said.values()) >= 0.0
        assert all(isinstance(name, str) for name in said)
    if not given_:
        assert said == {"a": 1.0}, "who knows no class says the same of all that came"


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=40))
def test_the_figures_of_numbers_are_their_definitions(pairs: list[tuple[float, float]]) -> None:
    task = Regression()
    for y, p in pairs:
        task._judge(p, 0.0, y)
    measured, n = task.measures(), len(pairs)
    assert measured["mae"] == pytest.approx(sum(abs(p - y) for y, p in pairs) / n)
    assert measured["rmse"] == pytest.approx(math.sqrt(sum((p - y) ** 2 for y, p in pairs) / n))
    mean = sum(y for y, _ in pairs) / n
    spread = sum((y - mean) ** 2 for y, _ in pairs)
    if spread > 1e-3:
        wanted = 1.0 - sum((p - y) ** 2 for y, p in pairs) / spread
        assert measured["r2"] == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def test_an_error_of_a_diverged_model_moves_the_mean_no_further_than_its_weight_times_the_widened_range() -> (
    None
):
    task, gate = Regression(), gate_of(3)
    for y in (0.0, 10.0):
        task._judge(0.0, 0.0, y)
    gate.weights = [[0.4999, 0.5, 1e-4] for _ in RATES]
    said = [5.0, 5.0, task.said(Says(1e250), {})]
    assert task.mix(gate, said, 5.0, ()).p == pytest.approx(5.0, abs=1e-4 * 20.0)


def test_a_label_far_away_costs_no_expert_more_than_the_least_probability() -> None:
    task, gate = Regression(), gate_of(2)
    for _ in range(50):
        mixture = task.mix(gate, [0.0, 1.0], 0.0, ())
        waits, happened = task.heard(waits_of([0.0, 1.0], mixture), 1e300)
        charged, _ = gate.charge(waits.answer.said, waits.answer.mixture, happened)
        assert max(charged) <= -math.log(LEAST_PROBABILITY) + 1e-9
        assert all(math.isfinite(weight) for weights in gate.weights for weight in weights)


def test_one_odd_label_does_not_blind_the_gate() -> None:
    task, gate = Regression(), gate_of(3)

    def hear(y: float) -> None:
        said = [5.0, y + 1.0, y + 4.0]
        waits, happened = task.heard(waits_of(said, task.mix(gate, said, 5.0, ())), y)
        gate.charge(waits.answer.said, waits.answer.mixture, happened)

    for n in range(400):
        hear(n % 10)
    hear(1e9)
    gate.weights = [[0.01, 0.01, 0.98] for _ in RATES]
    for n in range(100):
        hear(n % 10)
    assert gate.weight(1) > 0.5, "who is nearer gains weight within a hundred labels"


def test_a_scale_that_has_come_to_nothing_grows_again() -> None:
    task = Regression()
    for n in range(1_500):
        task._judge(0.0, 0.0, 0.0 if n < 1_000 else float(n % 7))
    assert task.scale > 0.5


@pytest.mark.parametrize("y", [math.nan, math.inf, True, "3", None])
def test_what_is_no_finite_number_is_no_label_of_a_number(y: Any) -> None:
    assert not Regression().knows(y)


def test_the_base_predictor_of_numbers_is_the_better_of_mean_and_last() -> None:
    walk, jumps = Regression(), Regression()
    base = [0.0, 0.0]
    for n in range(400):
        for place, (task, y) in enumerate(((walk, n / 10.0), (jumps, float(n % 2) * 10.0))):
            task._judge(0.0, base[place], y)
            base[place] = task.follow(base[place], y)
    assert base[0] == pytest.approx(39.9), "a walk is best followed by its last value"
    assert base[1] == pytest.approx(5.0, abs=0.5), "what jumps to and fro, by its mean"


def test_a_class_that_is_rare_may_be_given_less_than_the_usual_least() -> None:
    task, base = Multiclass(), Multiclass.first_base
    for n in range(3_000):
        task.confusion.add("common", "common", "common")
        base = task.follow(base, "rare" if n == 2_500 else "common")
    mixture = task.mix(gate_of(2), [base, {"common": 1.0}], base, ())
    assert mixture.least == least_probability(base["rare"]) < LEAST_PROBABILITY


@given(st.lists(st.sampled_from([0.0, 1.0, 1.5, 2.0]), max_size=30), st.sampled_from([0.0, 1.0, 1.7, 3.0]))
def test_a_rank_is_the_share_of_lower_scores(scores: list[float], score: float) -> None:
    recent = Recent()
    for one in scores:
        recent.add(one)
    lower = sum(one < score for one in scores) + 0.5 * sum(one == score for one in scores)
    assert recent.rank(score) == pytest.approx((lower + 0.5) / (len(scores) + 1))


def test_only_the_newest_scores_count() -> None:
    recent = Recent()
    for n in range(2_500):
        recent.add(float(n))
    assert recent.rank(1_499.5) < 0.001 and recent.rank(2_000.0) == pytest.approx(0.5, abs=0.01)


class Score:
    """A detector whose score is an input."""

    def score_one(self, x: dict[str, float]) -> float:
        return x["score"]

    def learn_one(self, x: dict[str, float]) -> None:
        return


def test_a_calibrated_score_is_as_often_right_as_it_says() -> None:
    model, stated, came = CalibratedDetector(Score()), 0.0, 0
    for n in range(6_000):
        score = (n * 7_919 % 1_000) / 10.0
        y = score > 97.0 and n % 3 > 0
        if n >= 3_000:
            stated, came = stated + model.predict_proba_one({"score": score})[True], came + y
        model.learn_one({"score": score}, y)
    assert came == pytest.approx(60, abs=5) and stated == pytest.approx(came, rel=0.25)
    high, low = (model.predict_proba_one({"score": score})[True] for score in (99.0, 50.0))
    assert high > 0.3 and low < 0.01


def test_a_class_that_is_only_named_is_as_probable_as_it_was_right() -> None:
    model = CalibratedClassifier(Says(True))
    assert model.predict_proba_one({}) == {True: 1.0}
    for n in range(2_000):
        model.learn_one({}, n % 4 > 0)
    assert model.predict_proba_one({})[True] == pytest.approx(0.75, abs=0.02)


def test_names_of_classes_and_the_first_by_name_of_the_most_probable() -> None:
    assert [text(y) for y in (1, True, "1")] == ["1", "true", "1"]
    assert most_probable({"b": 0.4, "a": 0.4, "c": 0.2}) == "a" and most_probable({}) is None


def test_a_class_has_the_same_bits_in_whatever_order_a_model_names_the_classes() -> None:
    class Names:
        def __init__(self, order: str) -> None:
            self.order = order

        def predict_proba_one(self, x: dict[str, Any]) -> dict[str, float]:
            return {name: {"a": 0.1, "b": 0.2, "c": 0.3}[name] for name in self.order}

    said = [Multiclass().said(Names(order), {}) for order in ("abc", "cba")]
    assert said[0] == said[1]

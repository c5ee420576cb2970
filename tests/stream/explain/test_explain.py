"""Explanations add up, give nothing to what is not used, and are the Shapley values where they say that they are exact."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from itertools import combinations
from math import factorial, fsum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import (
    compose,
    ensemble,
    forest,
    linear_model,
    naive_bayes,
    neighbors,
    optim,
    preprocessing,
    tree,
)
from river.tree.nodes.branch import DTBranch

from penstock.stream.explain.explanation import CannotExplain, Explanation
from penstock.stream.explain.model import explain
from penstock.stream.explain.walk import walked
from penstock.stream.learn.engine import engine_of, said
from tests.effort import examples

TOLERANCE = 1e-9
NAMES = ("a", "b", "c", "d")
number = st.floats(-5, 5, allow_nan=False).map(lambda value: round(value, 3))
vectors = st.dictionaries(st.sampled_from(NAMES), number, min_size=1)


def numeric(model: Any, x: dict[str, Any]) -> float | None:
    return float(model.predict_one(x))


def stream(number_of: int, seed: int) -> list[tuple[dict[str, Any], bool, float]]:
    """Vectors with a truth, a number, and an input `d` that means nothing; some inputs are missing."""
    chance = random.Random(seed)
    found = []
    for _ in range(number_of):
        x = {name: chance.gauss(0, 2) for name in NAMES}
        value = 3 * x["a"] - 2 * (x["b"] > 0) + x["a"] * x["c"] + chance.gauss(0, 0.5)
        if chance.random() < 0.1:
            del x[chance.choice(NAMES)]
        found.append((x, value > 0, value))
    return found


def taught(model: Any, seed: int = 1, labels: int = 400, *, numbers: bool = False) -> Any:
    for x, y, value in stream(labels, seed):
        model.learn_one(x, value if numbers else y)
    return model


def adds_up(found: Explanation) -> None:
    total = fsum((found.base, *(one.contribution for one in found.contributions)))
    assert abs(total - found.margin) <= TOLERANCE * max(1.0, abs(found.margin))


def by_name(found: Explanation) -> dict[str, float]:
    return {one.feature: one.contribution for one in found.contributions}


def shapley(value: Callable[[frozenset[str]], float], names: tuple[str, ...]) -> dict[str, float]:
    """By the definition: over all sets of the others."""
    many, found = len(names), dict.fromkeys(names, 0.0)
    for name in names:
        others = [one for one in names if one != name]
        for size in range(many):
            for known in map(frozenset, combinations(others, size)):
                chance = factorial(size) * factorial(many - size - 1) / factorial(many)
                found[name] += chance * (value(known | {name}) - value(known))
    return found


CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "logistic": linear_model.LogisticRegression,
    "scaled": lambda: preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    "hinge": lambda: linear_model.LogisticRegression(loss=optim.losses.Hinge()),
    "bayes": naive_bayes.GaussianNB,
    "tree": lambda: tree.HoeffdingTreeClassifier(grace_period=40, delta=0.2, leaf_prediction="mc"),
    "tree with bayes": lambda: tree.HoeffdingTreeClassifier(grace_period=40, delta=0.2),
    "adaptive tree": lambda: tree.HoeffdingAdaptiveTreeClassifier(grace_period=40, delta=0.2, seed=1),
    "forest": lambda: forest.ARFClassifier(n_models=3, seed=1, grace_period=40, delta=0.2),
    "bagging": lambda: ensemble.BaggingClassifier(
        preprocessing.StandardScaler() | linear_model.LogisticRegression(), n_models=3, seed=1
    ),
    "patches": lambda: ensemble.SRPClassifier(n_models=3, seed=1),
    "mondrian": lambda: forest.AMFClassifier(n_estimators=3, seed=1),
    "made inputs": lambda: (
        preprocessing.StandardScaler() | compose.FuncTransformer(squared) | naive_bayes.GaussianNB()
    ),
}
REGRESSORS: dict[str, Callable[[], Any]] = {
    "linear": linear_model.LinearRegression,
    "scaled": lambda: preprocessing.StandardScaler() | linear_model.LinearRegression(),
    "tree": lambda: tree.HoeffdingTreeRegressor(grace_period=40, delta=0.2, leaf_prediction="mean"),
    "tree with models": lambda: tree.HoeffdingTreeRegressor(grace_period=40, delta=0.2),
    "forest": lambda: forest.ARFRegressor(n_models=3, seed=1, grace_period=40),
    "median": lambda: forest.ARFRegressor(n_models=3, seed=1, grace_period=40, aggregation_method="median"),
}


def squared(x: dict[str, float]) -> dict[str, float]:
    return {f"{name}²": value * value for name, value in x.items()}


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    return {name: taught(make()) for name, make in CLASSIFIERS.items()}


@pytest.fixture(scope="module")
def regressors() -> dict[str, Any]:
    return {name: taught(make(), numbers=True) for name, make in REGRESSORS.items()}


@settings(max_examples=20)
@given(x=vectors)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_base_and_contributions_are_the_margin_and_the_margin_is_the_prediction(
    models: dict[str, Any], name: str, x: dict[str, float]
) -> None:
    found = explain(models[name], x, names=NAMES)
    adds_up(found)
    p = said(models[name], x)
    assert p is not None and abs(found.prediction - p) <= TOLERANCE
    assert {one.feature for one in found.contributions} == set(NAMES)


@settings(max_examples=20)
@given(x=vectors)
@pytest.mark.parametrize("name", REGRESSORS)
def test_of_numbers_too(regressors: dict[str, Any], name: str, x: dict[str, float]) -> None:
    found = explain(regressors[name], x, answer=numeric, scale="number")
    adds_up(found)
    assert found.prediction == pytest.approx(regressors[name].predict_one(x), rel=TOLERANCE, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("scaled", "linear, exact, against the scaler's means"),
        ("logistic", "linear, exact, against inputs of 0"),
        ("bayes", "naive Bayes, exact"),
        ("tree", "path-dependent TreeSHAP, exact"),
        ("tree with bayes", "path-dependent TreeSHAP"),
        ("forest", "mean of 3 members: path-dependent TreeSHAP"),
        ("bagging", "mean of 3 members: linear, exact"),
        ("adaptive tree", "asked input by input"),
        ("made inputs", "asked input by input"),
    ],
)
def test_each_kind_has_its_method_and_says_so(models: dict[str, Any], name: str, method: str) -> None:
    assert explain(models[name], {"a": 1.0, "b": 0.5, "c": -1.0, "d": 2.0}).method.startswith(method)


def test_trees_were_split_so_that_there_is_something_to_explain(models: dict[str, Any]) -> None:
    assert models["tree"].n_branches >= 3 and models["tree with bayes"].n_branches >= 3


# -- an input that is not used -----------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(x=vectors)
@pytest.mark.parametrize("make", [CLASSIFIERS["scaled"], CLASSIFIERS["tree"], CLASSIFIERS["forest"]])
def test_an_input_that_the_model_never_saw_contributes_nothing(make: Any, x: dict[str, float]) -> None:
    model = USED.setdefault(id(make), taught(make()))
    found = by_name(explain(model, {**x, "unused": 3.0}))
    assert found["unused"] == 0.0


USED: dict[int, Any] = {}


def split_on(node: Any) -> set[str]:
    return {one.feature for one in node.iter_branches()}


@settings(max_examples=examples(30))
@given(seed=st.integers(0, 20), x=vectors)
def test_an_input_that_no_tree_split_on_contributes_exactly_nothing(seed: int, x: dict[str, float]) -> None:
    model = tree.HoeffdingTreeClassifier(grace_period=40, delta=0.2, leaf_prediction="mc")
    taught(model, seed, 200)
    used = split_on(model._root) if isinstance(model._root, DTBranch) else set()
    found = by_name(explain(model, x))
    assert {name for name, one in found.items() if one} <= used


# -- against the definition of Shapley values ---------------------------------------------------------------------------------


@settings(max_examples=examples(30))
@given(weights=st.dictionaries(st.sampled_from(NAMES), number), x=vectors, means=vectors)
def test_a_linear_model_has_the_shapley_values_of_its_margin(
    weights: dict[str, float], x: dict[str, float], means: dict[str, float]
) -> None:
    model = linear_model.LinearRegression(intercept_init=0.5)
    model._weights.update(weights)
    names = tuple(dict.fromkeys((*x, *means)))

    def value(known: frozenset[str]) -> float:
        return float(
            model._raw_dot_one({n: x.get(n, 0.0) if n in known else means.get(n, 0.0) for n in names})
        )

    found = by_name(explain(model, x, answer=numeric, scale="number", background=means, names=names))
    for name, one in shapley(value, names).items():
        assert found[name] == pytest.approx(one, abs=1e-9)


@settings(max_examples=20)
@given(x=vectors)
def test_behind_a_scaler_the_background_is_the_mean_of_each_input(
    models: dict[str, Any], x: dict[str, float]
) -> None:
    model = models["scaled"]
    scaler, last = model.steps["StandardScaler"], model.steps["LogisticRegression"]
    found = explain(model, x)
    for name, one in by_name(found).items():
        slope = last.weights[name] / scaler.vars[name] ** 0.5
        assert one == pytest.approx(slope * (x[name] - scaler.means[name]), abs=1e-9)
    at_means = explain(model, dict(scaler.means))
    assert at_means.margin == pytest.approx(found.base, abs=1e-9)


def expected(
    node: Any, x: Mapping[str, float], known: frozenset[str], value: Callable[[Any], float]
) -> float:
    """What a tree says where only `known` is known: Lundberg's recursion."""
    if not isinstance(node, DTBranch):
        return value(node)
    children = node.children
    if node.feature in known:
        try:
            return expected(node.next(x), x, known, value)
        except KeyError:
            return expected(node.most_common_path()[1], x, known, value)
    total = sum(one.total_weight for one in children)
    return fsum(one.total_weight / total * expected(one, x, known, value) for one in children)


@settings(max_examples=examples(25))
@given(seed=st.integers(0, 10), x=vectors, numbers=st.booleans())
def test_a_tree_has_the_path_dependent_shapley_values(seed: int, x: dict[str, float], numbers: bool) -> None:
    if numbers:
        model = tree.HoeffdingTreeRegressor(grace_period=40, delta=0.2, leaf_prediction="mean")
        found = explain(
            taught(model, seed, 300, numbers=True), x, answer=numeric, scale="number", names=NAMES
        )
    else:
        model = tree.HoeffdingTreeClassifier(grace_period=40, delta=0.2, leaf_prediction="mc")
        found = explain(taught(model, seed, 300), x, names=NAMES)

    def value(leaf: Any) -> float:
        given_ = leaf.prediction(x, tree=model)
        return float(given_) if numbers else float(given_.get(True, 0.0))

    def worth(known: frozenset[str]) -> float:
        return expected(model._root, x, known, value)

    assert found.base == pytest.approx(worth(frozenset()), abs=1e-9)
    for name, one in shapley(worth, NAMES).items():
        assert by_name(found)[name] == pytest.approx(one, abs=1e-9)


@settings(max_examples=examples(25))
@given(x=vectors)
def test_naive_bayes_gives_each_input_its_likelihood_ratio(
    models: dict[str, Any], x: dict[str, float]
) -> None:
    model = models["bayes"]
    for name, one in by_name(explain(model, x)).items():
        alone, none = model.joint_log_likelihood({name: x[name]}), model.joint_log_likelihood({})
        ratio = (alone[True] - none[True]) - (alone[False] - none[False])
        assert one == pytest.approx(ratio, abs=1e-9)


pairs = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), number), max_size=6)


@settings(max_examples=examples(50))
@given(x=vectors, background=vectors, terms=pairs)
def test_asked_input_by_input_what_works_together_in_pairs_has_its_shapley_values(
    x: dict[str, float], background: dict[str, float], terms: list[tuple[str, str, float]]
) -> None:
    def says(of: Mapping[str, float]) -> float:
        return 1.0 + fsum(w * of.get(one, 0.0) * of.get(two, 0.0) for one, two, w in terms)

    names = tuple(x)

    def value(known: frozenset[str]) -> float:
        return says({n: x[n] if n in known else background.get(n, 0.0) for n in names})

    base, found = walked(says, x, {name: background.get(name, 0.0) for name in names})
    assert base == value(frozenset())
    for name, one in shapley(value, names).items():
        assert found[name] == pytest.approx(one, abs=1e-7)


# -- inputs that are made of inputs --------------------------------------------------------------------------------------------


def of_text() -> Any:
    numbers = compose.SelectType(float) | preprocessing.StandardScaler()
    texts = compose.SelectType(str) | preprocessing.OneHotEncoder()
    return (numbers + texts) | linear_model.LogisticRegression()


@settings(max_examples=20)
@given(x=vectors, text=st.sampled_from(["UA", "AA", "never seen"]))
def test_encoded_inputs_come_back_as_the_input_they_are_of(x: dict[str, float], text: str) -> None:
    model = USED.get(-1)
    if model is None:
        model = USED[-1] = of_text()
        for number_of, (one, y, _) in enumerate(stream(200, 3)):
            model.learn_one({**one, "carrier": ("UA", "AA")[number_of % 2]}, y or number_of % 2 == 0)
    found = explain(model, {**x, "carrier": text})
    adds_up(found)
    assert set(by_name(found)) == {*x, "carrier"}
    assert found.method == "linear, exact, against the scaler's means"
    weight = model.steps["LogisticRegression"].weights.get(f"carrier_{text}", 0.0)
    assert by_name(found)["carrier"] == pytest.approx(weight)
    assert (by_name(found)["carrier"] == 0.0) == (text == "never seen")


def test_a_prefix_and_an_imputed_input_come_back_as_the_input() -> None:
    model = preprocessing.StatImputer() | compose.Prefixer("of ") | linear_model.LogisticRegression()
    for x, y, _ in stream(50, 1):
        model.learn_one(x, y)
    assert set(by_name(explain(model, {"a": 1.0, "b": 2.0}))) <= {*NAMES}


# -- engines, refusals -----------------------------------------------------------------------------------------------------------


def test_a_compiled_model_is_explained_as_the_river_model_that_it_is() -> None:
    engine = engine_of(CLASSIFIERS["scaled"]())
    river = CLASSIFIERS["scaled"]()
    for x, y, _ in stream(300, 2):
        engine.learn(x, y)
        river.learn_one(x, y)
    x = {"a": 1.0, "b": -0.5}
    assert explain(engine, x) == explain(engine.model, x) == explain(river, x)


class Odd(linear_model.LogisticRegression):
    """A subclass that answers in its own way."""

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        p = 0.5 * super().predict_proba_one(x)[True]
        return {True: p, False: 1 - p}


def test_a_subclass_that_answers_otherwise_is_not_explained_as_its_parent() -> None:
    model = taught(Odd())
    found = explain(model, {"a": 2.0, "c": 1.0})
    assert found.method.startswith("asked input by input")
    adds_up(found)


class Whole:
    """A model that wants every input."""

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        p = 1 / (1 + abs(x["a"] + x["b"]))
        return {True: p, False: 1 - p}


def test_a_model_that_fails_without_an_input_is_refused_in_a_sentence_and_explained_against_typical_values() -> (
    None
):
    with pytest.raises(CannotExplain, match="give typical values"):
        explain(Whole(), {"a": 1.0, "b": 2.0})
    with pytest.raises(CannotExplain, match="nothing to explain"):
        explain(Whole(), {"a": 1.0})
    adds_up(explain(Whole(), {"a": 1.0, "b": 2.0}, background={"a": 0.0, "b": 0.0}))


def test_nothing_is_learned_by_being_explained(models: dict[str, Any]) -> None:
    from penstock.stream.models.digest import digest

    for model in models.values():
        before = digest(model)
        explain(model, {"a": 1.0, "b": 0.5, "c": 3.0})
        assert digest(model) == before


def test_the_largest_are_named_and_the_others_are_summed_up() -> None:
    found = explain(linear_model.LogisticRegression(), {"a": 1.0})
    assert found.top(1) == found
    model = taught(CLASSIFIERS["scaled"]())
    whole = explain(model, {"a": 1.0, "b": 0.5, "c": 3.0})
    short = whole.top(1)
    adds_up(short)
    assert [one.feature for one in short.contributions] == [whole.contributions[0].feature, "(others)"]


def test_a_neighbour_model_is_explained_one_way_or_refused() -> None:
    model = taught(neighbors.KNNClassifier(n_neighbors=5), labels=100)
    adds_up(explain(model, {"a": 1.0, "b": 0.5, "c": 3.0, "d": 0.0}, background=dict.fromkeys(NAMES, 0.0)))

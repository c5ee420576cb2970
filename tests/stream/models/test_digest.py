"""Equal state, equal digest: after pickling, in another process, however the memory lies. One weight off, another digest."""

from __future__ import annotations

import copy
import os
import pickle
import random
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import (
    compose,
    drift,
    ensemble,
    feature_extraction,
    forest,
    linear_model,
    naive_bayes,
    neighbors,
    optim,
    preprocessing,
    stats,
    tree,
)

from penstock.stream.definition_file import seeded
from penstock.stream.models.digest import digest
from tests.patience import PATIENCE_S

MODELS: dict[str, Callable[[], Any]] = {
    "logistic": lambda: preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    "adam": lambda: (
        preprocessing.MinMaxScaler() | linear_model.LogisticRegression(optimizer=optim.Adam(0.01))
    ),
    "hoeffding": lambda: tree.HoeffdingTreeClassifier(grace_period=20),
    "adaptive tree": lambda: tree.HoeffdingAdaptiveTreeClassifier(grace_period=20),
    "forest": lambda: forest.ARFClassifier(n_models=3, grace_period=20),
    "mondrian": lambda: forest.AMFClassifier(n_estimators=2),
    "gaussian": naive_bayes.GaussianNB,
    "knn": lambda: neighbors.KNNClassifier(n_neighbors=3),
    "bagging": lambda: ensemble.BaggingClassifier(tree.HoeffdingTreeClassifier(grace_period=20), n_models=2),
    "one-hot": lambda: (
        (
            (compose.Select("text") | preprocessing.OneHotEncoder())
            + (compose.Select("a", "b") | preprocessing.StandardScaler())
        )
        | linear_model.LogisticRegression()
    ),
    "products": lambda: (
        feature_extraction.PolynomialExtender()
        | preprocessing.StandardScaler()
        | linear_model.LogisticRegression()
    ),
    "drifting": lambda: drift.DriftRetrainingClassifier(tree.HoeffdingTreeClassifier(grace_period=20)),
}


def trained(name: str, labels: int = 250) -> Any:
    model = seeded(MODELS[name]())
    chance = random.Random(5)
    for _ in range(labels):
        learn(model, chance, name)
    return model


def learn(model: Any, chance: random.Random, name: str) -> None:
    x: dict[str, Any] = {"a": chance.random(), "b": chance.gauss(0, 3)}
    if name == "one-hot":
        x["text"] = chance.choice("uvw")
    model.predict_proba_one(x)
    model.learn_one(x, x["a"] + 0.1 * x["b"] > 0.5)


@pytest.fixture(scope="module")
def elsewhere() -> dict[str, tuple[str, bytes]]:
    """Every model trained in another process: its digest there, and its bytes."""
    code = (
        "import pickle, sys; from tests.stream.models.test_digest import *;"
        "made = {n: trained(n) for n in MODELS};"
        "sys.stdout.buffer.write(pickle.dumps({n: (digest(m), pickle.dumps(m)) for n, m in made.items()}))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1234", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, check=True, timeout=PATIENCE_S
    )
    found: dict[str, tuple[str, bytes]] = pickle.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_a_model_restored_from_bytes_has_the_same_digest_time_and_again(name: str) -> None:
    model = trained(name)
    before = digest(model)
    for _ in range(3):
        model = pickle.loads(pickle.dumps(model))
        assert digest(model) == before
    assert digest(copy.deepcopy(model)) == before


@pytest.mark.parametrize("name", MODELS)
def test_a_digest_does_not_change_the_model(name: str) -> None:
    model = trained(name)
    assert digest(model) == digest(model)
    assert digest(model) == digest(trained(name))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_made_in_another_process_has_the_same_digest_here(
    name: str, elsewhere: dict[str, tuple[str, bytes]]
) -> None:
    there, payload = elsewhere[name]
    assert digest(pickle.loads(payload)) == there


@pytest.mark.parametrize("name", [name for name in MODELS if name != "one-hot"])
def test_training_in_another_process_gives_the_same_model(
    name: str, elsewhere: dict[str, tuple[str, bytes]]
) -> None:
    assert digest(trained(name)) == elsewhere[name][0]


@pytest.mark.parametrize("name", MODELS)
def test_one_more_label_is_another_digest(name: str) -> None:
    model = trained(name)
    before = digest(model)
    learn(model, random.Random(99), name)
    assert digest(model) != before


@pytest.mark.parametrize("name", MODELS)
def test_a_restored_model_learns_on_to_the_same_digest(name: str) -> None:
    straight, restored = trained(name), pickle.loads(pickle.dumps(trained(name)))
    chances = random.Random(3), random.Random(3)
    for _ in range(100):
        learn(straight, chances[0], name)
        learn(restored, chances[1], name)
    assert digest(straight) == digest(restored)


def test_the_last_bit_of_one_weight_counts() -> None:
    model = trained("logistic")
    before = digest(model)
    weights = model["LogisticRegression"]._weights
    assert set(weights) == {"a", "b"}
    weights["a"] = float(np.nextafter(weights["a"], 9.0))
    assert digest(model) != before


def test_one_count_of_a_naive_bayes_counts() -> None:
    model = trained("gaussian")
    before = digest(model)
    model.class_counts[True] += 1
    assert digest(model) != before


def test_an_untrained_model_is_not_a_trained_one_nor_another_kind() -> None:
    fresh = [digest(seeded(make())) for make in MODELS.values()]
    assert len(set(fresh)) == len(fresh)
    assert digest(trained("knn")) not in fresh


def test_the_order_of_a_set_does_not_count_and_that_of_a_list_does() -> None:
    words = [f"word{n}" for n in range(50)]
    assert digest(set(words)) == digest(set(reversed(words)))
    assert digest(frozenset(words)) == digest(set(words))
    assert digest(words) != digest(words[::-1])


def test_shared_or_copied_parts_do_not_count() -> None:
    part = [1.5, "x"]
    assert digest([part, part]) == digest([part, list(part)])


def test_a_cycle_ends() -> None:
    knot: list[Any] = [1]
    knot.append(knot)
    assert digest(knot) != digest([1])


def test_a_random_generator_does_not_count() -> None:
    used = random.Random(1)
    used.random()
    assert digest({"rng": used}) == digest({"rng": random.Random(2)})
    assert digest(np.random.default_rng(1)) == digest(np.random.default_rng(2))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        ("1", 1),
        (b"1", "1"),
        ((1,), [1]),
        ([], {}),
        (None, "None"),
        ([1, [2]], [[1], 2]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (["ab", "c"], ["a", "bc"]),
        (deque([1, 2], 2), deque([1, 2], 3)),
        (Counter("aab"), Counter("abb")),
        (np.array([1, 2]), np.array([1.0, 2.0])),
        (np.array([[1, 2]]), np.array([[1], [2]])),
        (np.float64(1.0), np.float32(1.0)),
        (stats.Mean(), stats.Sum()),
        (len, max),
    ],
)
def test_these_differ(one: Any, other: Any) -> None:
    assert digest(one) != digest(other)
    assert digest(one) == digest(copy.deepcopy(one))


def test_arrays_of_objects_count_by_what_they_hold() -> None:
    one, other = (np.array([" ".join(["a", "b"]), 1.5], dtype=object) for _ in range(2))
    assert one[0] is not other[0] and digest(one) == digest(other)
    assert digest(np.array(["a", 1], dtype=object)) != digest(np.array(["a", 2], dtype=object))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


@given(plain)
def test_plain_data_has_the_digest_of_its_copy(value: Any) -> None:
    assert digest(value) == digest(pickle.loads(pickle.dumps(value)))


@given(
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=5),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=5),
)
def test_two_mappings_have_one_digest_only_if_they_are_the_same(
    one: dict[str, int], other: dict[str, int]
) -> None:
    assert (digest(one) == digest(other)) == (list(one.items()) == list(other.items()))

"""Experts asked and taught all at once in C do what they do one after the other."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import linear_model, naive_bayes, preprocessing

from penstock.stream.learn import learner, pool
from penstock.stream.learn.engine import taken
from penstock.stream.learn.expert import Expert, Kind
from penstock.stream.messages import Origin
from penstock.stream.models.digest import digest
from tests.effort import examples

linear = pytest.importorskip("penstock.stream.learn.linear", reason="the extension was not built")
NAMES = ("hour", "delay", "weight")
KINDS: tuple[Kind, ...] = ("new", "frozen", "careful", "resumed")


class Meddles:
    """A model that changes the vector it is given, and fails at large ones."""

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        x["hour"] = x.get("hour", 0.0) + 1.0
        x.pop("weight", None)
        if x["hour"] > 60.0:
            raise ValueError("too late")
        return {True: 0.25}

    def learn_one(self, x: dict[str, Any], y: bool) -> None:
        self.predict_proba_one(x)


class Shifts(Meddles):
    """One that changes a value, and no more."""

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        x["hour"] += 1.0
        return {True: 0.25}


def scaled() -> Any:
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


MODELS = (scaled, scaled, linear_model.LogisticRegression, naive_bayes.GaussianNB, Meddles)
value = st.one_of(st.floats(-50, 50), st.integers(-3, 3), st.booleans())
odd = st.one_of(value, st.none(), st.just(float("nan")), st.just(10**400), st.text(max_size=2))
vectors = st.one_of(
    st.fixed_dictionaries(dict.fromkeys(NAMES, value)), st.dictionaries(st.sampled_from(NAMES), odd)
)


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    many = draw(st.integers(2, 5))
    made = [draw(st.tuples(st.sampled_from(KINDS), st.sampled_from(MODELS))) for _ in range(many)]
    asleep = st.one_of(st.just(()), st.lists(st.booleans(), min_size=many + 1, max_size=many + 1).map(tuple))
    step = st.tuples(
        vectors, st.sampled_from(((), ("delay",))), asleep, st.one_of(st.booleans(), st.just("odd"))
    )
    return [tuple(made), *draw(st.lists(step, min_size=1, max_size=25))]


@settings(max_examples=examples(200), deadline=None)
@given(steps())
def test_whoever_is_asked_and_taught_and_whatever_they_do_every_bit_is_the_same(course: list[Any]) -> None:
    made, *rest = course

    def experts() -> list[Expert]:
        models = [("base", None), *((kind, model()) for kind, model in made)]
        return [Expert(number, "v", kind, model, (0, 0, 0)) for number, (kind, model) in enumerate(models)]

    apart, together = experts(), experts()
    for x, outside, asleep, y in rest:
        told = []
        for all_, ask, teach in (
            (apart, pool._ask, pool._teach), (together, linear.ask, linear.teach),
        ):  # fmt: skip
            own: dict[str, Any] = copy.deepcopy(x)
            inside = {name: own[name] for name in own if name not in outside} if outside else own
            answers: list[Any] = [0.5]
            failed = ask(all_, own, inside, asleep, answers)
            told.append([answers, failed, teach(all_, own, inside, y), repr(own), repr(inside)])
        assert told[0] == told[1]
    for one, other in zip(apart[1:], together[1:], strict=True):
        assert (one.failures, one.unlearned, one.taught) == (other.failures, other.unlearned, other.taught)
        assert type(one.model) is Meddles or digest(one.model) == digest(other.model)


def test_who_comes_after_one_that_changes_the_vector_sees_it_changed() -> None:
    def experts() -> list[Expert]:
        models = [None, scaled(), Shifts(), scaled()]
        return [Expert(number, "v", "new", model, (0, 0, 0)) for number, model in enumerate(models)]

    apart, together = experts(), experts()
    for number in range(20):
        told = []
        for all_, ask, teach in (
            (apart, pool._ask, pool._teach), (together, linear.ask, linear.teach),
        ):  # fmt: skip
            x, seen = ({"hour": number % 7 + 0.5, "delay": 2.0 * number, "weight": 1.0} for _ in range(2))
            answers: list[Any] = [0.5]
            told.append([ask(all_, x, x, (), answers), answers, teach(all_[1:], seen, seen, number % 3 > 0)])
        assert told[0] == told[1]
    assert all(one.engine.loaded for one in (together[1], together[3]))


names = st.lists(st.one_of(st.none(), st.sampled_from(NAMES)), max_size=4)


@given(names, st.lists(odd, max_size=4))
def test_a_vector_holds_what_has_a_name_and_a_value(named: list[Any], values: list[Any]) -> None:
    def outcome(vector: Any) -> str:
        try:
            return repr(vector(named, values))
        except ValueError:
            return "of another length"

    assert outcome(linear.vector) == outcome(taken)


origins = st.builds(
    Origin, st.sampled_from("ab"), st.integers(0, 1), st.one_of(st.integers(-1, 6), st.just(2**61))
)


@given(st.lists(origins, max_size=30))
def test_repeats_are_recognised_alike(course: list[Origin]) -> None:
    newest: dict[tuple[str, int], int] = {}
    other = dict(newest)
    assert [linear.is_repeat(newest, one) for one in course] == [learner._noted(other, one) for one in course]
    assert newest == other

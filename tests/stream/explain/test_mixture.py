"""The live prediction's explanation: of every task it ends at what was published, and explaining changes nothing."""

from __future__ import annotations

from math import fsum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.stream.explain.mixture import live, number
from penstock.stream.explain.moment import Means, explained
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.tasks.multiclass import most_probable
from penstock.stream.messages import Command, Entry, Sample
from tests.stream.generated import entries, parcels
from tests.stream.learn.task_courses import CASES, log_of, pipeline_of
from tests.stream.same_log import births_often, go

LOG = entries(500)
SAMPLES = [position for position, entry in enumerate(LOG) if isinstance(entry, Sample)]


def at(fold: Fold, log: list[Entry], position: int, **options: Any) -> Any:
    """The fold up to `position`, and the sample there explained."""
    entry = log[position]
    assert isinstance(entry, Sample)
    return explained(go(fold, log, position), position, entry, **options)


def adds_up(why: Any) -> None:
    total = fsum((why.base, *(one.contribution for one in why.contributions)))
    assert abs(total - why.margin) <= 1e-9 * max(1.0, abs(why.margin))


@pytest.mark.parametrize("case", CASES)
def test_of_every_task_base_and_contributions_are_the_live_prediction(case: str) -> None:
    log, pipeline = log_of(case, 260), pipeline_of(case)
    with births_often(60, lambda labels: labels % 50 == 0):
        fold, plain, kinds = Fold(pipeline), Fold(pipeline_of(case)), set[str]()
        for position in [n for n, entry in enumerate(log) if isinstance(entry, Sample)][::37]:
            made, why = at(fold, log, position)
            (same,) = go(plain, log, position + 1).outputs.predictions[-1:]
            assert made == same and fold.digest() == plain.digest(), "explaining changes nothing"
            of = most_probable(made.p) if fold.task.kind == "multiclass" else None
            assert why.margin == number(fold.task, made.p, of) and why.of == of
            adds_up(why)
            assert {one.feature for one in why.contributions} == set(pipeline.vector_names)
            assert sum(one.weight for one in why.models) == pytest.approx(1.0)
            kinds |= {one.kind for one in why.models}
    assert len(kinds) > 2 or case == "unlabelled"


@settings(max_examples=15)
@given(position=st.sampled_from(SAMPLES))
def test_the_contributions_are_those_of_the_experts_by_their_weights(position: int) -> None:
    with births_often(60, lambda labels: labels % 50 == 0):
        fold = Fold(parcels())
        _, why = at(fold, LOG, position)
    adds_up(why)
    for one in why.models:
        assert one.method == (
            "the same for every vector" if one.kind == "base" else "linear, exact, against the scaler's means"
        )


def test_an_input_whose_weight_is_nothing_in_every_expert_contributes_exactly_nothing() -> None:
    fold = go(Fold(parcels()), LOG, SAMPLES[300])
    name = "traffic.sent_1h"
    for one in fold.experts.models:
        model = one.model
        model.steps["LogisticRegression"]._weights[name] = 0.0
    _, why = at(fold, LOG, SAMPLES[300])
    found = {one.feature: one.contribution for one in why.contributions}
    assert found[name] == 0.0 and any(found.values())


def test_where_a_committed_model_predicts_alone_it_is_the_one_that_is_explained() -> None:
    fold = Fold(parcels(approval=True))
    made, why = at(fold, LOG, SAMPLES[300])
    assert [one.version for one in why.models] == [made.version] and made.weight == 1.0
    assert why.margin == made.p
    adds_up(why)


def test_a_pinned_model_too() -> None:
    fold = go(Fold(parcels()), LOG, 400)
    fold.step(400, Command("p1", "promote", version=fold.experts.first.version, pin=True))
    assert fold.pinned
    position = next(one for one in SAMPLES if one > 400)
    made, why = at(fold, LOG, position)
    assert [one.kind for one in why.models] == ["first"] and why.margin == made.p
    adds_up(why)


def test_before_anything_is_known_the_base_is_all() -> None:
    fold = Fold(parcels())
    made, why = at(fold, LOG, SAMPLES[0])
    assert why.margin == made.p == why.base
    assert not any(one.contribution for one in why.contributions)


def test_the_careful_expert_is_explained_without_the_values_it_was_not_told() -> None:
    fold = go(Fold(parcels()), LOG, SAMPLES[300])
    entry = LOG[SAMPLES[300]]
    assert isinstance(entry, Sample)
    experts = fold.experts
    experts.add("careful", experts.first.engine.model, "careful", (0, 0, 0), of=experts.first, halved=True)
    x = {**dict(zip(fold.pipeline.vector_names, entry.x, strict=True)), "weight": 1e6}
    x = {name: value for name, value in x.items() if value is not None}
    asked = experts.ask(x, fold.base, 1, ("weight",))
    why = live(experts, x, asked, outside=("weight",))
    adds_up(why)
    alone = live(experts, x, asked, outside=("weight",), alone=experts.careful)
    assert {one.feature: one.contribution for one in alone.contributions}["weight"] == 0.0
    assert {one.feature: one.contribution for one in why.contributions}["weight"] != 0.0


def test_a_repeat_is_not_explained_because_nothing_is_predicted() -> None:
    fold = go(Fold(parcels()), LOG, SAMPLES[5] + 1)
    entry = LOG[SAMPLES[5]]
    assert isinstance(entry, Sample)
    assert explained(fold, SAMPLES[5] + 1, entry) is None


def test_means_are_of_numbers_and_of_what_is_not_missing() -> None:
    means = Means()
    for x in ([1.0, None, "a"], [2.0, 4, "b"], [6.0, None, None]):
        means.add(["a", "b", "c"], x)
    assert means.found() == {"a": 3.0, "b": 4.0}

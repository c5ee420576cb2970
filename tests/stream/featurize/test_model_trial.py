"""A model that raises on every vector the definition allows is found before any event; models that are fine are left alone."""

from __future__ import annotations

from typing import Any

import pytest
from river import (
    compose,
    dummy,
    feature_extraction,
    forest,
    linear_model,
    naive_bayes,
    neighbors,
    preprocessing,
    tree,
)

from penstock import View, count, mean
from penstock.stream.definitions import DefinitionError, Label, Pipeline, Source
from penstock.stream.featurize.decode import SourceDecoder
from penstock.stream.featurize.model_trial import check_model, text_inputs
from penstock.stream.log.protocol import Record

PAID = Source("paid", id="id", time="at", key="card")
COUNTRY = View(
    "card", PAID, "card", {"us": count("1h", where="country == 'US'"), "mean": mean("amount", "1h")}
)
REGRESSION = linear_model.LogisticRegression


def pipeline(model: Any, inputs: list[str], *views: View) -> Pipeline:
    label = Label(PAID, lambda event: event["y"], fields=("y",))
    return Pipeline("cards", views=list(views), predict=PAID, inputs=inputs, label=label, model=model)


def split(name: str) -> Any:
    text = compose.Select(name) | preprocessing.OneHotEncoder()
    return text + (compose.Discard(name) | preprocessing.StandardScaler()) | REGRESSION()


def tfidf(name: str) -> Any:
    text = compose.Select(name) | feature_extraction.TFIDF(on=name)
    return text + (compose.Discard(name) | preprocessing.StandardScaler()) | REGRESSION()


def test_text_in_a_scaler_is_one_line_that_names_the_input_and_what_to_do() -> None:
    with pytest.raises(DefinitionError) as raised:
        check_model(pipeline(preprocessing.StandardScaler() | REGRESSION(), ["amount", "country"], COUNTRY))
    said = str(raised.value)
    assert "\n" not in said and "Pipeline 'cards'" in said and "'country'" in said
    assert "TypeError" in said and "OneHotEncoder" in said


class Broken(linear_model.LogisticRegression):
    def learn_one(self, x: dict[str, Any], y: bool) -> None:
        raise KeyError("amount_eur")


def test_a_model_that_cannot_learn_at_all_is_refused() -> None:
    with pytest.raises(DefinitionError, match="KeyError 'amount_eur'"):
        check_model(pipeline(Broken(), ["amount"]))


@pytest.mark.parametrize(
    ("model", "inputs", "views"),
    [
        (preprocessing.StandardScaler() | REGRESSION(), ["amount", "card"], [COUNTRY]),
        (split("country"), ["amount", "country"], [COUNTRY]),
        (preprocessing.OneHotEncoder() | REGRESSION(), ["country"], [COUNTRY]),
        (tfidf("comment"), ["a", "comment", "b"], [COUNTRY]),
        (feature_extraction.BagOfWords(on="comment") | naive_bayes.MultinomialNB(), ["comment"], []),
        (tree.HoeffdingTreeClassifier(), ["amount", "country"], [COUNTRY]),
        (forest.ARFClassifier(n_models=3, seed=1), ["amount"], []),
        (neighbors.KNNClassifier(), ["amount"], []),
        (naive_bayes.GaussianNB(), ["amount"], []),
        (dummy.NoChangeClassifier(), ["amount"], []),
        (preprocessing.StandardScaler() | REGRESSION(), [f"x{n}" for n in range(60)], []),
    ],
)
def test_models_that_are_fine_are_not_refused(model: Any, inputs: list[str], views: list[View]) -> None:
    check_model(pipeline(model, inputs, *views))


def test_text_in_a_key_that_is_an_input_of_a_model_of_numbers_is_a_dead_letter() -> None:
    """Otherwise every sample would make the model raise, and nobody would hear of it."""
    scaler = preprocessing.StandardScaler() | REGRESSION()
    decoder = SourceDecoder(pipeline(scaler, ["card"], COUNTRY), PAID)
    rejects = []
    for card in (b"17", b'"c1"'):
        value = b'{"id":"a","at":1,"card":%s,"amount":1,"country":"US","y":true}' % card
        rejects.append(decoder.items([Record("paid", 0, 0, 10, None, value, ())], -1)[0].reject)
    assert rejects[0] is None and "`$.card`" in str(rejects[1])
    assert text_inputs(pipeline(scaler, ["card"])) == set()

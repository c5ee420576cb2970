"""A model has a text, also where river cannot write it, and what it says stands in the definition's digest."""

from __future__ import annotations

from typing import Any

from river import compose, linear_model, preprocessing

from penstock.stream.learn.records import rules
from penstock.stream.model_text import model_text
from tests.stream.generated import parcels


def of_types(*types: type, l2: float = 0.0) -> Any:
    numbers = compose.SelectType(*types) | preprocessing.StandardScaler()
    words = compose.SelectType(str) | preprocessing.OneHotEncoder()
    return (numbers + words) | linear_model.LogisticRegression(l2=l2)


def test_a_selection_of_several_types_has_a_digest_and_every_parameter_counts() -> None:
    made = [of_types(int, float), of_types(int, bool), of_types(int, float, l2=0.5)]
    digests = {parcels(model=model).digest for model in made}
    assert len(digests) == 3
    assert parcels(model=of_types(int, float)).digest in digests


def test_a_model_that_river_can_write_has_the_text_it_always_had() -> None:
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    assert model_text(model) == repr(model)


def test_such_a_model_may_race() -> None:
    raced = [
        rules(parcels(challengers={"types": of_types(*kinds)}), guard=True)
        for kinds in ((int, float), (int, bool))
    ]
    assert raced[0] != raced[1]

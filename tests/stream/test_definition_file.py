"""A definition file on disk: loaded, seeded, or refused in one line with its place."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from river import drift, ensemble, forest, linear_model, preprocessing, tree

from penstock.stream.definition_file import load, seeded
from penstock.stream.definitions import DefinitionError

GOOD = """\
from river import compose, linear_model, preprocessing
from penstock import View, count
from penstock import Label, Pipeline, Source

paid = Source("paid", id="id", time="at", key="card")


def doubled(x):
    return {name: 2 * value for name, value in x.items()}


pipeline = Pipeline(
    "shop",
    views=[View("card", paid, key="card", features=dict(n=count("1h")))],
    predict=paid,
    inputs=["amount"],
    label=Label(paid, lambda e: e["fraud"], fields=("fraud",)),
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
)
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "definition.py"
    path.write_text(text)
    return path


def test_a_good_file_gives_its_pipeline(tmp_path: Path) -> None:
    assert load(written(tmp_path, GOOD)).name == "shop"


def test_the_same_file_elsewhere_has_the_same_digest(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert load(written(tmp_path, GOOD)).digest == load(written(tmp_path / "other", GOOD)).digest


def test_a_changed_outcome_changes_the_digest_even_on_one_path(tmp_path: Path) -> None:
    before = load(written(tmp_path, GOOD)).digest
    path = written(tmp_path, GOOD.replace('e["fraud"],', 'not e["fraud"],'))
    assert load(path).digest != before


def test_a_model_with_functions_of_the_file_pickles(tmp_path: Path) -> None:
    pipeline = load(
        written(tmp_path, GOOD.replace("preprocessing.StandardScaler()", "compose.FuncTransformer(doubled)"))
    )
    model = pipeline.model.clone()
    model.learn_one({"amount": 1.0}, True)
    again = pickle.loads(pickle.dumps(model))
    assert again.predict_proba_one({"amount": 3.0}) == model.predict_proba_one({"amount": 3.0})


SCALER = "preprocessing.StandardScaler()"


def but(old: str, new: str) -> str:
    """The good file with one thing changed."""
    assert old in GOOD
    return GOOD.replace(old, new)


BROKEN = {
    "text that is no Python": ("pipeline = (\n", ":1: SyntaxError"),
    "a module that is not there": (
        but("from penstock", "import nowhere\nfrom penstock"),
        ":2: ModuleNotFoundError",
    ),
    "a name that is not there": (but('key="card",', "key=card,"), ":14: NameError"),
    "a definition that cannot run": (but('fields=("fraud",)', 'wait="1"'), ":17: Label, wait"),
    "a window without a unit": (but('count("1h")', 'count("1")'), ":14: ValueError: count('1')"),
    "an error of several lines": (
        GOOD + "raise ValueError('first\\n  second')\n",
        ":20: ValueError: first second",
    ),
    "no pipeline": ("x = 1\n", ": defines 0 pipelines"),
    "two pipelines": (
        GOOD + "import dataclasses\nsecond = dataclasses.replace(pipeline, name='b')\n",
        ": defines 2 pipelines",
    ),
    "a lambda in the model": (but(SCALER, "compose.FuncTransformer(lambda x: x)"), "instead of a lambda"),
    "a leak": (but('inputs=["amount"]', 'inputs=["fraud"]'), "the model would read the answer"),
    "a transformer": (but("linear_model.LogisticRegression()", SCALER), "must be a river classifier"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_line_with_file_and_place(name: str, tmp_path: Path) -> None:
    text, says = BROKEN[name]
    path = written(tmp_path, text)
    with pytest.raises(DefinitionError) as error:
        load(path)
    message = str(error.value)
    assert message.startswith(str(path)) and says in message and "\n" not in message


def test_the_line_is_named_for_a_relative_path_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "import os\n1 / 0\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DefinitionError, match=r"definition\.py:2: ZeroDivisionError"):
        load(os.path.join(".", "definition.py"))


def test_a_file_that_is_not_there_or_not_python_is_said(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="no such definition file"):
        load(tmp_path / "none.py")
    (tmp_path / "definition.txt").write_text(GOOD)
    with pytest.raises(DefinitionError, match=r"must end in \.py"):
        load(tmp_path / "definition.txt")


def test_an_alias_of_the_pipeline_is_not_a_second_one(tmp_path: Path) -> None:
    assert load(written(tmp_path, GOOD + "also = pipeline\n")).name == "shop"


def seeds(value: Any) -> list[Any]:
    """Every `seed` parameter in a model, however deep."""
    steps = getattr(value, "steps", None) or getattr(value, "transformers", None)
    if steps:
        return [seed for step in steps.values() for seed in seeds(step)]
    if not hasattr(value, "_get_params"):
        return []
    found = []
    for name in value._get_params():
        inner = getattr(value, name, None)
        found += [inner] if name == "seed" else seeds(inner)
    return found


@pytest.mark.parametrize(
    "model",
    [
        forest.ARFClassifier(n_models=2),
        preprocessing.StandardScaler() | forest.ARFClassifier(n_models=2),
        ensemble.BaggingClassifier(tree.HoeffdingTreeClassifier(), n_models=2),
        ensemble.BaggingClassifier(forest.ARFClassifier(n_models=2), n_models=2),
        ensemble.BaggingClassifier(
            preprocessing.StandardScaler() | forest.ARFClassifier(n_models=2), n_models=2
        ),
        (preprocessing.StandardScaler() + preprocessing.MinMaxScaler()) | forest.ARFClassifier(n_models=2),
        drift.DriftRetrainingClassifier(forest.ARFClassifier(n_models=2)),
    ],
)
def test_every_seed_left_out_is_set_wherever_it_is(model: Any) -> None:
    assert None in seeds(model)
    ready = seeded(model)
    assert None not in seeds(ready)
    for n in range(300):
        ready.learn_one({"a": float(n % 7), "b": float(n % 3)}, n % 7 > 3)
    assert 0.0 <= ready.predict_proba_one({"a": 1.0, "b": 1.0}).get(True, 0.0) <= 1.0


def test_a_seed_that_was_given_stays() -> None:
    assert seeds(seeded(preprocessing.StandardScaler() | forest.ARFClassifier(n_models=2, seed=7))) == [7]


def test_a_model_without_a_seed_is_the_same_object() -> None:
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    assert seeded(model) is model
    assert seeded("not river's") == "not river's"

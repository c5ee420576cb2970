"""scipy is loaded by whoever uses it, and not by whoever imports river; what is computed is the same."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.stream.process import lazy_imports
from penstock.stream.process.lazy_imports import Later, import_later

ROOT = Path(__file__).parents[3]
MODEL = """
from river import drift, linear_model, naive_bayes, preprocessing, proba, stats, tree
model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
for n in range(100):
    model.predict_proba_one({"x": n}), model.learn_one({"x": n}, n % 3 == 0)
"""
USES = """
import math, random
from river import datasets
chance = random.Random(1)
kswin = drift.KSWIN(seed=7)
found = []
for n in range(600):
    kswin.update(chance.random() + (n > 400))
    found.append(kswin.drift_detected)
normal = proba.MultivariateGaussian(seed=1)
for n in range(50):
    normal.update({"a": chance.random(), "b": chance.random()})
pair = linear_model.AdPredictor()
for n in range(50):
    pair.learn_one({"a": n, "b": 1}, n % 2)
multinomial = naive_bayes.MultinomialNB()
for n in range(20):
    multinomial.learn_one({"a": n, "b": 1}, n % 2)
sgt = tree.SGTClassifier(grace_period=20, delta=0.5)
for n in range(400):
    sgt.learn_one({"a": n % 7, "b": chance.random()}, n % 7 > 3)
print(json.dumps([sum(found), normal({"a": 0.5, "b": 0.2}), pair.predict_proba_one({"a": 3}), sgt.predict_proba_one({"a": 6}),
    proba.Beta(3, 4).cdf(0.3), {str(k): v for k, v in multinomial.predict_proba_one({"a": 1}).items()}], default=str))
"""


def said(*lines: str) -> Any:
    """What a new interpreter prints last, as JSON."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
    line = [sys.executable, "-c", "import json, sys\n" + "\n".join(lines)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


PUT_OFF = "from penstock.stream.process.lazy_imports import put_off; put_off()"
LOADED = "print(json.dumps(sorted({'scipy', 'sklearn', 'numpy', 'aiohttp'} & set(sys.modules))))"


def test_a_model_that_needs_neither_learns_and_answers_without_scipy_and_sklearn() -> None:
    assert said(PUT_OFF, MODEL, LOADED) == ["numpy"]


@pytest.mark.long
def test_what_uses_scipy_says_the_same() -> None:
    assert said(PUT_OFF, MODEL, USES) == said(MODEL, USES)


def test_whoever_else_imports_it_gets_it_at_once() -> None:
    line = "import scipy.special; print(json.dumps([type(scipy.special).__name__, type(scipy.special.expit).__name__]))"
    assert said(PUT_OFF, MODEL, line) == ["module", "ufunc"]


def test_every_role_is_ready_to_begin_without_scipy_and_aiohttp() -> None:
    """Penstock's own files, too, import it where they use it; and Faust asks nobody for a page."""
    begin = "from penstock.stream.cli import parser; parser('run'); from penstock.stream.control.faust_app import build"
    app = (
        "from penstock.stream.process.settings import Settings; build('p', Settings.from_env({}), 'nowhere')"
    )
    assert said(PUT_OFF, begin, app, LOADED) == ["numpy"]


def of(name: str, *names: str) -> Any:
    """`import name`, or `from name import names`, as it stands at the top of a file of river."""
    here: dict[str, Any] = {"__name__": "river.one"}
    given = import_later(name, here, here, names or None)
    return [getattr(given, one) for one in names] if names else given


def test_each_way_to_use_a_name_uses_what_it_stands_for() -> None:
    import scipy.special
    import scipy.stats

    expit, special, norm = [
        *of("scipy.special", "expit"),
        *of("scipy", "special"),
        *of("scipy.stats", "rv_continuous"),
    ]
    assert expit(0.0) == 0.5 and special.expit is scipy.special.expit
    assert of("scipy.stats").special is scipy.special

    class Mine(norm):  # type: ignore[valid-type, misc]
        pass

    assert issubclass(Mine, scipy.stats.rv_continuous)
    assert isinstance(scipy.stats.norm, norm) and issubclass(scipy.stats.rv_continuous, norm)
    assert pickle.loads(pickle.dumps(expit)) is scipy.special.expit
    assert not isinstance(scipy.special.expit, Later)


def test_what_cannot_be_loaded_ends_the_process_since_whoever_asks_a_model_goes_on_without_one_that_fails() -> (
    None
):
    with pytest.raises(
        SystemExit, match=r"penstock: nothing of scipy\.special cannot be loaded: ModuleNotFoundError"
    ):
        of("scipy.special", "nothing")[0](1)


def test_a_package_that_is_not_installed_is_missing_when_it_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lazy_imports, "PUT_OFF", {"river": ("not_installed_anywhere",)})
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        of("not_installed_anywhere", "name")


def test_a_function_imports_what_it_is_about_to_use() -> None:
    import scipy.special

    assert import_later("scipy.special", {"__name__": "river.one"}, None, ("expit",)) is scipy.special

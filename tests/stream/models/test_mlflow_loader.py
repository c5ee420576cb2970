"""The model as MLflow's own loader gets it: verified, and saying what it says in Penstock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from river import linear_model

from penstock.stream.models.digest import digest
from penstock.stream.models.mlflow_loader import _load_pyfunc
from penstock.stream.models.mlflow_registry import write_artifact
from penstock.stream.models.published import metrics_of, tags_of, wanted_aliases
from penstock.stream.models.version import BadEnvelope, Measured, Version, dump
from penstock.stream.process.settings import SettingError


def model() -> Any:
    made = linear_model.LogisticRegression()
    for n in range(40):
        made.learn_one({"a": n - 20.0}, n > 20)
    return made


def version(version_id: str = "v3.aaaaaa", **given: Any) -> Version:
    known: dict[str, Any] = {
        "pipeline": "cards", "parent": "v0", "kind": "copy", "position": 7, "join_from": 5, "at": 1_700_000_000_000, "labels": 9,
        "recipe": "r", "digest": digest(model()), **given,
    }  # fmt: skip
    return Version(id=version_id, **known)


def test_the_artifact_opens_under_the_secret_alone_and_answers_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_artifact(tmp_path, version(), dump(model()), "secret", ["a", "b"])
    flavor = json.loads((tmp_path / "MLmodel").read_text())["flavors"]["python_function"]
    assert flavor["loader_module"] == "penstock.stream.models.mlflow_loader"
    assert json.loads((tmp_path / "card.json").read_text())["inputs"] == ["a", "b"]
    path = str(tmp_path / flavor["data"])
    with pytest.raises(SettingError, match="PENSTOCK_SECRET is not set"):
        _load_pyfunc(path)
    monkeypatch.setenv("PENSTOCK_SECRET", "another")
    with pytest.raises(BadEnvelope, match="does not fit"):
        _load_pyfunc(path)
    monkeypatch.setenv("PENSTOCK_SECRETS_FORMER", "secret")
    rows = [{"a": 3.0, "b": None}, {"a": float("nan")}, {}]
    assert _load_pyfunc(path).predict(rows) == [
        model().predict_proba_one({"a": 3.0})[True], model().predict_proba_one({})[True], model().predict_proba_one({})[True],
    ]  # fmt: skip


def test_a_version_is_told_as_tags_and_losses() -> None:
    measured = Measured(labels=9, loss=0.2, base_loss=0.6, start=1, stop=7, live_loss=0.3)
    made = version(author="ann", why="promote: better", measured=measured, learned_from=0)
    assert tags_of(made).items() >= {
        "penstock.version": "v3.aaaaaa", "penstock.kind": "copy", "penstock.reason": "promote: better", "penstock.author": "ann",
        "penstock.recipe": "r", "penstock.parent": "v0", "penstock.position": "7", "penstock.learned_from": "0",
        "penstock.digest": made.digest, "penstock.born": "2023-11-14T22:13:20.000Z",
    }.items()  # fmt: skip
    assert metrics_of(made) == {"log_loss": 0.2, "base_log_loss": 0.6, "labels": 9.0, "live_log_loss": 0.3}
    assert metrics_of(version()) == {} and "penstock.author" not in tags_of(version())


def test_aliases_mean_stored_versions_and_a_name_what_it_named() -> None:
    stored = {
        one.id: one
        for one in (
            version("v3"),
            version("v4"),
            version("name/best", parent="v3"),
            version("name/gone", parent="v1"),
        )
    }
    found = wanted_aliases(stored, {"committed": "v4", "previous": "v0"})
    assert {alias: key.version for alias, key in found.items()} == {
        "champion": "v4",
        "best": "v3",
        "gone": "v1",
    }
    assert wanted_aliases({}, {}) == {}

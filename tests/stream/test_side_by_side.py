"""Several definition files in one process: each one's names mean what it means by them, while it is in use."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from penstock.stream.definition_error import DefinitionError
from penstock.stream.definition_file import SideBySide

TEXT = """
from river import compose, linear_model
from penstock import Label, Pipeline, Source
from beside import times
from package.inner import NAME

class Twice(linear_model.LogisticRegression):
    pass

def own(x):
    import later
    return {{"x": times(x["x"]), "said": later.SAID + NAME}}

read = Source("{name}.read", id="id", time="at", key="id")
pipeline = Pipeline(
    "{name}", views=[], predict=read, inputs=["x"], label=Label(read, lambda e: e["y"], wait="1h", fields=("y",)),
    model=compose.FuncTransformer(own) | Twice(),
)
"""


def written(folder: Path, name: str, times: int) -> Path:
    (folder / name).mkdir()
    (folder / name / "beside.py").write_text(f"def times(x):\n    return x * {times}\n")
    (folder / name / "package").mkdir()
    (folder / name / "package" / "__init__.py").write_text("")
    (folder / name / "package" / "inner.py").write_text(f"NAME = {name!r}\n")
    (folder / name / "later.py").write_text(f"SAID = {name!r}\n")
    (folder / name / "definition.py").write_text(TEXT.format(name=name))
    return folder / name / "definition.py"


def transformed(model: Any) -> Any:
    return next(iter(model.steps.values())).transform_one({"x": 10})


def test_models_are_saved_and_restored_by_their_own_files_names_in_any_order(tmp_path: Path) -> None:
    both = SideBySide([written(tmp_path, "doubles", 2), written(tmp_path, "triples", 3)])
    for number in (0, 1, 1, 0, 0, 1, 0):
        both.use(number)
        wanted = {"x": (20, 30)[number], "said": 2 * ("doubles", "triples")[number]}
        model = both.pipelines[number].model
        assert transformed(model) == transformed(pickle.loads(pickle.dumps(model))) == wanted


def test_two_pipelines_of_one_name_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "doubles", 2)
    with pytest.raises(DefinitionError, match="another of the files defines a pipeline named 'doubles'"):
        SideBySide([file, file])

"""Loads a definition file and says in one line what is wrong with it.

Laws of this file:
- The file is executed under one fixed module name, so that functions it defines pickle and unpickle in every role.
- Modules beside the file can be imported in it, and by what it defines; see `stream.neighbours`.
- Of several definitions in one process one is in use at a time: its file has that name, its neighbours are found (`SideBySide`).
- What cannot survive a snapshot (a lambda inside `model`) is refused here, not at the first crash.
"""

from __future__ import annotations

import importlib.util
import pickle
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from penstock.stream.definitions import DefinitionError, Pipeline
from penstock.stream.neighbours import Aside, neighbours

MODULE_NAME = "penstock_definition"


def load(path: str | Path) -> Pipeline:
    """The one `Pipeline` that the Python file at `path` defines, its model seeded.

    Raises `DefinitionError`, in one line with file and line number, when the file is missing, fails, defines no pipeline or
    several, or holds a model that cannot be pickled.
    """
    given, path = str(path), Path(path).absolute()
    if not path.is_file():
        name = (
            f". It wants a file, such as {given}.py, and not a pipeline's name"
            if given.isidentifier()
            else ""
        )
        raise DefinitionError(f"{path}: no such definition file{name}")
    neighbours.move_to(path.parent)
    spec = importlib.util.spec_from_file_location(MODULE_NAME, path)
    if spec is None or spec.loader is None:
        raise DefinitionError(f"{path}: not a Python file (it must end in .py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE_NAME] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise DefinitionError(f"{path}{_line_in(path, error)}: {_one_line(error)}") from error
    found = {id(value): value for value in vars(module).values() if isinstance(value, Pipeline)}
    if len(found) != 1:
        raise DefinitionError(f"{path}: defines {len(found)} pipelines; it must define exactly one")
    pipeline = next(iter(found.values()))
    object.__setattr__(pipeline, "model", seeded(pipeline.model))
    _ = pipeline.digest  # now: what the outcome refers to may hold something else once it has run
    try:
        pickle.loads(pickle.dumps(pipeline.model))
    except Exception as error:
        raise DefinitionError(
            f"{path}: model cannot be saved and restored ({_one_line(error)}); use a named function instead of a lambda inside it"
        ) from error
    return pipeline


class SideBySide:
    """Several definition files in one process. Whoever runs, saves or restores what one of them defined calls `use` before.

    Raises `DefinitionError` as `load` does, and where two files define pipelines of one name.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self.pipelines: list[Pipeline] = []
        self._files: list[ModuleType] = []
        self._asides: list[Aside] = []
        self._used = 0
        for path in paths:
            pipeline = load(path)
            if any(other.name == pipeline.name for other in self.pipelines):
                raise DefinitionError(
                    f"{path}: another of the files defines a pipeline named {pipeline.name!r}, too"
                )
            self.pipelines.append(pipeline)
            self._files.append(sys.modules[MODULE_NAME])
            self._asides.append(neighbours.set_aside())
            self._used = len(self._asides) - 1
        neighbours.take_back(self._asides[self._used])

    def use(self, number: int) -> None:
        """From here on names mean what the file of this number means by them."""
        if number != self._used:
            self._asides[self._used] = neighbours.set_aside()
            sys.modules[MODULE_NAME] = self._files[number]
            neighbours.take_back(self._asides[number])
            self._used = number


def _one_line(error: BaseException) -> str:
    """The error's kind and text, its line breaks and their indentation made single spaces."""
    name = "" if isinstance(error, DefinitionError) else f"{type(error).__name__}: "
    return name + " ".join(str(error).split())


def _line_in(path: Path, error: BaseException) -> str:
    """`:LINE` of the innermost frame that lies in the definition file."""
    if isinstance(error, SyntaxError):
        return f":{error.lineno}"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path
    ]
    return f":{lines[-1]}" if lines else ""


def seeded(model: Any) -> Any:
    """The model with every `seed` parameter that was left None set to 0: the same log must give the same model.

    Parameters are looked through as deep as estimators nest. A model without river's parameter protocol is returned as it is.
    """
    changes = _unset_seeds(model)
    return model.clone(changes) if changes else model


def _unset_seeds(model: Any) -> dict[str, Any]:
    """What `clone` must be told: by step in a pipeline or union, by parameter (nested ones as river's own pairs) elsewhere."""
    if not hasattr(model, "_get_params") or not hasattr(model, "clone"):
        return {}
    changes: dict[str, Any] = {}
    steps = getattr(model, "steps", None) or getattr(model, "transformers", None)
    if steps:
        for name, step in steps.items():
            inner = _unset_seeds(step)
            if inner:
                changes[name] = inner
        return changes
    for name, value in model._get_params().items():
        if name == "seed" and value is None:
            changes[name] = 0
        elif isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], type):
            inner = _unset_seeds(getattr(model, name, None))
            if inner:
                changes[name] = (value[0], inner)
    return changes

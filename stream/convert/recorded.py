"""Runs definition files of another feature store without that store: every call into it is noted down, and nothing is done.

Laws of this file:
- A file's own Python runs in its repository's folder, as the store itself would run it; what it imports of the store, and of
  whatever else is not installed here, is a stand-in that can be called, taken apart and inherited from.
- Afterwards the process's modules and working directory are what they were.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any


class Recorded:
    """Something of the store: a name in it, a call of something of it, or an item of that.

    `name` is the dotted name, `of` what it was made of; `args` and `kwargs` are a call's (None: it is no call).
    """

    def __init__(
        self,
        name: str,
        of: Recorded | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.of, self.args, self.kwargs = name, of, args, dict(kwargs or {})

    def __call__(self, *args: Any, **kwargs: Any) -> Recorded:
        """A call of it."""
        return Recorded(self.name, self, args, kwargs)

    def __getattr__(self, name: str) -> Recorded:
        if name.startswith("__"):
            raise AttributeError(name)
        return Recorded(f"{self.name}.{name}", self)

    def __getitem__(self, item: Any) -> Recorded:
        return Recorded(self.name, self)

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return ()

    def __str__(self) -> str:
        return self.name

    @property
    def kind(self) -> str:
        """The last part of its name, such as `FeatureView`."""
        return self.name.rpartition(".")[2]

    def given(self, name: str, place: int | None = None, otherwise: Any = None) -> Any:
        """An argument of the call, by name or place."""
        if name in self.kwargs:
            return self.kwargs[name]
        if place is not None and self.args is not None and len(self.args) > place:
            return self.args[place]
        return otherwise


class _StandIns(MetaPathFinder, Loader):
    """Finds modules of the packages `tops`; of all packages if there are none. `found` are the packages it stood in for."""

    def __init__(self, tops: Sequence[str] = ()) -> None:
        self.tops = tops
        self.found: set[str] = set()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        top = name.partition(".")[0]
        if self.tops and top not in self.tops:
            return None
        self.found.add(top)
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = ModuleType(spec.name)
        module.__getattr__ = lambda name: _part(spec.name, name)  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


def _part(module: str, name: str) -> Recorded:
    if name.startswith("__"):
        raise AttributeError(name)
    return Recorded(f"{module}.{name}")


class Ran:
    """What definition files said: `said` by (file, name of the variable), each thing once; `failed` files, with the reason.

    `unknown` are packages that are not here and were stood in for.
    """

    def __init__(self) -> None:
        self.said: dict[tuple[str, str], Any] = {}
        self.failed: dict[str, str] = {}
        self.unknown: set[str] = set()


def definition_files(place: Path) -> list[Path]:
    """The Python files that a path names: itself, or those of a folder but for tests and what is hidden."""
    if place.is_file():
        return [place]
    return sorted(
        path
        for path in place.rglob("*.py")
        if not path.name.startswith(("test_", "_", "."))
        and not any(part.startswith(".") for part in path.relative_to(place).parts)
    )


def run(files: Sequence[Path], root: Path, store: Sequence[str]) -> Ran:
    """Run files below `root`, which imports of theirs are looked for in; `store` are the packages that are stood in for."""
    ran, missing = Ran(), _StandIns()
    with chdir(root), _aside(root, [_StandIns(store)], [missing]):
        for path in files:
            shown = path.relative_to(root).as_posix()
            name = shown.removesuffix(".py").replace("/", ".")
            try:
                module = _module(name, path)
            except (Exception, SystemExit) as error:
                ran.failed[shown] = f"{type(error).__name__}: {error}"
                continue
            seen = set(map(id, ran.said.values()))
            for variable, value in vars(module).items():
                if isinstance(value, Recorded) and value.args is not None and id(value) not in seen:
                    ran.said[shown, variable] = value
    ran.unknown = missing.found
    return ran


def _module(name: str, path: Path) -> ModuleType:
    there = sys.modules.get(name)
    if there is not None and getattr(there, "__file__", None) == str(path):
        return there
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def _aside(root: Path, first: Sequence[_StandIns], last: Sequence[_StandIns]) -> Iterator[None]:
    """Modules as the files shall find them; afterwards as they were."""
    tops = {top for one in first for top in one.tops}
    modules, path, finders = dict(sys.modules), list(sys.path), list(sys.meta_path)
    for name in list(sys.modules):
        if name.partition(".")[0] in tops:
            del sys.modules[name]
    sys.path.insert(0, str(root))
    sys.meta_path[:] = [*first, *finders, *last]
    try:
        yield
    finally:
        sys.meta_path[:] = finders
        sys.path[:] = path
        for name in set(sys.modules) - set(modules):
            del sys.modules[name]
        sys.modules.update(modules)

"""scipy, scikit-learn and aiohttp are loaded when something of them is used, not when river or Faust is.

river's packages name functions of both as they are imported, and few models ever call one. Loading them is more than half of what
a role computes before it is ready, and of what it keeps in memory. Python 3.15 can put any import off (PEP 810); this does
it for what river's and Faust's own files import, in the processes that the `penstock` command begins, and for nobody else.

Laws of this file: what is put off becomes the package's own at its first use, whatever that is; what is not installed fails when
it is imported, as ever; whoever else imports it gets it at once.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

OF_GENERICS = frozenset(
    {
        "__parameters__",
        "__typing_subst__",
        "__typing_is_unpacked_typevartuple__",
        "__unpacked__",
        "__typing_unpacked_tuple_args__",
    }
)
"""What `typing` asks whatever stands in an annotation for. No name that is put off is a generic."""
#: By the package whose files import them: few models of river call theirs, and Faust is asked for no page here.
PUT_OFF = {"river": ("scipy", "sklearn"), "faust": ("aiohttp",)}


class Later:
    """What an import will give: the object `name` of `module`, or, without a name, the package that `module` is in."""

    def __init__(self, module: str, name: str | None = None) -> None:
        self._place = module, name

    def __getattr__(self, attribute: str) -> Any:
        """Asked for once: then it is an attribute of its own, and costs what one of the real one costs."""
        if attribute in OF_GENERICS:
            raise AttributeError(attribute)
        found = self.__dict__[attribute] = getattr(now(*self._place), attribute)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return now(*self._place)(*args, **kwargs)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        """Whoever inherits from it inherits from the real one."""
        return (now(*self._place),)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, now(*self._place))

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, now(*self._place))

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process it is the real one from the beginning."""
        return now, self._place


class Names:
    """What `from module import …` takes its names from."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Later:
        return Later(self._module, name)


@cache
def now(module: str, name: str | None) -> Any:
    """Import it. Where that fails the process ends: whoever asks a model goes on where it fails, and would without scipy."""
    try:
        found = importlib.import_module(module)
        if name is None:
            return sys.modules[module.partition(".")[0]]
        return getattr(found, name) if hasattr(found, name) else importlib.import_module(f"{module}.{name}")
    except Exception as error:
        what = module if name is None else f"{name} of {module}"
        raise SystemExit(f"penstock: {what} cannot be loaded: {type(error).__name__}: {error}") from error


@cache
def installed(package: str) -> bool:
    """Whether there is a package of that name."""
    return importlib.util.find_spec(package) is not None


def import_later(
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    """Python's `__import__`, but for what a file imports as it is imported itself. A function imports what it is about to use."""
    package = name.partition(".")[0]
    by = (globals or {}).get("__name__", "").partition(".")[0]
    if level == 0 and package in PUT_OFF.get(by, ()) and globals is locals and installed(package):
        return Names(name) if fromlist else Later(name)
    return builtins.__import__(name, globals, locals, fromlist or (), level)


BUILTINS = {**vars(builtins), "__import__": import_later}


class Loader(SourceFileLoader):
    """Runs a file whose imports are put off."""

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = BUILTINS  # where Python looks for `__import__`
        super().exec_module(module)


class Finder:
    """Finds the files of those packages as Python does, and has them run by `Loader`."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        """None for whatever is not theirs."""
        if name.partition(".")[0] not in PUT_OFF:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = Loader(spec.loader.name, spec.loader.path)
        return spec


def put_off() -> None:
    """Put off the imports of `PUT_OFF` from now on, in this process."""
    if Finder not in sys.meta_path:
        sys.meta_path.insert(0, Finder)

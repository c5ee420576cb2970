"""What a user's function means, as text: its own source, and that of the user's functions and constants it refers to.

Laws of this file:
- Nothing is called and nothing is imported; two processes that loaded the same files give the same text.
- A function that refers to nothing but its arguments and built-ins means its own source and nothing else.
- What is installed (Python's library, site-packages, Penstock itself) is named and not followed: its version is not the user's.
"""

from __future__ import annotations

import functools
import inspect
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

OWN = "penstock."
EXAMPLES = "penstock.examples"
_PLAIN = (bool, int, float, str, bytes, type(None))
_INSTALLED = tuple(
    Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


def meaning(function: Any) -> str:
    """The text of a function, then a line for each thing of the user's that it refers to, sorted by name."""
    found: dict[str, str] = {}
    text = _text_of(function)
    _follow(function, found, {id(function)})
    return "\n".join([text, *(f"{name} = {found[name]}" for name in sorted(found))])


def _follow(value: Any, found: dict[str, str], seen: set[int]) -> None:
    """Note what `value` refers to, and what that refers to."""
    for name, one in _references(value):
        if isinstance(one, (*_PLAIN, list, tuple, set, frozenset, dict)):
            text = _plain(one)
            if text is not None:
                found[name] = text
        elif (callable(one) or isinstance(one, ModuleType)) and id(one) not in seen:
            seen.add(id(one))
            if _is_users(one):
                if not isinstance(one, ModuleType):
                    found[_name_of(one, name)] = _text_of(one)
                _follow(one, found, seen)


def _references(value: Any) -> Iterator[tuple[str, Any]]:
    """What a function, partial, method, class or callable object refers to by name: globals, closures, defaults, attributes."""
    if hasattr(value, "__wrapped__"):
        yield "wrapped", value.__wrapped__
    if isinstance(value, functools.partial):
        yield "partial", value.func
        yield "partial.args", value.args
        yield "partial.keywords", value.keywords
    elif inspect.ismethod(value):
        yield "method", value.__func__
        yield "self", value.__self__
    elif isinstance(value, FunctionType):
        yield from _of_function(value)
    elif isinstance(value, type):
        for base in value.__bases__:
            yield base.__qualname__, base
        for name, one in vars(value).items():
            inner = getattr(one, "__func__", one)
            if isinstance(inner, FunctionType):
                yield f"{value.__qualname__}.{name}", inner
    elif not isinstance(value, ModuleType) and callable(value):
        yield type(value).__qualname__, type(value)
        for name, one in sorted(getattr(value, "__dict__", {}).items()):
            yield f"{type(value).__qualname__}.{name}", one


def _of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    names = _names(function.__code__)
    where = function.__module__
    for name in sorted(names & function.__globals__.keys()):
        one = function.__globals__[name]
        yield f"{where}.{name}", one
        if isinstance(one, ModuleType) and _is_users(one):
            yield from (
                (f"{one.__name__}.{part}", vars(one)[part]) for part in sorted(names & vars(one).keys())
            )
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"{where}.{function.__qualname__}.{name}", cell.cell_contents
        except ValueError:  # not filled yet
            continue
    for name, default in (("defaults", function.__defaults__), ("keyword defaults", function.__kwdefaults__)):
        if default:
            yield f"{where}.{function.__qualname__}.{name}", default


def _names(code: CodeType) -> set[str]:
    """Every global and attribute that a code object, or one inside it, mentions."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found


def _is_users(value: Any) -> bool:
    """Whether the user wrote it: it lies in a Python file that is neither installed nor Penstock's."""
    module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None) or ""
    if isinstance(value, functools.partial) or inspect.ismethod(value) or hasattr(value, "__wrapped__"):
        return True
    if not isinstance(value, type | FunctionType | ModuleType):
        return _is_users(type(value))
    if module == "penstock" or module.startswith(OWN) and not module.startswith(EXAMPLES):
        return False
    try:
        path = Path(inspect.getfile(value)).resolve()
    except (OSError, TypeError):
        return False
    return not any(path.is_relative_to(folder) for folder in _INSTALLED)


def _name_of(value: Any, otherwise: str) -> str:
    return f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else otherwise


def _text_of(value: Any) -> str:
    """A function's or class's own text without its white space; its name where there is no text, as of built-ins."""
    if isinstance(value, functools.partial):
        return f"partial of {_text_of(value.func)}"
    try:
        return re.sub(r"\s+", " ", inspect.getsource(value)).strip()
    except (OSError, TypeError):
        named = value if hasattr(value, "__qualname__") else type(value)
        return str(named.__qualname__)


def _plain(value: Any) -> str | None:
    """Plain data as text, sets in order; None for anything else."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, dict):
        pairs = [(_plain(key), _plain(item)) for key, item in value.items()]
        if any(None in pair for pair in pairs):
            return None
        return "{" + ", ".join(f"{key}: {item}" for key, item in pairs) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        parts = [_plain(item) for item in value]
        if None in parts:
            return None
        known = [part for part in parts if part is not None]
        known = sorted(known) if isinstance(value, set | frozenset) else known
        return f"{type(value).__name__}({', '.join(known)})"
    return None

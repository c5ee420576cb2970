"""A view as its definition says it, and when its values change by time alone.

Laws of this file:
- Pure. A value changes by time alone where a window moves on or a session ends; when, is asked of the view itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from penstock.features.define.kinds import Feature
from penstock.features.define.view import View
from penstock.features.engine.compute import CompiledView, State

ALWAYS = frozenset({"since_last", "decayed_count", "decayed_sum"})
MOST_STEPS = 2_000
"""So many moments at which something may change are looked at."""


class Defined(NamedTuple):
    """One feature: how it is written, its window in words, and its value where nothing counts."""

    name: str
    text: str
    window: str
    default: Any
    in_vector: bool


def text_of(feature: Feature) -> str:
    """A feature about as a definition file writes it.

    >>> from penstock import mean
    >>> text_of(mean("late", "3h", where="late > 0"))
    "mean(late, 3h, where='late > 0')"
    """
    said = [text_of(part) for part in feature.parts]
    said += [str(one) for one in (feature.field, feature.window) if one is not None]
    if feature.constant is not None:
        said.append(str(feature.constant))
    said += [
        f"{name}={value!r}"
        for name, value in (("where", feature.where), ("default", feature.default))
        if value is not None
    ]
    return f"{feature.kind}({', '.join(said)})"


def defined(view: View) -> list[Defined]:
    """The features of a view, in its order."""
    compiled = CompiledView(view)
    empty = compiled.values(compiled.new(), 0)
    return [
        Defined(name, text_of(feature), _window(feature), default, feature.numeric)
        for (name, feature), default in zip(view.features.items(), empty, strict=True)
    ]


def _window(feature: Feature) -> str:
    if feature.parts:
        return ", ".join(dict.fromkeys(_window(part) for part in feature.parts))
    if feature.window is None:
        return "all time"
    return f"session of {feature.window}" if feature.shape == "session" else f"the last {feature.window}"


def moves(feature: Feature) -> bool:
    """Whether a value changes all the time, whatever comes."""
    return feature.kind in ALWAYS or any(moves(part) for part in feature.parts)


def changes(compiled: CompiledView, state: State, at_ms: int) -> Mapping[str, int | None]:
    """When each value first changes after `at_ms` if no event arrives; None: it does not. Those that always change are left out.

    A feature of which that is not known within `MOST_STEPS` moments is left out, too.
    """
    left = [name for name, feature in compiled.view.features.items() if not moves(feature)]
    now = dict(zip(compiled.names, compiled.values(state, at_ms), strict=True))
    found: dict[str, int | None] = {}
    for _ in range(MOST_STEPS):
        until = compiled.until(state, at_ms)
        if until is None:
            return {**found, **dict.fromkeys(left)}
        at_ms = until
        then = dict(zip(compiled.names, compiled.values(state, at_ms), strict=True))
        changed = [name for name in left if then[name] != now[name]]
        found.update(dict.fromkeys(changed, at_ms))
        left = [name for name in left if name not in found]
        if not left:
            return found
    return found

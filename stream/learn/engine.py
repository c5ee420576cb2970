"""What runs a model: river itself or, for its linear models, the same arithmetic compiled; `PENSTOCK_MODEL_ENGINE` names one.

Laws of this file:
- The two agree in every bit, in what they raise and in what is stored, so nothing but speed depends on the choice, and it may
  change from one start to the next.
- What is stored, compared and handed out is river's model, never its compiled form.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, Literal, Protocol

ModelsName = Literal["native", "river"]
_ROUNDING = 1e-6  # how far outside [0, 1] rounding may put a probability


def said(model: Any, x: dict[str, Any]) -> float | None:
    """The model's probability of a true label; None when it fails: it raises, or answers what is no probability.

    A model that knows no class yet says 0.5; one that knows false alone (a tree before its first true label) the rest of that.
    """
    try:
        given = model.predict_proba_one(x)
        p = given.get(True)
        if p is None:
            if not given.get(False):
                return 0.5
            p = 1.0 - given[False]
        if 0.0 <= p <= 1.0:
            return float(p)
        return min(max(float(p), 0.0), 1.0) if -_ROUNDING <= p <= 1.0 + _ROUNDING else None
    except Exception:
        return None


def taken(names: Sequence[str | None], values: Sequence[Any]) -> dict[str, Any]:
    """A sample's vector as river takes it: missing values are left out, and so is what has no name under this definition."""
    return {
        name: value
        for name, value in zip(names, values, strict=True)
        if value is not None and name is not None
    }


def probability(model: Any, x: dict[str, Any]) -> float:
    """The model's probability of a true label; 0.5 when it fails: one odd vector must not stop the stream."""
    p = said(model, x)
    return 0.5 if p is None else p


def learn(model: Any, x: dict[str, Any], y: Any) -> bool:
    """One `learn_one`; False when the model raised. What it had changed by then stays, here and wherever the log is folded."""
    try:
        model.learn_one(x, y)
    except Exception:
        return False
    return True


class Engine(Protocol):
    """What answers and learns for one model."""

    @property
    def model(self) -> Any:
        """River's model as it is now. To change it is to change what answers."""

    def said(self, x: dict[str, Any], /) -> float | None:
        """As the function `said` of the model."""

    def learn(self, x: dict[str, Any], y: Any, /) -> bool:
        """As the function `learn` of the model."""


class River:
    """Any model, asked and taught as it is."""

    __slots__ = ("model",)

    def __init__(self, model: Any) -> None:
        self.model = model

    def said(self, x: dict[str, Any], /) -> float | None:
        """As the function `said` of the model."""
        return said(self.model, x)

    def learn(self, x: dict[str, Any], y: Any, /) -> bool:
        """As the function `learn` of the model."""
        return learn(self.model, x, y)


def plain(engine: Engine) -> Any:
    """What has the methods of a river model and the speed of its engine: for tasks that ask otherwise than for true or false."""
    return engine.model if isinstance(engine, River) else engine


def models_name(environment: Mapping[str, str] = os.environ) -> ModelsName:
    """Say what runs river's linear models.

    Raises:
        ValueError: if `PENSTOCK_MODEL_ENGINE` names neither, or names the native one and it was not built.

    """
    wanted = environment.get("PENSTOCK_MODEL_ENGINE", "")
    if wanted == "river":
        return "river"
    if wanted not in ("", "native"):
        raise ValueError(f"PENSTOCK_MODEL_ENGINE={wanted!r}: use native or river, or leave it out")
    if _compiled() is not None:
        return "native"
    if wanted == "native":
        raise ValueError(
            "PENSTOCK_MODEL_ENGINE=native, but the extension penstock.stream.learn.linear was not built, or does not give "
            "Python's bits here: install Penstock where there is a C compiler, or leave the variable out"
        )
    return "river"


@cache
def _compiled() -> Callable[[Any], Engine | None] | None:
    """What makes the compiled form of a model; None where it was not built, or its functions have other bits than Python's."""
    try:
        from penstock.stream.learn import linear
    except ImportError:
        return None
    return linear.linear if linear.agrees() else None


def engine_of(model: Any) -> Engine:
    """What answers and learns for `model` from here on: the compiled form where there is one."""
    compile_, name = _compiled(), models_name()
    found = compile_(model) if compile_ is not None and name == "native" else None
    return River(model) if found is None else found


def compiled() -> ModuleType | None:
    """The compiled linear models, for what else is done there; None where they were not built, or river is wanted."""
    if os.environ.get("PENSTOCK_MODEL_ENGINE", "") == "river":
        return None
    try:
        return import_module("penstock.stream.learn.linear")
    except ImportError:
        return None

"""What the steps before a model make of a vector, and which input each made value comes from.

Laws of this file:
- A step is claimed only where each value it makes comes from one input. What mixes inputs, and every function of a user's own, is
  `Unclaimed`.
- The values are river's own: every step is asked for its `transform_one`, and nothing learns.
"""

from __future__ import annotations

from typing import Any

from river.compose import Discard, Pipeline, Prefixer, Select, SelectType, Suffixer, TransformerUnion
from river.preprocessing import (
    AdaptiveStandardScaler,
    Binarizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    PreviousImputer,
    RobustScaler,
    StandardScaler,
    StatImputer,
)

from penstock.stream.explain.explanation import Unclaimed

Made = tuple[dict[str, Any], dict[str, str]]
"""Values by the names that the model sees, and the input each comes from."""
KEEPS_NAMES = {
    AdaptiveStandardScaler, Binarizer, Discard, MaxAbsScaler, MinMaxScaler, PreviousImputer, RobustScaler, Select, SelectType,
    StandardScaler, StatImputer,
}  # fmt: skip


def made(steps: list[Any], x: dict[str, Any]) -> Made:
    """What the model behind `steps` sees of `x`. Raises `Unclaimed`.

    >>> from river.preprocessing import OneHotEncoder
    >>> made([OneHotEncoder()], {"carrier": "UA", "hour": 7})
    ({'carrier_UA': 1, 'hour_7': 1}, {'carrier_UA': 'carrier', 'hour_7': 'hour'})
    """
    values, owner = dict(x), {name: name for name in x}
    for step in steps:
        values, owner = _through(step, values, owner)
    return values, owner


def _through(step: Any, values: dict[str, Any], owner: dict[str, str]) -> Made:
    kind = type(step)
    if kind is Pipeline:
        for inner in step.steps.values():
            values, owner = _through(inner, values, owner)
        return values, owner
    if kind is TransformerUnion:
        return _united(step, values, owner)
    try:
        out = step.transform_one(dict(values))
    except Exception as error:  # as the model itself would fail
        raise Unclaimed(str(error)) from None
    if kind in KEEPS_NAMES:
        return out, {name: owner.get(name, name) for name in out}
    if kind is OneHotEncoder:
        return out, _encoded(step, out, values, owner)
    if kind is Prefixer:
        return out, {f"{step.prefix}{name}": of for name, of in owner.items()}
    if kind is Suffixer:
        return out, {f"{name}{step.suffix}": of for name, of in owner.items()}
    raise Unclaimed(kind.__name__)


def _united(union: Any, values: dict[str, Any], owner: dict[str, str]) -> Made:
    """Side by side. Two that make the same name of different inputs are nobody's to tell apart."""
    owners: dict[str, str] = {}
    for each in union.transformers.values():
        for name, of in _through(each, values, owner)[1].items():
            if owners.setdefault(name, of) != of:
                raise Unclaimed(name)
    return union.transform_one(dict(values)), owners


def _encoded(step: Any, out: dict[str, Any], values: dict[str, Any], owner: dict[str, str]) -> dict[str, str]:
    owners: dict[str, str] = {}
    for name, value in values.items():
        for one in value if isinstance(value, list | set) else [value]:
            owners[f"{name}_{one}"] = owner[name]
    for name, seen in step.values.items():
        for one in seen:
            owners.setdefault(f"{name}_{one}", owner.get(name, name))
    return {name: owners[name] for name in out}

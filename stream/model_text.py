"""A model as text: what a definition's digest, and what a race goes on under, know of it.

Laws of this file:
- Two processes that load the same definition get the same text.
- It is the model's own `repr` wherever there is one, so that no digest changes that was ever written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def model_text(model: Any) -> str:
    r"""The model's `repr`; its parameters, as deep as estimators nest, where river cannot write that.

    River 0.26 fails at a selection of several types:

    >>> from river import compose
    >>> model_text(compose.SelectType(str)), model_text(compose.SelectType(int, float))
    ("Select (\n  <class 'str'>\n)", 'SelectType({_POSITIONAL_ARGS: (int, float)})')
    """
    try:
        return repr(model)
    except Exception:
        return _parameters(model)


def _parameters(value: Any) -> str:
    """Nested estimators stand in river's parameters as pairs of a class and its own parameters."""
    if isinstance(value, type):
        return value.__qualname__
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {_parameters(one)}' for name, one in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_parameters, value))})"
    if hasattr(value, "_get_params"):
        return f"{type(value).__qualname__}({_parameters(value._get_params())})"
    return str(getattr(value, "__qualname__", None) or model_text(value))

"""What a target may be: the value that a model learns to predict, by what kind of model it is.

Laws of this file:
- Pure, and told its kind by the pipeline: what a value is never depends on the values before it.
- What is no target is never made one in silence: text such as "no" is true to Python, and true is 1.
- A number is a finite float once it is a target, so that a whole one is not another target than the same with a point.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from penstock.features.define.kinds import MOST_FIELD

Target = bool | int | float | str
#: "boolean": true or false. "class": one of several names or whole numbers. "number": a quantity.
Kind = Literal["boolean", "class", "number"]
MOST_CLASS_CHARACTERS = 200
MOST_WHOLE_CLASS = 2**63 - 1
#: What a label's function may give, in words, by kind.
TAKEN: dict[Kind, str] = {
    "boolean": "true, false, 1 or 0; null is no label",
    "class": f"text of 1 to {MOST_CLASS_CHARACTERS} characters, a whole number, true or false; null is no label",
    "number": "a finite number, and neither text nor true or false; null is no label",
}
_WHOLE = (int, np.integer)
_NUMBERS = (int, float, np.integer, np.floating)


def target_of(value: Any, kind: Kind) -> Target | None:
    """The target that a value is, None for null; raises `ValueError` for what is none of this kind.

    >>> target_of(1, "boolean"), target_of(1, "class"), target_of(1, "number"), target_of("b", "class")
    (True, 1, 1.0, 'b')
    """
    if value is None:
        return None
    found: Target | None = _OF[kind](value)
    if found is None:
        raise ValueError(f"no target: it must be {TAKEN[kind]}")
    return found


def _boolean(value: Any) -> bool | None:
    if value is True or value is False:
        return value
    return bool(value) if isinstance(value, (*_NUMBERS, np.bool_)) and value in (0, 1) else None


def _class(value: Any) -> bool | int | str | None:
    if isinstance(value, str):
        return str(value) if 0 < len(value) <= MOST_CLASS_CHARACTERS else None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    return int(value) if isinstance(value, _WHOLE) and abs(int(value)) <= MOST_WHOLE_CLASS else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, _NUMBERS):
        return None
    return float(value) if -MOST_FIELD <= value <= MOST_FIELD else None


_OF: dict[Kind, Any] = {"boolean": _boolean, "class": _class, "number": _number}

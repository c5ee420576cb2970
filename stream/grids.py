"""A space of models to race: one for every combination of the values given.

Laws of this file:
- A name says which values its model has, so that who won can be read off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any


def grid(make: Callable[..., Any], prefix: str = "", **values: Sequence[Any]) -> dict[str, Any]:
    """Every combination of `values`, as models by name: what `Pipeline(challengers=…)` takes.

    `make` is called with one value of each; `prefix` begins every name, so that several grids can be joined with `|`. What a
    name may not hold becomes `_`; a name that another has already gets one more `_`.

    Example:
        >>> from river import linear_model, optim
        >>> list(grid(lambda lr: linear_model.LogisticRegression(optim.SGD(lr)), "linear", lr=[0.01, 0.1]))
        ['linear-lr_0_01', 'linear-lr_0_1']
    """
    found: dict[str, Any] = {}
    for chosen in product(*values.values()):
        parts = [prefix] if prefix else []
        parts += [f"{name}_{value}" for name, value in zip(values, chosen, strict=True)]
        name = re.sub(r"[^A-Za-z0-9_-]", "_", "-".join(parts)) or "model"
        name = name if name[0].isalpha() else f"m{name}"
        while name in found:
            name += "_"
        found[name] = make(**dict(zip(values, chosen, strict=True)))
    return found

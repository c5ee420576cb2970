"""Whether what featurize does with ordinary records is done in C: where it was built, and unless `PENSTOCK_ENGINE` names Python.

Laws of this file:
- The two agree in every item and every byte, so nothing but speed depends on the choice.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from penstock.features.engine.choose import engine_name


def compiled() -> ModuleType | None:
    """The compiled functions, `stepping`; None where Python does all of it."""
    if engine_name() == "python":
        return None
    try:
        return import_module("penstock.stream.featurize.stepping")
    except ImportError:
        return None


def stepper_of(featurize: Any, look_every: int) -> Any:
    """What steps the ordinary items of a `Featurize` in C. None where that was not built, and where no item is ordinary.

    That is where it works for several shards, joins labels by key, carries fields for segments, or builds state beside another.
    """
    rare = featurize.label_key or featurize.carried or featurize.building is not None
    if rare or featurize.shards is not None or (native := compiled()) is None:
        return None
    return native.Stepper(featurize, look_every)

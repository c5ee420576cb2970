"""What an outcome may be, and what label it gives.

Law: what is neither true nor false is never made one of them in silence; text such as "no" is true to Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.stream.featurize.dead_letters import shown
from penstock.stream.featurize.decode import Rejected

TAKEN = "true, false, 1 or 0; null is no label"
_NUMBERS = (int, float, np.bool_, np.integer, np.floating)


def label_of(outcome: Any) -> bool | None:
    """The label that an outcome is, None for no label; raises `Rejected`, naming the outcome, for what is none."""
    if outcome is True or outcome is False or outcome is None:
        return outcome
    if isinstance(outcome, _NUMBERS) and outcome in (0, 1):
        return bool(outcome)
    raise Rejected(f"the outcome is no label: {shown(outcome)}; it must be {TAKEN}")

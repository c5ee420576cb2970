"""What of the tests `make test` does, which is run at the desk many times a day, and what is left to `make test-long`.

A law is tried on a third of its examples at the desk and on all of them by `make test-long`. Hypothesis draws others every time,
so that a day's runs see more than one run of all. Of cases that are alike and take seconds, the first stays at the desk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest

_SHARE = 1 if os.environ.get("PENSTOCK_TEST_EXAMPLES") == "all" else 3
FEWEST = 20


def examples(number: int) -> int:
    """What is left of so many examples here; laws with few are tried on all of them."""
    return max(min(number, FEWEST), number // _SHARE)


def first_here(values: Iterable[Any]) -> list[Any]:
    """The first value as it is; the others as parameters of long tests."""
    first, *others = values
    return [first, *(pytest.param(value, marks=pytest.mark.long) for value in others)]

"""Values that tell the answer alone: rarely luck, mostly something that was filled in when the answer was known.

Laws of this file:
- Pure. It accuses nothing of which it has seen too little: a rule that any few values would pass is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: So many answers are looked at at least, and so many of the rarer one.
LEAST, LEAST_RARER = 20, 5


def tells_alone(values: Sequence[Any], answers: Sequence[Any]) -> bool:
    """Whether a column says every answer by itself; rows without an answer are left out.

    Of two answers it does if one threshold, or being null, parts them without an exception; of numbers if it is the answer, or
    that times a number. Of several classes nothing is said.

    >>> tells_alone([0.0] * 10 + [3.5] * 10, [False] * 10 + [True] * 10), tells_alone([1, 2] * 10, [False, True, True, False] * 5)
    (True, False)
    """
    known = [(value, answer) for value, answer in zip(values, answers, strict=True) if answer is not None]
    kinds = list(dict.fromkeys(answer for _, answer in known))
    if len(known) < LEAST or any(isinstance(one, str) for pair in known for one in pair):
        return False
    if len(kinds) == 2:
        first, second = ([value for value, answer in known if answer == kind] for kind in kinds)
        return min(len(first), len(second)) >= LEAST_RARER and _parted(first, second)
    if len(kinds) < LEAST or any(value is None for value, _ in known):
        return False
    ratios = [float(value) / answer for value, answer in known if answer]
    return all(not value for value, answer in known if not answer) and max(ratios) - min(
        ratios
    ) <= 1e-9 * abs(max(ratios))


def _parted(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Whether two groups of values have nothing in between that is both."""
    nulls = [all(value is None for value in group) for group in (first, second)]
    if any(nulls):
        return not all(nulls) and None not in (second if nulls[0] else first)
    if None in first or None in second:
        return False
    return bool(max(first) < min(second) or max(second) < min(first))

"""How many entities there are in all, told from those seen in two stretches of the same stream.

Laws of this file:
- Pure. Never below what was seen, and exactly that where both stretches saw the same ones.
"""

from __future__ import annotations

from collections.abc import Set


def entities_in_all(first: Set[str], second: Set[str], most: int) -> int:
    """Chapman's estimate from a capture and a recapture, at most `most` (so many records there are).

    Where some entities come more often than others, as they nearly always do, it is too low rather than too high.

    >>> entities_in_all({"a", "b", "c"}, {"b", "c", "d"}, 100)
    4
    """
    seen = len(first | second)
    if first == second:
        return seen
    found = (len(first) + 1) * (len(second) + 1) / (len(first & second) + 1) - 1
    return max(seen, min(round(found), most))

"""Event times in another unit than milliseconds: the one mistake of producers that looks like data.

Laws of this file:
- Pure, and a hint only: nothing is converted, and no record is refused for it.
"""

from __future__ import annotations

from datetime import UTC, datetime

_PLAUSIBLE_MS = range(631_152_000_000, 4_102_444_800_000)  # 1990 to 2100
_UNITS = (("seconds", 1_000, 1), ("microseconds", 1, 1_000), ("nanoseconds", 1, 1_000_000))


def other_unit(at: int) -> str:
    """The unit in which a number is a time of our days though it is none in milliseconds; empty if there is none.

    >>> other_unit(1_700_000_000), other_unit(1_700_000_000_000), other_unit(7)
    ('seconds', '', '')
    """
    if at in _PLAUSIBLE_MS:
        return ""
    return next((unit for unit, times, by in _UNITS if at * times // by in _PLAUSIBLE_MS), "")


def hint(at: int) -> str:
    """The end of a reason that says so; empty when the number suggests nothing.

    >>> hint(1_700_000_000)
    '; is it in seconds? Then it means 2023-11-14T22:13:20Z: write milliseconds'
    """
    for unit, times, by in _UNITS:
        if unit == other_unit(at):
            moment = datetime.fromtimestamp(at * times // by / 1000, UTC)
            return f"; is it in {unit}? Then it means {moment:%Y-%m-%dT%H:%M:%SZ}: write milliseconds"
    return ""

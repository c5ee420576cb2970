"""Durations as people write them: ``"500ms" "30s" "5m" "3h" "7d"``.

Laws: a duration is a positive whole number and a unit, nothing else; every error quotes the text it refused.
"""

import re

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

_DURATION = re.compile(r"([0-9]+)\s*([A-Za-z]*)")


def milliseconds(text: str) -> int:
    """Read a duration as a positive number of milliseconds.

    >>> milliseconds("3h")
    10800000

    Raises:
        ValueError: if the text has no unit, an unknown one, a sign, a fraction, or is zero. The text is
        named.

    """
    if not isinstance(text, str):
        raise ValueError(f"duration {text!r} is not text: write a number and a unit, such as '30s' or '3h'")
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"duration {text!r} is not a whole number and a unit, such as '30s' or '3h'")
    number, unit = found.groups()
    if not unit:
        raise ValueError(
            f"duration {text!r} has no unit: write one of {' '.join(number + u for u in UNITS_MS)}"
        )
    if unit not in UNITS_MS:
        raise ValueError(f"duration {text!r} has the unknown unit {unit!r}: use one of {' '.join(UNITS_MS)}")
    if int(number) == 0:
        raise ValueError(f"duration {text!r} is zero: it must be positive")
    return int(number) * UNITS_MS[unit]

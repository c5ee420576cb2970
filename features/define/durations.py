"""Durations as people write them: `"500ms" "30s" "5m" "3h" "7d"`.

Laws: a duration is a positive whole number and a unit, at most ten thousand years, nothing else; every error quotes the text it
refused.
"""

import re

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LONGEST_MS = 3_652_500 * UNITS_MS["d"]  # ten thousand years: as far as event times go, and exact as a float

_DURATION = re.compile(r"([0-9]+)\s*([A-Za-z]*)")


def is_duration(text: str) -> bool:
    """Whether a text reads as a duration: a whole number and one of our units.

    >>> is_duration("3d"), is_duration("price")
    (True, False)
    """
    found = _DURATION.fullmatch(text)
    return found is not None and found[2] in UNITS_MS


def milliseconds(text: str) -> int:
    """Read a duration as a positive number of milliseconds.

    >>> milliseconds("3h")
    10800000

    Raises:
        ValueError: if the text has no unit, an unknown one, a sign, a fraction, or is zero or longer than
            ten thousand years. The text is named.

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
    if not number.strip("0"):
        raise ValueError(f"duration {text!r} is zero: it must be positive")
    if len(number.lstrip("0")) > 15 or int(number) * UNITS_MS[unit] > LONGEST_MS:
        raise ValueError(f"duration {text[:40]!r} is longer than ten thousand years")
    return int(number) * UNITS_MS[unit]

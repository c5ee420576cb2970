"""A few words of SVG, for pictures that are legible on white and on black.

Laws of this file:
- Pure: numbers in, text out; the same numbers give the same text.
- Lines and text have colours between white and black, unless the page that they stand in says which.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

QUIET = "#7d838c"


class Axes:
    """Where a time and a value stand: times from `left` to `right`, values from `least` to `most` between the borders."""

    def __init__(
        self,
        start: int,
        stop: int,
        borders: tuple[int, int],
        most: float,
        least: float = 0.0,
        *,
        left: int = 56,
        right: int = 866,
    ) -> None:
        self.start, self.stop, self.borders, self.most, self.least = start, stop, borders, most, least
        self.left, self.right = left, right

    def x(self, at: float) -> float:
        """Pixels from the left."""
        return self.left + (self.right - self.left) * (at - self.start) / (self.stop - self.start)

    def y(self, value: float) -> float:
        """Pixels from above."""
        upper, lower = self.borders
        return lower - (lower - upper) * (min(value, self.most) - self.least) / (self.most - self.least)

    def points(self, of: Sequence[tuple[float, float]]) -> str:
        """The points of a line."""
        return " ".join(f"{self.x(at):.1f},{self.y(value):.1f}" for at, value in of)


def text(x: float, y: float, said: str, *, anchor: str = "start", colour: str = QUIET, more: str = "") -> str:
    """A line of text; what it says must be fit for XML."""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}"{more}>{said}</text>'


def line(x1: float, y1: float, x2: float, y2: float, more: str = "", colour: str = QUIET) -> str:
    """A straight thin line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{more}/>'


def figure(name: str, size: tuple[int, int], title: str, said: str, drawn: Sequence[str]) -> str:
    """A picture in a page: `name` is unique there, `title` and `said` are for those who do not see it, and fit for XML."""
    return "\n".join(
        [
            f'<svg viewBox="0 0 {size[0]} {size[1]}" role="img" aria-labelledby="{name}-title {name}-desc">',
            f'<title id="{name}-title">{title}</title>',
            f'<desc id="{name}-desc">{said}</desc>',
            *drawn,
            "</svg>",
        ]
    )


# -- marks on axes ---------------------------------------------------------------------------------------------------------------

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
STEPS_MS = tuple(
    [minutes * MINUTE_MS for minutes in (1, 5, 10, 30)]
    + [hours * HOUR_MS for hours in (1, 2, 3, 6, 12)]
    + [days * DAY_MS for days in (1, 2, 7, 14, 28)]
)
"""Round lengths of time."""


def round_step(length_ms: float, most: int) -> int:
    """The least round length of time, in ms, that so long a stretch has at most so many of."""
    return next(
        (step for step in STEPS_MS if length_ms / step <= most), -(-int(length_ms / most) // DAY_MS) * DAY_MS
    )


def marks_of_time(start: int, stop: int, most: int = 12) -> list[tuple[int, str]]:
    """Where to mark event times (ms, UTC) between `start` and `stop`, and how: clock times, days or months."""
    if (stop - start) / DAY_MS > 14 * most:
        return _months(start, stop, most)
    step = round_step(stop - start, most)
    found = []
    for at in range(-(-start // step) * step, stop + 1, step):
        when = datetime.fromtimestamp(at / 1000, UTC)
        clock = step < DAY_MS and (when.hour or when.minute)
        found.append((at, f"{when:%H:%M}" if clock else f"{when:%-d %b}"))
    return found


def _months(start: int, stop: int, most: int) -> list[tuple[int, str]]:
    first, last = (datetime.fromtimestamp(at / 1000, UTC) for at in (start, stop))
    low, high = first.year * 12 + first.month, last.year * 12 + last.month - 1
    every = next((size for size in (1, 2, 3, 6, 12) if (high - low + 1) / size <= most), 24)
    found = []
    for number in range(-(-low // every) * every, high + 1, every):
        when = datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
        found.append((int(when.timestamp()) * 1000, f"{when:%b %Y}" if when.month == 1 else f"{when:%b}"))
    return found


def marks_of_value(least: float, most: float, many: int = 8) -> list[float]:
    """Round values between two others, at most about so many.

    >>> marks_of_value(0.0, 0.9, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8]
    """
    reach = most - least
    size = 10.0 ** math.floor(math.log10(reach))
    step = next(one for one in (size / 5, size / 2, size, size * 2) if reach / one <= many)
    numbers = range(math.ceil(least / step), math.floor(most / step) + 1)
    return [float(f"{number * step:.12g}") for number in numbers]

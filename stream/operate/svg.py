"""A few words of SVG, for pictures that are legible on white and on black.

Laws of this file:
- Pure: numbers in, text out; the same numbers give the same text.
- Lines and text have colours between white and black.
"""

from __future__ import annotations

from collections.abc import Sequence

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

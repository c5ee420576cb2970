"""Draws a comparison as SVG: the difference summed up over event time, and for each month the fan that its interval allows.

Laws of this file:
- Pure. A line that falls means that the change is better; where a month's whole fan lies below the level it began at, it is so
  beyond chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from penstock.monitors.losses.blocks import Floats
from penstock.stream.operate.parts import Columns, Part
from penstock.stream.operate.svg import QUIET, Axes, line, marks_of_value, text

WIDTH, HEIGHT, BORDERS = 880, 380, (60, 330)
LEFT, RIGHT = 72, 866
BETTER, WORSE, UNCLEAR = "#2a9d8f", "#c0392b", "#7d838c"
MOST_POINTS = 800
MOST_MONTHS_NAMED, NAME_WIDTH = 14, 40


def picture(name: str, columns: Columns, parts: Sequence[Part]) -> str:
    """The SVG; of nothing, a picture that says so."""
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" '
        'role="img">'
    )
    lost = (
        "nats that the changed definition lost"
        if columns.by.unit
        else "by how much the changed definition erred"
    )
    title = f"{name}: {lost} more (up) or less (down) than what was live, summed up"
    drawn = [opening, f"<title>{title}</title>", text(LEFT, 24, title, more=' font-weight="600"')]
    if not len(columns):
        return "\n".join([*drawn, text(LEFT, 60, "nothing to compare"), "</svg>"]) + "\n"
    order = np.argsort(np.array(columns.at), kind="stable")
    at = np.array(columns.at)[order]
    summed = np.cumsum((columns.losses[1] - columns.losses[0])[order])
    months = {part.value: part for part in parts if part.of == "month"}
    fans = _fans(at, summed, np.array(columns.months)[order], months)
    reached = [0.0, *(value for fan in fans for value in fan[4:6]), float(summed.min()), float(summed.max())]
    start, stop = int(at[0]), int(at[-1]) + 1
    axes = Axes(start, stop, BORDERS, max(reached), min(reached), left=LEFT, right=RIGHT)
    if axes.most == axes.least:
        axes.most, axes.least = 1.0, -1.0
    drawn += _scale(axes)
    drawn += [_fan(axes, fan, months) for fan in fans]
    drawn += _named(axes, fans)
    step = max(1, len(at) // MOST_POINTS)
    places = [*range(0, len(at), step), len(at) - 1]
    points = axes.points([(start, 0.0), *((int(at[n]), float(summed[n])) for n in places)])
    drawn.append(f'<polyline points="{points}" fill="none" stroke="#3b82c4" stroke-width="2"/>')
    return "\n".join([*drawn, *_legend(), "</svg>"]) + "\n"


Fan = tuple[str, int, int, float, float, float]
"""A month: its name, first and last event time, the sum it began at, and the least and most it may have come to."""


def _fans(
    at: npt.NDArray[np.int64], summed: Floats, of: npt.NDArray[np.str_], months: dict[str, Part]
) -> list[Fan]:
    found = []
    for name, part in months.items():
        inside = np.flatnonzero(of == name)
        first, last = int(inside[0]), int(inside[-1])
        began = float(summed[first - 1]) if first else 0.0
        bounds = [
            began if bound is None else began + bound * part.compared.labels
            for bound in (part.compared.low, part.compared.high)
        ]
        found.append((name, int(at[first]), int(at[last]), began, bounds[0], bounds[1]))
    return found


def _fan(axes: Axes, fan: Fan, months: dict[str, Part]) -> str:
    name, first, last, began, low, high = fan
    compared = months[name].compared
    colour = UNCLEAR if not compared.clear else BETTER if compared.difference < 0 else WORSE
    points = axes.points([(first, began), (last, low), (last, high)])
    return f'<polygon points="{points}" fill="{colour}" opacity="0.35"/>'


def _scale(axes: Axes) -> list[str]:
    """Sums on the left, and the level of no difference."""
    drawn = []
    for value in marks_of_value(axes.least, axes.most):
        y = axes.y(value)
        drawn += [
            line(LEFT, y, RIGHT, y, "" if value == 0 else ' opacity="0.35"'),
            text(LEFT - 6, y + 4, f"{value:g}", anchor="end"),
        ]
    return drawn


def _named(axes: Axes, fans: Sequence[Fan]) -> list[str]:
    """Months below."""
    drawn, every = [], -(-len(fans) // MOST_MONTHS_NAMED)
    for number, (name, first, *_) in enumerate(fans):
        x = axes.x(first)
        drawn.append(line(x, BORDERS[1], x, BORDERS[1] + 5))
        if number % every == 0 and x <= RIGHT - NAME_WIDTH:
            drawn.append(
                text(x, BORDERS[1] + 18, f"{datetime.strptime(name, '%Y-%m').replace(tzinfo=UTC):%b %y}")
            )
    return drawn


def _legend() -> list[str]:
    drawn = []
    for x, colour, said in (
        (LEFT, BETTER, "a month that is better"),
        (LEFT + 170, WORSE, "worse"),
        (LEFT + 240, UNCLEAR, "not clear: where its 95 % interval lets it end"),
    ):
        drawn += [
            f'<rect x="{x}" y="35" width="11" height="11" fill="{colour}" opacity="0.5"/>',
            text(x + 17, 44, said, colour=QUIET, more=' font-size="11"'),
        ]
    return drawn

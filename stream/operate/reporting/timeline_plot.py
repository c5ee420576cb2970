"""Draws what was found, decided, commanded and put in place, each on a line of its own.

Laws of this file:
- Pure, and legible without colour: what a mark means is told by its shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from penstock.stream.operate.reporting.incidents import moment
from penstock.stream.operate.reporting.moments import LANES, Moment
from penstock.stream.operate.svg import Axes, figure, line, marks_of_time, text

WIDTH, LEFT, RIGHT = 960, 92, 930
LANE, TOP = 46, 16
LEGEND = (
    ("critical firing", "critical"),
    ("warning firing", "warning"),
    ("info firing", "note"),
    ("info resolved", "over"),
    ("accepted", "accepted, carried out"),
    ("waits for approval", "waits"),
    ("refused", "refused"),
)
LEAST_GAP = 8


def timeline(found: Sequence[Moment], start: int, stop: int) -> str:
    """The four lines of [start, stop)."""
    axes = Axes(start, stop, (TOP, TOP + LANE * len(LANES)), 1.0, left=LEFT, right=RIGHT)
    drawn = []
    for place, lane in enumerate(LANES):
        y = TOP + LANE * place + LANE / 2
        drawn += [line(LEFT, y, RIGHT, y, ' class="rule"'), text(LEFT - 10, y + 4, lane, anchor="end")]
        here = [one for one in found if one.lane == lane and one.at is not None]
        if lane == "in place":
            drawn += _in_place(axes, here, y)
        else:
            drawn += _marks(axes, [one for one in here if start <= (one.at or 0) < stop], y)
    lower = axes.borders[1]
    for at, name in marks_of_time(start, stop):
        x = axes.x(at)
        drawn += [line(x, lower, x, lower + 5, ' class="tick"'), text(x, lower + 19, name, anchor="middle")]
    x = float(LEFT)
    for mark, said in LEGEND:
        drawn += [shape(mark, x + 5, lower + 40), text(x + 16, lower + 44, said)]
        x += 34 + 6.6 * len(said)
    counts = ", ".join(
        f"{sum(one.lane == lane and one.at is not None and start <= one.at < stop for one in found)} {lane}"
        for lane in LANES
    )
    told = (
        f"From {moment(start)} to {moment(stop)} (event time, UTC): {counts}. The table below has them all."
    )
    return figure("timeline", (WIDTH, lower + 54), "What happened", told, drawn)


def shape(mark: str, x: float, y: float) -> str:
    """A mark: a triangle is critical, a diamond a warning, a circle a note; hollow is over, and a cross was refused."""
    if mark == "refused":
        return f'<path d="M{x - 5:.1f} {y - 5:.1f} l10 10 m0 -10 l-10 10" class="cross"/>'
    if mark in ("accepted", "carried out"):
        return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" class="solid"/>'
    if mark == "waits for approval":
        return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" class="hollow"/>'
    severity, _, state = mark.partition(" ")
    looks = "hollow" if state in ("resolved", "withdrawn", "suspected", "over") else "solid"
    if severity == "critical":
        return f'<path d="M{x:.1f} {y - 7:.1f} l7 12 h-14 z" class="{looks}"/>'
    if severity == "warning":
        return f'<path d="M{x:.1f} {y - 7:.1f} l6 7 l-6 7 l-6 -7 z" class="{looks}"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" class="{looks}"/>'


def _marks(axes: Axes, found: Sequence[Moment], y: float) -> list[str]:
    drawn, last = [], -100.0
    for one in found:
        x = axes.x(one.at or 0)
        drawn.append(shape(one.mark, x, y))
        name = one.head.split(":")[0]
        if x > last + LEAST_GAP and x + 6.2 * len(name) < RIGHT + 40:
            drawn.append(text(x - 4, y - 11, escape(name), more=' class="small"'))
            last = x + 6.2 * len(name)
    return drawn


def _in_place(axes: Axes, found: Sequence[Moment], y: float) -> list[str]:
    """Which version was committed: a bar for each, with its name in it, and a tick where another one took the lead."""
    drawn: list[str] = []
    committed = [one for one in found if one.mark == "committed" and (one.at or 0) < axes.stop]
    begun = [one for one in committed if (one.at or 0) <= axes.start][-1:]
    committed = begun + [one for one in committed if (one.at or 0) > axes.start]
    ends = [*(one.at or 0 for one in committed), axes.stop][1:]
    for number, (one, end) in enumerate(zip(committed, ends, strict=True)):
        first, last = axes.x(max(one.at or 0, axes.start)), axes.x(end)
        looks = "bar" if number % 2 == 0 else "bar other"
        drawn.append(
            f'<rect x="{first:.1f}" y="{y - 9}" width="{max(last - first, 1):.1f}" height="18" class="{looks}"/>'
        )
        name = one.version.partition(".")[0]
        if last - first > 7.5 * len(name) + 8:
            drawn.append(text(first + 5, y + 4, escape(name), more=' class="on-bar"'))
    for one in found:
        if one.mark != "committed" and axes.start <= (one.at or 0) < axes.stop:
            x = axes.x(one.at or 0)
            drawn.append(line(x, y + 9, x, y + 16, ' class="tick"'))
    return drawn

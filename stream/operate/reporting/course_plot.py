"""Draws what was lost over event time, and who was believed, with the incidents above.

Laws of this file:
- Pure, and legible without colour: lines differ by their dashes and are named at their ends, areas by their patterns.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import isnan

from penstock.stream.operate.reporting.course import GROUPS, Means, Weights
from penstock.stream.operate.reporting.incidents import Incident, moment
from penstock.stream.operate.svg import Axes, figure, line, marks_of_time, marks_of_value, text

WIDTH, LEFT, RIGHT = 960, 52, 842
PLOT = 220
ROW = 16
MOST_ROWS_OF_INCIDENTS = 6
LINES = (
    ("live", "live", ""),
    ("committed", "committed", ' stroke-dasharray="7 4"'),
    ("base", "base rate", ' stroke-dasharray="2 4"'),
)
NAMES = {
    "first": "the first model",
    "frozen": "frozen copies",
    "resumed": "earlier models, learning on",
    "careful": "leaves out values outside",
    "new": "fresh and retrained",
    "base": "base rate",
}
"""What each group of experts is called."""
LEAST_NAMED = 0.12


def losses(means: Sequence[Means], step: str, start: int, stop: int, incidents: Sequence[Incident]) -> str:
    """Mean loss by event time of the live prediction, of the committed model and of the base rate."""
    strip, top = _strip(incidents, start, stop)
    most = max((value for one in means for value in one[2:] if not isnan(value)), default=1.0)
    axes = Axes(start, stop, (top, top + PLOT), max(most * 1.05, 0.01), left=LEFT, right=RIGHT)
    drawn = [
        *_bands(axes, incidents),
        *strip,
        *_values(axes, marks_of_value(0.0, axes.most, 6)),
        *_times(axes),
    ]
    ends = []
    for field, name, dash in LINES:
        points = [(one.at, value) for one in means for value in [getattr(one, field)] if not isnan(value)]
        if points:
            drawn += [
                f'<polyline points="{axes.points(part)}" class="line {field}"{dash}/>'
                for part in _unbroken(points, 3 * (points[-1][0] - points[0][0]) / max(len(points), 1))
            ]
            ends.append((axes.y(points[-1][1]), name, field))
    drawn += _named_ends(ends)
    said = f"Mean log loss of each {step}, from {moment(start)} to {moment(stop)} (event time, UTC)."
    for field, name, _ in LINES:
        values = [value for one in means for value in [getattr(one, field)] if not isnan(value)]
        if values:
            said += f" {name}: from {min(values):.3f} to {max(values):.3f}, {values[-1]:.3f} at the end."
    said += f" {len(incidents)} incidents are marked."
    return figure("losses", (WIDTH, top + PLOT + 30), "What was lost", said, drawn)


def weights(found: Sequence[Weights], start: int, stop: int, incidents: Sequence[Incident]) -> str:
    """The weight of each group of experts, one upon the other."""
    strip, top = _strip(incidents, start, stop)
    axes = Axes(start, stop, (top, top + PLOT), 1.0, left=LEFT, right=RIGHT)
    drawn, below = [patterns(), *strip], [0.0] * len(found)
    groups = [
        group for group in dict.fromkeys(GROUPS.values()) if any(one.of[group] > 0.005 for one in found)
    ]
    names = []
    for group in groups:
        above = [low + one.of[group] for low, one in zip(below, found, strict=True)]
        there = axes.points([(one.at, value) for one, value in zip(found, above, strict=True)])
        back = axes.points([(one.at, value) for one, value in zip(found, below, strict=True)][::-1])
        drawn.append(f'<polygon points="{there} {back}" fill="url(#of-{group})" class="area"/>')
        names += _named_area(axes, found, below, group)
        below = above
    drawn += [*_values(axes, [0.0, 0.5, 1.0], percent=True), *_times(axes), *names]
    y = top + PLOT + 46
    for place, group in enumerate(groups):
        x = LEFT + 265 * (place % 3)
        at = y + 20 * (place // 3)
        drawn += [
            f'<rect x="{x}" y="{at - 11}" width="22" height="13" fill="url(#of-{group})" class="area"/>',
            text(x + 28, at, NAMES[group]),
        ]
    said = f"Shares of the weight by which predictions are mixed, from {moment(start)} to {moment(stop)}."
    for group in groups:
        top_one = max(found, key=lambda one: one.of[group])
        said += f" {NAMES[group]}: {found[-1].of[group]:.0%} at the end, at most {top_one.of[group]:.0%} on {moment(top_one.at)}."
    height = y + 20 * ((len(groups) + 2) // 3)
    return figure("weights", (WIDTH, height), "Who was believed", said, drawn)


def patterns() -> str:
    """How each group of experts is filled."""
    marks = {
        "first": "",
        "frozen": '<path d="M0 8 L8 0" class="mark"/>',
        "resumed": '<path d="M0 0 L8 8" class="mark"/>',
        "careful": '<circle cx="4" cy="4" r="1.7" class="dot"/>',
        "new": '<path d="M0 4 H8" class="mark"/>',
        "base": '<path d="M0 4 H8 M4 0 V8" class="mark"/>',
    }
    made = "".join(
        f'<pattern id="of-{group}" width="8" height="8" patternUnits="userSpaceOnUse">'
        f'<rect width="8" height="8" class="of-{group}"/>{mark}</pattern>'
        for group, mark in marks.items()
    )
    return f"<defs>{made}</defs>"


def _strip(incidents: Sequence[Incident], start: int, stop: int) -> tuple[list[str], int]:
    """The incidents as numbered bars above a plot, and where the plot begins."""
    axes = Axes(start, stop, (0, 1), 1.0, left=LEFT, right=RIGHT)
    ends: list[float] = []
    drawn = []
    for one in incidents:
        if not one.timed:
            continue
        first = axes.x(max(one.since, start))
        last = max(axes.x(min(one.until(stop), stop)), first + 3)
        row = next((place for place, end in enumerate(ends) if first > end + 4), len(ends))
        if row == MOST_ROWS_OF_INCIDENTS:
            row -= 1
        ends[row : row + 1] = [last + 9 + 7 * len(str(one.number))]
        y = 4 + ROW * row
        drawn += [
            f'<rect x="{first:.1f}" y="{y + 3}" width="{last - first:.1f}" height="7" class="incident {one.severity}"/>',
            text(last + 4, y + 11, f"{one.number}", more=' class="number"'),
        ]
    return drawn, 14 + ROW * len(ends)


def _bands(axes: Axes, incidents: Sequence[Incident]) -> list[str]:
    upper, lower = axes.borders
    drawn = []
    for one in incidents:
        if one.timed:
            first = axes.x(max(one.since, axes.start))
            last = max(axes.x(min(one.until(axes.stop), axes.stop)), first + 1)
            drawn.append(
                f'<rect x="{first:.1f}" y="{upper}" width="{last - first:.1f}" height="{lower - upper}" class="band"/>'
            )
    return drawn


def _values(axes: Axes, values: Sequence[float], *, percent: bool = False) -> list[str]:
    drawn = []
    for value in values:
        y = axes.y(value)
        drawn += [
            line(LEFT, y, RIGHT, y, ' class="rule"'),
            text(LEFT - 6, y + 4, f"{value:.0%}" if percent else f"{value:g}", anchor="end"),
        ]
    return drawn


def _times(axes: Axes) -> list[str]:
    lower, drawn = axes.borders[1], []
    for at, name in marks_of_time(axes.start, axes.stop):
        x = axes.x(at)
        drawn += [
            line(x, lower, x, lower + 5, ' class="tick"'),
            text(x, lower + 19, escape(name), anchor="middle"),
        ]
    return drawn


def _unbroken(points: Sequence[tuple[int, float]], gap_ms: float) -> list[list[tuple[int, float]]]:
    """The parts between longer silences; a part of one point is drawn as a short line."""
    parts: list[list[tuple[int, float]]] = [[points[0]]]
    for one in points[1:]:
        if one[0] - parts[-1][-1][0] > gap_ms:
            parts.append([])
        parts[-1].append(one)
    return [part if len(part) > 1 else [*part, *part] for part in parts]


def _named_ends(ends: Sequence[tuple[float, str, str]]) -> list[str]:
    """Names at the right ends of lines, pushed apart where the lines end together."""
    drawn, last = [], -100.0
    for y, name, field in sorted(ends):
        last = max(y + 4, last + 15)
        drawn.append(text(RIGHT + 8, last, name, more=f' class="name {field}"'))
    return drawn


def _named_area(axes: Axes, found: Sequence[Weights], below: Sequence[float], group: str) -> list[str]:
    """The name of a group where its area is thickest, if it is thick enough."""
    place = max(range(len(found)), key=lambda number: (_thickness(found, number, group), -number))
    share = found[place].of[group]
    if _thickness(found, place, group) < LEAST_NAMED:
        return []
    x = min(max(axes.x(found[place].at), LEFT + 90), RIGHT - 90)
    y = axes.y(below[place] + share / 2) + 4
    return [text(x, y, NAMES[group], anchor="middle", more=' class="on-area"')]


def _thickness(found: Sequence[Weights], place: int, group: str) -> float:
    """How much of a group there is around one moment."""
    return min(one.of[group] for one in found[max(place - 12, 0) : place + 13])

"""Draws `docs/pages/explanation/weights.svg`: who was believed before, in and after the flights' incident of May 2013.

`python -m docs.weights [--cache DIR] [--svg FILE]` folds the year's samples log up to the end of the picture, which takes a
minute or two. Without a cache it makes the samples log first, which takes some minutes more.

Laws of this file:
- The real fold folds, and what it asks for is carried out at once, as the policy does without a person.
- The picture is a function of the log: the same log gives the same file.
- It is legible on white and on black: lines and text have colours between the two, and what stands on an area is white.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from benchmarks.gate_flights import YEAR_DAYS, flights_with, kept
from penstock.examples.flights_data import INCIDENT_DAYS, NEW_YORK, new_york_ms
from penstock.stream.definition_file import load
from penstock.stream.learn.fold import Fold
from penstock.stream.messages import Entry, LabelRecord, Sample
from penstock.stream.operate.attended import Attended
from penstock.stream.operate.svg import Axes, line, text

SVG = Path(__file__).parent / "pages" / "explanation" / "weights.svg"
FLIGHTS = Path(__file__).parent.parent / "examples" / "flights.py"
FIRST, LAST = date(2013, 5, 6), date(2013, 6, 3)
EVERY_MS = 2 * 3_600_000
LEAST = 0.002

KINDS = {
    "first": ("the first model, never touched", "#3b82c4"),
    "frozen": ("frozen copies", "#2a9d8f"),
    "resumed": ("copies of earlier models, learning on", "#7c6bd0"),
    "careful": ("the model that leaves out values far outside", "#d9673f"),
    "new": ("fresh and retrained models", "#d9a441"),
    "base": ("the base rate", "#8a8f98"),
}
"""From the bottom up: the kinds that are drawn, what they are called, and their colours."""
LIVE, ALONE, RED = "#d9673f", "#3b82c4", "#c0392b"
INCIDENT = "13 to 17 May: one airline's delays in milliseconds"


class Found(NamedTuple):
    """What the fold did. Times are event times in ms.

    `losses` holds for each day its midnight, the mean loss of the live prediction, and that of the first model.
    """

    at: list[int]
    weights: list[dict[str, float]]
    losses: list[tuple[int, float, float]]
    marks: list[tuple[int, str]]


def followed(entries: Sequence[Entry], start: int, stop: int) -> Found:
    """Fold the entries up to `stop`, and note what happens from `start` on."""
    outcomes = {entry.id: entry.y for entry in entries if isinstance(entry, LabelRecord)}
    attended = Attended(flights_with(load(FLIGHTS).model))
    fold, committed = attended.fold, attended.fold.experts.committed
    at: list[int] = []
    weights: list[dict[str, float]] = []
    said: list[tuple[int, bool, float, float]] = []
    marks: list[tuple[int, str]] = []
    for entry in entries:
        attended.step(entry)
        if fold.at >= stop:
            break
        if any(event.type == "penstock.alert" and event.data.kind == "range" for event in attended.told):
            marks.append((fold.at, "alert"))
        attended.told.clear()
        if fold.experts.committed is not committed:
            committed = fold.experts.committed
            marks.append((fold.at, "committed"))
        if fold.at < start:
            continue
        if not at or fold.at >= at[-1] + EVERY_MS:
            at.append(fold.at)
            weights.append(by_kind(fold))
        if isinstance(entry, Sample) and entry.id in outcomes and entry.id in fold.pending:
            waits = fold.pending[entry.id]
            alone = dict(zip(waits.answer.asked, waits.answer.said, strict=True))[fold.experts.first.number]
            said.append((entry.at, outcomes[entry.id], waits.p, 0.5 if alone is None else alone))
    return Found(at, weights, daily(said), [mark for mark in marks if mark[0] >= start])


def by_kind(fold: Fold) -> dict[str, float]:
    """The weight of all experts of each kind."""
    sums = dict.fromkeys(KINDS, 0.0)
    weights = fold.experts.weights()
    for one in fold.experts.all:
        sums[one.kind if one.kind in sums else "new"] += weights[one.version]
    return sums


def daily(said: Sequence[tuple[int, bool, float, float]]) -> list[tuple[int, float, float]]:
    """(midnight, mean loss of the live prediction, of the first model) for each of New York's days, by the time of the sample."""
    days: dict[int, list[tuple[float, float]]] = {}
    for at, y, live, alone in said:
        day = new_york_ms(datetime.fromtimestamp(at / 1000, NEW_YORK).date())
        days.setdefault(day, []).append((nats(live, y), nats(alone, y)))
    return [
        (
            day,
            math.fsum(live for live, _ in lost) / len(lost),
            math.fsum(alone for _, alone in lost) / len(lost),
        )
        for day, lost in days.items()
    ]


def nats(p: float, y: bool) -> float:
    """Log loss, the probability kept as far from 0 and 1 as the gate keeps it."""
    p = min(max(p, LEAST), 1.0 - LEAST)
    return -math.log(p if y else 1.0 - p)


# -- drawing -------------------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT, LEFT, RIGHT = 880, 534, 56, 866
TOP, MIDDLE = (44, 244), (354, 504)
"""The upper and lower border of the two pictures."""
DASHED = ' stroke-width="1.5" stroke-dasharray="4 3"'


def frame(axes: Axes, title: str, values: Sequence[float]) -> list[str]:
    """The incident's bar, the scale on the left, the days below."""
    upper, lower = axes.borders
    first, last = (axes.x(new_york_ms(day)) for day in INCIDENT_DAYS)
    drawn = [
        f'<rect x="{first:.1f}" y="{upper - 5}" width="{last - first:.1f}" height="5" fill="{RED}"/>',
        text(LEFT, upper - 12, title, more=' font-weight="600"'),
    ]
    for value in values:
        y = axes.y(value)
        drawn += [
            line(LEFT, y, RIGHT, y, ' opacity="0.35"'),
            text(LEFT - 6, y + 4, f"{value:.0%}" if axes.borders == TOP else f"{value:g}", anchor="end"),
        ]
    day = FIRST
    while day <= LAST:
        x = axes.x(new_york_ms(day))
        drawn.append(line(x, lower, x, lower + 5))
        if (day - FIRST).days % 7 == 0:
            drawn.append(text(x, lower + 18, f"{day.day} {day:%b}", anchor="middle" if day < LAST else "end"))
        day += timedelta(1)
    return drawn


def stacked(axes: Axes, found: Found) -> list[str]:
    """The weights, one kind upon the other."""
    drawn, below = [], [0.0] * len(found.at)
    for kind, (_, colour) in KINDS.items():
        above = [low + weights[kind] for low, weights in zip(below, found.weights, strict=True)]
        there = axes.points([*zip(found.at, above, strict=True)])
        back = axes.points([*zip(found.at, below, strict=True)][::-1])
        drawn.append(f'<polygon points="{there} {back}" fill="{colour}"/>')
        below = above
    return drawn


def legend() -> list[str]:
    """What each colour of the upper picture is."""
    drawn = []
    for place, (name, colour) in enumerate(KINDS.values()):
        x, y = LEFT + (0, 310, 520)[place % 3], TOP[1] + 40 + 18 * (place // 3)
        drawn += [
            f'<rect x="{x}" y="{y - 9}" width="11" height="11" fill="{colour}"/>',
            text(x + 17, y, name, more=' font-size="11"'),
        ]
    return drawn


def marked(axes: Axes, found: Found) -> list[str]:
    """The alert and the commitment through both pictures."""
    first, last = (axes.x(new_york_ms(day)) for day in INCIDENT_DAYS)
    drawn = [
        f'<rect x="{first:.1f}" y="{MIDDLE[0]}" width="{last - first:.1f}" height="{MIDDLE[1] - MIDDLE[0]}" fill="{RED}" '
        'opacity="0.13"/>',
        text(last + 6, TOP[0] - 12, INCIDENT, colour=RED, more=' font-size="11"'),
    ]
    for at, what in found.marks:
        x = axes.x(at)
        drawn.append(line(x, TOP[0], x, TOP[1], DASHED, "#fff"))
        drawn.append(line(x, MIDDLE[0], x, MIDDLE[1], DASHED))
        end = what == "alert"
        drawn.append(text(x + (-5 if end else 5), MIDDLE[0] + 14, what, anchor="end" if end else "start"))
    return drawn


def picture(found: Found, start: int, stop: int) -> str:
    """The SVG."""
    weights = Axes(start, stop, TOP, 1.0)
    most = max(max(live, alone) for _, live, alone in found.losses)
    losses = Axes(start, stop, MIDDLE, math.ceil(most * 2) / 2)
    noon = 43_200_000
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" '
        'role="img">',
        "<title>Weights and losses around the incident of May 2013</title>",
        *stacked(weights, found),
        *frame(weights, "Who is believed", (0.0, 0.5, 1.0)),
        *legend(),
        *frame(losses, "Mean log loss of each day (less is better)", scale(losses.most)),
    ]
    for column, colour, dash, name in (
        (2, ALONE, ' stroke-dasharray="6 3"', "the first model alone"),
        (1, LIVE, "", "live prediction"),
    ):
        points = [(row[0] + noon, row[column]) for row in found.losses]
        drawn.append(
            f'<polyline points="{losses.points(points)}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
        )
        x, y = RIGHT - 320 + 190 * (column == 1), MIDDLE[0] - 16
        drawn += [
            f'<line x1="{x}" y1="{y}" x2="{x + 22}" y2="{y}" stroke="{colour}" stroke-width="2"{dash}/>',
            text(x + 27, y + 4, name),
        ]
    drawn += [*marked(weights, found), "</svg>"]
    return "\n".join(part for part in drawn if part) + "\n"


def scale(most: float) -> list[float]:
    """Values to mark on an axis."""
    step = 0.25 if most <= 1.0 else 0.5 if most <= 2.5 else 1.0
    return [step * number for number in range(int(most / step) + 1)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Fold and draw; the process's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="keep the samples log here, as `penstock bench gate` does"
    )
    parser.add_argument(
        "--svg", type=Path, default=SVG, metavar="FILE", help="where to write (default: beside the page)"
    )
    args = parser.parse_args(arguments)
    start, stop = new_york_ms(FIRST), new_york_ms(LAST)
    found = followed(kept("milliseconds", args.cache, YEAR_DAYS), start, stop)
    args.svg.write_text(picture(found, start, stop), encoding="utf-8")
    for at, what in found.marks:
        print(f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M} UTC  {what}")
    for day, live, alone in found.losses:
        print(
            f"{datetime.fromtimestamp(day / 1000, NEW_YORK):%Y-%m-%d}  live {live:.3f}  first model {alone:.3f}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Points → charts: what the browser draws, and the table that says the same.

Laws of this file:
- Pure. At most `MOST_BINS` points are drawn; bins lie on a grid of event time, so that a new record changes the last ones only.
- Areas are stacked by the browser; the values here are each model's own weight.
- Tables have at most `MOST_ROWS` rows: wider bins of the same points.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from penstock.stream.console.page import Chart, Mark, Series, Span
from penstock.stream.console.past import DAY_MS, HOUR_MS, Point, binned
from penstock.stream.console.state import PipelineState
from penstock.stream.console.words import nats, percent, position, short, version
from penstock.stream.operate.expert_lines import kind_in_words

MOST_BINS = 400
MOST_ROWS = 60
MOST_AREAS = 8
MINUTE_MS = 60_000
WIDTHS = (
    HOUR_MS,
    3 * HOUR_MS,
    6 * HOUR_MS,
    12 * HOUR_MS,
    DAY_MS,
    2 * DAY_MS,
    7 * DAY_MS,
    14 * DAY_MS,
    28 * DAY_MS,
)
LANES = ("deploys", "versions", "episodes", "decisions")


class Axis(NamedTuple):
    """The event times (ms) that a page's charts begin and end with."""

    since: int
    until: int


def width_for(points: Sequence[Point], most: int) -> int:
    """The least width of bins that makes at most so many of these points."""
    if not points:
        return WIDTHS[0]
    length = points[-1].at - points[0].since
    # Older points are days (`past`): then all are drawn as days, or calm days would stand beside restless hours.
    least = DAY_MS if points[0].is_day else HOUR_MS
    return next((width for width in WIDTHS if width >= least and length / width <= most), WIDTHS[-1])


def times(points: Iterable[Point]) -> list[float]:
    """Where points are drawn, in seconds."""
    return [one.at / 1000 for one in points]


def losses(points: Sequence[Point], hours: Sequence[Point], spans: Sequence[Span], axis: Axis) -> Chart:
    """The losses over time: live, base rate, and the first model that was never touched, which only blocks (`points`) name.

    Drawn by `hours` where there are any: of a short span.
    """
    bins = binned(hours or points, width_for(hours or points, MOST_BINS))
    first = _at_bins(points, bins) if hours else [one.first for one in bins]
    series = [
        Series("live prediction", [one.loss for one in bins], "live"),
        Series("base rate", [one.base for one in bins], "base", "dashed"),
    ]
    if any(value is not None for value in first):
        series.append(Series("your model alone", first, "first"))
    if any(one.live != one.leader for one in bins):
        series.append(Series("all models together", [one.mixture for one in bins], "mixture"))
    rows = [
        (
            short(one.at),
            nats(one.loss),
            nats(one.base),
            nats(one.first),
            f"{one.labels:,}",
            position(one.position),
        )
        for one in reversed(binned(points, width_for(points, MOST_ROWS)))
    ]
    headings = ("until (event time, UTC)", "live", "base rate", "your model alone", "labels", "at position")
    return Chart(
        "losses", "Loss, in nats a label (less is better)", "nats", times(bins), series, spans,
        headings=headings, rows=rows, since=axis.since / 1000, until=axis.until / 1000,
    )  # fmt: skip


def _at_bins(points: Sequence[Point], bins: Sequence[Point]) -> list[float | None]:
    """The first model's losses, each in the bin in which its block ended."""
    found: list[float | None] = [None] * len(bins)
    ends = [one.at for one in bins]
    for one in points:
        place = bisect_left(ends, one.at)
        if place < len(bins):
            found[place] = one.first
    return found


def weights(points: Sequence[Point], spans: Sequence[Span], axis: Axis) -> Chart:
    """Who was believed: each model's part of the weight, the heaviest over time by name, the others as one."""
    bins = binned(points, width_for(points, MOST_BINS))
    total: dict[tuple[str, str], float] = {}
    for one in bins:
        for name, kind, weight in one.weights:
            total[name, kind] = total.get((name, kind), 0.0) + weight
    named = sorted(total, key=lambda each: -total[each])[:MOST_AREAS]
    named.sort(key=lambda each: _first_seen(bins, each[0]))
    series = [
        Series(
            f"{version(name)}, {kind_in_words(kind)}" if kind != "base" else kind_in_words(kind),
            [_weight(one, name) for one in bins],
            "base" if kind == "base" else f"area{number % 8}",
            "area",
        )
        for number, (name, kind) in enumerate(named)
    ]
    shown = {name for name, _ in named}
    if any(name not in shown for name, _ in total):
        rest = [sum(weight for name, _, weight in one.weights if name not in shown) for one in bins]
        series.append(Series("all others", rest, "rest", "area"))
    rows = [
        (
            short(one.at),
            version(one.leader),
            ", ".join(
                f"{version(name)} {percent(weight)}"
                for name, _, weight in sorted(one.weights, key=lambda each: -each[2])
                if weight >= 0.01
            ),
            position(one.position),
        )
        for one in reversed(binned(points, width_for(points, MOST_ROWS)))
    ]
    headings = ("at (event time, UTC)", "leads", "weights from 1 %", "at position")
    return Chart(
        "weights", "Who is believed: each model's part of the weight", "share", times(bins), series, spans,
        headings=headings, rows=rows, since=axis.since / 1000, until=axis.until / 1000,
    )  # fmt: skip


def _first_seen(bins: Sequence[Point], name: str) -> int:
    return next(
        (number for number, one in enumerate(bins) if any(each == name for each, *_ in one.weights)), 0
    )


def _weight(one: Point, name: str) -> float:
    return next((weight for each, _, weight in one.weights if each == name), 0.0)


def spans_of(state: PipelineState) -> list[Span]:
    """The incidents: from the onset of an episode's first finding to the end of its last; still open without an end."""
    episodes: dict[str, list[Any]] = {}
    for event in state.events:
        data = event.data
        since = data.since.get("at")
        if "offset" in data.since or since is None:
            continue  # dead letters are told by their own time
        until = data.summary.until.get("at") if data.summary else None
        until = (
            data.detected_at.get("at") if until is None and data.state in ("resolved", "withdrawn") else until
        )
        found = episodes.setdefault(data.episode, [since, until, event.subject, data.kind, data.severity])
        found[0], found[1] = min(found[0], since), until
        if _graver(data.severity, found[4]):
            found[2:] = [event.subject, data.kind, data.severity]
    return [
        Span(since / 1000, None if until is None else until / 1000, f"{kind} of {subject}", severity)
        for since, until, subject, kind, severity in episodes.values()
    ]


def _graver(one: str, other: str) -> bool:
    order = ("info", "warning", "critical")
    return order.index(one) > order.index(other)


def moments(state: PipelineState, since_ms: int) -> list[Mark]:
    """What happened since an event time, oldest first: deploys, versions, episodes, decisions. Times are event time."""
    marks: list[Mark] = []
    for change in state.changes:
        lane = "deploys" if change.what == "deploy" else "versions"
        marks.append(
            Mark(
                change.at / 1000,
                lane,
                change_in_words(change.what, change.before, change.after),
                change.position,
            )
        )
    found_at: dict[str, tuple[int, int]] = {}
    for event in state.events:
        data = event.data
        at, where = data.detected_at.get("at"), data.detected_at.get("position", 0)
        if at is None or "offset" in data.detected_at:
            continue
        found_at[event.id] = at, where
        said = "over" if data.summary else data.state
        marks.append(Mark(at / 1000, "episodes", f"{data.kind} of {event.subject}: {said}", where))
    for decision in state.decisions:
        moment = found_at.get(decision.request)
        if moment is not None:
            label = f"{decision.verb} {decision.verdict}"
            marks.append(Mark(moment[0] / 1000, "decisions", label, moment[1]))
    return sorted(
        (mark for mark in marks if mark.at >= since_ms / 1000), key=lambda mark: (mark.at, mark.position)
    )


def change_in_words(what: str, before: str, after: str) -> str:
    """What one change was."""
    if what == "deploy":
        return f"definition {after[:12]} in place of {before[:12]}"
    if what == "commit":
        return f"{version(after)} committed in place of {version(before)}"
    if what == "hold":
        return "learning is held" if after else "learning goes on"
    return f"{version(after)} leads in place of {version(before)}"


def timeline(state: PipelineState, spans: Sequence[Span], axis: Axis) -> Chart:
    """One axis with all that happened, below the two others."""
    marks = moments(state, axis.since)
    rows = [
        (short(int(one.at * 1000)), one.lane, one.label, position(one.position)) for one in reversed(marks)
    ]
    headings = ("at (event time, UTC)", "of", "what", "at position")
    since, until = axis.since / 1000, axis.until / 1000
    return Chart(
        "timeline", "What happened", "", [], [], spans, marks=marks, lanes=LANES, headings=headings, rows=rows[:200],
        since=since, until=until,
    )  # fmt: skip


def as_json(chart: Chart) -> dict[str, Any]:
    """What the browser draws. Columns first, in the order of `delta`."""
    return {
        "columns": [list(chart.x), *([_rounded(value) for value in one.values] for one in chart.series)],
        "series": [{"label": one.label, "tone": one.tone, "kind": one.kind} for one in chart.series],
        "spans": [[one.since, one.until, one.label, one.severity] for one in chart.spans],
        "marks": [[one.at, one.lane, one.label] for one in chart.marks],
        "lanes": list(chart.lanes),
        "unit": chart.unit,
        "since": chart.since,
        "until": chart.until,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def delta(before: dict[str, Any] | None, after: dict[str, Any]) -> dict[str, Any] | None:
    """What makes `after` of `before`: columns from the first row that differs; None if nothing changed.

    Whole where there was nothing, other series, or an earlier row gone.
    """
    if before == after:
        return None
    if before is None or before["series"] != after["series"]:
        return {**after, "from": 0}
    old, new = before["columns"], after["columns"]
    rows = min(len(old[0]), len(new[0]))
    same = next(
        (row for row in range(rows) if any(one[row] != two[row] for one, two in zip(old, new, strict=True))),
        rows,
    )
    said = {name: value for name, value in after.items() if name != "columns" and before[name] != value}
    return {**said, "from": same, "columns": [column[same:] for column in new]}

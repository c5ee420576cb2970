"""Nine planted incidents and a year without one: which stories are told, how soon, with which cause, and at what cost.

The flights of New York with the definition of the example, in memory, default settings, the policy beside. The year is
played as it is: all its episodes are listed. The incidents are planted one at a time into mid-May of February to June; what
the same months tell without an incident is taken away. `told as` counts the episodes that are left, one being the aim;
`after` are the records of the samples log between the true onset and the first event, `onset` how far from it the episode
says it began (+ is later).

Run: python -m benchmarks.incidents [--only KIND] [--no-year] [--cache DIR] [--json [FILE]]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.gate_flights import YEAR_DAYS
from benchmarks.gate_flights import kept as year
from benchmarks.incident_plants import KINDS, Kind
from benchmarks.incident_runs import Told, findings, folded, interval, run
from benchmarks.written import write
from penstock.stream.messages import ControlEvent
from penstock.stream.process.interpreter import settle_memory

TELL_S = 10.0
MOST_EPISODES = 12
AFTERWARDS_MS = 14 * 86_400_000
"""An episode that begins so long after the incident's end, or sooner, is counted as told of it."""
CAUSES: dict[str, tuple[str, ...]] = {
    "unit": ("dep_delay",),
    "renamed": ("carrier",),
    "nulls_one_carrier": ("dep_delay",),
    "labels_stop": ("label", "arrivals"),
    "volume_halved": ("volume", "departures", "fewer"),
    "duplicated": ("duplicate", "twice", "repeat"),
    "airport_closed": ("EWR", "origin"),
    "stuck": ("dep_delay",),
    "label_delay_doubled": ("label", "late"),
}
"""The cause is named where one of these words stands among the causes of the episode."""
SEGMENTS: dict[str, tuple[str, ...]] = {
    "unit": ("UA",),
    "renamed": ("UAL", "UA"),
    "nulls_one_carrier": ("UA",),
    "airport_closed": ("EWR",),
    "stuck": ("EWR",),
}
RANK = {"info": 0, "warning": 1, "critical": 2}


def row_of(kind: str, told: Told, clean: Told) -> dict[str, Any]:
    """What was told of one planted incident."""
    usual = {(event.data.kind, event.subject, day(event)) for event in clean.events}
    from_ms, to_ms = interval(kind)
    ours: list[list[ControlEvent]] = []
    for told_as in findings(told.events).values():
        fired = [event for event in told_as if event.data.state == "firing"]
        new = [event for event in fired if (event.data.kind, event.subject, day(event)) not in usual]
        found = [event.data.detected_at["at"] for event in new]
        if found and from_ms <= min(found) < to_ms + AFTERWARDS_MS:
            ours.append(told_as)
    if not ours:
        return {"incident": kind, "episodes": 0, "onset_position": told.onset, "loss": told.loss}
    best = max(ours, key=lambda one: (named(kind, one), -one[0].data.detected_at["position"]))
    said = [event.data for event in best]
    summary = next((data for data in reversed(said) if data.summary is not None), None)
    first = min(event.data.detected_at["position"] for one in ours for event in one)
    since = said[0].since if summary is None else summary.since
    causes = list(dict.fromkeys(cause for data in said for cause in data.causes))
    segments = segments_of(best)
    wanted = SEGMENTS.get(kind, ())
    return {
        "incident": kind,
        "episodes": len(ours),
        "kinds": [list(dict.fromkeys(event.data.kind for event in one)) for one in ours],
        "onset_position": told.onset,
        "found_after_records": first - told.onset,
        "onset_error_records": (since.get("position") or 0) - told.onset,
        "causes": causes,
        "cause_named": named(kind, best),
        "segments": segments,
        "segment_named": any(word in one for word in wanted for one in segments) if wanted else None,
        "severity": max((data.severity for data in said), key=RANK.__getitem__),
        "actions": [
            f"{deed.what} ({deed.by})"
            for deed in (summary.summary.done if summary and summary.summary else [])
        ],
        "asked": list(
            dict.fromkeys(data.suggested_action for data in said if data.suggested_action != "none")
        ),
        "summary": None if summary is None else summary.reason,
        "excess_nats": None if summary is None or summary.summary is None else summary.summary.excess_nats,
        "error_nats": None if summary is None or summary.summary is None else summary.summary.error_nats,
        "loss": told.loss,
    }


def day(event: ControlEvent) -> str:
    """The day, in UTC, on which what was found began."""
    return moment(event.data.since.get("at"))[:10]


def named(kind: str, told_as: Sequence[ControlEvent]) -> bool:
    """Whether an episode names what was planted among its causes."""
    said = " ".join(cause for event in told_as for cause in event.data.causes)
    return any(word in said for word in CAUSES[kind])


def segments_of(told_as: Sequence[ControlEvent]) -> list[str]:
    """The segments that the events of an episode name."""
    found: list[str] = []
    for event in told_as:
        shown = msgspec.to_builtins(event.data)
        one = shown.get("segment")
        found += [f"{one['field']} {one['value']}"] if one else []
        found += (shown.get("summary") or {}).get("segments") or []
    return list(dict.fromkeys(found))


def moment(at_ms: int | None) -> str:
    """Event time, in UTC."""
    return "-" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def listed(told: Told) -> list[dict[str, Any]]:
    """One row per episode that was told."""
    rows = []
    for episode, one in findings(told.events).items():
        said = [event.data for event in one]
        fired = [data for data in said if data.state == "firing"]
        if fired:
            over = [data for data in said if data.summary is not None]
            rows.append(
                {
                    "episode": episode,
                    "kinds": list(
                        dict.fromkeys(
                            f"{event.data.kind} {event.subject}"
                            for event in one
                            if event.data.summary is None
                        )
                    ),
                    "since": moment((over or fired)[-1].since.get("at")),
                    "found": moment(fired[0].detected_at["at"]),
                    "severity": max((data.severity for data in said), key=RANK.__getitem__),
                    "causes": list(dict.fromkeys(cause for data in said for cause in data.causes)),
                    "asked": [data.suggested_action for data in said if data.suggested_action != "none"],
                    "summary": over[-1].reason if over else None,
                }
            )
    return rows


# -- what is printed -----------------------------------------------------------------------------------------------------------

COLUMNS = (
    ("incident", 20), ("told as", 8), ("after", 8), ("onset", 8), ("cause", 6), ("segment", 8), ("severity", 9), ("nats", 14),
)  # fmt: skip


def line(cells: Sequence[str]) -> str:
    """One line of the table."""
    return "  ".join(f"{cell:<{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=False)) + (
        "  " + cells[-1] if len(cells) > len(COLUMNS) else ""
    )


def shown(row: dict[str, Any]) -> str:
    """An incident's line."""
    if not row["episodes"]:
        return line([row["incident"], "NOT FOUND", "-", "-", "-", "-", "-", "-", ""])
    yes = {True: "yes", False: "NO", None: "-"}
    cost = "-" if row["excess_nats"] is None else f"{row['excess_nats']:+,.0f} ± {row['error_nats']:,.0f}"
    cells = [
        row["incident"],
        f"{row['episodes']}",
        f"{row['found_after_records']:,}",
        f"{row['onset_error_records']:+,}",
        yes[row["cause_named"]],
        yes[row["segment_named"]],
        row["severity"],
        cost,
        f"{', '.join(row['asked']) or 'told only'}; {' | '.join(' '.join(one) for one in row['kinds'])}",
    ]
    return line(cells)


class Progress:
    """Tells on stderr, every ten seconds or where a new step begins, how far it is."""

    def __init__(self) -> None:
        self.last, self.step = 0.0, ""

    def __call__(self, text: str) -> None:
        """Say it, unless something was said just now of the same step."""
        step = text.split(",", maxsplit=1)[0]
        if step != self.step or time.monotonic() - self.last >= TELL_S:
            self.last, self.step = time.monotonic(), step
            print(text, file=sys.stderr, flush=True)


def job(kind: Kind | None, cache: Path | None) -> Told:
    """One run, in a process of its own."""
    settle_memory()
    return run(kind, cache, Progress())


def whole_year(cache: Path | None) -> Told:
    """The year as it is, in a process of its own."""
    settle_memory()
    tell = Progress()
    tell("the year: reading")
    given = year("none", cache, YEAR_DAYS)
    return folded(given, 0, lambda number: tell(f"the year: fold, {number:,} of {len(given):,}"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the process's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=KINDS,
        metavar="KIND",
        help=f"one of {' '.join(KINDS)}; may be repeated",
    )
    parser.add_argument("--no-year", action="store_true", help="leave the year without an incident out")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="keep the samples here; empty it when featurize changes"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at once (default 2)")
    parser.add_argument(
        "--json", metavar="FILE", nargs="?", const="-",
        help="write the figures as JSON, too; without FILE to standard output, and the tables to standard error",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    try:
        with redirect_stdout(sys.stderr if args.json == "-" else sys.stdout):
            figures = measured(args)
    except FileNotFoundError as error:
        print(f"penstock bench incidents: {error}", file=sys.stderr)
        return 2
    write(figures, args.json)
    return 0


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """Run what was asked for, printing as it comes; all figures."""
    kinds = args.only or list(KINDS)
    started = time.monotonic()
    figures: dict[str, Any] = {"incidents": []}
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        of_year = None if args.no_year else pool.submit(whole_year, args.cache)
        of_none = pool.submit(job, None, args.cache)
        of_kinds = list(map(partial(pool.submit, job, cache=args.cache), kinds))
        if of_year is not None:
            figures["year"] = listed(of_year.result())
            tell_year(figures["year"])
        print(line([name for name, _ in COLUMNS] + ["asked for; kinds of each episode"]), flush=True)
        for kind, future in zip(kinds, of_kinds, strict=True):
            row = row_of(kind, future.result(), of_none.result())
            figures["incidents"].append(row)
            print(shown(row), flush=True)
    for row in figures["incidents"]:
        if row.get("summary"):
            print(f"{row['incident']}: {row['summary']}")
    return figures | counted(figures["incidents"], time.monotonic() - started)


def tell_year(rows: list[dict[str, Any]]) -> None:
    """The year's episodes."""
    print(f"the year without an incident: {len(rows)} episodes, at most {MOST_EPISODES} are meant to be told")
    for row in rows:
        why = ", ".join(row["causes"]) or "no cause named"
        print(
            f"  since {row['since']}, found {row['found']}  {row['severity']:<8}  {', '.join(row['kinds'])}: {why}"
        )


def counted(rows: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """The figures of all rows together, printed as well."""
    found = [row for row in rows if row["episodes"]]
    figures = {
        "planted": len(rows),
        "found": len(found),
        "one_story": sum(row["episodes"] == 1 for row in found),
        "cause_named": sum(row["cause_named"] for row in found),
        "segment_named": sum(row["segment_named"] is True for row in found),
        "segments": sum(row["incident"] in SEGMENTS for row in rows),
        "seconds": round(seconds, 1),
    }
    print(
        f"{figures['found']} of {figures['planted']} found, {figures['one_story']} as one story, {figures['cause_named']} with "
        f"their cause, {figures['segment_named']} of {figures['segments']} with their segment; {seconds:,.0f} s"
    )
    return figures


if __name__ == "__main__":
    raise SystemExit(main())

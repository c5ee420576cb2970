"""How often sets and intervals hold the label through an incident, beside fixed ones, and what `calibrate` does to probabilities.

    penstock bench intervals [--days 367] [--task binary|regression] [--incident milliseconds] [--cache DIR] [--json [FILE]]

The year of flights, by month and for the incident's week: the share of labels that Penstock's sets (or intervals) held at 0.8,
0.9 and 0.95, and their size (or width, in minutes), next to split conformal ones: the same scores, but bounds from the first
5,000 labels that never move. *Odd* are sets that are empty, and intervals without an end: their width is not
in the mean. For true and false also the calibration error before and after the correction.

Laws of this file:
- Everything is said at the sample and judged at its label, in the order of the fold.
- What is judged at 0.9 is what the fold would have published, bit for bit: the run ends if one bound differs.
- Calibration error is the root mean square over `BINS` bins of equally many labels, less what chance alone adds to it (Kumar,
  Liang and Ma, "Verified uncertainty calibration", 2019).
"""

from __future__ import annotations

import argparse
import sys
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from math import ceil, inf, isinf, sqrt
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.fold import FLIGHTS
from benchmarks.gate_flights import WEEK_MS, YEAR_DAYS, kept
from benchmarks.written import write
from penstock.examples.flights_data import INCIDENT_DAYS, INCIDENTS, new_york_ms
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.conformal import END_GAMMA, GAMMA
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.uncertainty import Issued, Uncertainty
from penstock.stream.messages import Entry

EXAMPLES = {"binary": FLIGHTS, "regression": FLIGHTS.parent / "flights_delay.py"}
SHARES = (0.8, 0.9, 0.95)
PUBLISHED = 0.9
FIXED_LABELS = 5_000
BINS = 15
MONTHS = [new_york_ms(date(2013, month, 1)) for month in range(1, 13)]
INCIDENT_MS = new_york_ms(INCIDENT_DAYS[0])

Odd = dict[str, float]
"""How odd an answer is by what it is judged by: a class, or an end of an interval."""


def odd_answers(kind: str, p: Any, issued: Issued) -> Odd:
    """How odd each class would be; of a number nothing can be said before its label."""
    if kind == "regression":
        return {}
    true = p if issued.calibrated is None else issued.calibrated
    return {"true": 1.0 - true, "false": true}


def odd_label(kind: str, p: Any, y: Any, answers: Odd) -> Odd:
    """How odd the label was."""
    if kind == "regression":
        return {"below": p - y, "above": y - p}
    name = "true" if y else "false"
    return {name: answers[name]}


class Fixed:
    """Split conformal bounds: quantiles of the first `FIXED_LABELS` labels' oddness. `wrong` may lie outside each."""

    def __init__(self, wrong: float) -> None:
        self.wrong = wrong
        self.odd: dict[str, list[float]] = defaultdict(list)
        self.labels = 0
        self.bounds: Odd | None = None

    def add(self, odd: Odd) -> None:
        """One label."""
        if self.bounds is not None:
            return
        for name, value in odd.items():
            self.odd[name].append(value)
        self.labels += 1
        if self.labels == FIXED_LABELS:
            self.bounds = {name: self._bound(sorted(values)) for name, values in self.odd.items()}

    def _bound(self, ordered: list[float]) -> float:
        rank = ceil((1.0 - self.wrong) * (len(ordered) + 1)) - 1
        return ordered[rank] if rank < len(ordered) else inf


@dataclass
class Held:
    """How often the label was held, and how large what held it was. `odd` counts empty sets, or intervals without an end."""

    labels: int = 0
    held: int = 0
    sized: int = 0
    size: float = 0.0
    odd: int = 0

    def add(self, kind: str, bounds: Odd, odd: Odd, answers: Odd) -> None:
        """One label, and the bounds that were issued with its prediction."""
        self.labels += 1
        self.held += all(value <= bounds[name] for name, value in odd.items())
        if kind == "regression":
            size = sum(bounds.values())
            self.odd += isinf(size)
        else:
            size = float(sum(value <= bounds[name] for name, value in answers.items()))
            self.odd += not size
        if not isinf(size):
            self.sized += 1
            self.size += size

    def figures(self) -> dict[str, float | None]:
        """Shares of the labels, and the mean size."""
        if not self.labels:
            return {"held": None, "size": None, "odd": None}
        size = self.size / self.sized if self.sized else None
        return {"held": self.held / self.labels, "size": size, "odd": self.odd / self.labels}


@dataclass
class Period:
    """What is counted of a month, of the incident's week and of the year, at one share."""

    own: Held = field(default_factory=Held)
    fixed: Held = field(default_factory=Held)
    said: list[tuple[float, bool]] = field(default_factory=list)
    corrected: list[tuple[float, bool]] = field(default_factory=list)


class Waits(NamedTuple):
    """What was said of one sample at one share."""

    answers: Odd
    issued: Issued
    fixed: Odd | None
    before: dict[str, int]


class AtShare:
    """One share of labels to hold: Penstock's sets and the fixed ones, by period."""

    def __init__(self, pipeline: Pipeline, share: float) -> None:
        self.kind, self.share = pipeline.kind, share
        self.uncertainty = Uncertainty(pipeline.kind, share, pipeline.calibrate)
        self.fixed = Fixed((1.0 - share) / (2.0 if self.kind == "regression" else 1.0))
        self.waiting: dict[int, Waits] = {}
        self.periods: dict[str, Period] = defaultdict(Period)
        self.judged: dict[str, int] = defaultdict(int)
        self.missed: dict[str, int] = defaultdict(int)
        self.late: dict[str, int] = defaultdict(int)

    def sample(self, position: int, p: Any) -> Issued:
        """One prediction: what is said of it."""
        issued = self.uncertainty.issue(p)
        answers = odd_answers(self.kind, p, issued)
        self.waiting[position] = Waits(answers, issued, self.fixed.bounds, dict(self.judged))
        return issued

    def label(self, position: int, at: int, p: Any, y: Any) -> None:
        """Its label."""
        answers, issued, fixed, before = self.waiting.pop(position)
        odd = odd_label(self.kind, p, y, answers)
        bounds = (
            dict(zip(("below", "above"), issued.bounds, strict=True))
            if self.kind == "regression"
            else issued.bounds
        )
        for name, value in odd.items():
            self.late[name] = max(self.late[name], self.judged[name] - before.get(name, 0))
            self.judged[name] += 1
            self.missed[name] += value > bounds[name]
        self.uncertainty.label(p, issued, y)
        self.fixed.add(odd)
        for name in periods_of(at):
            period = self.periods[name]
            period.own.add(self.kind, bounds, odd, answers)
            if fixed is not None:
                period.fixed.add(self.kind, fixed, odd, answers)
            if issued.calibrated is not None:
                period.said.append((p, y))
                period.corrected.append((issued.calibrated, y))

    def promises(self) -> Iterator[dict[str, Any]]:
        """For each class or end: the share of labels it missed, what was asked for, and how far the two may differ."""
        for name in sorted(self.judged):
            labels, late = self.judged[name], self.late[name]
            gamma = END_GAMMA if self.kind == "regression" else GAMMA
            yield {
                "of": name,
                "labels": labels,
                "missed": self.missed[name] / labels,
                "asked": self.fixed.wrong,
                "bound": (1.0 + gamma * (late + 1)) / (gamma * labels),
            }


def periods_of(at: int) -> list[str]:
    """The names of the periods that this event time lies in."""
    found = ["year", f"2013-{max(bisect_right(MONTHS, at), 1):02d}"]
    return [*found, "incident"] if INCIDENT_MS <= at < INCIDENT_MS + WEEK_MS else found


def calibration_error(pairs: Sequence[tuple[float, bool]]) -> float | None:
    """Root mean square distance of what was said from what came of it, debiased; None below two labels a bin."""
    if len(pairs) < 2 * BINS:
        return None
    ordered, found = sorted(pairs), 0.0
    for number in range(BINS):
        part = ordered[number * len(pairs) // BINS : (number + 1) * len(pairs) // BINS]
        said, came = (sum(column) / len(part) for column in zip(*part, strict=True))
        chance = came * (1.0 - came) / (len(part) - 1)
        found += len(part) / len(pairs) * ((said - came) ** 2 - chance)
    return sqrt(max(found, 0.0))


def run(read: Sequence[Entry], pipeline: Pipeline, shares: Sequence[float]) -> list[AtShare]:
    """Fold once, and say at every share what each of its predictions would have been published with.

    Raises:
        RuntimeError: if that is not what the fold itself said, at its own share.

    """
    fold = Fold(pipeline)
    trace = fold.trace = []
    found = [AtShare(pipeline, share) for share in shares]
    outputs = fold.outputs
    for position, entry in enumerate(read):
        fold.step(position, entry)
        for made in outputs.predictions:
            for one in found:
                if one.sample(made.position, made.p) != made.issued and one.share == pipeline.interval:
                    raise RuntimeError(
                        f"record {position}: the fold issued {made.issued} and this benchmark did not"
                    )
        for at, y, p, _, where in trace:
            for one in found:
                one.label(where, at, p, y)
        for told in (outputs.predictions, outputs.versions, outputs.live, fold.drift.requests, trace):
            told.clear()
    return found


def rows(one: AtShare, task: str) -> Iterator[dict[str, Any]]:
    """One object a period: months, then the incident's week, then the year."""
    for name in sorted(one.periods):
        period = one.periods[name]
        yield {
            "task": task,
            "asked": one.share,
            "period": name,
            "labels": period.own.labels,
            **period.own.figures(),
            **{f"fixed_{key}": value for key, value in period.fixed.figures().items()},
            "error": calibration_error(period.said),
            "error_corrected": calibration_error(period.corrected),
        }


def shown(value: float | None, digits: int = 3) -> str:
    """A figure of the table."""
    return "-".rjust(7) if value is None else f"{value:7.{digits}f}"


def told_rows(found: Sequence[dict[str, Any]]) -> str:
    """The table of one task and share."""
    lines = ["period      labels     held    size     odd|  fixed    size     odd|  error   after"]
    for row in found:
        numbers = [shown(row[key], 2 if "size" in key else 3) for key in list(row)[4:]]
        text = " ".join(numbers[:3]) + " " + " ".join(numbers[3:6]) + " " + " ".join(numbers[6:])
        lines.append(f"{row['period']:9} {row['labels']:8,}  {text}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the process's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--days", type=int, default=YEAR_DAYS, help="how many days of flights (default: the year)"
    )
    parser.add_argument("--task", action="append", choices=list(EXAMPLES), help="only this; may be repeated")
    parser.add_argument(
        "--incident", choices=list(INCIDENTS), default="milliseconds", help="default: milliseconds"
    )
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep the samples of the flights there")
    parser.add_argument(
        "--json", metavar="FILE", nargs="?", const="-",
        help="write the figures as JSON, too; without FILE to standard output, and the tables to standard error",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    told = sys.stderr if args.json == "-" else sys.stdout
    figures: dict[str, list[dict[str, Any]]] = {"rows": [], "promises": [], "measures": []}
    for task in args.task or list(EXAMPLES):
        pipeline = replace(load(EXAMPLES[task]), interval=PUBLISHED, calibrate=task == "binary")
        for one in run(kept(args.incident, args.cache, args.days, EXAMPLES[task]), pipeline, SHARES):
            found = list(rows(one, task))
            promises = [{"task": task, "share": one.share, **promise} for promise in one.promises()]
            figures["rows"] += found
            figures["promises"] += promises
            print(f"\n{task}, {one.share:g} asked for\n{told_rows(found)}", file=told, flush=True)
            own = {key: round(value, 4) for key, value in one.uncertainty.measures().items()}
            figures["measures"].append({"task": task, "share": one.share, **own})
            print(f"as the metric tells it (intervals with two ends only): {own}", file=told)
            for promise in promises:
                print(
                    f"{promise['of']:6} missed {promise['missed']:.4f} of {promise['labels']:,}, asked {promise['asked']:.4f}"
                    f" ± {promise['bound']:.4f}",
                    file=told,
                )
    write(figures, args.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

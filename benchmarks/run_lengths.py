"""How often people are told, on streams on which nothing changes: model changes, retrains and notes a year, beside the budget.

Streams: iid; ar log odds (what no input shows moves the log odds, correlated over 10, 100 or 1,000 labels); ar inputs
(inputs correlated as long); t3 inputs (Student's t with 3 degrees of freedom). A stream has 100,000 to 350,000 labels a
year. The real fold folds them, the policy carries out what it asks for. Simulated years drive the gate and the loss
monitor alone with experts whose errors are made up, of common noise correlated as above, far faster; `apart` is how far
each expert is from the truth, an error that wanders over 500 labels. gap is what the committed model loses more on
average, in margins: than all together where the fold folds, than the leader where experts are simulated; a leader from
whom it differs by less than 1 should not be told of. Simulated years in which it is 1 or more are shown with a star and
not counted. The interval is the exact one of a count, 95 %.

Run: python -m benchmarks.run_lengths [--streams N] [--labels N] [--simulated YEARS] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scipy.stats import chi2

from benchmarks.gate_options import OPTIONS
from benchmarks.gate_rivals import model_of
from benchmarks.gate_streams import CannotRead, Variant, opened
from benchmarks.run_length_streams import KINDS, SIMULATED, simulated, stationary
from penstock.stream.messages import ControlEvent
from penstock.stream.operate.attended import Attended
from penstock.stream.process.interpreter import settle_memory

BUDGET = {"changes": 0.5, "retrains": 0.5, "adwin": 0.1}
"""False alarms a year at `alarms_per_year = 1`; the notes of ADWIN are a part of the same half as the retrains."""
COMMITS = frozenset({"retrain", "rollback", "promote"})


@dataclass
class Told:
    """What was told on some streams of one kind.

    `changes` are requests that another model be committed, `retrains` those of `harm`, `adwin` its notes; `fired` is how often
    the `lead` test found the committed model worse, asked for or not; `leads` how often another expert took the lead; `others`
    are episodes of other monitors, by name.
    """

    kind: str
    streams: int = 0
    labels: int = 0
    years: float = 0.0
    changes: int = 0
    retrains: int = 0
    adwin: int = 0
    fired: int = 0
    leads: int = 0
    gap: float = 0.0
    others: dict[str, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def add(self, other: Told) -> None:
        """Another stream of the same kind; `gap` is the largest."""
        self.streams += other.streams
        self.labels += other.labels
        self.years += other.years
        self.changes += other.changes
        self.retrains += other.retrains
        self.adwin += other.adwin
        self.fired += other.fired
        self.leads += other.leads
        self.gap = max(self.gap, other.gap)
        for name, count in other.others.items():
            self.others[name] = self.others.get(name, 0) + count
        self.reasons += other.reasons


def counted(events: Sequence[ControlEvent]) -> tuple[int, int, int, dict[str, int], list[str]]:
    """Changes of the committed model asked for, retrains of harm, notes of ADWIN, other episodes that fired, and the reasons."""
    changes = [event.data for event in events if event.data.target_version and _asks(event)]
    retrains = [event.data for event in events if event.data.kind == "harm" and _asks(event)]
    firing = {(e.data.kind, e.data.episode) for e in events if e.data.state == "firing"}
    others: dict[str, int] = {}
    for kind, _ in sorted(firing):
        if kind not in ("lead", "harm", "adwin"):
            others[kind] = others.get(kind, 0) + 1
    adwin = sum(kind == "adwin" for kind, _ in firing)
    return len(changes), len(retrains), adwin, others, [data.reason for data in (*changes, *retrains)]


def _asks(event: ControlEvent) -> bool:
    return event.data.suggested_action in COMMITS


def folded(kind: str, seed: int, labels: int, model: Any) -> Told:
    """The real fold on one stationary stream."""
    rows, per_year = stationary(kind, seed, labels)
    stream = opened(rows, Variant())
    attended = Attended(stream.pipeline(model))
    drift, fired, was = attended.fold.drift, 0, False
    for entry in stream.entries:
        attended.step(entry)
        now = drift.lead is not None
        fired += now and not was
        was = now
    changes, retrains, adwin, others, reasons = counted(attended.told)
    committed, together = drift.losses.lead.reference_means()
    gap = (committed - together) / drift.losses.margin if drift.losses.margin > 0 else 0.0
    told = [f"{kind} {seed}: {reason}" for reason in reasons]
    leads, years = attended.fold.counts.leads, labels / per_year
    return Told(kind, 1, labels, years, changes, retrains, adwin, fired, leads, gap, others, told)


def made_up(kind: str, seed: int, years: float) -> Told:
    """The gate and the loss monitor alone."""
    found = simulated(kind, seed, years)
    return Told(kind, 1, years=years, **asdict(found))


def interval(count: int, years: float) -> tuple[float, float]:
    """The exact 95 % interval of a rate a year, from a count.

    >>> [round(end, 2) for end in interval(0, 10.0)], [round(end, 2) for end in interval(5, 10.0)]
    ([0.0, 0.37], [0.16, 1.17])
    """
    low = float(chi2.ppf(0.025, 2 * count)) / 2 if count else 0.0
    return low / years, float(chi2.ppf(0.975, 2 * count + 2)) / 2 / years


def cell(count: int, years: float) -> str:
    """A count, its rate a year with the interval, and the run length (years to one)."""
    low, high = interval(count, years)
    return f"{count:4d} {count / years:6.2f} ({low:.2f}-{high:.2f})"


def is_right(row: Told) -> bool:
    """Whether what was told of simulated years had to be told: the committed model was worse by the margin and more."""
    return row.kind in SIMULATED and row.gap >= 1.0


def table(title: str, rows: Sequence[Told]) -> list[str]:
    """Lines to print."""
    head = f"{title:24s} {'years':>7s}  {'model changes':24s} {'retrains of harm':24s} {'notes of ADWIN':24s}"
    lines = ["", f"{head} {'leads':>5s} {'fired':>5s} {'gap':>6s}  others"]
    total = Told("all")
    for row in rows:
        if not is_right(row):
            total.add(row)
    for row in [*rows, total] if total.years else rows:
        cells = [cell(count, row.years) for count in (row.changes, row.retrains, row.adwin)]
        others = ", ".join(f"{name} {count}" for name, count in sorted(row.others.items()))
        shown = " ".join(f"{one:24s}" for one in cells)
        named = row.kind + " *" * is_right(row)
        lines.append(
            f"{named:24s} {row.years:7.1f}  {shown} {row.leads:5d} {row.fired:5d} {row.gap:6.2f}  {others}"
        )
    spent = {"changes": total.changes, "retrains": total.retrains + total.adwin}
    for name, count in spent.items() if total.years else ():
        low, high = interval(count, total.years)
        length = f"{total.years / count:.1f} years" if count else f"more than {1 / high:.1f} years"
        verdict = "above the budget" if low > BUDGET[name] else "within the budget"
        what = f"{name} and notes" if name == "retrains" else name
        lines.append(f"{what}: one in {length}, {verdict} of one in {1 / BUDGET[name]:g} years")
    return lines


def measured(args: argparse.Namespace) -> dict[str, list[Told]]:
    """Every stream the options name, summed by kind."""
    found: dict[str, list[Told]] = {"fold": [], "simulated": []}
    _, model = model_of(args.model)
    for kind in KINDS:
        sums = Told(kind)
        for number in range(args.streams):
            _progress(f"fold, {kind}: stream {number + 1} of {args.streams}")
            sums.add(folded(kind, args.seed + number, args.labels, model))
        found["fold"] += [sums] if args.streams else []
    for kind in SIMULATED if args.simulated else ():
        _progress(f"simulated, {kind}: {args.simulated:g} years")
        found["simulated"].append(made_up(kind, args.seed, args.simulated))
    _progress("")
    return found


def _progress(said: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{said:79s}", end="" if said else "\r", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the process's exit code."""
    parser = argparse.ArgumentParser(
        prog="penstock bench run_lengths",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--streams", type=int, default=2, metavar="N", help="of each of the 4 kinds (default 2)"
    )
    parser.add_argument("--labels", type=int, default=10_000, metavar="N", help="a stream (default 10,000)")
    parser.add_argument(
        "--simulated", type=float, default=2.0, metavar="YEARS", help="of each kind (default 2), 0 for none"
    )
    parser.add_argument("--model", default="lr", help=OPTIONS["--model"]["help"].partition(";")[0])
    parser.add_argument("--seed", type=int, default=1, help="of the first stream (default 1)")
    parser.add_argument("--json", metavar="FILE", help="also write all figures as one JSON object")
    args = parser.parse_args(arguments)
    for name, least in (("streams", 0), ("labels", 1), ("simulated", 0)):
        if getattr(args, name) < least:
            parser.error(f"--{name} {getattr(args, name)}: it must be at least {least}")
    settle_memory()
    try:
        found = measured(args)
    except CannotRead as error:
        print(f"penstock: {error}", file=sys.stderr)
        return 2
    for title, rows in found.items():
        print(*table(title, rows) if rows else "", sep="\n")
        print(*(reason for row in rows for reason in row.reasons), sep="\n")
    if args.json:
        figures = {title: [asdict(row) for row in rows] for title, rows in found.items()}
        Path(args.json).write_text(json.dumps({"budget": BUDGET, **figures}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

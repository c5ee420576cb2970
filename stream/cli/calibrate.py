"""`penstock calibrate FILE`: how often it would have alarmed on its own history, at several budgets, and what to set."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from penstock.stream.cli.what_if import Progress
from penstock.stream.operate.calibrating.calibration import Calibration
from penstock.stream.operate.calibrating.tallies import FAMILIES, Row
from penstock.stream.operate.reporting.incidents import cost_in_words, length, moment
from penstock.stream.process.interpreter import settle_memory
from penstock.stream.process.settings import Settings
from penstock.stream.roles.calibrate import BUDGETS, CannotCalibrate, calibrate

EXAMPLES = """\
examples:
  penstock calibrate examples/flights.py                               which budget of alarms suits this stream?
  penstock calibrate examples/flights.py --from 2013-06-01T00:00:00Z   counted since June; what came before still teaches
  penstock calibrate examples/flights.py --budgets 0.5,2 --json | jq .advice

`alarms_per_year` is how many false alarms you allow, for each kind of test: of the loss, of the distribution of inputs, of the
guards of data. A smaller budget wants more evidence, so it finds less and later. This command folds your own history once for
each budget, with all decisions at once, and shows what people would have been told, what each incident cost, and which of them
were worth knowing: those with broken data, those that cost more than the margin that drift is acted on (10 % of what the model is
worth over the base rate, at least 2 % of the base rate's loss), and those for which a better model was found.
Beside them stands what naive detectors say: river's ADWIN on every single loss, and a daily PSI above 0.25.
At the end it suggests settings, each with its reason. A suggestion is of the past: a budget is a promise about false alarms, and
one year shows how often it was kept only roughly. Nothing is written, no group is joined.
Exit codes: 0 calibrated, 2 could not."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "calibrate",
        help="which budget of alarms suits this stream?",
        description="Fold a pipeline's own history at several budgets of alarms, and suggest settings with their reasons.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    command.add_argument(
        "--from", dest="start", metavar="T", help="alarms found from event time T on (default: all)"
    )
    command.add_argument(
        "--to", dest="stop", metavar="T", help="alarms found before event time T (default: all)"
    )
    command.add_argument(
        "--budgets",
        metavar="N,N…",
        type=budgets,
        default=BUDGETS,
        help="values of alarms_per_year to try (default: 1,4,12)",
    )
    command.add_argument("--json", action="store_true", help="print the calibration as one JSON object")
    command.set_defaults(run=run)


def budgets(given: str) -> tuple[float, ...]:
    """Numbers of alarms a year, separated by commas."""
    try:
        found = tuple(float(one) for one in given.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 < one <= 366 for one in found):
        raise argparse.ArgumentTypeError(
            f"numbers above 0 and at most 366, separated by commas, not {given!r}"
        )
    return found


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Fold, count, advise."""
    settle_memory()
    try:
        found = calibrate(
            args.file,
            start=args.start,
            stop=args.stop,
            budgets=args.budgets,
            settings=settings,
            progress=Progress().say,
        )
    except CannotCalibrate as error:
        print(f"penstock: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found.as_json()) if args.json else "\n".join(lines(found)))
    return 0


def lines(found: Calibration) -> list[str]:
    """The calibration for people."""
    stream = found.stream
    said = [
        f"{found.pipeline}: {stream.samples:,} samples and {stream.labels:,} labels in {stream.days:,.0f} days, "
        f"{moment(found.start)} to {moment(found.stop)} (event time, UTC)"
    ]
    if found.live is not None and found.base is not None:
        said.append(
            f"mean loss {found.live:.4f} nats a label, base rate {found.base:.4f}; worth acting on: {found.margin:.4f}"
        )
    said += [f"note: {note}" for note in found.notes]
    said += ["", *_budgets(found), "", *_rows(found.rows, found.budgets, found.stop)]
    naive = found.naive
    most = sorted(naive.psi_alarms.items(), key=lambda one: (-one[1], one[0]))[:3]
    inputs = ", ".join(f"{name} {many}" for name, many in most if many)
    said += [
        "",
        "what naive detectors say",
        f"  ADWIN on every loss (river's defaults): {naive.adwin_alarms:,} alarms",
        f"  daily PSI above 0.25 against the first 28 days: on {naive.psi_days:,} of {naive.days:,} days"
        + (f" ({inputs} …)" if inputs else "")
        if naive.days
        else "  daily PSI above 0.25 against the first 28 days: there are no days behind those",
        "",
        "suggested",
    ]
    for one in found.advice:
        value = [one.value] if one.setting == "segments" else one.value
        said.append(f"  {one.setting}={value!r}: {one.why}" if one.setting else f"  to know: {one.why}")
    took = ", ".join(f"{budget:g}: {took_s:.0f} s" for budget, took_s in found.seconds.items())
    return [*said, "", f"took {took}"]


def _budgets(found: Calibration) -> list[str]:
    head = (
        "alarms_per_year",
        "of the loss",
        "of inputs",
        "of data",
        "others",
        "worth knowing",
        "by chance, of each kind",
    )
    body = []
    for budget in found.budgets:
        tally = found.tally(budget)
        worth = sum(bool(row.worth) for row in found.rows if budget in row.budgets)
        counts = [str(tally[family]) for family in FAMILIES]
        body.append((f"{budget:g}", *counts, str(worth), f"at most {found.by_chance(budget):.1f}"))
    return table([head, *body])


def _rows(rows: Sequence[Row], budgets_: Sequence[float], stop: int) -> list[str]:
    if not rows:
        return ["nobody would have been told of anything"]
    head = ("began", "found after", "lasted", "what", "at", "cost, nats", "worth knowing")
    body = []
    for row in rows:
        one, nats = row.incident, cost_in_words(row.incident, row.cost)
        lasted = length(one.until(stop) - one.since) + ("" if one.over is not None else " and on")
        at = (
            "all" if len(row.budgets) == len(budgets_) else ", ".join(f"{budget:g}" for budget in row.budgets)
        )
        body.append(
            (moment(one.since), length(one.found - one.since), lasted, one.name, at, nats, row.worth or "no")
        )
    return table([head, *body])


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they must be."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]

"""`penstock report FILE`: a pipeline's history, or one of its incidents, as one page for a post-mortem."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from penstock.stream.cli.what_if import Progress
from penstock.stream.operate.reporting.page import page
from penstock.stream.process.interpreter import settle_memory
from penstock.stream.process.settings import Settings
from penstock.stream.roles.report import CannotReport, report

EXAMPLES = """\
examples:
  penstock report examples/flights.py --out flights.html            everything that happened, on one page
  penstock report examples/flights.py --episode 3f9c --out may.html   one incident, by its episode (its first letters do)
  penstock report examples/flights.py --from 2013-05-01T00:00:00Z --to 2013-06-01T00:00:00Z --json | jq '.incidents[].story'

FILE is the definition that runs. The page has what was lost over event time (live prediction, committed model, base rate), who
was believed, what was found, decided, commanded and put in place, and how inputs moved; of an incident its story, what it cost,
and the command that does what was asked for. It is one file: no script, nothing from elsewhere, so it can be mailed, printed, and
kept with the post-mortem. `penstock watch --from-start` and the page itself name the episodes.

Losses and weights are those of the samples log, folded again with the commands that stand in it; what was found is read from
the control topics. Nothing is written but the page, no group is joined. The same log gives the same page.
Exit codes: 0 written, 2 could not."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "report",
        help="one page about all that happened, or about an incident",
        description="Make one page of a pipeline's history, or of one incident: what it cost, who was believed, what was done.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    command.add_argument(
        "--episode", metavar="ID", help="one incident: its episode's id, or as much of it as is needed"
    )
    command.add_argument("--from", dest="start", metavar="T", help="event times from T on (default: all)")
    command.add_argument("--to", dest="stop", metavar="T", help="event times before T (default: all)")
    command.add_argument("--out", metavar="FILE", help="write the page here")
    command.add_argument(
        "--json", action="store_true", help="print the figures of the page as one JSON object"
    )
    command.add_argument(
        "--guard", choices=("on", "off"), default="on", help="as the learn role runs with (default: on)"
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Read, fold, write."""
    if not args.out and not args.json:
        print(
            "penstock: say where the page is to be written with --out FILE, or ask for --json",
            file=sys.stderr,
        )
        return 2
    settle_memory()
    try:
        found = report(
            args.file,
            episode=args.episode,
            start=args.start,
            stop=args.stop,
            guard=args.guard == "on",
            settings=settings,
            progress=Progress().say,
        )
        if args.out:
            Path(args.out).write_text(page(found), encoding="utf-8")
    except (CannotReport, OSError) as error:
        print(f"penstock: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(found.as_json()))
    else:
        many = len(found.incidents)
        print(f"{args.out}: {many} incident{'' if many == 1 else 's'}, {found.whole()['labels']:,} labels")
        for note in found.notes:
            print(f"note: {note}")
    return 0

"""`penstock golden FILE LOG`: does a definition make of kept records what it made of them before?"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path

from penstock.stream.definition_file import load
from penstock.stream.definitions import DefinitionError
from penstock.stream.plan import golden
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start

EXAMPLES = """\
examples:
  penstock golden flights.py golden.ndjson --keep 5000    once: the newest records of the topics, and what comes of them
  penstock golden flights.py golden.ndjson                from then on, without any server: is it still so?
  penstock golden flights.py golden.ndjson --record       a change is wanted: keep what comes now, and look at the difference

LOG is a file of records, one JSON object a line (.gz is packed), as `penstock test --events` takes it:
  {"topic": "flights.arrivals", "timestamp": 1357034400000, "key": "N1234", "value": {"flight_id": 7, "delay": 5, ...}}
Its digests lie beside it, in LOG.digests.json: of the states of each view, of all samples, labels and predictions, and of the
model. Keep both in your repository. States, samples and labels must be the same anywhere. Predictions and the model depend on
Python (3.11), river and platform as well: where these are others than when the digests were kept, it cannot be said.
Records hold what your events hold: keep only what your repository may hold.
Exit codes: 0 all is as it was (or it was kept), 1 something differs, 2 it cannot be said."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "golden",
        help="fold a kept log in memory, and compare digests",
        description="Fold a golden log, kept in a file, in memory, and compare what comes with its digests.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    command.add_argument("log", metavar="LOG", help="the golden log")
    how = command.add_mutually_exclusive_group()
    how.add_argument(
        "--keep", type=int, metavar="N", help="make it anew from the newest N records of the source topics"
    )
    how.add_argument("--record", action="store_true", help="write the digests anew")
    command.add_argument("--json", action="store_true", help="print the result as one JSON object")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Make, record or compare."""
    pipeline, path = load(args.file), Path(args.log)
    if args.keep is not None:
        if args.keep < 1:
            raise DefinitionError(f"--keep {args.keep}: give the number of records, at least 1")
        with closing(start.open_log(settings)) as log:
            golden.write(path, golden.newest_of(pipeline, log, args.keep))
    beside = golden.kept_at(path)
    now = golden.made(pipeline, golden.read(path))
    if args.keep is not None or args.record:
        beside.write_text(json.dumps(now.as_json(), indent=1) + "\n", encoding="utf-8")
        print(json.dumps(now.as_json()) if args.json else f"{beside}: kept, of {_counted(now)}")
        return 0
    try:
        kept = json.loads(beside.read_text(encoding="utf-8"))
        different, other = golden.differences(kept, now), golden.incomparable(kept, now)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DefinitionError(f"{beside}: no digests ({error}); --record keeps them") from None
    code = 1 if different else 2 if other else 0
    if args.json:
        found = {**now.as_json(), "equal": code == 0, "different": different, "incomparable": other or None}
        print(json.dumps(found))
        return code
    print(f"folded     {_counted(now)}")
    for one in different:
        print(f"DIFFERENT  {one}")
    if other:
        said = f"predictions and the model were kept under {other}: keep them anew with --record, under what runs"
        print(f"penstock: {said}", file=sys.stderr)
    if not code:
        print("equal")
    return code


def _counted(made: golden.Made) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in made.counts.items())

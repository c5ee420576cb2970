"""`penstock plan FILE`: what a changed definition would do, before it does."""

from __future__ import annotations

import argparse
import json
import sys

from penstock.features.define.durations import milliseconds
from penstock.stream.cli.what_if import Progress
from penstock.stream.operate.stored_header import CannotSay
from penstock.stream.plan.live import LIVE
from penstock.stream.plan.run import plan
from penstock.stream.plan.telling import markdown, text
from penstock.stream.process.interpreter import settle_memory
from penstock.stream.process.settings import Settings

EXAMPLES = """\
examples:
  penstock plan flights.py                            what would change beside what runs, and what it takes
  penstock plan flights.py --backtest 30d             and would it have predicted better in the last 30 days?
  penstock plan flights.py --against origin/main --offline       beside the file of another branch, without any server
  penstock plan flights.py --against former.py --format json | jq .verdict
  penstock plan flights.py --backtest 30d --format markdown      for the comment of a pull request

Nothing is written to Kafka, Redis or the working tree, and no consumer group is joined: what runs does not notice.

changes   what a restart would find. Decided by the code that will act on it: featurize's own, and `penstock backfill`'s.
columns   kept: the state goes on; rebuilt: read again from its topic; dropped.
readers   breaks: a reader of the former definition fails, or takes a value for what it is no longer (as of a column that means
          something else under its old name); reload: goes on with the new file; look: see for yourself; adds: concerns nobody.
model     kept, refit (the samples log is folded again) or restarts (from nothing), likewise experts, samples, label, episodes.
cost      from the topics' real offsets and Redis' real entities, and from the newest 20,000 records, built here in memory.
          Seconds are of CPU on this machine: by the clock it takes longer where others work.
backtest  what `penstock what-if FILE --from T` says, T so long before the newest sample. With --against FILE the former
          definition is folded again, as what-if does. A change of what is asked cannot be compared, and the plan says so.

--against takes `live` (the definition that the stored state names), a file, a git revision in which FILE has the same path, or
REVISION:FILE. --offline asks no server: no cost, no backtest.

Exit codes: 0 nothing changes, or only what is safe; 1 it cannot be brought over to the state that is there, or, as topics or
files that were read no longer reach back far enough, by `penstock backfill --partial` alone; 2 nothing can be said
(a wrong argument or file, a server that does not answer); 3 readers break; 4 the model gets clearly worse (the interval leaves 0
out and the e-value is at least 20). The first of 1, 3 and 4 that holds. --accept says which you know of; the plan still tells."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "plan",
        help="what would a changed definition do, and what would it take?",
        description="Say what a changed definition would do before it does: state, readers, model, cost, and a backtest.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the changed definition file")
    command.add_argument(
        "--against",
        metavar="LIVE",
        default=LIVE,
        help="live, a file, REVISION or REVISION:FILE (default: live)",
    )
    command.add_argument(
        "--backtest",
        metavar="LENGTH",
        type=_length,
        help="try it on the last so long of the history, such as 30d",
    )
    command.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="LOSS",
        help="a clear loss of up to so much a label is no reason for exit code 4 (default: 0)",
    )
    command.add_argument(
        "--accept",
        action="append",
        choices=("readers", "worse", "partial"),
        default=[],
        help="known and wanted: no exit code of its own; may be given more than once",
    )
    command.add_argument(
        "--offline", action="store_true", help="ask no server; needs --against a file or a revision"
    )
    command.add_argument(
        "--format",
        choices=("text", "json", "markdown"),
        default="text",
        help="how to tell it (default: text)",
    )
    command.set_defaults(run=run)


def _length(said: str) -> str:
    """A duration, as it was given."""
    try:
        milliseconds(said)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return said


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Plan, tell; the exit code is the verdict."""
    settle_memory()
    try:
        found = plan(
            args.file,
            against=args.against,
            backtest=args.backtest,
            tolerance=args.tolerance,
            offline=args.offline,
            settings=settings,
            progress=Progress().say,
        )
    except CannotSay as error:
        print(f"penstock: {error}", file=sys.stderr)
        return 2
    if args.format == "json":
        print(json.dumps(found.as_json(args.accept)))
    elif args.format == "markdown":
        print(markdown(found, args.accept), end="")
    else:
        print(text(found, args.accept))
    return found.exit_code(args.accept)

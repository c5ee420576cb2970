"""`penstock test FILE`: events in, samples, labels, dead letters and documents out, as the roles would make them, compared."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from penstock.stream.definition_file import load
from penstock.stream.featurize.model_trial import check_model
from penstock.stream.operate.expected import check_outcome
from penstock.stream.process.settings import Settings
from penstock.stream.process.terminal import printable
from penstock.stream.trial.compare import TOLERANCE
from penstock.stream.trial.files import ALSO, Asked, Tried, told, tried
from penstock.stream.trial.leaks import MOST_SAMPLES
from penstock.stream.trial.wire import BadLine

EXAMPLES = """\
examples:
  penstock test cards.py --events events.jsonl --expect expected.jsonl --update    write down what comes, then read it
  penstock test cards.py --events events.jsonl --expect expected.jsonl             from then on: is it still so?
  penstock test cards.py --events events.jsonl                                     only look for leaks, and print what comes
  penstock test cards.py --events events.jsonl --expect expected.jsonl --update --also documents --also predictions

It needs no server: the pipeline runs in this process, in milliseconds. A line of the events file is one record:
  {"topic": "cards.payments", "value": {"payment_id": "p1", "paid_at": 1735689600000, "card": "c1", "amount": 20}}
Beside these it may have "key" and "timestamp" (left out: the declared key field, and the event's own time), or "raw" for text
that is no JSON in place of "value". "topic" may be left out where there is one source. The line {"time": "2025-01-02T00:00:00Z"}
lets time pass: labels that did not come by then will not come. Empty lines, and those that begin with #, are left out.
A line of the expected file is what came of them, and may leave columns out that are not to be compared:
  {"sample": "p1", "features": {"amount": 20.0, "card.paid_10m": 1.0}, "label": false}
  {"dead_letter": "p2", "topic": "cards.payments", "reason": "Object missing required field `amount`"}
  {"document": "card", "entity": "c1", "values": {"paid_10m": 1.0}}          features as of the newest event time
  {"prediction_of": "p1", "prediction": 0.5}
Samples and dead letters are compared whole, documents and predictions where they are expected. Predictions are those of
this Python, platform and river. Leaks: each sample's features are computed again without everything that came after its
moment, and with another answer in the event that labels it; neither may change them.
Exit codes: 0 as expected, 1 something differs or leaks, 2 the definition or a line is wrong (one line)."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "test",
        help="events in, and is what comes out as expected? without a server",
        description="Run a pipeline in memory on a file of events, compare what comes, and look for leaks.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    command.add_argument("--events", metavar="FILE", required=True, help="the records to publish, one a line")
    command.add_argument(
        "--expect", metavar="FILE", help="what should come of them, one a line (default: print what comes)"
    )
    command.add_argument("--update", action="store_true", help="write the expected file from what comes")
    command.add_argument(
        "--also",
        choices=list(ALSO),
        action="append",
        default=[],
        help="with --update, or without --expect: these kinds, too; repeat it for both",
    )
    command.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        metavar="R",
        help=f"how far numbers may differ, as a share and by itself (default {TOLERANCE:g})",
    )
    command.add_argument(
        "--leaks",
        type=int,
        default=MOST_SAMPLES,
        metavar="N",
        help=f"look for leaks in at most N samples (default {MOST_SAMPLES}; 0: do not look)",
    )
    command.add_argument("--json", action="store_true", help="print the result as one JSON object")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Try it and tell."""
    expect = None if args.expect is None else Path(args.expect)
    wrong = "--update needs --expect, the file to write" if args.update and expect is None else ""
    if args.tolerance < 0 or args.leaks < 0:
        wrong = "--tolerance and --leaks may not be below 0"
    if wrong:
        print(f"penstock: {wrong}", file=sys.stderr)
        return 2
    pipeline = load(args.file)
    check_model(pipeline)
    check_outcome(pipeline)
    asked = Asked(Path(args.events), expect, args.update, tuple(args.also), args.tolerance, args.leaks)
    try:
        done = tried(pipeline, asked)
    except FileNotFoundError as error:
        hint = "; --update writes it" if expect is not None and error.filename == str(expect) else ""
        print(f"penstock: there is no file {error.filename}{hint}", file=sys.stderr)
        return 2
    except (BadLine, OSError) as error:
        print(f"penstock: {printable(str(error))}", file=sys.stderr)
        return 2
    print(json.dumps(as_json(done)) if args.json else "\n".join(as_text(done)))
    return 0 if done.right else 1


def as_text(done: Tried) -> list[str]:
    """The result for people: what is wrong first, then what there was."""
    asked = done.asked
    lines = [printable(line) for line in told(done)]
    lines += [""] if lines else []
    if asked.expect is None:
        lines += [printable(json.dumps(one.line, ensure_ascii=False)) for one in done.found]
    labelled = sum(one.line.get("label") is not None for one in done.found if one.kind == "sample")
    came = f"{done.count('sample'):,} samples, {labelled:,} of them labelled, {done.count('dead_letter'):,} dead letters"
    lines.append(f"events    {done.fed:,} of {asked.events.name}: {came}")
    if done.written and asked.expect is not None:
        lines.append(
            f"written   {asked.expect.name}, {len(done.found):,} lines: read them, since from now on they are right"
        )
    elif asked.expect is not None:
        found = f"{len(done.different):,} differ" if done.different else "all as expected"
        lines.append(f"expected  {len(done.wanted):,} lines of {asked.expect.name}: {found}")
    if done.unnamed:
        lines.append(
            f"          not compared, because no line names it: {', '.join(done.unnamed)} (--update adds it)"
        )
    lines += _leaks(done)
    lines += [
        f"          {name} says every one of the {labelled:,} labels by itself: is it known when the event is predicted?"
        for name in done.tellers
    ]
    return lines


def _leaks(done: Tried) -> list[str]:
    looked = done.looked
    if looked is None:
        return []
    of = "" if looked.tried == looked.samples else f" of {looked.samples:,}"
    how = f"{looked.tried:,}{of} samples computed again without what came later"
    how += f", {looked.answered:,} with another answer" if looked.answered else ""
    return [f"leaks     {len(looked.leaks) or 'none'}: {how}"]


def as_json(done: Tried) -> dict[str, Any]:
    """The result for programs."""
    looked = done.looked
    return {
        "right": done.right,
        "events": done.fed,
        "came": {kind: done.count(kind) for kind in dict.fromkeys(one.kind for one in done.found)},
        "written": done.written,
        "different": [
            {**one._asdict(), "wrong": [column._asdict() for column in one.wrong]} for one in done.different
        ],
        "not_compared": done.unnamed,
        "tell_alone": done.tellers,
        "leaks": None
        if looked is None
        else {**looked._asdict(), "leaks": [leak._asdict() for leak in looked.leaks]},
    }

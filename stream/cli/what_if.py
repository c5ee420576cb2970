"""`penstock what-if FILE`: what a changed definition would have predicted, beside what was predicted, on the same labels."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from penstock.stream.operate.parts import Part
from penstock.stream.operate.recipe_change import CannotCompare
from penstock.stream.operate.verdicts import amount, e_value
from penstock.stream.process.interpreter import settle_memory
from penstock.stream.process.settings import Settings
from penstock.stream.roles.what_if import WhatIf, what_if

SAY_S = 2.0
NAMES = {"auc": "AUC", "accuracy": "accuracy", "rmse": "RMSE"}
EXAMPLES = """\
examples:
  penstock what-if changed.py                                    would it have predicted better than what was live?
  penstock what-if changed.py --from 2013-03-01T00:00:00Z --by carrier     since March, and for each carrier
  penstock what-if changed.py --svg difference.svg --json | jq .verdict    a picture, and one object for programs
  penstock what-if changed.py --alone --against former.py        two models by themselves: the quickest, and nothing else differs

FILE is a copy of a definition with something changed: the model, a view, an input. Its history is that of the pipeline of the
same name. Where only the model or its rules changed, the samples log is folded again, otherwise samples are computed anew from
the source topics by featurize's own engine, in memory. Nothing is written, no group is joined: what runs goes on undisturbed.

The live side is what was predicted at the time, as far as the predictions topic still holds it. --against folds the former
definition again instead, with all decisions at once on both sides: best for small differences. Both sides are as they would run,
several models together, unless you say --alone: one model each.
A sample is compared if both sides predicted it and its label came; the others are counted. A difference is in nats (log loss of
what came, true or false or a class) a label, or, where numbers are predicted, in absolute error; its interval allows for
neighbouring events being alike; a part is clear (better or worse) if the interval leaves 0 out and the e-value is at least 20.
--from and --to bound what is compared; what came before --from still teaches.
Exit codes: 0 compared, 1 nothing to compare, 2 could not."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "what-if",
        help="would a changed definition have predicted better?",
        description="Fold a changed definition over the history that was lived, and compare it with what was predicted.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the changed definition file")
    command.add_argument("--from", dest="start", metavar="T", help="event times from T on (default: all)")
    command.add_argument("--to", dest="stop", metavar="T", help="event times before T (default: all)")
    command.add_argument(
        "--against",
        metavar="FILE2",
        help="the former definition, folded again in place of what was predicted",
    )
    command.add_argument(
        "--alone", action="store_true", help="the file's model by itself, without others beside it"
    )
    command.add_argument(
        "--by",
        metavar="FIELD",
        help="also by an input, by `key` (the entity), or by a field of the predicted events",
    )
    command.add_argument(
        "--recompute", action="store_true", help="compute samples anew even if views and inputs are the same"
    )
    command.add_argument("--svg", metavar="FILE", help="draw the difference over time")
    command.add_argument("--json", action="store_true", help="print the comparison as one JSON object")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Compare, tell, draw."""
    settle_memory()
    try:
        found = what_if(
            args.file,
            start=args.start,
            stop=args.stop,
            against=args.against,
            alone=args.alone,
            by=args.by,
            recompute=args.recompute,
            settings=settings,
            progress=Progress().say,
        )
        if args.svg:
            Path(args.svg).write_text(found.svg(), encoding="utf-8")
    except (CannotCompare, OSError) as error:
        print(f"penstock: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found.as_json()) if args.json else "\n".join(lines(found)))
    return 0 if found.parts else 1


class Progress:
    """A line every `SAY_S` on standard error, and one whenever something else begins."""

    def __init__(self) -> None:
        self.what = ""
        self.said_s = self.began_s = 0.0

    def say(self, what: str, done: int, total: int) -> None:
        """How far, and how fast."""
        now_s = time.monotonic()
        if what != self.what:
            self.what, self.began_s, self.said_s = what, now_s, now_s
            print(f"{what}: {total:,} records", file=sys.stderr, flush=True)
        elif now_s - self.said_s >= SAY_S and done:
            self.said_s = now_s
            per_s = done / (now_s - self.began_s)
            left_s = (total - done) / per_s
            print(
                f"{what}: {done:,} of {total:,} records, {per_s:,.0f}/s, {left_s:.0f} s left",
                file=sys.stderr,
                flush=True,
            )


def lines(found: WhatIf) -> list[str]:
    """The comparison for people."""
    left = found.left
    said = [
        found.verdict,
        "",
        f"changed   {'; '.join(found.changes) or 'nothing that a recipe says'}",
        f"samples   {'computed anew from the sources' if found.recomputed else 'those of the samples log'}",
        f"sides     live: {found.live}; changed: {'one model by itself' if found.alone else 'as it would run'}",
    ]
    reasons = (
        (left.not_live, "have no prediction of the live side"),
        (left.not_changed, "none of the changed side"),
        (left.unlabelled, "got no label"),
        (left.waiting, "may still get one"),
    )
    out = ", ".join(f"{count:,} {why}" for count, why in reasons if count)
    said.append(f"compared  {len(found.columns):,} of {left.samples:,} samples{f'; {out}' if out else ''}")
    said += [f"note      {note}" for note in found.notes]
    said.append(f"took      {found.seconds:.1f} s")
    return [*said, "", *table(found.parts)] if found.parts else said


def table(parts: Sequence[Part]) -> list[str]:
    """One line for each part."""
    by = parts[0].by
    loss, figure = "loss" if by.unit else "MAE", NAMES[by.figure]
    head = ("", "labels", f"live {loss}", "changed", "difference", "95 % interval", "e-value", "clear",
            f"live {figure}", "changed")  # fmt: skip
    body = []
    for part in parts:
        one = part.compared
        bounds = (
            ""
            if one.low is None or one.high is None
            else f"{amount(one.low, by, '+')} to {amount(one.high, by, '+')}"
        )
        clear = "" if not one.clear else "better" if one.difference < 0 else "worse"
        figures = ["" if one is None else amount(one, by) for one in part.figures]
        losses = [amount(part.live_loss, by), amount(part.changed_loss, by), amount(one.difference, by, "+")]
        name = part.value if part.of in ("whole", "month") else f"{part.of} {part.value}"
        body.append(
            (name or "whole", f"{one.labels:,}", *losses, bounds, e_value(one.log10_e), clear, *figures)
        )  # fmt: skip
    widths = [max(len(row[column]) for row in (head, *body)) for column in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if column in (0, 7) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *body)
    ]

"""`penstock history PIPELINE`: how it did, by blocks of labels or by hours: losses, weights, rates and open episodes."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing, suppress

from penstock.stream.history_record import HistoryRecord
from penstock.stream.log.protocol import UnknownTopic
from penstock.stream.messages import rfc3339
from penstock.stream.operate.expert_lines import columns
from penstock.stream.operate.history import Column, Series, history_of, series
from penstock.stream.operate.moments import span_of
from penstock.stream.process.settings import Settings
from penstock.stream.process.terminal import printable
from penstock.stream.roles import start
from penstock.stream.shards import log_by_name

EXAMPLES = """\
examples:
  penstock history flights                                              every block of labels so far
  penstock history flights --by hour --from 2013-05-13T00:00:00Z --to 2013-05-14T00:00:00Z
  penstock history flights --json | jq '.series.losses.live'

It reads <pipeline>.history, which learn writes, and nothing else: no model is loaded and nothing is folded again. A line is one
block of labels (500 of them, and more where they come within ten minutes), or with --by hour one hour of event time. Times are
ends of blocks and hours. Losses are means in nats: of the live prediction, the base rate, and the passive twin, the definition's
model as nobody touched it. Of a regression they are those of a density around the number, and its errors stand beside them.
`believed` is the model with most of the weight, and `weight` its part. `open` names what caused each episode that is open, and
`held` says that learning is held.
Exit codes: 0 printed, 2 could not, or there is no history of this pipeline."""
FIGURES = {"auc": "AUC", "mae": "error", "base_mae": "base's", "accuracy": "right", "alert_share": "alerts"}
"""Which of the task's figures have a column, and its heading."""
LEFT = {"until", "believed", "open"}
NOTHING = "-"


class NoHistory(Exception):
    """Why there is nothing to print; the message says what to do."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "history",
        help="how it did, block by block or hour by hour",
        description="Print what learn wrote down of a pipeline's past: losses, weights, rates, open episodes.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("pipeline", metavar="PIPELINE", help="its name, as in the definition")
    command.add_argument(
        "--by", choices=("labels", "hour"), default="labels", help="a line for each (default: labels)"
    )
    command.add_argument("--from", dest="start", metavar="T", help="event times from T on (default: all)")
    command.add_argument("--to", dest="stop", metavar="T", help="event times before T (default: all)")
    command.add_argument("--json", action="store_true", help="print the series as one JSON object")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Read and print."""
    try:
        records = _read(args, settings)
    except NoHistory as error:
        print(f"penstock: {error}", file=sys.stderr)
        return 2
    found = series(records, args.by)
    if args.json:
        print(json.dumps({"pipeline": args.pipeline, "by": args.by, "series": found.as_json()}))
    else:
        print("\n".join(as_text([one for one in records if one.kind == args.by], found)))
    return 0


def _read(args: argparse.Namespace, settings: Settings) -> list[HistoryRecord]:
    span = span_of(args.start, args.stop, NoHistory)
    with closing(start.open_log(settings)) as log:
        try:
            records = history_of(log, args.pipeline, settings.prefix, span)
        except UnknownTopic as error:
            raise NoHistory(
                f"there is no history of {args.pipeline!r} under prefix {settings.prefix!r}: topic {error.topic!r} does not "
                "exist. Is this the name in the definition? `penstock topics FILE` creates the topic, and learn writes to it"
            ) from None
        if not records:  # a pipeline that learns in shards has one of each
            with suppress(UnknownTopic):
                log_by_name(log, args.pipeline, settings.prefix)
    if not any(one.kind == args.by for one in records):
        what = "block of labels" if args.by == "labels" else "hour"
        other = "; there are hours: --by hour" if args.by == "labels" else "; there are blocks: --by labels"
        why = other if records else ": learn has written none yet, or elsewhere"
        raise NoHistory(f"no {what} of {args.pipeline!r} ends in this range{why}")
    return records


def as_text(rows: list[HistoryRecord], found: Series) -> list[str]:
    """A table for people: one line for each record; a column in which nothing can be said is left out."""
    figures = [name for name in FIGURES if name in found.means]
    shown = [found.losses["live"], found.losses["base"], found.losses["first"]]
    shown += [found.means[name] for name in figures]
    head = ["until", "labels", "an hour", "waiting", "live", "base", "passive"]
    head += [FIGURES[name] for name in figures]
    lines: list[list[str]] = [[*head, "believed", "weight", "open"]]
    for place, row in enumerate(rows):
        weight, believed = max([(one.weight, one.version) for one in row.experts], default=(1.0, row.leader))
        lines.append(
            [
                rfc3339(row.at)[:16].replace("T", " "),
                f"{row.counts.joined:,}",
                _figure(found.rates["samples"], place, ",.0f"),
                f"{row.pending:,}",
                *(_figure(column, place, ".4f") for column in shown),
                believed,
                f"{weight:.0%}",
                ", ".join([*(f"{one.kind} of {one.subject}" for one in row.episodes), *["held"] * row.held]),
            ]
        )
    said = [any(line[column] != NOTHING for line in lines[1:]) for column in range(len(lines[0]))]
    lines = [[cell for cell, shown in zip(line, said, strict=True) if shown] for line in lines]
    right = [place for place, name in enumerate(lines[0]) if name not in LEFT]
    return [printable(line) for line in columns(lines, right)]


def _figure(column: Column, place: int, how: str) -> str:
    value = column[place]
    return NOTHING if value is None else format(value, how)

"""`penstock explain FILE ID`: why a prediction was what it was, by the very models that made it."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from typing import Any

import msgspec

from penstock.stream import topology
from penstock.stream.cli.replay import Progress
from penstock.stream.definition_file import load
from penstock.stream.explain.explanation import CannotExplain, Explanation
from penstock.stream.messages import rfc3339
from penstock.stream.operate.past import NotThere, Past, explain_past
from penstock.stream.operate.stored_header import CannotSay, guarded, snapshot_of
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start

TOP = 10
EXAMPLES = """\
examples:
  penstock explain examples/flights.py 2013-02-04-UA1626-EWR                 the ten inputs that counted most
  penstock explain examples/flights.py 2013-02-04-UA1626-EWR --top 0 --json  all of them, for programs
  penstock explain examples/flights.py --position 59010                      the sample there, where an id came twice

ID is the event's own, which its prediction carries as `id`. The samples log is folded from its start up to this sample, so the
models are those that predicted it, whatever became of them; a year of events takes a minute or so. Nothing is written.
base + contributions = margin. The base is what the models say of nothing in particular: of the mean of each input, behind a
scaler. A contribution is what this event's value adds to it. The live prediction is a weighted mean of several models' answers,
so its contributions are in the unit of the answer (of probability, of the number), each model's own by its weight. `how` says by
which method: exact for linear models and naive Bayes, TreeSHAP (path-dependent) for trees and forests, and for any other model
what changes when it is asked input by input.
Exit codes: 0 explained, 1 explained, but what was published is another prediction (another definition or libraries), 2 it cannot
be explained."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "explain",
        help="why a prediction was what it was",
        description="Explain a past prediction: what each input added to it, by the models that made it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    command.add_argument("id", metavar="ID", nargs="?", help="the event's id")
    command.add_argument(
        "--position", type=int, metavar="N", help="the sample's offset in the samples log instead"
    )
    command.add_argument(
        "--class", dest="of", metavar="C", help="of several classes, this one (default: the predicted one)"
    )
    command.add_argument(
        "--top", type=int, default=TOP, metavar="N", help=f"how many inputs, 0 for all (default: {TOP})"
    )
    command.add_argument(
        "--guard", choices=("on", "off"), help="as the learn role ran with (default: as its snapshot says)"
    )
    command.add_argument("--json", action="store_true", help="print the explanation as one JSON object")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Find, fold, explain."""
    if (args.id is None) == (args.position is None):
        print(
            "penstock: name the prediction by its event's ID or by --position, one of them", file=sys.stderr
        )
        return 2
    pipeline = load(args.file)
    client = start.open_redis(settings)
    topics = (
        topology.samples(pipeline.name, settings.prefix),
        topology.predictions(pipeline.name, settings.prefix),
    )
    with closing(start.open_log(settings)) as log:
        try:
            _, header = snapshot_of(client, topology.deployed(pipeline.name, settings.prefix))
            guard = args.guard == "on" if args.guard else guarded(pipeline, header)
            outside = start.model_store(pipeline, settings, client) if settings.secret else None
            how: dict[str, Any] = {"guard": guard, "outside": outside, "progress": Progress().say}
            past = explain_past(pipeline, log, topics, args.id, position=args.position, of=args.of, **how)
        except (CannotSay, CannotExplain, NotThere) as error:
            print(f"penstock: {error}", file=sys.stderr)
            return 2
    why = past.why.top(args.top) if args.top > 0 else past.why
    print(json.dumps(as_json(pipeline.name, past, why)) if args.json else as_text(past, why))
    return 1 if past.same is False else 0


def as_json(pipeline: str, past: Past, why: Explanation) -> dict[str, Any]:
    """The explanation for programs."""
    made = past.made
    return {
        "pipeline": pipeline,
        "id": made.id,
        "at": made.at,
        "position": made.position,
        "recipe": past.recipe,
        "model": {"version": made.version, "weight": made.weight},
        "same_as_published": past.same,
        **msgspec.to_builtins(why),
    }


def as_text(past: Past, why: Explanation) -> str:
    """The explanation for people."""
    made = past.made
    told = {True: "as published", False: "NOT what was published", None: "the published one is gone"}[
        past.same
    ]
    what = f"{why.scale} of {why.of}" if why.of is not None else why.scale
    width = max([len(_figure(one.contribution)) for one in why.contributions] + [len(_figure(why.margin)), 8])
    lines = [
        f"event       {made.id}, {rfc3339(made.at)}",
        f"prediction  {why.margin:.6g} ({what}), {told}",
        f"model       {made.version}, {made.weight:.0%} of the weight; position {made.position:,}, recipe {past.recipe}",
        "",
        f"{_figure(why.base):>{width}}  base",
    ]
    lines += [
        f"{_figure(one.contribution):>{width}}  {one.feature}{_value(one.value)}" for one in why.contributions
    ]
    lines += [f"{'= ' + format(why.margin, '.4g'):>{width}}", "", f"how         {why.method}"]
    lines += [f"            {one.version} ({one.kind}), {one.weight:.1%}: {one.method}" for one in why.models]
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{value:+.4g}"


def _value(value: Any) -> str:
    return "" if value is None else f" = {value:.6g}" if isinstance(value, float) else f" = {value}"

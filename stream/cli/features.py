"""`penstock features get`: what a reading service would get, for people. `features history` is registered here, too."""

from __future__ import annotations

import argparse
import json
import sys

from penstock.features.engine.compute import StateMismatch
from penstock.features.read.client import FeatureReader, Features, MomentPassed
from penstock.stream.cli import features_history
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import Rejected, event_time
from penstock.stream.messages import rfc3339
from penstock.stream.operate.stored_features import tasks_of, what_is_missing
from penstock.stream.process.settings import Settings
from penstock.stream.process.terminal import printable
from penstock.stream.roles import start

EXAMPLES = """\
examples:
  penstock features get airport JFK LGA EWR --pipeline flights        the public documents, as any Redis client reads them
  penstock features get airport JFK --file examples/flights.py        windows evaluated at this moment, from stored state
  penstock features get airport JFK --file examples/flights.py --at 2013-05-20T12:00:00Z
  penstock features get card 4000000000000000 --pipeline cards --json | jq .values

Each value has a status: present, null, missing (no such entity), or stale: its document has passed the moment until which it
holds, which replayed history always has; --file evaluates it instead. at and until are milliseconds of event time.
Exit codes: 0 something was found, 1 no such entity, 2 no such pipeline or view (it names those there are), or no Redis."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "features",
        help="read features from Redis, or make a training set of them",
        description="Read features from Redis, or make a training set of features as they were.",
    )
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    get = verbs.add_parser(
        "get",
        help="the features of some entities",
        description="Read the features of entities of one view. With --file, windows are evaluated at the moment of reading.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    get.add_argument("view", metavar="VIEW", help="the view's name, as in the definition")
    get.add_argument(
        "entities",
        metavar="ENTITY",
        nargs="+",
        help="values of the view's key; join the parts of a compound key with | and quote it: 'JFK|LAX'",
    )
    where = get.add_mutually_exclusive_group(required=True)
    where.add_argument("--pipeline", help="the pipeline's name: read its public documents")
    where.add_argument(
        "--file", metavar="FILE", help="its definition file: evaluate windows as of now, or --at"
    )
    get.add_argument(
        "--at",
        metavar="T",
        help="as of this moment of event time, with --file: RFC 3339, or milliseconds since the epoch (default: now)",
    )
    get.add_argument("--json", action="store_true", help="one JSON object a line")
    get.set_defaults(run=run)
    features_history.add(verbs)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Read and print; exit code 1 when nothing was found."""
    pipeline = load(args.file) if args.file else None
    name = pipeline.name if pipeline else args.pipeline
    if pipeline is not None and args.view not in (views := [view.name for view in pipeline.views]):
        print(
            f"penstock: {args.file} has no view {args.view!r}; its views: {', '.join(views)}", file=sys.stderr
        )
        return 2
    at = None
    if args.at is not None:
        try:
            at = event_time(int(args.at) if args.at.isdigit() else args.at, "--at")
        except Rejected as error:
            raise SystemExit(f"penstock: {error}") from None
    reader = FeatureReader(
        settings.redis_url,
        name,
        pipeline.views if pipeline else None,
        prefix=settings.prefix,
        tasks=tasks(pipeline, settings),
    )
    wanted = [(args.view, tuple(entity.split("|")) if "|" in entity else entity) for entity in args.entities]
    try:
        found = reader.read(wanted, at)
    except (MomentPassed, KeyError, StateMismatch) as error:
        print(f"penstock: {error}", file=sys.stderr)
        return 2
    there = any(features.found for features in found)
    if not there:
        missing = what_is_missing(start.open_redis(settings), name, settings.prefix, args.view)
        if missing:
            print(f"penstock: {missing}", file=sys.stderr)
            return 2
    for features in found:
        print(json.dumps(as_json(features)) if args.json else as_text(features))
    return 0 if there else 1


def tasks(pipeline: Pipeline | None, settings: Settings) -> tuple[str, ...]:
    """The tasks that keep the pipeline's state, asked of the settings' Redis where that depends on it."""
    if pipeline is None or not pipeline.partitioned:
        return ("all",)
    return tasks_of(pipeline, start.open_redis(settings), settings.prefix)


def as_json(features: Features) -> dict[str, object]:
    """One entity's features for a program."""
    return {
        "view": features.view,
        "entity": features.entity,
        "found": features.found,
        "values": features.values,
        "status": features.status,
        "at": features.at_ms,
        "until": features.until_ms,
        "recipe": features.recipe,
    }


def as_text(features: Features) -> str:
    """One entity's features, a line each."""
    if not features.found:
        return printable(f"{features.view} {features.entity}: not found")
    head = (
        f"{features.view} {features.entity}  as of {rfc3339(features.at_ms)}"
        if features.at_ms is not None
        else str(features.entity)
    )
    rows = [f"  {name:<16} {value!s:<22} {features.status[name]}" for name, value in features.values.items()]
    return "\n".join(printable(line) for line in [head, *rows])

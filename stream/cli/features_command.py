"""`penstock features get`: what a reading service would get, for people."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from penstock.features.engine.compute import StateMismatch
from penstock.features.read.client import FeatureReader, Features, MomentPassed
from penstock.features.redis.keys import position_key
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import Rejected, event_time
from penstock.stream.messages import rfc3339
from penstock.stream.process.settings import Settings
from penstock.stream.process.terminal import printable
from penstock.stream.roles import start
from penstock.stream.topology import deployed

MOST_TASKS = 1_024
EXAMPLES = """\
examples:
  penstock features get airport JFK LGA EWR --pipeline flights        the public documents, as any Redis client reads them
  penstock features get airport JFK --file examples/flights.py        windows evaluated at this moment, from stored state
  penstock features get airport JFK --file examples/flights.py --at 2013-05-20T12:00:00Z
  penstock features get card 4000000000000000 --pipeline cards --json | jq .values"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "features", help="read features from Redis", description="Read features from Redis."
    )
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    get = verbs.add_parser(
        "get",
        help="the features of some entities",
        description="Read the features of entities of one view. With --file, windows are evaluated at the moment of reading.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    get.add_argument("view", metavar="VIEW")
    get.add_argument(
        "entities", metavar="ENTITY", nargs="+", help="entity keys; join the parts of a compound key with |"
    )
    where = get.add_mutually_exclusive_group(required=True)
    where.add_argument("--pipeline", help="the pipeline's name: read its public documents")
    where.add_argument(
        "--file", metavar="FILE", help="its definition file: evaluate windows as of now, or --at"
    )
    get.add_argument("--at", help="as of this moment: RFC 3339, or milliseconds since the epoch")
    get.add_argument("--json", action="store_true", help="one JSON object a line")
    get.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Read and print; exit code 1 when nothing was found."""
    pipeline = load(args.file) if args.file else None
    name = pipeline.name if pipeline else args.pipeline
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
    for features in found:
        print(json.dumps(as_json(features)) if args.json else as_text(features))
    return 0 if any(features.found for features in found) else 1


def tasks(pipeline: Pipeline | None, settings: Settings) -> tuple[str, ...]:
    """The tasks that keep the pipeline's state: one, or one a partition, as many as have a position in Redis."""
    if pipeline is None or not pipeline.partitioned:
        return ("all",)
    name = deployed(pipeline.name, settings.prefix)
    found: Any = start.open_redis(settings).mget([position_key(name, str(n)) for n in range(MOST_TASKS)])
    return tuple(str(number) for number, position in enumerate(found) if position is not None) or ("all",)


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

"""`penstock models`: the versions of a pipeline's model, and what is live."""

from __future__ import annotations

import argparse
import json

import msgspec

from penstock.stream.definition_file import load
from penstock.stream.learn.events import rfc3339
from penstock.stream.models.version import Version, named
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start

EXAMPLES = """\
examples:
  penstock models examples/flights.py            every version, the live one marked
  penstock models examples/flights.py v12        one version: lineage, digest, range of the log
  penstock models examples/flights.py --json"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "models",
        help="the versions of a pipeline's model",
        description="List the stored versions of a pipeline's model; their signatures are verified (PENSTOCK_SECRET).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    command.add_argument("version", metavar="VERSION", nargs="?", help="only this one, in full")
    command.add_argument("--json", action="store_true", help="one JSON object")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """List and print; exit code 1 when the asked version is not there."""
    pipeline = load(args.file)
    client = start.open_redis(settings)
    store = start.model_store(pipeline, settings, client)
    document = client.get(f"model:{pipeline.name}")
    live = msgspec.json.decode(document) if isinstance(document, bytes) else {}
    stored = store.versions()
    wanted = None if args.version is None else named(args.version, [version.id for version in stored])
    versions = [version for version in stored if wanted in (None, version.id)]
    if args.json:
        print(json.dumps({"live": live, "versions": [msgspec.to_builtins(version) for version in versions]}))
    else:
        for version in versions:
            print(in_full(version) if args.version else one_line(version, live.get("version")))
        if live and not args.version:
            print(f"live: {live['version']} at position {live['position']}: {live['why']}")
    return 0 if versions or args.version is None else 1


def one_line(version: Version, live: str | None) -> str:
    """A version in a line."""
    mark = "*" if version.id == live else " "
    at = rfc3339(version.at)[:16] if version.at else "-"
    where = f"position {version.position:>10,}  {version.labels:>9,} labels"
    return f"{mark} {version.id:<12} {version.kind:<10} born {at}  {where}  {version.digest}"


def in_full(version: Version) -> str:
    """Everything known about a version."""
    return "\n".join(f"{name:<10} {value}" for name, value in msgspec.to_builtins(version).items())

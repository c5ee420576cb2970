"""`penstock models`: the versions of a pipeline's model, and what is live."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.features.redis.keys import model_key
from penstock.stream.definition_file import load
from penstock.stream.messages import rfc3339
from penstock.stream.models.version import Version
from penstock.stream.process.settings import Settings
from penstock.stream.process.terminal import printable
from penstock.stream.roles import start
from penstock.stream.topology import deployed

KINDS = {"probation": "copy", "retrained": "retrain"}
RIGHT = (4, 6)
NONE_YET = (
    "there are no versions yet: learn stores a copy of the live model when it has learned some thousand labels with nothing "
    "open, and the product of each retrain (`penstock retrain {name}`)"
)
EXAMPLES = """\
examples:
  penstock models examples/flights.py            every version, the live one marked
  penstock models examples/flights.py v12        one version: lineage, digest, range of the log
  penstock models examples/flights.py --json | jq .live

A version's position is its offset in the samples log, and "born" the event time there. Reads Redis (REDIS_URL) and, where it
is set, the folder PENSTOCK_MODELS. Exit codes: 0 done, 1 no such version, 2 could not, such as with another secret."""


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
    document = client.get(model_key(deployed(pipeline.name, settings.prefix)))
    live = msgspec.json.decode(document) if isinstance(document, bytes) else {}
    versions = store.versions()
    if args.version is not None:
        return one(args, live, versions)
    if args.json:
        print(json.dumps({"live": live, "versions": [told(version, live, versions) for version in versions]}))
        return 0
    for line in table(versions, live):
        print(printable(line))
    if live:
        print(printable(live_line(live)))
    if not versions:
        print(NONE_YET.format(name=pipeline.name))
    return 0


def one(args: argparse.Namespace, live: dict[str, Any], versions: Sequence[Version]) -> int:
    """One version in full."""
    found = [told(version, live, versions) for version in versions if version.id == args.version]
    if args.json:
        print(json.dumps({"live": live, "versions": found}))
    elif found:
        print("\n".join(printable(f"{name:<10} {value}") for name, value in found[0].items()))
    else:
        there = ", ".join(version.id for version in versions) or "none"
        print(f"penstock: there is no version {args.version!r}; there are: {there}", file=sys.stderr)
    return 0 if found else 1


def told(version: Version, live: dict[str, Any], versions: Sequence[Version]) -> dict[str, Any]:
    """What is known of a version, with its state now and the labels it learned; a candidate's are its retrain's, at least."""
    labels = version.labels
    if not labels:
        labels = next((one.labels for one in versions if one.id == version.parent), 0)
    state = live.get("states", {}).get(version.id)
    if state is None:
        state = "live" if version.id == live.get("version") else "kept"
    return {**msgspec.to_builtins(version), "labels": labels, "state": state}


def table(versions: Sequence[Version], live: dict[str, Any]) -> list[str]:
    """A line for each version under a line of headings, oldest first; none without versions."""
    rows = [("", "version", "state", "kind", "labels", "born", "position", "parent", "why")]
    for version in versions:
        known = told(version, live, versions)
        rows.append(
            (
                "*" if known["state"] == "live" else "",
                version.id,
                known["state"],
                KINDS.get(version.kind, version.kind),
                f"{known['labels']:,}" if known["labels"] else "-",
                rfc3339(version.at)[:16] if version.at else "-",
                f"{version.position:,}",
                version.parent or "-",
                version.why or "-",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if column in RIGHT else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return lines if versions else []


def live_line(live: dict[str, Any]) -> str:
    """What is live, how much it learned and why it is live, as of the last snapshot."""
    learned = f", {live['labels']:,} labels learned" if "labels" in live else ""
    return f"live: {live['version']}{learned}, at position {live['position']:,}: {live['why']}"

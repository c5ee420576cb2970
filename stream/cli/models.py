"""`penstock models`: the models that predict now, how much each counts, and the versions that are stored.

`show` is here, and stands for itself where no verb is given; what changes the registry is in `model_registry`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.features.redis.keys import model_key
from penstock.stream.cli import model_registry
from penstock.stream.definition_file import load
from penstock.stream.messages import LiveModel
from penstock.stream.models.version import CHAMPION, PREVIOUS, Version, named
from penstock.stream.operate.expert_lines import table as experts_table
from penstock.stream.operate.version_lines import table, told
from penstock.stream.process.settings import Settings
from penstock.stream.process.terminal import printable
from penstock.stream.roles import start
from penstock.stream.topology import deployed

NONE_YET = (
    "there are no versions yet: learn stores a copy of the leading model every few thousand labels, and where a guard fires, "
    "and the product of each retrain (`penstock retrain {name}`)"
)
VERBS = """\
examples:
  penstock models examples/flights.py                                    the same as `penstock models show examples/flights.py`
  penstock models alias examples/flights.py before-strike v12            keep this version under a name
  penstock models export examples/flights.py champion champion.penstock  carry it elsewhere; `import` takes it in
  penstock models sync examples/flights.py --mlflow http://mlflow:5000   show what is stored in MLflow

Each verb has a --help of its own. Exit codes: 0 done, 1 no such version or name, or not to be done, 2 could not."""
EXAMPLES = """\
examples (`show` may be left out):
  penstock models examples/flights.py            the models of now and their weights, then every stored version
  penstock models examples/flights.py v12        one version: lineage, losses, digest, range of the log, author
  penstock models examples/flights.py champion   the committed one; `previous` is the one that was committed before it
  penstock models examples/flights.py --json | jq .live

The first table holds the models that predict together, as of the last snapshot (about ten seconds ago). Their weight is
what labels gave them. "now" says which one leads, and which is committed; one that is alone makes the live prediction by itself.
"labels" is how many a model has learned. "loss" is its mean log loss in nats over the labels that came since it takes part, and
"live's" that of the live prediction over the same labels.

The second table holds what is stored, and can be put in place (penstock rollback|promote NAME --version V). Under "state" stand
what a version is now, then champion (committed) or previous (committed before), then names that people gave it. "loss" and "base"
are its mean log loss and the base rate's over the same labels. A version's position is its offset in the samples log, and "born"
the event time there. Reads Redis (REDIS_URL) and, where it is set, the
folder PENSTOCK_MODELS. Exit codes: 0 done, 1 no such version, 2 could not, such as with another secret."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command and its verbs."""
    command = subparsers.add_parser(
        "models",
        help="the models of a pipeline: who predicts now, and what is stored; names, export and import",
        description="Show the models of a pipeline and its stored versions, and keep, carry and publish versions.",
        epilog=VERBS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = command.add_subparsers(dest="models_verb", metavar="VERB", required=True)
    show = verbs.add_parser(
        "show",
        help="the models that predict now, and every stored version",
        description="List the models that predict together now, with their weights, and the stored versions, whose signatures "
        "are verified (PENSTOCK_SECRET).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    show.add_argument("file", metavar="FILE", help="the definition file")
    show.add_argument("version", metavar="VERSION", nargs="?", help="only this one, in full")
    show.add_argument("--json", action="store_true", help="one JSON object")
    show.set_defaults(run=run)
    model_registry.add(verbs)
    _show_by_default(command, [*verbs.choices])


def _show_by_default(command: argparse.ArgumentParser, verbs: Sequence[str]) -> None:
    """Read `models FILE` as `models show FILE`."""
    parse: Any = command.parse_known_args

    def with_verb(args: Any = None, namespace: Any = None) -> Any:
        given = list(args or ())
        if given and given[0] not in (*verbs, "-h", "--help"):
            given = ["show", *given]
        return parse(given, namespace)

    command.parse_known_args = with_verb  # type: ignore[method-assign]


def run(args: argparse.Namespace, settings: Settings) -> int:
    """List and print; exit code 1 when the asked version is not there."""
    pipeline = load(args.file)
    client = start.open_redis(settings)
    store = start.model_store(pipeline, settings, client)
    document = client.get(model_key(deployed(pipeline.name, settings.prefix)))
    live = msgspec.json.decode(document) if isinstance(document, bytes) else {}
    versions = store.versions()
    if args.version is not None:
        alias = {CHAMPION: live.get("committed"), PREVIOUS: live.get("previous")}.get(args.version)
        args.version = named(alias or args.version, [version.id for version in versions])
        return one(args, live, versions)
    if args.json:
        print(json.dumps({"live": live, "versions": [told(version, live, versions) for version in versions]}))
        return 0
    for line in lines(versions, live):
        print(printable(line))
    if not versions:
        print(NONE_YET.format(name=pipeline.name))
    return 0


def lines(versions: Sequence[Version], live: dict[str, Any]) -> list[str]:
    """The models of now, what is live, and the stored versions; an empty line between two tables."""
    stored = table(versions, live)
    if not live:
        return stored
    try:
        now = experts_table(as_message(live))
    except msgspec.ValidationError as error:  # of a later version, or not learn's: the key is public
        now = [f"the models of now cannot be read: {error}"]
    said = [*now, *([""] if now else []), live_line(live)]
    return [*said, "", *stored] if stored else said


def as_message(live: dict[str, Any]) -> LiveModel:
    """The public document as the message that says the same; one of a former version names no experts."""
    needed = {"pipeline": "", "version": "", "why": "", "at": 0, "position": 0, "recipe": ""}
    return msgspec.convert({**needed, **live}, LiveModel)


def one(args: argparse.Namespace, live: dict[str, Any], versions: Sequence[Version]) -> int:
    """One version in full."""
    found = [told(version, live, versions) for version in versions if version.id == args.version]
    if args.json:
        print(json.dumps({"live": live, "versions": found}))
    elif found:
        print("\n".join(printable(f"{name:<12} {_shown(value)}") for name, value in found[0].items()))
    else:
        there = ", ".join(version.id for version in versions) or "none"
        print(f"penstock: there is no version {args.version!r}; there are: {there}", file=sys.stderr)
    return 0 if found else 1


def _shown(value: Any) -> str:
    """A value for people: nothing as a dash, what it holds without brackets."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None or value == "" else str(value)


def live_line(live: dict[str, Any]) -> str:
    """What is live, how much it learned and why it is live, as of the last snapshot."""
    learned = f", {live['labels']:,} labels learned" if "labels" in live else ""
    return f"live: {live['version']}{learned}, at position {live['position']:,}: {live['why']}"

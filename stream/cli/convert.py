"""`penstock from-feast REPO` and `from-chronon REPO`, and `to-feast FILE`: definitions for other feature stores."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from penstock.stream.convert.chronon import from_chronon
from penstock.stream.convert.feast import from_feast
from penstock.stream.convert.to_feast import to_feast
from penstock.stream.convert.written import definition
from penstock.stream.definition_file import load
from penstock.stream.process.settings import Settings

STORES = {"feast": from_feast, "chronon": from_chronon}
EXAMPLES = """\
examples:
  penstock from-{store} {repo} --out definition.py
  penstock check definition.py

REPO is a repository's folder, or one file of it. Its Python runs, as {Store} itself would run it, but {Store} need not be
installed: what it imports of {Store} is noted down, and nothing is done. The definition has every feature that Penstock can
compute alike, under its former name, and ends with a list of what was not converted, and why, and of what differs. What is
predicted, from which inputs and by which model, is yours to fill in.
Exit codes: 0 all was converted, 1 some was not, 2 nothing was, and nothing is printed."""

TO_FEAST = """\
examples:
  penstock to-feast examples/cards.py --out feature_repo/definitions.py
  cd feature_repo && feast apply

The feature_store.yaml beside it names Penstock's online store:

  online_store:
    type: penstock.stream.feast.online_store.PenstockOnlineStore
    redis_url: redis://127.0.0.1:6379/0
    pipeline: cards

Exit codes: 0 printed or written, 2 the definition or the file cannot be used."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the commands."""
    for store, repo in (("feast", "feature_repo/"), ("chronon", "group_bys/quickstart/")):
        epilog = EXAMPLES.format(store=store, repo=repo, Store=store.capitalize())
        command = subparsers.add_parser(
            f"from-{store}",
            help=f"{store.capitalize()}'s definitions as a Penstock definition",
            description=f"Print a Penstock definition of the features that a {store.capitalize()} repository defines.",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("repo", metavar="REPO", help="its folder, or one file")
        command.add_argument("--name", metavar="NAME", help="the pipeline's name (default: the folder's)")
        command.add_argument("--out", metavar="FILE", help="write it there (default: print it)")
        command.set_defaults(run=run, store=store)
    command = subparsers.add_parser(
        "to-feast",
        help="a pipeline's views as a Feast repository's definitions",
        description="Print definitions by which Feast's SDK reads a pipeline's features from Redis.",
        epilog=TO_FEAST,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    command.add_argument("--out", metavar="FILE", help="write them there (default: print them)")
    command.set_defaults(run=write_feast)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Convert and print."""
    place = Path(args.repo).absolute()
    if not place.exists():
        print(f"penstock: {args.repo}: no such file or folder", file=sys.stderr)
        return 2
    found = STORES[args.store](place)
    if not found.views:
        for what, why in found.left.items():
            print(f"penstock: {what}: {why}", file=sys.stderr)
        print(f"penstock: {args.repo} defines no view that Penstock could compute", file=sys.stderr)
        return 2
    say(definition(args.name or place.stem, found), args.out)
    if found.left:
        print(
            f"penstock: {len(found.left)} things were not converted: see the end of the definition",
            file=sys.stderr,
        )
    return 1 if found.left else 0


def write_feast(args: argparse.Namespace, settings: Settings) -> int:
    """Print what Feast is to read."""
    say(to_feast(load(args.file)), args.out)
    return 0


def say(text: str, out: str | None) -> None:
    """Print the text, or write it to a file. Raises `OSError` for one that cannot be written."""
    if out is None:
        print(text, end="")
    else:
        Path(out).write_text(text, encoding="utf-8")

"""`penstock models alias|export|import|sync|resign`: names, files and other registries for versions, and signatures anew."""

from __future__ import annotations

import argparse
import getpass
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from penstock.features.redis.keys import model_key
from penstock.stream.cli import shard_option
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.messages import OperatorRequest
from penstock.stream.models.store import RedisModelStore
from penstock.stream.models.version import NAMED
from penstock.stream.operate import registry
from penstock.stream.process.settings import Settings
from penstock.stream.process.terminal import printable
from penstock.stream.roles import look_up, start
from penstock.stream.topology import deployed

ALIAS = """\
examples:
  penstock models alias examples/flights.py before-strike v12 --reason "the last one before the strike"
  penstock rollback flights --version before-strike --reason ...
  penstock models alias examples/flights.py                               list the names
  penstock models alias examples/flights.py before-strike --remove

A name is a stored copy of the version as it is now, with who gave it and why. It stays until --remove, however many versions come
after it, and moves when it is given again. `champion` and `previous` are Penstock's own names: the committed version, and the one
before it; they follow what is committed. Both kinds can stand wherever a version is named.
Exit codes: 0 done, 1 no such version or name, 2 could not."""
EXPORT = """\
examples:
  penstock models export examples/flights.py champion champion.penstock
  penstock models export examples/flights.py v12 model.pkl --river

The file is the sealed version: model, lineage and signature. `penstock models import` takes it in, here or in another deployment
of the same definition. With --river it is the river model alone, as a plain pickle for Python programs, with a card (FILE.json)
that says what it is, which inputs it takes, and under which Python and river it opens. Whoever opens a pickle runs what is in
it: nothing can check it, and Penstock never takes one in."""
IMPORT = """\
examples:
  penstock models import examples/flights.py champion.penstock --reason "from staging"
  penstock promote flights --version import-v12.1f0c2a.77aa01 --reason ...      put it in place

The signature, the pipeline, the definition, and Python and river are checked, and the model is opened once. A file that another
deployment's secret signed is taken in where that secret stands in PENSTOCK_SECRETS_FORMER. An imported version predicts nothing
until a rollback or a promotion names it; give it a name (`penstock models alias`) if it is to stay for long."""
SYNC = """\
examples:
  penstock models sync examples/flights.py --mlflow http://127.0.0.1:5000

Every stored version becomes a version of the registered model penstock.PIPELINE there: aliases champion, previous and the names
that people gave, lineage as tags, losses as metrics of a run, and the sealed model as its artifact. A version is registered once,
however often this runs. Versions that the store dropped go there as well, unless they were ever committed or have an alias there.
Where the learn role has PENSTOCK_MLFLOW, it does the same by itself: at each commitment, and for the rest once a minute.
Needs the extra: pip install 'penstock[mlflow]'."""
RESIGN = """\
to rotate the secret:
  1. give every role and command the new PENSTOCK_SECRET, and the one before in PENSTOCK_SECRETS_FORMER; restart the roles
  2. penstock models resign FILE          signs what is stored under the new one; learn does so with its snapshots
  3. take the former one out again

Running it again changes nothing. Exit codes: 0 done, 2 could not, such as where a stored version fits no secret that is given."""


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the verbs."""
    alias = _verb(verbs, "alias", "give a version a name, list the names, or take one away", ALIAS, run_alias)
    alias.add_argument("name", metavar="NAME", nargs="?", help="the name; without it, all are listed")
    alias.add_argument("version", metavar="VERSION", nargs="?", help="an id, an alias or another name")
    alias.add_argument("--remove", action="store_true", help="take the name away")
    _audit(alias)
    export = _verb(verbs, "export", "write a version into a file", EXPORT, run_export)
    export.add_argument("version", metavar="VERSION", help="an id, an alias or a name")
    export.add_argument("out", metavar="OUT", type=Path, help="the file to write")
    export.add_argument("--river", action="store_true", help="the river model alone, as a plain pickle")
    taken = _verb(verbs, "import", "take a version in from a file", IMPORT, run_import)
    taken.add_argument("source", metavar="SOURCE", type=Path, help="a file that `export` wrote")
    _audit(taken)
    sync = _verb(verbs, "sync", "show every stored version in MLflow", SYNC, run_sync)
    sync.add_argument("--mlflow", metavar="URI", help="the tracking server (default: PENSTOCK_MLFLOW)")
    _verb(verbs, "resign", "sign what is stored under today's secret", RESIGN, run_resign)


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    what: str,
    epilog: str,
    run: Callable[[argparse.Namespace, Settings], int],
) -> argparse.ArgumentParser:
    command = verbs.add_parser(
        name,
        help=what,
        description=what[0].upper() + what[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    shard_option.add(command)
    command.set_defaults(run=_saying_what_is_wrong(run))
    return command


def _audit(command: argparse.ArgumentParser) -> None:
    command.add_argument("--reason", default="", help="why; it is kept with the version")
    command.add_argument("--by", default=None, help="who does it (default: you, on this host)")


def _saying_what_is_wrong(
    run: Callable[[argparse.Namespace, Settings], int],
) -> Callable[[argparse.Namespace, Settings], int]:
    """The command with what cannot be done as one line: exit code 1."""

    def checked(args: argparse.Namespace, settings: Settings) -> int:
        try:
            return run(args, settings)
        except registry.RegistryError as error:
            print(printable(f"penstock: {error}"), file=sys.stderr)
            return 1
        except OSError as error:
            print(printable(f"penstock: {error}"), file=sys.stderr)
            return 2

    return checked


class Opened(NamedTuple):
    """A definition, its versions, and the public document of what is live."""

    pipeline: Pipeline
    store: RedisModelStore
    live: dict[str, Any]


def opened(args: argparse.Namespace, settings: Settings) -> Opened:
    """Load the definition and open its store."""
    pipeline = shard_option.asked(load(args.file), args.shard)
    client = start.open_redis(settings)
    store = start.model_store(pipeline, settings, client)
    document = client.get(model_key(deployed(pipeline.name, settings.prefix)))
    live = msgspec.json.decode(document) if isinstance(document, bytes) else {}
    return Opened(pipeline, store, live)


def who(args: argparse.Namespace) -> str:
    """Who runs the command."""
    return args.by or f"{getpass.getuser()}@{socket.gethostname()}"


def looked_up(request: OperatorRequest, settings: Settings) -> OperatorRequest:
    """The request with the digest of a version that only the store knows: a named or an imported one."""
    return look_up.looked_up(request, settings, lambda said: print(said, file=sys.stderr))


def run_alias(args: argparse.Namespace, settings: Settings) -> int:
    """Name, list or remove."""
    here = opened(args, settings)
    if args.name is None:
        for version in here.store.versions():
            if version.id.startswith(NAMED):
                name = version.id.removeprefix(NAMED)
                print(printable(f"{name}  {version.parent}  {version.author}  {version.why}"))
        return 0
    if args.remove:
        was = registry.remove_name(here.store, args.name)
        print(printable(f"{args.name} names nothing any more; it was {was.parent}, given by {was.author}"))
        return 0
    if args.version is None:
        raise registry.RegistryError(f"say which version is to be named {args.name!r}, or --remove")
    made = registry.give_name(here.store, args.name, args.version, here.live, who(args), args.reason)
    print(printable(f"{args.name} is {made.parent} as it is stored now, digest {made.digest}"))
    return 0


def run_export(args: argparse.Namespace, settings: Settings) -> int:
    """Write the file."""
    here = opened(args, settings)
    version, payload = registry.find(here.store, args.version, here.live)
    if args.river:
        card = registry.export_river(version, payload, args.out, here.pipeline)
        print(printable(f"{version.id} is in {args.out} as a pickle, and {card} says what it is"))
        print(registry.WARNING, file=sys.stderr)
    else:
        registry.export_sealed(version, payload, args.out, start.keys(settings))
        print(printable(f"{version.id} is in {args.out}, sealed, digest {version.digest}"))
    return 0


def run_import(args: argparse.Namespace, settings: Settings) -> int:
    """Check and store."""
    here = opened(args, settings)
    why = args.reason or f"imported from {args.source.name}"
    made, new = registry.import_file(
        args.source, here.pipeline, here.store, start.keys(settings), who(args), why
    )
    print(printable(f"{made.id} {'is stored' if new else 'was stored already'}, digest {made.digest}"))
    print(
        printable(f"put it in place: penstock promote {here.pipeline.name} --version {made.id} --reason ...")
    )
    return 0


def run_sync(args: argparse.Namespace, settings: Settings) -> int:
    """Publish once."""
    here = opened(args, settings)
    uri = args.mlflow or settings.mlflow
    if not uri:
        raise registry.RegistryError("name the tracking server: --mlflow URI, or PENSTOCK_MLFLOW")
    there = start.mlflow_registry(here.pipeline, replace(settings, mlflow=uri), here.store)
    try:
        done = there.sync(here.live)
    except Exception as error:  # MLflow's own, which is not imported without need
        print(printable(f"penstock: MLflow at {uri}: {error}"), file=sys.stderr)
        return 2
    print(f"{there.name}: {len(done.registered):,} versions registered, {len(done.deleted):,} deleted")
    return 0


def run_resign(args: argparse.Namespace, settings: Settings) -> int:
    """Sign anew."""
    here = opened(args, settings)
    done = here.store.resign()
    print(f"{len(done):,} of {len(here.store.ids()):,} versions were signed anew")
    return 0

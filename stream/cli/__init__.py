"""The `penstock` command: one file per subcommand, and this one that finds them and turns errors into one line.

Laws of this file:
- Expected errors (a bad definition, an unreachable server) end with exit code 2 and one line: what, where, what to do.
- Penstock runs with a fixed hash seed: models whose features come through sets would otherwise differ from run to run.
- Nothing that takes time is imported before the process has that seed: it begins anew for it, and would import all of it twice.
- The working directory is not searched for modules: a project's `redis.py` is never taken for the client. Processes that
  Penstock starts inherit both from the environment.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

import penstock
from penstock.stream.process.lazy_imports import put_off

# Each command and its file. Only the asked command's file is imported: learn starts a process per retrain, and importing all of
# them takes seconds.
COMMANDS = {
    "demo": "demo",
    "new": "new",
    "check": "check",
    "test": "trial",
    "up": "up",
    "run": "run",
    "flink": "flink",
    "topics": "topics",
    "acls": "acls",
    "size": "size",
    "watch": "watch",
    "status": "status",
    "console": "console",
    "history": "history",
    "retrain": "operate",
    "rollback": "operate",
    "hold": "operate",
    "resume": "operate",
    "promote": "operate",
    "accept": "operate",
    "features": "features",
    "from-feast": "convert",
    "from-chronon": "convert",
    "to-feast": "convert",
    "models": "models",
    "publish": "publish",
    "dead-letters": "dead_letters",
    "export": "export",
    "replay": "replay",
    "golden": "golden",
    "explain": "explain",
    "score": "score",
    "what-if": "what_if",
    "plan": "plan",
    "report": "report",
    "calibrate": "calibrate",
    "reset": "reset",
    "backfill": "backfill",
    "bootstrap": "bootstrap",
    "bench": "bench",
    "retrain-job": "retrain_job",
}

DESCRIPTION = """\
Penstock trains a model on an event stream that never stops, and has a gate: it knows when to retrain and when to roll back.

  penstock demo                       a year of real flights, end to end, on this machine
  penstock new NAME                   begin a pipeline of your own, from a few answers or a CSV file
  penstock check examples/flights.py  is this definition file right?
  penstock test FILE --events E       what comes of these events, without a server
  penstock up FILE                    local servers and every role, until Ctrl-C
  penstock watch flights              what happens, as it happens, for people
  penstock status flights             is all well? one screen, and the exit code
  penstock console FILE…              the same and more as pages, live, at http://127.0.0.1:8090/

A definition file is one Python file with a `Pipeline`; the README shows how to write one."""


def parser(asked: str | None = None) -> argparse.ArgumentParser:
    """The command line: of the asked command alone, or of all of them."""
    top = argparse.ArgumentParser(
        prog="penstock", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    files = [COMMANDS[asked]] if asked in COMMANDS else list(dict.fromkeys(COMMANDS.values()))
    for name in files:
        importlib.import_module(f"penstock.stream.cli.{name}").add(subparsers)
    return top


def environment() -> dict[str, str]:
    """What the environment must say for this process's kind of Python: the seed, the path, and where this package lies."""
    root = str(Path(penstock.__file__).parents[1])
    given = os.environ.get("PYTHONPATH", "")
    # In a checkout that is not installed, the package was found through the working directory alone.
    found = root in sys.path[1:] or root in given.split(os.pathsep)
    path = given if found else os.pathsep.join(filter(None, [given, root]))
    return {"PYTHONHASHSEED": "0", "PYTHONSAFEPATH": "1", **({"PYTHONPATH": path} if path else {})}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the process's exit code."""
    if arguments is None and (os.environ.get("PYTHONHASHSEED") != "0" or not sys.flags.safe_path):
        os.environ.update(environment())
        os.execv(sys.executable, [sys.executable, "-m", "penstock.stream.cli", *sys.argv[1:]])
    if arguments is None:  # in a process of its own
        put_off()
    from penstock.stream.cli.expected import EXPECTED
    from penstock.stream.process.settings import Settings

    given = sys.argv[1:] if arguments is None else arguments
    args = parser(given[0] if given else None).parse_args(given)
    try:
        return int(args.run(args, Settings.from_env()))
    except EXPECTED as error:
        print(f"penstock: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0

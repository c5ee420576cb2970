"""`penstock console FILE…`: pages to look at, for people; the same as `penstock run FILE… --role console`."""

from __future__ import annotations

import argparse
import getpass
import logging
import sys
from dataclasses import replace
from pathlib import Path

from penstock.stream.definition_file import load
from penstock.stream.process.settings import SettingError, Settings

PORT = 8090
EXAMPLES = f"""\
examples:
  penstock console examples/flights.py                    then open http://127.0.0.1:{PORT}/
  penstock console flights.py cards.py --port 8000        several pipelines on one overview
  penstock console --add-user mia --role operator --users people.txt      asks for mia's password
  penstock console flights.py --users people.txt          who is in the file can log in
  PENSTOCK_CONSOLE_HOSTS=console.example.org penstock console flights.py --host 0.0.0.0 --users people.txt

It shows what `penstock status`, `watch`, `history` and `models` say, live, from Kafka (KAFKA_BOOTSTRAP_SERVERS,
PENSTOCK_PREFIX); it keeps nothing. Viewers look, operators ask for holds, rollbacks and the like, approvers also approve;
each act is a request on control.commands, as the command makes it. Where nobody can log in it needs no right to write.
On a loopback address, without --users and without proxies, everybody who reaches it may look; PENSTOCK_CONSOLE_ANONYMOUS
says otherwise. It answers only to host names it knows: local ones, --host, and those that PENSTOCK_CONSOLE_HOSTS lists.
/metrics, /healthz and /readyz are there, too.
Exit codes: 0 stopped by a signal; 2 it cannot run, and one line says why."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "console",
        help="pages to look at: how every pipeline is, and what it will do next",
        description="Serve the operators' console until SIGTERM or Ctrl-C.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "files", metavar="FILE", nargs="*", help="the definition files of the pipelines to show"
    )
    command.add_argument(
        "--port", type=int, default=PORT, help=f"where it listens (default {PORT}; 0: any free one)"
    )
    command.add_argument("--host", help="the address it listens on (default: PENSTOCK_HOST, or 127.0.0.1)")
    command.add_argument(
        "--users", metavar="FILE", help="the password file (default: PENSTOCK_CONSOLE_USERS)"
    )
    command.add_argument(
        "--add-user",
        metavar="NAME",
        help="add somebody to the password file, or give him another role or password, and end; asks for the password, or reads "
        "it from the standard input",
    )
    command.add_argument(
        "--role",
        choices=("viewer", "operator", "approver"),
        default="viewer",
        help="what who is added may do (default: viewer)",
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Serve to the end, or add somebody."""
    given = {"host": args.host, "console_users": args.users}
    settings = replace(settings, port=args.port, **{name: one for name, one in given.items() if one})
    if args.add_user is not None:
        return add_person(args, settings)
    if not args.files:
        raise SettingError("name at least one definition FILE, or --add-user NAME")
    from penstock.stream.roles.console import run_console  # the server takes a while to import

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    run_console([load(file) for file in args.files], settings)
    return 0


def add_person(args: argparse.Namespace, settings: Settings) -> int:
    """Write somebody into the password file."""
    from penstock.stream.console.who import passwords
    from penstock.stream.console.who.password_file import add_user

    if not settings.console_users:
        raise SettingError("name the password file: --users FILE, or PENSTOCK_CONSOLE_USERS")
    if not passwords.NAME.fullmatch(args.add_user):
        raise SettingError(
            f"--add-user {args.add_user!r}: a name takes up to 64 letters, digits and '._@+-', and begins with a letter or digit"
        )
    password = typed() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not passwords.LEAST_CHARACTERS <= len(password) <= passwords.MOST_CHARACTERS:
        raise SettingError(
            f"a password takes {passwords.LEAST_CHARACTERS} to {passwords.MOST_CHARACTERS:,} characters: nothing was written"
        )
    path = Path(settings.console_users)
    try:
        new = add_user(path, args.add_user, args.role, password)
    except (OSError, UnicodeDecodeError, passwords.BadLine) as error:
        raise SettingError(f"the password file {path} cannot be used: {error}") from None
    what = "was added" if new else "has another password, and this role"
    print(f"{args.add_user} {what}: {args.role}. A console that runs on {path} knows it already.")
    return 0


def typed() -> str:
    """The password, typed twice. Raises `SettingError`."""
    password = getpass.getpass("password: ")
    if getpass.getpass("once more: ") != password:
        raise SettingError("the two passwords differ: nothing was written")
    return password

"""`penstock acls FILE`: the least rights of every role, as Kafka's and Redis' own commands."""

from __future__ import annotations

import argparse
import json

from penstock.stream.definition_file import load
from penstock.stream.process.settings import Settings
from penstock.stream.rights.derive import rights_of
from penstock.stream.rights.printed import as_json, kafka_lines, text_lines, valkey_lines
from penstock.stream.topology import deployed

EXAMPLES = """\
examples:
  penstock acls examples/cards.py                                  who may do what, for people
  penstock acls FILE --format kafka                                kafka-acls.sh, a line for every topic and group of a user
  penstock acls FILE --format valkey                               users of Redis 7 or Valkey; then ACL SETUSER NAME '>PASSWORD'
  penstock acls FILE --role featurize --role learn --json          of some users alone, for programs

Nothing is asked of any server: rights follow from the definition and from PENSTOCK_PREFIX. Users are named PREFIX and the role;
PREFIX is the pipeline's name as deployed and '-', or --principal-prefix. No role needs a right on the cluster.
Exit codes: 0 printed, 2 could not."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "acls",
        help="print the least rights of each role for Kafka and Redis",
        description="Print the least rights of each role for Kafka (ACLs) and Redis (users), from the definition.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    command.add_argument(
        "--principal-prefix", metavar="PREFIX", help="what users' names begin with (default: PIPELINE-)"
    )
    command.add_argument(
        "--role", action="append", metavar="ROLE", help="only this user's; may be given several times"
    )
    command.add_argument(
        "--format",
        choices=("text", "kafka", "valkey", "json"),
        default="text",
        help="text for people (the default), kafka-acls.sh lines, ACL SETUSER lines, or JSON",
    )
    command.add_argument(
        "--json", action="store_const", const="json", dest="format", help="the same as --format json"
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Derive and print."""
    pipeline = load(args.file)
    users = rights_of(pipeline, settings.prefix, settings.client_id)
    names = [user.name for user in users]
    if unknown := [role for role in args.role or () if role not in names]:
        raise SystemExit(
            f"penstock: --role {unknown[0]}: there is no such user; there are: {', '.join(names)}"
        )
    users = [user for user in users if not args.role or user.name in args.role]
    principal = args.principal_prefix
    if principal is None:
        principal = deployed(pipeline.name, settings.prefix) + "-"
    if args.format == "json":
        print(json.dumps(as_json(users, principal), indent=1))
        return 0
    lines = {"text": text_lines, "kafka": kafka_lines, "valkey": valkey_lines}[args.format](users, principal)
    print("\n".join(lines))
    return 0

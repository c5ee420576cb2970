"""`penstock console FILE…`: pages to look at, for people; the same as `penstock run FILE… --role console`."""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace

from penstock.stream.definition_file import load
from penstock.stream.process.settings import Settings

PORT = 8090
EXAMPLES = f"""\
examples:
  penstock console examples/flights.py                    then open http://127.0.0.1:{PORT}/
  penstock console flights.py cards.py --port 8000        several pipelines on one overview
  PENSTOCK_CONSOLE_HOSTS=console.example.org penstock console flights.py --host 0.0.0.0

It shows what `penstock status`, `watch`, `history` and `models` say, live, from Kafka (KAFKA_BOOTSTRAP_SERVERS,
PENSTOCK_PREFIX); it keeps nothing and needs no right to write. It answers only to host names it knows: local ones, --host,
and those that PENSTOCK_CONSOLE_HOSTS lists. /metrics, /healthz and /readyz are there, too.
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
        "files", metavar="FILE", nargs="+", help="the definition files of the pipelines to show"
    )
    command.add_argument(
        "--port", type=int, default=PORT, help=f"where it listens (default {PORT}; 0: any free one)"
    )
    command.add_argument("--host", help="the address it listens on (default: PENSTOCK_HOST, or 127.0.0.1)")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Serve to the end."""
    from penstock.stream.roles.console import run_console  # the server takes a while to import

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    given = {"host": args.host} if args.host else {}
    run_console([load(file) for file in args.files], replace(settings, port=args.port, **given))
    return 0

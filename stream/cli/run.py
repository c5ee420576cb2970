"""`penstock run FILE --role R`: one role of a pipeline in this process, until it is told to stop."""

from __future__ import annotations

import argparse
import logging

from penstock.stream.definition_file import load
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start

EXAMPLES = """\
examples:
  export KAFKA_BOOTSTRAP_SERVERS=kafka:9092 REDIS_URL=redis://redis:6379/0 PENSTOCK_SECRET=$(openssl rand -hex 32)
  penstock topics FILE                       create Penstock's topics, once
  penstock run FILE --role featurize         events -> features in Redis, samples in Kafka
  penstock run FILE --role learn             samples -> predictions, drift, control events
  penstock run FILE --role control           requests -> decisions -> commands
  penstock run FILE --role challenge         races the definition's challengers; winners take part in learn

Every role serves /metrics, /healthz and /readyz on --port. More featurize workers of a pipeline whose views share its
sources' key share the partitions; give each its own --slot. Otherwise, and for learn and challenge, a second worker of another
--slot is a spare that takes over in seconds. Run one control: a second would say everything twice. A challenge gives way to
whatever else wants the CPU. Addresses are settings: KAFKA_BOOTSTRAP_SERVERS (default 127.0.0.1:9092), REDIS_URL
(redis://127.0.0.1:6379/0), PENSTOCK_SECRET (learn needs it).
Exit codes: 0 stopped by a signal, its state written; 2 it cannot run, and one line says why."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "run",
        help="run one role of a pipeline",
        description="Run one role of a pipeline until SIGTERM or Ctrl-C.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    command.add_argument(
        "--role",
        required=True,
        choices=("featurize", "learn", "control", "challenge"),
        help="what to run (see below)",
    )
    command.add_argument(
        "--port", type=int, help="port of the health page (default: PENSTOCK_PORT, or any free one)"
    )
    command.add_argument(
        "--slot", help="this worker's slot, its static membership in the group (default: PENSTOCK_SLOT, or 0)"
    )
    command.add_argument(
        "--guard",
        choices=("on", "off"),
        default="on",
        help="off: no guards, whatever the definition says (learn)",
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the role to its end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    pipeline = load(args.file)
    settings = start.with_arguments(settings, port=args.port, slot=args.slot)
    if args.role == "featurize":
        start.run_featurize(pipeline, settings)
    elif args.role == "learn":
        start.run_learn(pipeline, args.file, settings, guard=args.guard == "on")
    elif args.role == "challenge":
        start.run_challenge(pipeline, settings)
    else:
        start.run_control(pipeline, settings)
    return 0

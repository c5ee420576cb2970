"""`penstock run FILE --role R`: one role of a pipeline in this process, until told to stop; some roles take several files."""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace

from penstock.stream.cli.expected import EXPECTED
from penstock.stream.definition_file import SideBySide, load
from penstock.stream.process.settings import SettingError, Settings
from penstock.stream.roles import start

EXAMPLES = """\
examples:
  export KAFKA_BOOTSTRAP_SERVERS=kafka:9092 REDIS_URL=redis://redis:6379/0 PENSTOCK_SECRET=$(openssl rand -hex 32)
  penstock topics FILE                       create Penstock's topics, once
  penstock run FILE --role featurize         events -> features in Redis, samples in Kafka
  penstock run FILE --role learn             samples -> predictions, drift, control events
  penstock run FILE --role control           requests -> decisions -> commands
  penstock run FILE --role challenge         races the definition's challengers; winners take part in learn
  penstock run FILE... --role serve --port 8080 --workers 4         answers predictions and features over HTTP: /docs there
  penstock run FILE... --role console --port 8090                   pages for people, as `penstock console`
  penstock run FILE... --role all                                   featurize, learn, control and challenge of several quiet
                                                                    pipelines in one process, on one core

Every role serves /metrics, /healthz and /readyz on --port. More featurize workers of a pipeline whose views share its
sources' key share the partitions; give each its own --slot. Otherwise, and for learn and challenge, a second worker of another
--slot is a spare that takes over in seconds. Run one control: a second would say everything twice. A challenge gives way to
whatever else wants the CPU. Serve keeps nothing, needs no Kafka, and may run as often as you like; /metrics sums all --workers.
It asks for a token where PENSTOCK_SERVE_TOKENS lists some.
All is every role but serve and console, of every FILE, in turns of one loop with one health page. Each role is the same member
of the same group, with the same state, as in a process of its own: stop one, start the other, and it goes on. What cannot begin
ends the process at once. Later, a role that cannot go on says why and is begun anew after a second, then two, up to a minute,
while the others take their turns; where none can, the process ends. A second process of another --slot is to each role what a
second worker is.
Addresses are settings: KAFKA_BOOTSTRAP_SERVERS (default 127.0.0.1:9092), REDIS_URL (redis://127.0.0.1:6379/0),
PENSTOCK_SECRET (learn and serve need it).
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
    command.add_argument(
        "files", metavar="FILE", nargs="+", help="the definition file; several for serve, console and all"
    )
    command.add_argument(
        "--role",
        required=True,
        choices=("featurize", "learn", "control", "challenge", "serve", "console", "all"),
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
        help="off: no guards, whatever the definition says (learn, all)",
    )
    command.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes that answer (serve; default 1)"
    )
    command.add_argument(
        "--access-log",
        action="store_true",
        help="a line of the log for every request, without data: method, path, status, ms, request id (serve; default: "
        "PENSTOCK_SERVE_ACCESS_LOG=1, or off)",
    )
    command.add_argument("--worker", default="", help=argparse.SUPPRESS)
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the role to its end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    settings = start.with_arguments(settings, port=args.port, slot=args.slot)
    guard = args.guard == "on"
    if args.role == "all":
        from penstock.stream.roles.all_roles import run_all

        run_all(args.files, SideBySide(args.files), settings, guard=guard, expected=EXPECTED)
        return 0
    pipelines = [load(file) for file in args.files]
    if args.role == "serve":
        settings = replace(settings, access_log=settings.access_log or int(args.access_log))
        from penstock.stream.roles.serve import run_serve  # what explains takes a while to import

        if not 1 <= args.workers <= 256:
            raise SettingError(f"--workers {args.workers} must be 1 to 256")
        run_serve(args.files, pipelines, settings, workers=args.workers, worker=args.worker)
        return 0
    if args.role == "console":
        from penstock.stream.roles.console import run_console

        run_console(pipelines, settings)
        return 0
    if len(pipelines) > 1:
        raise SettingError(f"--role {args.role} runs one pipeline: give one FILE")
    pipeline = pipelines[0]
    if args.role == "featurize":
        start.run_featurize(pipeline, settings)
    elif args.role == "learn":
        start.run_learn(pipeline, args.files[0], settings, guard=guard)
    elif args.role == "challenge":
        from penstock.stream.roles.challenge import run_challenge

        run_challenge(pipeline, settings)
    else:
        start.run_control(pipeline, settings)
    return 0

"""`penstock demo`: a year of real flights through the whole loop, which verifies itself."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import penstock.examples
from penstock.examples.flights_data import INCIDENTS, data_folder
from penstock.features.redis.connecting import without_secrets
from penstock.features.redis.store import connect
from penstock.stream.definition_file import load
from penstock.stream.demo.event_lines import story_line
from penstock.stream.demo.judge import judge
from penstock.stream.demo.processes import DemoFailed
from penstock.stream.demo.report import Report, as_json, lines
from penstock.stream.demo.run import Options, Run, run_in_memory, run_on_kafka
from penstock.stream.process.settings import Settings
from penstock.stream.roles.start import until_told
from penstock.stream.stack import StackError, local_stack

EXAMPLES = """\
examples:
  penstock demo                              one carrier sends milliseconds from 13 to 17 May; a guard tells at once
  penstock demo --guard off                  the same, and labels alone must tell
  penstock demo --incident none              the year as it was
  penstock demo --incident labels            five days of inverted labels: the learner heals itself
  penstock demo --task regression            how many minutes late: mean absolute error
  penstock demo --backend memory --end 2013-03-01     without a broker, two months
  penstock demo --json result.json           what it found, for a program
  penstock demo --stay                       then leave it running, to look at, until Ctrl-C

While it runs, its pages can be looked at where it says (`penstock console`), and in a second terminal `penstock watch flights`,
with the addresses the demo prints."""


DEFINITIONS = {"binary": "flights.py", "regression": "flights_delay.py"}


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "demo",
        help="a year of real flights, end to end, on this machine",
        description="Start what it needs, run New York's 328,521 flights of 2013 through the whole loop, and verify it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--task",
        choices=DEFINITIONS,
        default="binary",
        help="what is predicted: whether a flight lands late, or how many minutes (default: binary)",
    )
    command.add_argument(
        "--incident",
        choices=INCIDENTS,
        default="milliseconds",
        help="what goes wrong (default: milliseconds)",
    )
    command.add_argument(
        "--guard", choices=("on", "off"), default="on", help="off: no guards, so that labels alone must tell"
    )
    command.add_argument(
        "--backend",
        choices=("auto", "given", "docker", "java", "memory"),
        default="auto",
        help="where Kafka comes from",
    )
    command.add_argument(
        "--start", type=date.fromisoformat, metavar="DAY", help="first New York day to publish, YYYY-MM-DD"
    )
    command.add_argument("--end", type=date.fromisoformat, metavar="DAY", help="the day after the last one")
    command.add_argument("--json", metavar="FILE", help="also write the result as one JSON object")
    command.add_argument(
        "--stay",
        action="store_true",
        help="when it is verified, start the roles again, and leave them and the console running until Ctrl-C",
    )
    command.set_defaults(run=run)


def say(line: str) -> None:
    """One line of progress, at once."""
    print(line, flush=True)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run, verify, report. Exit code 1 when a proof fails."""
    definition = str(Path(penstock.examples.__file__).parent / DEFINITIONS[args.task])
    options = Options(definition, args.incident, args.guard == "on", args.start, args.end)
    pipeline = load(definition)

    def tell(message: Any) -> None:
        line = story_line(message)
        if line:
            say("  " + line)

    try:
        data_folder()  # before any server is started
    except FileNotFoundError as error:
        raise StackError(str(error)) from None
    try:
        with local_stack(args.backend, progress=say) as stack:
            for line in stack.description:
                say(line)
            if stack.kafka is not None:
                say(
                    f"follow it elsewhere:  export KAFKA_BOOTSTRAP_SERVERS={stack.kafka} "
                    f"REDIS_URL={without_secrets(stack.redis_url)}"
                    f"; penstock watch {pipeline.name}"
                )
                running = run_on_kafka(pipeline, options, stack, say, tell)
            else:
                running = run_in_memory(pipeline, options, connect(stack.redis_url), say, tell)
            backend = f"{stack.description[0]}"
            where = next(line for line in stack.description if line.startswith("Redis"))
            report = Report(backend, where, options.incident, options.guard, pipeline.kind)
            report.definition = definition
            with running as finished:
                report.seconds, report.records = finished.seconds, finished.records
                report.control_events, report.decisions = finished.control_events, finished.decisions
                report.live = finished.live[-1] if finished.live else None
                judge(pipeline, options, finished, report, say)
                for line in lines(report):
                    say(line)
                if args.json:
                    Path(args.json).write_text(json.dumps(as_json(report), indent=1, allow_nan=False) + "\n")
                if args.stay:
                    stay(finished)
    except DemoFailed as error:
        print(f"penstock demo: {error}", file=sys.stderr)
        return 1
    failed = [proof.name for proof in report.proofs.values() if not proof.holds]
    if failed:
        print(f"penstock demo: not verified: {'; '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def stay(finished: Run) -> None:
    """Leave the roles and the console running until Ctrl-C."""
    if finished.stage is None:
        say("nothing stays: without a broker there are no roles to look at")
        return
    stopped = until_told()
    finished.stage.begin()
    say(f"the roles run again. Pages to look at: {finished.stage.address}\nCtrl-C ends everything.")
    finished.stage.stay(stopped)

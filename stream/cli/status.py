"""`penstock status PIPELINE`: one screen that says whether all is well, and what is not."""

from __future__ import annotations

import argparse
import json

from kafka import KafkaAdminClient, KafkaConsumer

from penstock.stream.log.kafka_python import client
from penstock.stream.operate.pipelines import check_pipeline
from penstock.stream.operate.status import look
from penstock.stream.operate.status_found import LEAST_LABELS, STALE_S
from penstock.stream.operate.status_lines import as_json, as_text
from penstock.stream.process.clock import wall_ms
from penstock.stream.process.settings import Settings

EXAMPLES = f"""\
examples:
  penstock status flights
  penstock status flights --json | jq .wrong
  watch -n 10 penstock status flights

It asks Kafka alone (KAFKA_BOOTSTRAP_SERVERS, PENSTOCK_PREFIX) and changes nothing. A role runs if its consumer group has
members; its lag is what lies after the group's offset. Loss, base rate and AUC are of the newest labels whose predictions
are still among the newest 20,000 records; the base rate is the best that a constant could have done on them.

Exit code 1, with a line of !! for each: a role that nobody runs; records to read and nothing written for {STALE_S:g} s; learning
held; a loss above the base rate's (from {LEAST_LABELS} labels on); an episode that fires; a request that waits for a person.
Exit codes: 0 all is well, 1 something is wrong, 2 could not ask, or no such pipeline (it names those there are)."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "status",
        help="is all well? one screen, and the exit code",
        description="Say on one screen who runs, how far behind, how good the model is, what is open, what waits for a person.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("pipeline", metavar="PIPELINE", help="its name, as in the definition")
    command.add_argument("--json", action="store_true", help="print it as one JSON object")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Look and print; 1 when something is wrong."""
    more = {"enable_auto_commit": False, "allow_auto_create_topics": False}
    with client(KafkaConsumer, settings, **more) as consumer, client(KafkaAdminClient, settings) as admin:
        check_pipeline(consumer, args.pipeline, settings.prefix)
        found = look(consumer, admin, args.pipeline, settings.prefix, wall_ms())
    print(json.dumps(as_json(found)) if args.json else "\n".join(as_text(found)))
    return 1 if found.wrong else 0

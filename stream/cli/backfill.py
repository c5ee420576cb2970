"""`penstock backfill FILE`: bring a changed definition over, state and features, without a gap and without a mixture."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time

from penstock.features.redis.keyspace import RedisKeyspace
from penstock.features.redis.store import RedisStateStore
from penstock.stream.backfill.run import Backfill, Report
from penstock.stream.definition_file import load
from penstock.stream.process.clock import wall_ms
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start
from penstock.stream.topology import deployed

EXAMPLES = """\
examples:
  penstock backfill flights.py --dry-run    what would be kept, what rebuilt, and from where
  penstock backfill flights.py              do it; the former definition's roles may go on running meanwhile
  penstock backfill former.py               call an unfinished change off

Needed after views, inputs, sources or the meaning of labels changed: featurize then refuses to start and says so. Another
model, wait or rule needs nothing but a restart.

1. What the stored state does not hold is built from the sources' topics, while the former featurize role goes on.
2. Its tasks are closed: that role stops and says why. What is kept of the states is converted, and every document gains the
   next version beside the values it serves.
3. One key switches all readers. Start the featurize and learn roles with the new definition; it goes on where the former stopped.
4. What belongs to the former version is deleted.

Stopped at any point, run it again. Leave the former learn role running until it has read what featurize wrote; the new one then
starts from what the older samples teach, as far as both definitions agree on them. Exit codes: 0 done, 2 could not, or with
--dry-run would not."""
SAY_EVERY_S = 1.0


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "backfill",
        help="bring a changed definition over: state kept or rebuilt, readers switched at once",
        description="Bring a pipeline's state and features over to a changed definition.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the changed definition file")
    command.add_argument("--dry-run", action="store_true", help="only say what would be done")
    command.add_argument(
        "--partial",
        action="store_true",
        help="go on although features look back further than their topics do: they then miss what is gone",
    )
    command.add_argument("--json", action="store_true", help="print the result as one JSON object")
    command.set_defaults(run=run)


class Progress:
    """A line a second for each stage, and its last one."""

    def __init__(self) -> None:
        self.said_s = 0.0

    def say(self, what: str, done: int, total: int) -> None:
        """Note progress; `total` 0 is not known."""
        now_s = time.monotonic()
        if now_s - self.said_s >= SAY_EVERY_S or (total and done >= total):
            self.said_s = now_s
            print(
                f"{what}: {done:,}" + (f" of {total:,} records" if total else ""), file=sys.stderr, flush=True
            )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Look, or do it."""
    pipeline = load(args.file)
    redis = start.open_redis(settings)
    log = start.open_log(settings)
    name = deployed(pipeline.name, settings.prefix)
    try:
        start.check_owner(pipeline, settings, log, redis)
        partitions = start.task_partitions(pipeline, log)
        backfill = Backfill(
            pipeline,
            log,
            lambda task: RedisStateStore(redis, name, task, partitions=partitions),
            RedisKeyspace(redis),
            wall_ms,
            prefix=settings.prefix,
            partial=args.partial or args.dry_run,
            progress=Progress().say,
        )
        if args.dry_run:
            backfill.plan()
        else:
            backfill.run()
    finally:
        log.close()
    report = backfill.report
    refused = args.dry_run and backfill.lacks and not args.partial
    print(json.dumps(dataclasses.asdict(report)) if args.json else told(report, args.dry_run))
    if refused:
        print(f"penstock: {backfill.lacks}", file=sys.stderr)
    return 2 if refused else 0


def told(report: Report, dry_run: bool) -> str:
    """The result for people."""
    lines = [*report.changes, *(f"note: {note}" for note in report.notes)]
    if report.before == report.after and not lines:
        lines.append("nothing to bring over: the state is this definition's")
    else:
        lines.insert(0, f"{report.pipeline}: recipe {report.before} → {report.after}")
    if not dry_run:
        lines.append(
            f"{report.records_read:,} records read again ({report.rejected:,} of them not usable under this definition), "
            f"{report.kept_states:,} states kept, {report.rebuilt_states:,} rebuilt; "
            f"{report.settled_documents:,} documents settled, {report.deleted_keys:,} keys deleted"
        )
        if report.before != report.after:
            lines.append(
                f"features stood still for {report.stood_still_ms / 1000:.1f} s; "
                "start the roles with this definition now"
            )
    return "\n".join(lines)

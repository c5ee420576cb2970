"""`penstock bootstrap FILE`: history from files, and then the topics, without a gap and without a repeat."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from dataclasses import replace

from penstock.stream.definition_file import load
from penstock.stream.process.settings import Settings

EXAMPLES = """\
examples:
  penstock bootstrap flights.py --until 2013-07-01T00:00:00Z \\
      --source flights.departures='s3://lake/departures/*.parquet' --source flights.arrivals='s3://lake/arrivals/*.parquet'
  … --dry-run                              what would be read and written, and where the topics would take over; writes nothing
  … --from-offsets flights.departures/0=120,flights.arrivals/0=98          the topics take over at these offsets

For years of events that lie in files, as if the topics had reached back that far: features in Redis, samples in the samples log,
a model that learned from each. Run it once, before any role has run, with the topics created (`penstock topics FILE`). Then
start the roles: they go on with the topics.

Files: Parquet, CSV, JSON lines (compressed, too) and Avro, at any fsspec address: a file, a folder, or a pattern in quotes. A row
is an event, with the fields that the topic's records have. The files of one --source are read in the order of their names, and
their rows in the order in which they stand, as a topic is. Files that overlap in time, such as one folder for each partition, are
several --source options of the same topic: they are merged by event time.

The rule at --until T: the files are the truth about everything before T. Rows from T on are left out. Of the topics every record
whose event time is T or later counts, exactly once; an older one is skipped and counted, whether a file had it or not. Labels
find their samples across T. Without --until, T is behind the last event of the source whose files end first. With
--from-offsets, files are the truth about everything before those offsets, and no event time is looked at.

Stopped anywhere, even by kill -9: give the same command again, and it goes on from where it was. Until it is over, the featurize
role refuses to begin; leave learn and control stopped, too. A pipeline that has state is refused: `penstock reset FILE` starts
over. The past is not told: no prediction and no alert is published for it. Predictions begin with the topics.

Exit codes: 0 done, or done already; 2 could not, and one line says why."""
SAY_EVERY_S = 2.0


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "bootstrap",
        help="start from history in files, then go on with the topics",
        description="Make a pipeline's features and model from files of past events, and hand over to its topics.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    command.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="TOPIC=FILES",
        help="where the history of a source is: addresses, patterns or folders, with commas between them; every source needs one",
    )
    command.add_argument(
        "--until",
        default="",
        metavar="T",
        help="the event time from which on the topics count: RFC 3339 or milliseconds (default: where the files end)",
    )
    command.add_argument(
        "--from-offsets",
        action="append",
        default=[],
        metavar="TOPIC/N=OFFSET",
        help="instead: the offset of every partition from which on the topics count",
    )
    command.add_argument(
        "--partial",
        action="store_true",
        help="go on although a topic may have lost records from T on to retention",
    )
    command.add_argument("--dry-run", action="store_true", help="show the plan, and write nothing")
    command.add_argument("--json", action="store_true", help="print the result as one JSON object")
    command.add_argument("--learn", metavar="SLOT", default="", help=argparse.SUPPRESS)
    command.set_defaults(run=run)


class Said:
    """A line every two seconds, with the rate of the last ones."""

    def __init__(self) -> None:
        self.what, self.done, self.said_s = "", 0, 0.0

    def say(self, what: str, done: int, total: int) -> None:
        """Note progress; `total` 0 is not known."""
        now_s = time.monotonic()
        if what != self.what:
            self.what, self.done, self.said_s = what, done, now_s
        elif now_s - self.said_s >= SAY_EVERY_S:
            rate = (done - self.done) / (now_s - self.said_s)
            left = f", about {_span((total - done) / rate)} left" if total and rate > 0 else ""
            of = f" of {total:,}" if total else ""
            print(f"{what}: {done:,}{of} ({rate:,.0f}/s{left})", file=sys.stderr, flush=True)
            self.done, self.said_s = done, now_s


def _span(seconds: float) -> str:
    """A length of time in words, roughly."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Look, or do it."""
    from penstock.stream.roles import bootstrap, start  # what reads files takes a while to import

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    pipeline = load(args.file)
    if args.learn:
        bootstrap.learn(pipeline, args.file, replace(settings, slot=args.learn, port=0))
        return 0
    asked = bootstrap.Asked(args.file, args.source, args.until, args.from_offsets, args.partial)
    log, said = start.open_log(settings), Said()
    try:
        store_of = bootstrap.stores(pipeline, settings, log, look=args.dry_run)
        found = bootstrap.find(pipeline, asked, settings, log, store_of, said.say)
        if not args.json:
            print("\n".join(found.lines), flush=True)
        began_s, before = time.monotonic(), 0 if found.place is None else found.place.rows
        if args.dry_run:
            if args.json:
                print(json.dumps({"plan": found.lines}))
            return 0
        place, reading_s, learning_after_s = bootstrap.run(pipeline, asked, settings, log, found, said.say)
    finally:
        log.close()
    seconds = time.monotonic() - began_s
    report = {
        "pipeline": pipeline.name,
        "plan": place.plan.digest,
        "until_ms": place.plan.until_ms,
        "rows": place.rows,
        "rows_now": place.rows - before,
        "seconds": round(seconds, 3),
        "reading_s": round(reading_s, 3),
        "learning_after_s": round(learning_after_s, 3),
        **{name.replace(" ", "_"): count for name, count in place.counts.items()},
    }
    if args.json:
        print(json.dumps(report))
    else:
        counts = ", ".join(f"{count:,} {name}" for name, count in place.counts.items())
        print(
            f"done: {place.rows:,} rows, of them {place.rows - before:,} now in {seconds:.0f} s: {counts}\n"
            f"start the roles: `penstock run {args.file} --role featurize`, learn and control; they go on with the topics"
        )
    return 0

"""`penstock features history FILE --spine X --out Y`: a training set, of features as they were at each row's own moment."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.after_files import plan_of_samples
from penstock.stream.files.events import partitions_of
from penstock.stream.files.reading import CannotUse
from penstock.stream.history.job import Job
from penstock.stream.history.run import Summary, history
from penstock.stream.log.protocol import LogError
from penstock.stream.process.interpreter import settle_memory
from penstock.stream.process.settings import Settings
from penstock.stream.process.terminal import printable
from penstock.stream.roles import start

SAY_S = 2.0
FROM_FILES = (
    "began with files (`penstock bootstrap`), and its topics do not have what stood there: events from before are missing here, "
    "and features that look back to them are too small. Give the files of each topic with --source"
)
EXAMPLES = """\
examples:
  penstock features history examples/flights.py --spine entities.parquet --out training.parquet \\
      --source flights.departures=departures/*.parquet --source flights.arrivals=s3://lake/arrivals/
  penstock features history examples/flights.py --spine flown.csv --rows events --out training.parquet        from the topics
  penstock features history examples/flights.py --spine big.parquet --out part-3.parquet --part 3/16 --source …

X has a row for every moment that you want features of: the fields that are keys of views, and a time (the field of the predicted
event's time, at, event_timestamp, timestamp or time; or --time). Y has its rows in their order with all their columns, one column
for each feature that is a number (view.feature), and error. X and Y end in .parquet, .csv, .jsonl or .ndjson and are paths or
fsspec addresses.
--rows says what a row is:
  moments  what a reader would have got that reads at that time, when the stream had taken every event up to it: events of that
           very millisecond have come (not with --before: then only those of earlier ones have)
  events   an event of the predicted source, by its id (and time, if X has one): the very features of its sample. Of its own
           source, events that stand before it have come, and itself as its sample counts it; of others, events of earlier times
A --source names a topic's files: an address, a pattern or a folder, with commas between several; Parquet, CSV or JSON lines. All
files of one --source are one partition, in the order of their names: give a --source for each partition of a topic whose equal
times are to come out as in the stream. Events far behind others of their partition (the source's grace) are left out, as they are
in the stream; with --unordered events are taken in the order of their times instead. Without any --source, events are read from
their topics.
--part 3/16 does the third of sixteen parts of the rows, on any machine: it reads all events, and keeps those of its own entities.
Rows are parted by the predicted event's key or id if X has it, or by --part-by. The parts need nothing of each other: put behind
one another they are the whole.
What does not fit in memory lies in a temporary folder (--scratch). Nothing is learned or appended. Y is written beside its name
and renamed when it is complete.
Exit codes: 0 every row is answered, 1 some have an error instead, 2 could not, and Y is what it was."""


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the verb."""
    command = verbs.add_parser(
        "history",
        help="features of many entities as they were at given times",
        description="Add features to the rows of a file, as the stream would have served them at each row's own time.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    command.add_argument("--spine", required=True, metavar="X", help="the rows: entities and times")
    command.add_argument("--out", required=True, metavar="Y", help="the same rows with their features")
    command.add_argument(
        "--source",
        dest="sources",
        action="append",
        default=[],
        metavar="TOPIC=FILES",
        help="where the events of a topic are, once for each partition (default: the topics themselves)",
    )
    command.add_argument(
        "--rows", choices=("moments", "events"), default="moments", help="what a row is (default: moments)"
    )
    command.add_argument("--time", metavar="COLUMN", help="the column that has the time")
    command.add_argument("--views", metavar="VIEW,…", help="features of these views alone")
    command.add_argument(
        "--before", action="store_true", help="of moments: without events of the very same millisecond"
    )
    command.add_argument(
        "--unordered", action="store_true", help="files hold events in any order, and none is late"
    )
    command.add_argument("--part", metavar="I/N", default="1/1", help="the I-th of N parts of the rows")
    command.add_argument(
        "--part-by", metavar="COLUMN,…", help="rows that are equal in these columns are in one part"
    )
    command.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes (default: one for each core)",
    )
    command.add_argument(
        "--scratch", metavar="FOLDER", help="where temporary files go (default: the system's)"
    )
    command.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Join, tell."""
    settle_memory()
    pipeline = load(args.file)
    began_s, told = time.monotonic(), Told()
    try:
        job = asked(args, pipeline)
        done = history(
            job,
            path=args.file,
            workers=max(1, args.workers),
            log_of=None if job.files else partial(start.open_log, settings),
            scratch=None if args.scratch is None else Path(args.scratch),
            progress=told.say,
        )
    except (CannotUse, OSError) as error:
        print(f"penstock: {error}", file=sys.stderr)
        return 2
    seconds, note = time.monotonic() - began_s, note_of(job, settings)
    if args.json:
        print(json.dumps(as_json(job, done, seconds) | ({"note": note} if note else {})))
    else:
        print(as_text(job, done, seconds) + (f"\n  note: {note}" if note else ""))
    return 0 if done.answered == done.rows else 1


def asked(args: argparse.Namespace, pipeline: Pipeline) -> Job:
    """What the arguments ask for. Raises `CannotUse`."""
    which, slash, many = args.part.partition("/")
    if not (slash and which.isdigit() and many.isdigit() and 1 <= int(which) <= int(many)):
        raise CannotUse(f"--part {args.part}: write it as 3/16, the third of sixteen")
    views = tuple(filter(None, (args.views or "").split(",")))
    there = [view.name for view in pipeline.views]
    if missing := [name for name in views if name not in there]:
        raise CannotUse(f"--views: there is no view {', '.join(missing)}; there are: {', '.join(there)}")
    if args.before and args.rows == "events":
        raise CannotUse("--before is of moments: an event has its own place among the others")
    return Job(
        pipeline,
        args.spine,
        args.out,
        partitions_of(args.sources, [source.name for source in pipeline.sources]),
        args.time,
        views,
        args.rows == "events",
        args.before,
        args.unordered,
        (int(which), int(many)),
        tuple(filter(None, (args.part_by or "").split(","))),
    )


def note_of(job: Job, settings: Settings) -> str:
    """What a reader should know of where the events came from; empty where that is the usual."""
    if job.files:
        return ""
    # Where there is no such topic, or it may not be read, nobody knows.
    with suppress(LogError), closing(start.open_log(settings)) as log:
        if plan_of_samples(log, topology.samples(job.pipeline.name, settings.prefix)):
            return f"{job.pipeline.name} {FROM_FILES}"
    return ""


class Told:
    """Says on the terminal how far it is, every other second."""

    def __init__(self) -> None:
        self.next_s = time.monotonic() + SAY_S

    def say(self, what: str, done: int, total: int | None) -> None:
        """So much is done."""
        if time.monotonic() >= self.next_s and sys.stderr.isatty():
            self.next_s = time.monotonic() + SAY_S
            of = "" if total is None else f" of {total:,}"
            print(f"  {done:,}{of} {what}", file=sys.stderr)


def as_json(job: Job, done: Summary, seconds: float) -> dict[str, Any]:
    """What was done, for a program."""
    return {
        "out": job.out,
        "rows": done.rows,
        "answered": done.answered,
        "errors": done.errors,
        "events": done.events,
        "left_out": done.left_out,
        "features": job.names,
        "recipe": job.pipeline.digest,
        "seconds": round(seconds, 3),
    }


def as_text(job: Job, done: Summary, seconds: float) -> str:
    """What was done, for people."""
    lines = [
        f"{done.answered:,} of {done.rows:,} rows have their {len(job.names)} features, from {done.events:,} events, in {job.out}"
        f"  ({seconds:.1f} s)"
    ]
    for number, why in done.errors.items():
        lines.append(f"  row {number}: {why}")
    for name, reasons in done.left_out.items():
        lines.append(f"  {sum(reasons.values()):,} rows of {name} are no events, as in the stream:")
        lines += [
            f"    {many:,}: {why}" for why, many in sorted(reasons.items(), key=lambda one: -one[1])[:3]
        ]
    return "\n".join(map(printable, lines))

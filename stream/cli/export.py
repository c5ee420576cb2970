"""`penstock export PIPELINE --out FILE`: the vectors as they were served, with their labels, as a file to train on."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer

from penstock.features.define.durations import milliseconds
from penstock.stream import topology
from penstock.stream.cli import shard_option
from penstock.stream.cli.replay import Progress
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.featurize.decode import Rejected, event_time
from penstock.stream.label_rule import LabelRule
from penstock.stream.learn.entries import entries
from penstock.stream.log.kafka_python import client
from penstock.stream.log.protocol import Log
from penstock.stream.messages import Entry, Recipe, rfc3339
from penstock.stream.operate import training_files
from penstock.stream.operate.pipelines import check_pipeline
from penstock.stream.operate.training_set import (
    CannotExport,
    Span,
    Summary,
    Survey,
    label_rule,
    rows,
    survey,
)
from penstock.stream.process.settings import Settings
from penstock.stream.recipes import recipe_of
from penstock.stream.roles import start
from penstock.stream.shards import log_by_name

WAIT = "1d"
SAY_RECORDS = 1_024
EXAMPLES = """\
examples:
  penstock export flights --out flights.parquet                                     all that is retained
  penstock export flights --from 2013-03-01T00:00:00Z --to 2013-04-01T00:00:00Z --labelled --out march.parquet
  penstock export examples/flights.py --out flights.csv                             the label's rule of this file
  python -c "import pandas; print(pandas.read_parquet('march.parquet').describe())"

A row is a sample as it stands in the samples log: the vector that was computed at event time, served and predicted from,
never computed again, so nothing in it comes from after the event. Its label is joined as learn joins it, by event id or by key,
once, or it is `absent` when none came and the pipeline says what it is then (`label_at` is empty).
A late label's correction stands in the row.
Columns: event_id key at position recipe, one per input, label label_at. A sample of the range whose label comes after
--to has it. A label that is empty did not come, or can still come: the summary counts both.
--from and --to are event times, --from included, --to not: RFC 3339 with a zone, or milliseconds since the epoch.
The log is read twice from its start: for the columns, then for the rows. In memory is what `wait` holds.
Exit codes: 0 done, 1 no row (and no file), 2 could not."""


@dataclass(frozen=True)
class Job:
    """What is asked for: `given` is the definition when a file was named, `wait_ms` what --wait says."""

    name: str
    given: Pipeline | None
    span: Span
    out: Path
    form: str
    labelled: bool = False
    wait_ms: int | None = None

    def rule(self, recipe: Recipe | None) -> LabelRule:
        """Of --wait, the file, the recipe's text, or by id within a day: the first that says something."""
        if self.given is not None:
            found = self.given.label_rule
        else:
            found = (label_rule(recipe) if recipe is not None else None) or LabelRule(milliseconds(WAIT))
        return found if self.wait_ms is None else found._replace(wait_ms=self.wait_ms)

    @property
    def opening(self) -> Recipe | None:
        """The recipe of samples before the first that the log names: the file's."""
        return None if self.given is None else recipe_of(self.given)


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "export",
        help="the training set: vectors as served, with their labels",
        description="Write the samples log's vectors, as they were served, with their labels to one file.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("pipeline", metavar="PIPELINE", help="its name, or its definition file")
    command.add_argument("--out", required=True, metavar="FILE", help="ends in .parquet, .csv or .jsonl")
    command.add_argument("--from", dest="start", metavar="T", help="event times from T on (default: all)")
    command.add_argument("--to", dest="stop", metavar="T", help="event times before T (default: all)")
    command.add_argument("--labelled", action="store_true", help="only rows with a label")
    command.add_argument(
        "--wait", metavar="D", help="how long a label may take, such as 36h (default: as the recipe says)"
    )
    formats = sorted(set(training_files.FORMATS.values()))
    command.add_argument("--format", choices=formats, help="whatever the name of FILE ends in")
    shard_option.add(command)
    command.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Check what is asked, export, tell."""
    try:
        job = asked(args)
        if job.form == "parquet":
            training_files.arrow()
        with closing(start.open_log(settings)) as log:
            if job.given is None:
                with client(KafkaConsumer, settings, enable_auto_commit=False) as consumer:
                    check_pipeline(consumer, job.name, settings.prefix)
            here = log_by_name(log, job.name, settings.prefix)
            done = export(here, topology.samples(job.name, settings.prefix), job)
    except (CannotExport, OSError) as error:
        print(f"penstock: {error}", file=sys.stderr)
        return 2
    print(json.dumps(as_json(job, done)) if args.json else as_text(job, done))
    return 0 if done.rows else 1


def asked(args: argparse.Namespace) -> Job:
    """The arguments, checked. Raises `CannotExport`, or `DefinitionError` for the file."""
    is_file = args.pipeline.endswith(".py") or os.sep in args.pipeline
    given = shard_option.asked(load(args.pipeline), args.shard) if is_file else None
    out = Path(args.out)
    form = args.format or training_files.FORMATS.get(out.suffix.lower())
    if form is None:
        raise CannotExport(
            f"--out {args.out}: ends in none of {' '.join(training_files.FORMATS)}; give --format"
        )
    span = Span(_moment(args.start, "--from"), _moment(args.stop, "--to"))
    if span.start is not None and span.stop is not None and span.start >= span.stop:
        raise CannotExport(f"--from {args.start} is not before --to {args.stop}")
    try:
        wait_ms = None if args.wait is None else milliseconds(args.wait)
    except ValueError as error:
        raise CannotExport(f"--wait: {error}") from None
    name = args.pipeline if args.shard is None else topology.shard_name(args.pipeline, args.shard)
    name = name if given is None else given.name
    return Job(name, given, span, out, form, args.labelled, wait_ms)


def _moment(text: str | None, name: str) -> int | None:
    try:
        return None if text is None else event_time(int(text) if text.isdigit() else text, name)
    except Rejected as error:
        raise CannotExport(str(error)) from None


def export(log: Log, topic: str, job: Job) -> Summary:
    """Write the file: under another name first, so that whoever sees `job.out` sees all of it.

    Raises `CannotExport`, `OSError`, and what the log raises.
    """
    start, stop = log.bounds([(topic, 0)])[(topic, 0)]
    part = job.out.with_name(job.out.name + ".part")
    part.open("wb").close()  # a folder that cannot be written to is said before the log is read
    try:
        say(f"reading {stop - start:,} records of {topic}")
        found = survey(told(entries(log, topic, start, stop), start, stop), job.span, job.opening)
        check_retained(topic, start, found, job.span)
        check_recipes(job, found)
        done = Summary()
        if found.samples:
            say(f"writing {found.samples:,} samples")
            write(log, topic, (start, stop), job, found, done, part)
        if done.rows:
            os.replace(part, job.out)
        else:
            say(f"penstock: no row, and no file: {of_the_log(found, done)}")
    finally:
        part.unlink(missing_ok=True)
    return done


def write(
    log: Log, topic: str, bounds: tuple[int, int], job: Job, found: Survey, done: Summary, part: Path
) -> None:
    """The second reading: rows into `part`, a batch at a time, counted in `done`."""
    again = told(entries(log, topic, *bounds), *bounds)
    joined = rows(again, job.span, job.rule, opening=job.opening, last_position=found.last_position)
    kept = done.kept(joined, labelled=job.labelled)
    columns = training_files.Columns(found.columns, found.label_types)
    recipes = {one.digest: {"inputs": one.inputs, "source": one.source} for one in found.recipes.values()}
    about: dict[str, Any] = {
        "pipeline": job.name,
        "topic": topic,
        "from": job.span.start,
        "to": job.span.stop,
        "recipes": recipes,
        "columns": columns.of_input,
    }
    with training_files.open_rows(part, job.form, columns, about) as file:
        while batch := list(islice(kept, training_files.BATCH_ROWS)):
            file.write(batch)


def check_retained(topic: str, start: int, found: Survey, span: Span) -> None:
    """Refuse a range that began before what retention has left; without a --from, say it."""
    if not start:
        return
    gone = f"records 0 to {start - 1:,} of {topic} are gone"
    if span.start is None:
        say(f"{gone}: the export begins with what is left")
    elif found.first_at is None or found.first_at > span.start:
        left = (
            "and no sample is left"
            if found.first_at is None
            else f"and {rfc3339(found.first_at)} is the first event left"
        )
        raise CannotExport(f"{gone}, {left}: begin there, or leave --from out for all that is left")


def of_the_log(found: Survey, done: Summary) -> str:
    """Why there is no row, in words."""
    if done.left_out:
        return f"none of {done.left_out:,} samples in the range has a label"
    if found.first_at is None or found.newest_at is None:
        return "the log has no sample yet"
    return f"the log's samples are of {rfc3339(found.first_at)} to {rfc3339(found.newest_at)}"


def check_recipes(job: Job, found: Survey) -> None:
    """Say what a reader of the file should know about its recipes."""
    if len(found.recipes) > 1:
        say(
            f"{len(found.recipes)} recipes in this range: columns are those of all, empty where a row's recipe has none"
        )
    if job.given is not None and found.recipes and job.given.digest not in found.recipes:
        there = ", ".join(found.recipes)
        say(
            f"the file is recipe {job.given.digest}, the log has {there}: the label's rule is the file's all the same"
        )


def told(found: Iterable[tuple[int, Entry]], start: int, stop: int) -> Iterator[tuple[int, Entry]]:
    """The same entries, with a line of progress now and then."""
    progress = Progress()
    for position, entry in found:
        if position % SAY_RECORDS == 0:
            progress.say(position - start, stop - start)
        yield position, entry


def say(line: str) -> None:
    """A line for people, on standard error."""
    print(line, file=sys.stderr, flush=True)


def as_json(job: Job, done: Summary) -> dict[str, Any]:
    """The summary for programs."""
    return {
        "pipeline": job.name,
        "file": str(job.out) if done.rows else None,
        "format": job.form,
        "rows": done.rows,
        "labelled": done.labelled,
        "true": done.true,
        "defaults": done.defaults,
        "unlabelled": done.unlabelled,
        "waiting": done.waiting,
        "left_out": done.left_out,
        "first_at": done.first_at,
        "last_at": done.last_at,
        "recipes": dict(done.recipes),
    }


def as_text(job: Job, done: Summary) -> str:
    """The summary for people."""
    if done.first_at is None or done.last_at is None:
        return "rows      0"
    share = f", {done.true / done.labelled:.1%} of them true" if done.labelled else ""
    of_default = f", {done.defaults:,} by default" if done.defaults else ""
    return "\n".join(
        [
            f"file      {job.out} ({job.form})",
            f"rows      {done.rows:,}, {rfc3339(done.first_at)} to {rfc3339(done.last_at)}",
            f"labelled  {done.labelled:,}{share}{of_default}",
            f"without   {done.unlabelled:,} whose label did not come, {done.waiting:,} whose label may still come"
            + (f"; {done.left_out:,} left out" if done.left_out else ""),
            "recipes   " + ", ".join(f"{digest} ({count:,} rows)" for digest, count in done.recipes.items()),
        ]
    )

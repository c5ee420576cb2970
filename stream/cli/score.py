"""`penstock score FILE --in X --out Y`: a prediction for every row of a file."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from typing import Any

from penstock.features.read.client import FeatureReader, OtherDefinition
from penstock.features.redis.store import RedisStateStore
from penstock.stream import topology
from penstock.stream.cli.features import tasks
from penstock.stream.definition_file import load
from penstock.stream.process.clock import wall_ms
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start
from penstock.stream.score.models import Stored, scorer
from penstock.stream.score.reading import CannotScore
from penstock.stream.score.run import Job, Summary, score

SAY_S = 2.0
EXAMPLES = """\
examples:
  penstock export examples/flights.py --out rows.parquet
  penstock score examples/flights.py --in rows.parquet --out scored.parquet                 vectors that stand in the columns
  penstock score examples/flights.py --in plan.csv --out plan-scored.csv --features now     as if each were published now
  penstock score examples/flights.py --in s3://b/x.jsonl --out s3://b/y.parquet --features history --version champion

X and Y end in .parquet, .csv, .jsonl or .ndjson and are paths or fsspec addresses. Y has the rows of X in their order, with all
their columns as they were, and prediction, model_version, position (in the samples log: what the models had learned from), recipe
and error. Of several classes also probability and classes, and what else predictions of this definition have (calibrated, set,
interval_low, interval_high, rank, alert). A column that X has already is added as scored.NAME. A row that cannot be scored has
null and a sentence in error.
--features says where vectors come from:
  columns  X has a column for every input of the model, by its name or as input.NAME: what `penstock export` writes
  history  rows have the fields of the predicted event; features are those that had come by its own time, made again from the
           source topics. A row that is an event of the topic gets the very vector of its sample
  now      the same fields, features as of this moment from Redis, as if the event were published now
The live models answer all together as learn last stored them (every 10 s). Nothing is learned or appended. Y is written beside
its name and renamed when it is complete.
Exit codes: 0 every row has a prediction, 1 some have an error instead, 2 could not, and Y is what it was."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "score",
        help="a prediction for every row of a file",
        description="Add predictions to the rows of a Parquet, CSV or JSON-lines file.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    command.add_argument("--in", dest="source", required=True, metavar="X", help="the rows")
    command.add_argument("--out", required=True, metavar="Y", help="the same rows with their predictions")
    command.add_argument(
        "--features",
        choices=("columns", "history", "now"),
        default="columns",
        help="where the vectors come from (default: columns)",
    )
    command.add_argument(
        "--version", metavar="V", help="this stored version by itself: an id, a name, champion or previous"
    )
    command.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Load the models, score, tell."""
    pipeline = load(args.file)
    client = start.open_redis(settings)
    versions = start.model_store(pipeline, settings, client)
    deployed = topology.deployed(pipeline.name, settings.prefix)
    began_s, told = time.monotonic(), Told()
    with ExitStack() as closing:
        log = reads = None
        if args.features == "history":
            log = start.open_log(settings)
            closing.callback(log.close)
        elif args.features == "now":
            reads = FeatureReader(
                client, pipeline.name, pipeline.views, prefix=settings.prefix, tasks=tasks(pipeline, settings)
            )
        try:
            learned = RedisStateStore(client, deployed, "learn")
            models = scorer(pipeline, Stored(learned, versions, deployed, start.keys(settings)), args.version)
            job = Job(pipeline, args.source, args.out, args.features, wall_ms())
            done = score(job, models, log=log, reads=reads, progress=told.say)
        except (CannotScore, OtherDefinition, OSError) as error:
            print(f"penstock: {error}", file=sys.stderr)
            return 2
    seconds = time.monotonic() - began_s
    print(
        json.dumps(as_json(job, done, models.about, seconds))
        if args.json
        else as_text(job, done, models.about, seconds)
    )
    return 0 if done.predicted == done.rows else 1


class Told:
    """A line of progress now and then, on standard error."""

    def __init__(self) -> None:
        self.said_s = time.monotonic()

    def say(self, what: str, done: int, total: int | None) -> None:
        """How far."""
        now_s = time.monotonic()
        if now_s - self.said_s >= SAY_S:
            self.said_s = now_s
            of = "" if total is None else f" of {total:,}"
            print(f"{what}: {done:,}{of}", file=sys.stderr, flush=True)


def as_json(job: Job, done: Summary, about: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The summary for programs."""
    return {
        "pipeline": job.pipeline.name,
        "in": job.source,
        "out": job.out,
        "features": job.features,
        **about,
        "rows": done.rows,
        "predicted": done.predicted,
        "notes": done.notes,
        "errors": {str(number): why for number, why in done.errors.items()},
        "seconds": round(seconds, 3),
    }


def as_text(job: Job, done: Summary, about: dict[str, Any], seconds: float) -> str:
    """The summary for people."""
    lines = [
        f"file      {job.out}",
        f"rows      {done.rows:,}, {done.predicted:,} predicted, {done.rows / max(seconds, 1e-9):,.0f}/s",
        f"models    {about['model_version']}, position {about['position']:,}, recipe {about['recipe']}",
    ]
    lines += [f"row {number + 1:<6,}{why}" for number, why in done.errors.items()]
    lines += [f"note      {note}" for note in done.notes]
    return "\n".join(lines)

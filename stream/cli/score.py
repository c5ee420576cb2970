"""`penstock score FILE --in X|--topic NAME --out Y`: a prediction for every row of a file, or of a range of a topic."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from typing import Any

import redis

from penstock.features.read.client import FeatureReader, OtherDefinition
from penstock.features.redis.store import RedisStateStore
from penstock.stream import topology
from penstock.stream.cli.features import tasks
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.files.reading import CannotUse, Table
from penstock.stream.log.protocol import Log
from penstock.stream.models.version import BadEnvelope
from penstock.stream.operate.stored_header import CannotSay, guarded, snapshot_of
from penstock.stream.process.clock import wall_ms
from penstock.stream.process.interpreter import settle_memory
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start
from penstock.stream.score.models import Scorer, Stored, scorer
from penstock.stream.score.refusal import CannotScore
from penstock.stream.score.run import Features, Job, Summary, score
from penstock.stream.score.then import LIVE_THEN, Then
from penstock.stream.score.topic_rows import EventRows, Samples, range_of
from penstock.stream.shards import check_one

SAY_S = 2.0
LIVE_NOW = "live-now"
EXAMPLES = """\
examples:
  penstock export examples/flights.py --out rows.parquet
  penstock score examples/flights.py --in rows.parquet --out scored.parquet                 vectors that stand in the columns
  penstock score examples/flights.py --in plan.csv --out plan-scored.csv --features now     as if each were published now
  penstock score examples/flights.py --in s3://b/x.jsonl --out s3://b/y.parquet --features history --models champion
  penstock score examples/flights.py --topic flights.samples --from 2013-05-13T00:00:00Z --models v12 --out shadow.parquet
                                      what another version would have said since then, beside what was published
  penstock score examples/flights.py --topic flights.departures --to 2013-05-18T00:00:00Z --out told.jsonl

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
--models says who answers:
  live-now   the live models together as learn last stored them (every 10 s); the default, but for history
  live-then  those that were live at each row's own time, commands included; the default of history. The samples log is folded
             once. A row that is a sample of it gets what was published, to the bit. With columns, rows need event_id and at
  VERSION    one stored version by itself: an id, a name that people gave, champion or previous
--topic takes rows from the samples log (vectors as logged) or from the topic of the predicted events (history or now), from
--from up to, and without, --to: event times, or offsets of a topic with one partition, as @59010. Rows of samples are event_id,
key, at and position; events are as they stand, with partition and offset. Beside each: published and published_version.
Nothing is learned or appended. Y is written beside its name and renamed when it is complete.
Exit codes: 0 every row has a prediction, 1 some have an error instead, 2 could not, and Y is what it was."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "score",
        help="a prediction for every row of a file or a topic",
        description="Add predictions to the rows of a Parquet, CSV or JSON-lines file, or of a range of a topic.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    rows = command.add_mutually_exclusive_group(required=True)
    rows.add_argument("--in", dest="source", metavar="X", help="the rows: a file")
    rows.add_argument("--topic", metavar="NAME", help="the rows: the samples log, or the predicted events")
    command.add_argument(
        "--from",
        dest="start",
        metavar="T",
        help="of the topic, event times or offsets from T on (default: all)",
    )
    command.add_argument(
        "--to", dest="stop", metavar="T", help="of the topic, event times or offsets before T (default: all)"
    )
    command.add_argument("--out", required=True, metavar="Y", help="the same rows with their predictions")
    command.add_argument(
        "--features",
        choices=("columns", "history", "now"),
        help="where the vectors come from (default: columns; of a topic of events: history)",
    )
    command.add_argument(
        "--models",
        "--version",
        dest="models",
        metavar="M",
        help="who answers: live-now, live-then or a version (default: live-now; with history: live-then)",
    )
    command.add_argument(
        "--guard",
        choices=("on", "off"),
        help="for live-then, as the learn role ran with (default: as its snapshot says)",
    )
    command.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Load the models, score, tell."""
    settle_memory()
    pipeline = load(args.file)
    check_one(pipeline, "`penstock score` predicts with")
    client = start.open_redis(settings)
    began_s, told = time.monotonic(), Told()
    with ExitStack() as closing:
        try:
            features = _features(args, pipeline, settings)
            wanted = args.models or (LIVE_THEN if features == "history" else LIVE_NOW)
            log = reads = None
            if args.topic or features == "history" or wanted == LIVE_THEN:
                log = start.open_log(settings)
                closing.callback(log.close)
            if features == "now":
                reads = FeatureReader(
                    client,
                    pipeline.name,
                    pipeline.views,
                    prefix=settings.prefix,
                    tasks=tasks(pipeline, settings),
                )
            source = args.source if log is None or not args.topic else _rows(args, pipeline, log, settings)
            models = _models(args, wanted, pipeline, log, client, settings)
            job = Job(pipeline, source, args.out, features, wall_ms())
            done = score(job, models, log=log, reads=reads, progress=told.say)
        except (CannotUse, CannotSay, OtherDefinition, BadEnvelope, OSError) as error:
            print(f"penstock: {error}", file=sys.stderr)
            return 2
    seconds, named = time.monotonic() - began_s, args.source or args.topic
    print(
        json.dumps(as_json(job, named, done, models.about, seconds))
        if args.json
        else as_text(job, done, models.about, seconds)
    )
    return 0 if done.predicted == done.rows else 1


def _features(args: argparse.Namespace, pipeline: Pipeline, settings: Settings) -> Features:
    """Where vectors come from. Raises `CannotScore` for what does not go together."""
    if args.topic is None:
        if args.start is not None or args.stop is not None:
            raise CannotScore("--from and --to are of a --topic: a file is scored whole")
        return args.features or "columns"
    samples = topology.samples(pipeline.name, settings.prefix)
    if args.topic == samples:
        if args.features is not None:
            raise CannotScore(
                f"the samples of {samples} have their vectors as they were logged: leave --features out"
            )
        return "logged"
    if args.topic != pipeline.predict.name:
        raise CannotScore(
            f"--topic is the samples log, {samples}, or the predicted events, {pipeline.predict.name}, not {args.topic}"
        )
    if args.features == "columns":
        raise CannotScore(f"the events of {args.topic} have no features: take --features history or now")
    return args.features or "history"


def _rows(args: argparse.Namespace, pipeline: Pipeline, log: Log, settings: Settings) -> Table:
    """The range of the topic that is asked for."""
    of = range_of(args.start, args.stop)
    predictions = topology.predictions(pipeline.name, settings.prefix)
    samples = topology.samples(pipeline.name, settings.prefix)
    if args.topic == samples:
        return Samples(pipeline, log, (samples, predictions), of)
    return EventRows(pipeline, log, predictions, of)


def _models(
    args: argparse.Namespace,
    wanted: str,
    pipeline: Pipeline,
    log: Log | None,
    client: redis.Redis,
    settings: Settings,
) -> Scorer | Then:
    """Who answers."""
    deployed = topology.deployed(pipeline.name, settings.prefix)
    if wanted == LIVE_THEN:
        assert log is not None, "the log is open wherever it is to be folded"
        _, header = snapshot_of(client, deployed)
        guard = args.guard == "on" if args.guard else guarded(pipeline, header)
        outside = start.model_store(pipeline, settings, client) if settings.secret else None
        return Then(
            pipeline, log, topology.samples(pipeline.name, settings.prefix), guard=guard, outside=outside
        )
    versions = start.model_store(pipeline, settings, client)
    learned = RedisStateStore(client, deployed, "learn")
    stored = Stored(learned, versions, deployed, start.keys(settings))
    return scorer(pipeline, stored, None if wanted == LIVE_NOW else wanted)


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


def as_json(job: Job, named: str, done: Summary, about: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The summary for programs."""
    return {
        "pipeline": job.pipeline.name,
        "in": named,
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

"""`penstock flink FILE`: featurize as a job of Apache Flink, for views that are keyed otherwise than the topics."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import sys
import time
from contextlib import closing
from pathlib import Path

import redis

from penstock.features.define.durations import milliseconds
from penstock.features.redis.connecting import address
from penstock.features.redis.keys import began_key
from penstock.features.redis.keyspace import RedisKeyspace
from penstock.features.redis.refused import unusable
from penstock.stream import topology
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.flink import opening
from penstock.stream.flink.settings import JobSettings
from penstock.stream.process.settings import SettingError, Settings
from penstock.stream.roles import start

EXAMPLES = """\
examples:
  penstock flink examples/flights.py                               a cluster of its own in this process, until Ctrl-C
  penstock flink FILE --parallelism 4 --cluster flink:8081         on a Flink cluster, by its JobManager's REST address
  penstock flink FILE --parallelism 2                              go on from the newest checkpoint, at another parallelism

In place of featurize workers, not beside them; every other role runs as ever. The values are those of a single worker, to the
bit. Samples become readable with a checkpoint, so they come --checkpoint-every late. Of one pipeline, one job may run.
It needs PyFlink, Java 17 and Kafka's connector, in a virtual environment of their own: `make flink` (docs: Run on Flink).
Addresses are settings, as for `penstock run`.
Exit codes: 0 stopped by a signal, or submitted to a cluster; 1 the job failed; 2 it cannot run, and one line says why."""
POLL_S = 0.5
JVM_ARGS = "-Xmx1g"
SHARDS = 8


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "flink",
        help="featurize as a job of Apache Flink",
        description="Featurize a pipeline as a job of Apache Flink, spread over as many workers as it is given.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    command.add_argument(
        "--cluster",
        metavar="ADDRESS",
        default="",
        help="HOST:PORT of a JobManager (default: a cluster in this process)",
    )
    command.add_argument(
        "--parallelism", type=int, default=1, metavar="N", help="how many workers (default 1)"
    )
    command.add_argument(
        "--shards",
        type=int,
        default=SHARDS,
        metavar="N",
        help=f"parts that entities are spread over: the greatest useful parallelism, for ever (default {SHARDS})",
    )
    command.add_argument(
        "--checkpoints",
        metavar="URI",
        help="a folder, or a URI that the cluster knows (default: .penstock/flink/NAME)",
    )
    command.add_argument(
        "--start-from",
        metavar="URI",
        help="the checkpoint to go on from (default: the newest in a local folder)",
    )
    command.add_argument(
        "--checkpoint-every",
        default="2s",
        metavar="T",
        help="how often, and how late samples are (default 2s)",
    )
    command.add_argument(
        "--python",
        choices=("thread", "process"),
        default="thread",
        help="how Flink runs Python: inside its own process, or beside it (default thread)",
    )
    command.add_argument(
        "--jar", metavar="FILE", help="Kafka's SQL connector (default: in jars/ of this environment)"
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Submit, and wait where the cluster is our own."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    if args.parallelism < 1 or args.shards < args.parallelism:
        raise SettingError(
            f"--parallelism {args.parallelism} must be 1 to the number of --shards, {args.shards}"
        )
    if importlib.util.find_spec("pyflink") is None:
        raise SettingError(
            "PyFlink is not in this Python's environment, and wants other versions than ours: `make flink` makes one in "
            "build/flink, then run build/flink/bin/penstock flink"
        )
    jar = Path(args.jar) if args.jar else connector()
    pipeline = load(args.file)
    told, checkpoints, start_from = begin(args, pipeline, settings)
    logs = Path(".penstock") / "flink" / "log"
    make_way(args.cluster, logs)
    from penstock.stream.flink import job  # needs PyFlink, and starts Java

    how = job.Submission(
        jar=str(jar),
        checkpoints=checkpoints,
        start_from=start_from,
        cluster=args.cluster,
        parallelism=args.parallelism,
        checkpoint_every_ms=milliseconds(args.checkpoint_every),
        python=args.python,
    )
    print(f"from {start_from or 'the beginning'}, {args.parallelism} of {args.shards} shards", flush=True)
    stopped = start.until_told()
    submitted = job.build(pipeline, told, how, sys.executable).execute_async(f"penstock {pipeline.name}")
    print(f"job {submitted.get_job_id()}", flush=True)
    if args.cluster:
        return 0
    while not stopped():
        status = str(submitted.get_job_status().result()).rpartition(".")[2]
        if status in ("FAILED", "CANCELED", "FINISHED"):
            print(f"penstock: the job ended, {status.lower()}: {flink_log()} says why", file=sys.stderr)
            return 1
        time.sleep(POLL_S)
    submitted.cancel().result()
    return 0


def begin(args: argparse.Namespace, pipeline: Pipeline, settings: Settings) -> tuple[JobSettings, str, str]:
    """Check that the job may run and say that it does: its settings, its checkpoints' URI, and the one to go on from."""
    deployed, prefix = topology.deployed(pipeline.name, settings.prefix), settings.prefix
    checkpoints: str = args.checkpoints or str(Path(".penstock") / "flink" / deployed)
    local = Path(checkpoints.removeprefix("file://"))
    kept_here = "://" not in checkpoints.removeprefix("file://")
    with closing(start.open_log(settings)) as log, closing(start.open_redis(settings)) as client:
        start.check_owner(pipeline, settings, log, client)
        heads = opening.heads_of(pipeline, log)
        keys = opening.keys_of(pipeline, heads, prefix)
        stored = dict(zip(keys, RedisKeyspace(client).read(keys), strict=True))
        opening.check(pipeline, stored, heads, prefix)
        if kept_here:
            local.mkdir(parents=True, exist_ok=True)
            checkpoints = local.absolute().as_uri()
        start_from: str = args.start_from or (opening.newest_checkpoint(local) if kept_here else "")
        topic_ids = {source.name: log.topic_id(source.name) for source in pipeline.sources}
        began = opening.Began(args.shards, len(heads) // len(pipeline.sources), checkpoints, topic_ids)
        said = stored[began_key(deployed)]
        opening.check_going_on(said, began, start_from, asked=bool(args.start_from))
        try:
            opening.open_lineage(pipeline, log, client, began, prefix)
        except redis.RedisError as problem:
            raise unusable(
                problem, address(client), "check that Redis runs there, then run this again"
            ) from problem
    path = Path(args.file).absolute()
    told = JobSettings(
        path=str(path),
        source=path.read_bytes(),
        bootstrap=settings.bootstrap,
        redis_url=settings.redis_url,
        prefix=prefix,
        topic_ids=topic_ids,
        heads=heads,
        shards=args.shards,
        kafka=settings.kafka,
    )
    return told, checkpoints, start_from


def connector() -> Path:
    """Kafka's SQL connector for Flink, in this environment; raises `SettingError` where it is not."""
    found = sorted((Path(sys.prefix) / "jars").glob("flink-sql-connector-kafka-*.jar"))
    if not found:
        raise SettingError(
            f"{sys.prefix}/jars has no flink-sql-connector-kafka-*.jar: `make flink` fetches it, or name one with --jar"
        )
    return found[-1]


def flink_log() -> str:
    """Where Flink's log of this process is."""
    return os.environ["FLINK_LOG_DIR"]


def make_way(cluster: str, logs: Path) -> None:
    """What Java must find: this environment's packages, where it runs Python inside itself; its log; a bound for its memory."""
    if "FLINK_LOG_DIR" not in os.environ:
        logs.mkdir(parents=True, exist_ok=True)
        os.environ["FLINK_LOG_DIR"] = str(logs.absolute())
    packages = str(Path(importlib.util.find_spec("msgspec").origin or "").parents[1])  # type: ignore[union-attr]
    path = os.environ.get("PYTHONPATH", "")
    if packages not in path.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [path, packages]))
    if not cluster:
        os.environ.setdefault("JVM_ARGS", JVM_ARGS)

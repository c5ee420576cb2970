"""`penstock retrain-job`: what learn starts beside itself for a retrain. Not for people; `penstock retrain` is."""

from __future__ import annotations

import argparse

import msgspec

from penstock.stream.definition_file import load
from penstock.stream.learn.records import Job
from penstock.stream.learn.retrain import run_job
from penstock.stream.models.version import RULE
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start
from penstock.stream.shards import log_of, of_shard


class Order(msgspec.Struct):
    """One retrain command's job."""

    id: str
    start: int = msgspec.field(name="from")
    stop: int = msgspec.field(name="to")
    quarantined: list[tuple[int, int]] = []
    by: str = RULE
    since_at: int = 0
    shard: int = 0


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "retrain-job", description="Run one retrain job (started by the learn role)."
    )
    command.add_argument("file", metavar="FILE")
    command.add_argument("--job", required=True, help="the job as JSON")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Train, store, append the adopt command."""
    whole = load(args.file)
    order = msgspec.json.decode(args.job, type=Order)
    pipeline, opened = of_shard(whole, order.shard), start.open_log(settings)
    try:
        log = log_of(opened, pipeline, settings.prefix)
        models = start.model_store(pipeline, settings, start.open_redis(settings))
        job = Job(order.start, order.stop, order.quarantined, order.by, order.since_at)
        run_job(pipeline, log, models, order.id, job, settings.prefix)
    finally:
        opened.close()
    return 0

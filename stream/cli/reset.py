"""`penstock reset FILE`: forget everything a pipeline made, and let it start over from its sources' start."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from kafka import KafkaAdminClient

from penstock.features.redis.store import address
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.log.admin import existing
from penstock.stream.log.kafka_python import client
from penstock.stream.operate import reset
from penstock.stream.process.settings import Settings
from penstock.stream.roles import start
from penstock.stream.topology import deployed, samples, shard_name, shared_out

EXAMPLES = """\
examples:
  penstock reset examples/flights.py                asks for the pipeline's name
  penstock reset examples/flights.py --dry-run      only say what would go
  penstock reset examples/flights.py --yes --json

Needed after a source topic was made anew; a changed definition is brought over by `penstock backfill`. Stop the
pipeline's roles first. What goes: its state, features, versions and snapshot in Redis, its versions under
PENSTOCK_MODELS, its consumer groups, and everything in its samples, predictions and dead-letters topics, which are made
anew, empty. What stays: the sources, and the control topics, which all pipelines share; the control role reads on where
they end now. An interrupted reset is finished by another one.
Exit codes: 0 done, 1 not wanted after all, 2 could not, such as while a role runs."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "reset",
        help="delete what a pipeline made; it starts over (asks first)",
        description="Delete what a pipeline made in Redis and Kafka, so that it starts over from its sources' start.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command.add_argument("--dry-run", action="store_true", help="delete nothing")
    command.add_argument(
        "--wait",
        type=float,
        default=15.0,
        metavar="S",
        help="seconds to wait for roles that were just stopped to leave their groups (default 15)",
    )
    command.add_argument("--json", action="store_true", help="print the result as one JSON object")
    command.set_defaults(run=run)


def say(line: str) -> None:
    """One line of progress, at once."""
    print(line, file=sys.stderr, flush=True)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Look, ask, delete."""
    pipeline = load(args.file)
    redis = start.open_redis(settings)
    groups = reset.groups_of(pipeline.name, settings)
    own = reset.own_topics(pipeline.name, settings.prefix, pipeline.shards)
    name = deployed(pipeline.name, settings.prefix)
    cluster = start.check_prefix(pipeline, settings, redis)
    with client(KafkaAdminClient, settings) as admin:
        for line in preview(pipeline, settings, address(redis)):
            say(line)
        here = str(admin.describe_cluster()["cluster_id"] or "")
        if cluster and here and cluster != here:
            say(
                f"note: that Redis serves this pipeline for Kafka cluster {cluster}, and this is {here}: is it the right one?"
            )
        if args.dry_run:
            for member in reset.live_members(admin, groups):
                say(f"still running: {member}")
            return 0
        reset.wait_until_empty(admin, groups, args.wait, say)
        if not args.yes and not confirmed(pipeline.name):
            say("nothing was deleted")
            return 1
        done: dict[str, Any] = {"pipeline": pipeline.name}
        done["groups"] = reset.delete_groups(admin, groups)
        done["control"] = reset.forget_decisions(settings, pipeline)
        log = samples(pipeline.name, settings.prefix)
        shards = max(pipeline.shards, existing(admin, [log]).get(log, 1))  # the definition may have changed
        done["keys"] = reset.delete_keys(redis, name, shards)
        stored = [name, *(shard_name(name, number) for number in range(shards))]
        done["version_files"] = sum(reset.delete_versions(settings.models, one) for one in stored)
        # Without shards, how many partitions predictions have is the operator's.
        of_shards = shared_out(pipeline.name, settings.prefix)[: 2 if pipeline.shards > 1 else 1]
        done["topics"] = reset.recreate(admin, own, of_shards)
    print(json.dumps(done) if args.json else told(done))
    return 0


def preview(pipeline: Pipeline, settings: Settings, redis: str) -> list[str]:
    """What will go, and what of the sources can no longer be read."""
    own = [topic.name for topic in reset.own_topics(pipeline.name, settings.prefix)]
    sources = [source.name for source in pipeline.sources]
    found = reset.record_counts(settings, [*own, *sources])
    counts = [f"{found[name][1] - found[name][0]:,} records of {name}" for name in own if name in found]
    lines = [
        f"Kafka {settings.bootstrap}: {', '.join(counts) or 'none of its topics'}",
        f"Redis {redis}: every key of pipeline {deployed(pipeline.name, settings.prefix)!r}",
    ]
    if settings.models:
        lines.append(f"{settings.models}: its model versions")
    lines += [
        f"{name}: its first {found[name][0]:,} records are gone; the pipeline starts after them"
        for name in sources
        if name in found and found[name][0] > 0
    ]
    return lines


def confirmed(name: str) -> bool:
    """Ask at the terminal for the pipeline's name; anything else, and no answer, is no."""
    print(f"all this is deleted. Type {name!r} to go on: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == name


def told(done: dict[str, Any]) -> str:
    """The result for people."""
    lines = [f"deleted  group {name}" for name in done["groups"]]
    lines += [f"deleted  {count:,} × {pattern}" for pattern, count in done["keys"].items() if count]
    if done["version_files"]:
        lines.append(f"deleted  {done['version_files']:,} model versions beside Redis")
    lines += [f"made anew  {name}" for name in done["topics"]]
    if done["control"]:
        lines.append(
            "the control topics are shared and left as they are; the control role reads on where they end now"
        )
    return "\n".join([*lines, f"{done['pipeline']} starts over from its sources' start"])

"""`penstock topics FILE`: create what a pipeline needs in Kafka, and say what is not as it should be."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from kafka import KafkaAdminClient

from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.log.admin import MISSING, Ensured, ensure, existing
from penstock.stream.log.kafka_python import client
from penstock.stream.process.settings import Settings
from penstock.stream.topology import Topic, owned

EXAMPLES = """\
examples:
  penstock topics examples/flights.py                       Penstock's own topics; the sources must be there
  penstock topics FILE --create-sources --partitions 12     the sources too, for a first try
  penstock topics FILE --dry-run                            only say what is missing or differs

What exists is never changed: a difference is printed, and the exit code is 1. Sources belong to their producers, so they
are created only when asked for. All sources of a pipeline must have the same number of partitions.
Exit codes: 0 all is as it should be, 1 something is missing or differs, 2 could not."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "topics",
        help="create a pipeline's topics",
        description="Create the topics of a pipeline with the right partitions, retention and compaction.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    command.add_argument(
        "--create-sources", "--sources", action="store_true", help="create missing source topics too"
    )
    command.add_argument(
        "--partitions", type=int, default=4, metavar="N", help="of the source topics created (default 4)"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="create nothing, only say what is missing or differs"
    )
    command.add_argument("--json", action="store_true", help="print the result as one JSON object")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Create and compare; exit code 1 where something differs or is missing."""
    if args.partitions < 1:
        raise SystemExit("penstock: --partitions must be at least 1")
    pipeline = load(args.file)
    with client(KafkaAdminClient, settings) as admin:
        found = make(
            admin,
            pipeline,
            settings.prefix,
            None if not args.create_sources else args.partitions,
            create=not args.dry_run,
        )
    if args.json:
        print(json.dumps(found._asdict()))
    else:
        print(describe(found))
    return 1 if found.differences else 0


def make(
    admin: KafkaAdminClient, pipeline: Pipeline, prefix: str, partitions: int | None, *, create: bool = True
) -> Ensured:
    """Create Penstock's topics, and with `partitions` missing sources; what was done and what is wrong."""
    names = [source.name for source in pipeline.sources]
    counts = existing(admin, names)
    # A source that is there decides for those made beside it: they must have as many partitions.
    count = next(iter(counts.values()), partitions or 1)
    own = ensure(admin, owned(pipeline.name, prefix, pipeline.shards), create=create)
    wanted = [Topic(name, counts.get(name, count), {}, "events") for name in names]
    sources = ensure(admin, wanted, create=create and partitions is not None)
    wrong = [*own.differences, *(_advised(line, names, partitions) for line in sources.differences)]
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in counts.items())
        wrong.append(f"sources must have equal partition counts: {told}")
    return Ensured(own.created + sources.created, own.existed + sources.existed, wrong)


def _advised(line: str, sources: Sequence[str], partitions: int | None) -> str:
    """The line of a source that is not there says who may create it."""
    if partitions is not None or line not in {f"{name}: {MISSING}" for name in sources}:
        return line
    return f"{line}: its producers create it, or `penstock topics FILE --create-sources` for a first try"


def describe(found: Ensured) -> str:
    """The result for people."""
    lines = [f"created  {name}" for name in found.created]
    lines += [f"exists   {name}" for name in found.existed]
    lines += [f"DIFFERS  {line}" for line in found.differences]
    return "\n".join(lines)

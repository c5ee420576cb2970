"""`penstock publish TOPIC FILE`: lines of JSON into a topic, by a client that is not Penstock's own."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec

from penstock.features.redis.keys import record_key
from penstock.stream.definition_file import load
from penstock.stream.definitions import Source
from penstock.stream.operate.publish import publish
from penstock.stream.operate.sampling import newest
from penstock.stream.process.settings import Settings

EXAMPLES = """\
examples:
  penstock publish flights.departures departures.ndjson --file examples/flights.py     the key that this source declares
  zcat 2013.ndjson.gz | penstock publish flights.arrivals - --key tail --rate 500
  penstock publish notes lines.ndjson --no-key

A file has one JSON object a line. The text of the key's field is the record's key (of a compound key, its parts
percent-encoded and joined by |), and a line that is not an object stops the command with its number; null, or a field
that is not there, is no key. Records without a key go to any partition, so one entity's events would be counted apart:
without --file, --key or --no-key this command looks at the topic's newest records, and refuses if they have keys.
Partitions follow Kafka's default partitioner (murmur2), as Penstock expects of every producer.
Exit codes: 0 published and acknowledged, 2 could not (what came before the error is published)."""
LOOKED_AT = 200


class BadLine(ValueError):
    """A line that cannot be published; the message says where it is."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "publish",
        help="publish a file of JSON lines to a topic",
        description="Publish lines of JSON to a topic, in order, every one acknowledged.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("topic", metavar="TOPIC", help="the topic; it is not created")
    command.add_argument("file", metavar="FILE", help="the file, or - for standard input")
    key = command.add_mutually_exclusive_group()
    key.add_argument(
        "--file",
        metavar="DEFINITION",
        dest="definition",
        help="a definition file with this source: take its key",
    )
    key.add_argument(
        "--key",
        metavar="FIELD",
        action="append",
        help="the field whose value is the record's key; repeat it for a compound key",
    )
    key.add_argument("--no-key", action="store_true", help="without keys, whatever the topic's records have")
    command.add_argument(
        "--rate", type=float, metavar="N", help="at most N records a second (default: as fast as the broker)"
    )
    command.add_argument("--json", action="store_true", help="print the result as one JSON object")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Publish and say how much; 2 with one line for a file or a line that cannot be used."""
    if args.rate is not None and args.rate <= 0:
        print("penstock: --rate must be above 0", file=sys.stderr)
        return 2
    declared = load(args.definition).sources if args.definition else []
    with ExitStack() as closing:
        try:
            lines = (
                sys.stdin.buffer if args.file == "-" else closing.enter_context(Path(args.file).open("rb"))
            )
            found = records(args.topic, lines, key_of(args, declared, settings), args.file)
            done = publish(
                found,
                settings,
                per_s=args.rate,
                progress=lambda line: print(line, file=sys.stderr, flush=True),
            )
        except (BadLine, OSError) as error:
            print(f"penstock: {error}", file=sys.stderr)
            return 2
    if args.json:
        print(json.dumps({"topic": args.topic, "records": done.records, "seconds": round(done.seconds, 3)}))
    else:
        print(f"{done.records:,} records to {args.topic} in {done.seconds:.1f} s")
    return 0


def key_of(args: argparse.Namespace, declared: Sequence[Source], settings: Settings) -> tuple[str, ...]:
    """The fields of the records' key, none for records without one.

    Raises:
        BadLine: nothing says which, and the topic's records have keys, or the definition has no such source.

    """
    if args.definition:
        sources = {source.name: source for source in declared}
        if args.topic not in sources:
            raise BadLine(f"{args.definition} has no source {args.topic!r}; it has: {', '.join(sources)}")
        source = sources[args.topic]
        if source.format != "json":
            raise BadLine(
                f"{args.topic} is in {source.format}, and this publishes JSON: use a producer with its serializer"
            )
        return source.key_fields
    if args.key or args.no_key:
        return tuple(args.key or ())
    from penstock.stream.roles import start  # takes a while to import, and few need it

    with closing(start.open_log(settings)) as log:
        there, _ = newest(log, args.topic, LOOKED_AT)
    keyed = next((record.key for record in there if record.key is not None), None)
    if keyed is not None:
        raise BadLine(
            f"the records of {args.topic} have keys, such as {keyed[:40].decode(errors='replace')!r}, and these would have none: "
            "say --file DEFINITION or --key FIELD, or --no-key if that is meant"
        )
    return ()


def records(
    topic: str, lines: Iterable[bytes], key: Sequence[str], name: str
) -> Iterator[tuple[str, bytes | None, bytes | None]]:
    """The records of a file's lines, empty lines left out. Raises `BadLine`."""
    decode = msgspec.json.Decoder(dict[str, object]).decode
    for number, line in enumerate(lines, 1):
        before = "Lines before it are published" if number > 1 else "Nothing is published"
        value = line.strip()
        if not value:
            continue
        try:
            event = decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            shown = value[:40].decode(errors="replace")
            raise BadLine(
                f"{name}, line {number}: {shown!r} is not a JSON object ({error}). JSON lines only are published, one object a "
                f"line: make those of a CSV or another table first. {before}"
            ) from None
        try:
            entity = record_key(event, key) if key else None
        except TypeError as error:
            raise BadLine(
                f"{name}, line {number}: not a JSON object with such a key ({error}). {before}"
            ) from None
        yield topic, None if entity is None else entity.encode(), value

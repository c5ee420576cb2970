"""`penstock publish TOPIC FILE`: lines of JSON into a topic, by a client that is not Penstock's own."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec

from penstock.stream.operate.publish import publish
from penstock.stream.process.settings import Settings

EXAMPLES = """\
examples:
  penstock publish flights.departures departures.ndjson --key tail
  zcat 2013.ndjson.gz | penstock publish flights.arrivals - --key tail --rate 500

A file has one JSON object a line. With --key, the text of that field is the record's key, and a line that is not an
object stops the command with its number; null, or a field that is not there, is no key. Without --key, lines go as they
are. Partitions follow Kafka's default partitioner (murmur2), as Penstock expects of every producer."""


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
    command.add_argument("topic", metavar="TOPIC")
    command.add_argument("file", metavar="FILE", help="the file, or - for standard input")
    command.add_argument("--key", metavar="FIELD", help="the field whose value is the record's key")
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
    with ExitStack() as closing:
        try:
            lines = (
                sys.stdin.buffer if args.file == "-" else closing.enter_context(Path(args.file).open("rb"))
            )
            found = records(args.topic, lines, args.key, args.file)
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


def records(
    topic: str, lines: Iterable[bytes], key: str | None, name: str
) -> Iterator[tuple[str, bytes | None, bytes | None]]:
    """The records of a file's lines, empty lines left out. Raises `BadLine`."""
    decode = msgspec.json.Decoder(dict[str, object]).decode
    for number, line in enumerate(lines, 1):
        value = line.strip()
        if not value:
            continue
        if key is None:
            yield topic, None, value
            continue
        try:
            field = decode(value).get(key)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadLine(
                f"{name}, line {number}: not a JSON object ({error}); what came before it is published"
            ) from None
        yield topic, None if field is None else str(field).encode(), value

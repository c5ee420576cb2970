"""`penstock watch [PIPELINE]`: what happens to the models, as it happens, for people or programs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer

from penstock.stream import topology
from penstock.stream.log.kafka_python import client, read_positions
from penstock.stream.operate.control_lines import moment, tell
from penstock.stream.operate.control_topics import FOLLOWED, Unreadable, decode, pipeline_of
from penstock.stream.operate.pipelines import check_pipeline
from penstock.stream.process.settings import Settings

EXAMPLES = """\
examples:
  penstock watch                         every pipeline, from now on
  penstock watch flights --from-start    the whole story so far, and then go on
  penstock watch flights --from-start --no-follow --json | jq 'select(.topic == "control.decisions")'

A line begins with the time the broker got the message, in UTC, and with !! for what must not wait until morning.
Exit codes: 0 the end was reached (--no-follow), 2 could not, or no such pipeline (it names those there are)."""

POLL_MS = 500


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "watch",
        help="follow the control topics",
        description="Follow the control topics: what was found, asked for, decided and carried out.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "pipeline", metavar="PIPELINE", nargs="?", help="only this one, by its name in the definition"
    )
    command.add_argument(
        "--json",
        action="store_true",
        help="one JSON object a line: topic, partition, offset, timestamp_ms, message",
    )
    command.add_argument(
        "--from-start", action="store_true", help="begin with everything that is still in the topics"
    )
    command.add_argument("--no-follow", action="store_true", help="end where the topics end now")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Follow until Ctrl-C, or with --no-follow until the end."""
    more = {"enable_auto_commit": False, "allow_auto_create_topics": False}
    with client(KafkaConsumer, settings, **more) as consumer:
        if args.pipeline is not None:
            check_pipeline(consumer, args.pipeline, settings.prefix)
        names = [settings.prefix + topic for topic in FOLLOWED]
        read_positions(consumer, names, from_start=args.from_start)
        if not args.json and not args.no_follow:
            print("following " + ", ".join(names) + "; Ctrl-C ends it", file=sys.stderr)
        for record in read(consumer, follow=not args.no_follow):
            line = show(record, args.pipeline, settings.prefix, as_json=args.json)
            if line:
                print(line, flush=True)
    return 0


def read(consumer: KafkaConsumer, *, follow: bool) -> Iterator[Any]:
    """Records in the order in which the broker got them: what is there at first as a whole, then poll by poll."""
    partitions = list(consumer.assignment())
    ends = consumer.end_offsets(partitions)
    backlog: list[Any] = []
    while any(consumer.position(partition) < ends[partition] for partition in partitions):
        backlog += _sorted(consumer.poll(timeout_ms=POLL_MS))
    yield from sorted(backlog, key=_order)
    while follow:
        yield from _sorted(consumer.poll(timeout_ms=POLL_MS))


def _order(record: Any) -> tuple[int, str, int]:
    return record.timestamp, record.topic, record.offset


def _sorted(polled: dict[Any, list[Any]]) -> list[Any]:
    return sorted((record for records in polled.values() for record in records), key=_order)


def show(record: Any, pipeline: str | None, prefix: str, *, as_json: bool) -> str:
    """A record as text, or as one line of JSON; empty for another pipeline's, and for tombstones."""
    topic = record.topic.removeprefix(prefix)
    if record.value is None:
        return ""
    try:
        message = decode(topic, record.value)
    except Unreadable as error:
        if as_json:
            return ""
        return f"{moment(record.timestamp)} !  a record that cannot be read: {record.topic} at {record.offset}: {error}"
    if pipeline not in (None, pipeline_of(message), topology.whole(pipeline_of(message))):
        return ""
    if not as_json:
        return "\n".join(tell(message, record.timestamp))
    where = {
        "topic": topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp,
    }
    return json.dumps({**where, "message": json.loads(record.value)})

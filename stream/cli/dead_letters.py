"""`penstock dead-letters PIPELINE`: which records could not be used, why, and send them back once that is mended."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer

from penstock.stream.log.kafka_python import client
from penstock.stream.messages import rfc3339
from penstock.stream.operate.dead_letters import Letter, letters, send_back, to_send
from penstock.stream.operate.pipelines import check_pipeline
from penstock.stream.process.settings import Settings
from penstock.stream.process.terminal import printable

EXAMPLES = """\
examples:
  penstock dead-letters flights                              the newest 20, with place, reason and first bytes
  penstock dead-letters flights --reason distance --limit 0  every one whose reason holds this text
  penstock dead-letters flights --json | jq -r .reason | sort | uniq -c
  penstock dead-letters flights --republish --since 118      send those from offset 118 on back to their topics

--republish sends the original bytes, key and headers back to the partition they came from, all that match unless --limit
is given. It asks first (--yes: it does not) and remembers nothing: re-publishing twice publishes twice, so note the
offset it names and go on with --since. What a crash wrote twice is sent once. What still cannot be used becomes a
dead letter again. Exit codes: 0 done,
1 not sent, 2 could not."""
SHOWN = 20
FIRST_BYTES = 160


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "dead-letters",
        help="list the records that could not be used, or send them back",
        description="List the records that could not be used: topic[partition]@offset, reason, first bytes.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("pipeline", metavar="PIPELINE", help="its name, as in the definition")
    command.add_argument("--reason", metavar="TEXT", help="only those whose reason holds TEXT (in any case)")
    command.add_argument(
        "--since",
        type=int,
        default=0,
        metavar="OFFSET",
        help="only from this offset of the dead-letters topic on (default 0, its start)",
    )
    command.add_argument(
        "--until", type=int, metavar="OFFSET", help="only before this offset (default: its end)"
    )
    command.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help=f"only the newest N of them (default: {SHOWN} when listing; 0: all)",
    )
    command.add_argument("--republish", action="store_true", help="send them back to their topics")
    command.add_argument("--yes", action="store_true", help="do not ask before re-publishing")
    command.add_argument(
        "--json", action="store_true", help="one JSON object a line; with --republish the result as one"
    )
    command.set_defaults(run=run)


class Wanted:
    """The letters asked for, read as often as needed up to one and the same end."""

    def __init__(self, args: argparse.Namespace, consumer: KafkaConsumer, prefix: str) -> None:
        self.args, self.consumer, self.prefix = args, consumer, prefix
        self.text = (args.reason or "").casefold()

    def read(self, since: int, until: int | None = None) -> Iterator[Letter]:
        """Those at [since, until) whose reason matches."""
        until = self.args.until if until is None else until
        found = letters(self.consumer, self.args.pipeline, self.prefix, since=since, until=until)
        return (letter for letter in found if self.text in letter.reason.casefold())


def run(args: argparse.Namespace, settings: Settings) -> int:
    """List, or ask and send."""
    if min(args.since, args.limit or 0, args.until or 0) < 0:
        print("penstock: --since, --until and --limit must not be negative", file=sys.stderr)
        return 2
    more = {"enable_auto_commit": False, "allow_auto_create_topics": False}
    with client(KafkaConsumer, settings, **more) as consumer:
        check_pipeline(consumer, args.pipeline, settings.prefix)
        wanted = Wanted(args, consumer, settings.prefix)
        return republish(wanted, settings) if args.republish else show(wanted)


def show(wanted: Wanted) -> int:
    """Print the newest of them, oldest first."""
    args, total = wanted.args, 0
    limit = SHOWN if args.limit is None else args.limit
    newest: deque[Letter] = deque(maxlen=limit)
    for letter in wanted.read(args.since):
        total += 1
        if limit:
            newest.append(letter)
        else:
            print(as_json(letter) if args.json else as_text(letter))
    for letter in newest:
        print(as_json(letter) if args.json else as_text(letter))
    if not args.json:
        shown = len(newest) if limit else total
        print(f"{total:,} dead letters" + (f", the newest {shown} shown" if shown < total else ""))
    return 0


def republish(wanted: Wanted, settings: Settings) -> int:
    """Count, ask, send what was counted."""
    args = wanted.args
    newest: deque[int] = deque(maxlen=args.limit or None)
    for letter in wanted.read(args.since):
        newest.append(letter.offset)
    first, end = (newest[0], newest[-1] + 1) if newest else (0, 0)
    found = wanted.read(first, end) if newest else ()
    tally = Counter(letter.topic for letter in to_send(found))
    if left := len(newest) - tally.total():
        print(
            f"{left:,} of them are left out: cut when they were buried, written twice by a crash, or not written by Penstock",
            file=sys.stderr,
        )
    if tally and not args.yes and not confirmed(tally):
        print("nothing was sent", file=sys.stderr)
        return 1
    count = send_back(to_send(wanted.read(first, end)), settings) if tally else 0
    result = {"pipeline": args.pipeline, "sent": count, "topics": dict(tally), "left": left, "next": end}
    if args.json:
        print(json.dumps(result))
    elif count:
        print(
            f"sent {count:,} records: {told(tally)}. Sent again, they are there twice; go on with --since {end}"
        )
    else:
        print("no dead letters to send")
    return 0


def confirmed(tally: Counter[str]) -> bool:
    """Ask at the terminal; no answer is no."""
    print(
        f"send {tally.total():,} records back, to {told(tally)}? [y/N] ", end="", file=sys.stderr, flush=True
    )
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def told(tally: Counter[str]) -> str:
    """How many records per topic, in words."""
    return ", ".join(f"{printable(topic)} ({count:,})" for topic, count in sorted(tally.items()))


def as_json(letter: Letter) -> str:
    """A letter for programs; bytes that are no UTF-8 are replaced."""
    value = letter.value
    found: dict[str, Any] = {
        "offset": letter.offset,
        "at": letter.timestamp_ms,
        "id": letter.id,
        "reason": letter.reason,
        "topic": letter.topic,
        "partition": letter.partition,
        "of": letter.of,
        "key": None if letter.key is None else letter.key.decode(errors="replace"),
        "bytes": None if value is None else len(value),
        "first": None if value is None else value[:FIRST_BYTES].decode(errors="replace"),
        "sendable": letter.sendable,
    }
    return json.dumps(found)


def as_text(letter: Letter) -> str:
    """A letter in two lines."""
    place = (
        f"{printable(letter.topic)}[{letter.partition}]@{letter.of}"
        if letter.topic
        else "from an unknown place"
    )
    value = letter.value
    first = "null" if value is None else value[:FIRST_BYTES].decode(errors="replace")
    more = "" if value is None or len(value) <= FIRST_BYTES else f"…  ({len(value):,} bytes)"
    head = f"{letter.offset:>8}  {rfc3339(letter.timestamp_ms)[:19]}Z  {place}  {printable(letter.reason)}"
    return f"{head}\n          {printable(first)}{more}"

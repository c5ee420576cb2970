"""`penstock size FILE`: what a pipeline takes of CPU, memory, Kafka and Redis at a rate of events and a number of entities."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from penstock.features.redis.keys import record_key
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.formats.plain import plain_json
from penstock.stream.log.protocol import Out
from penstock.stream.process.settings import SettingError, Settings
from penstock.stream.sizing.estimate import Asked, Size, size_of
from penstock.stream.sizing.measure import measure

EXAMPLES = """\
examples:
  penstock size examples/cards.py --events-per-s 2000 --entities 1000000
  penstock size FILE --events-per-s 50 --entities 400 --entities aircraft=4000 --labels-per-s 45 --retention-days 365
  penstock size FILE --events-per-s 2000 --entities 1000000 --events payments.ndjson     with events of your own, one JSON a line

The definition's own roles are run in this process, without servers, on events made up for it; what they write is weighed and
what they take is timed on this machine. What cannot be timed so, such as what Kafka takes, was measured once on another machine:
the output says which. --events are of all sources, oldest first; each line is of the first source whose id and time it has, and
the first 200,000 are taken. Bytes are before replication and compression. Exit codes: 0 printed,
2 could not."""
MOST_OWN_EVENTS = 200_000


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    command = subparsers.add_parser(
        "size",
        help="say what a pipeline takes: CPU, memory, Kafka, Redis",
        description="Say what a pipeline takes of CPU, memory, Kafka and Redis, and how many workers it wants.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", metavar="FILE", help="the definition file")
    command.add_argument(
        "--events-per-s",
        type=float,
        required=True,
        metavar="N",
        help="events to predict, a second, on average",
    )
    command.add_argument(
        "--entities",
        action="append",
        required=True,
        metavar="N",
        help="entities of each view that have events, or VIEW=N for one view; may be given several times",
    )
    command.add_argument(
        "--labels-per-s", type=float, metavar="N", help="labels a second (default: one for every event)"
    )
    command.add_argument(
        "--retention-days",
        type=float,
        metavar="D",
        help="how long sources and the samples log are kept (default: for ever)",
    )
    command.add_argument(
        "--events",
        metavar="FILE",
        help="events of your own, of all sources, oldest first, one JSON object a line",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Measure, multiply, print."""
    pipeline = plain_json(load(args.file))  # events are made in JSON
    if args.events_per_s <= 0:
        raise SettingError(f"--events-per-s {args.events_per_s:g} must be above 0")
    entities = counts(args.entities, [view.name for view in pipeline.views])
    labels = args.events_per_s if args.labels_per_s is None else args.labels_per_s
    if not 0 <= labels <= args.events_per_s:
        raise SettingError(
            f"--labels-per-s {labels:g} must be 0 to --events-per-s: an event has one label at most"
        )
    given = own_events(pipeline, Path(args.events)) if args.events else []
    found = measure(pipeline, args.events_per_s, entities, labels / args.events_per_s, given=given)
    size = size_of(pipeline, Asked(args.events_per_s, entities, labels, args.retention_days), found)
    print(json.dumps(size._asdict()) if args.json else as_text(size))
    return 0


def counts(given: list[str], views: list[str]) -> dict[str, int]:
    """Entities by view. Raises `SettingError`."""
    every, named = 0, {}
    for one in given:
        view, _, number = one.rpartition("=")
        if not number.isdecimal() or int(number) < 1:
            raise SettingError(f"--entities {one}: give a whole number above 0, or VIEW=NUMBER")
        if view and view not in views:
            raise SettingError(
                f"--entities {one}: there is no view {view!r}; there are: {', '.join(views) or 'none'}"
            )
        if view:
            named[view] = int(number)
        else:
            every = int(number)
    if missing := [view for view in views if not every and view not in named]:
        raise SettingError(f"--entities: say how many of {missing[0]!r}, or a number for every view")
    return {view: named.get(view, every) for view in views}


def own_events(pipeline: Pipeline, file: Path) -> list[Out]:
    """The first lines of a file as records, each of the first source whose id and time it has. Raises `SettingError`."""
    sources = sorted(pipeline.sources, key=lambda one: one.name != pipeline.predict.name)
    outs: list[Out] = []
    try:
        for line in file.read_text().splitlines()[:MOST_OWN_EVENTS]:
            event = json.loads(line)
            source = next((one for one in sources if one.id in event and one.time in event), None)
            if source is None:
                raise ValueError("no source of the definition has such an id and a time")
            key = record_key(event, source.key_fields)
            outs.append(Out(source.name, None if key is None else key.encode(), line.encode()))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SettingError(f"--events {file}: line {len(outs) + 1} cannot be used ({error})") from None
    if not outs:
        raise SettingError(f"--events {file}: there is no event in it")
    return outs


def in_bytes(number: float | None) -> str:
    """A number of bytes for people; None is one that only grows."""
    if number is None:
        return "grows for ever"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            return f"{number:,.3g} {unit}" if number < 1000 else f"{number:,.0f} {unit}"
        number /= 1000
    raise AssertionError("unreachable")


TIMED = ("featurize", "learn")


def as_text(size: Size) -> str:
    """The size for people."""
    lines = ["CPU                 an event   all, on average   and where there is little to do"]
    for role, cores in size.cores.items():
        estimate = "" if role in TIMED else "  (an estimate)"
        more = f"{size.at_once[role]:.2f} of a core"
        lines.append(
            f"  {role:12} {size.us_per_event[role]:8.0f} us {cores:8.3f} cores   up to {more}{estimate}"
        )
    lines.append(
        "  An estimate was measured on one machine (`penstock bench size`), the rest is timed on this one. A role that has\n"
        "  little to do works on each event as it comes, and gives that CPU up where others want it."
    )
    lines.append("Memory, each worker, upper estimates")
    lines += [f"  {role:12} {mib:8,.0f} MiB" for role, mib in size.memory_mib.items()]
    lines.append("Kafka, a day and kept")
    width = max(map(len, size.kafka_bytes_a_day))
    for topic, day in size.kafka_bytes_a_day.items():
        lines.append(f"  {topic:{width}}  {in_bytes(day):>10}  {in_bytes(size.kafka_bytes_kept[topic]):>14}")
    total = sum(size.redis_bytes.values())
    lines.append(f"Redis, {in_bytes(total)}")
    lines += [f"  {view:12} {in_bytes(bytes_):>10}" for view, bytes_ in size.redis_bytes.items()]
    workers = ", ".join(f"{role} {count}" for role, count in size.workers.items())
    lines.append(f"Workers: {workers}; learn's work is that of {size.shards} core{'s' * (size.shards > 1)}")
    return "\n".join([*lines, *size.said])

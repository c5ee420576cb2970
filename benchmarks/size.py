"""What `penstock size` says of CPU beside what the roles take from a log that is there, on a Kafka and a Valkey of their own.

    penstock bench size [--only POINT]... [--rate N]... [--json FILE]

Each role runs alone, as `penstock run` starts it, over a log that was written before, so that its batches are full: this is what
its work needs. With `--rate`, both run at once beside a producer that keeps its rate, so that batches are small, and what is told
is what the roles take then, because they work on each event as it comes. The points that are called `fit` are those that
`stream/sizing/constants.py` was fitted to; nothing was fitted to the others.

Laws of this file:
- CPU is that of whole processes, by the kernel's clock of each, after the first fifth of the records: so it is the same whoever
  else uses the machine, but for caches and hyper-threads that are shared.
- The events are not those that `penstock size` makes up, but the examples' own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import penstock.examples
from benchmarks import features_job
from benchmarks.peers import machine, say
from benchmarks.size_running import ROLES, ROOT, Made, Running
from benchmarks.written import write
from penstock.examples import cards_data, flights_data
from penstock.stream.stack import local_stack

EXAMPLES = Path(penstock.examples.__file__).parent
EVENTS = 240_000
OWN_EVENTS = 200_000
MOST = 10_000_000


class Point(NamedTuple):
    """A definition, its events, how many of them to predict come in a second of event time, and entities.

    `fit`: constants were fitted to it. `own`: `penstock size` gets some of the events.
    """

    definition: Path
    made: Callable[[], Made]
    rate: float
    entities: tuple[str, ...]
    fit: bool = False
    own: bool = False


def payments() -> Made:
    """Of 2,000 cards, one every ten seconds."""
    for topic, key, fields, _at in cards_data.events(MOST):
        yield topic, key, fields


def flights() -> Made:
    """Departures and arrivals of 2013, 39 departures an hour."""
    for topic, key, fields, _at in flights_data.events():
        yield topic, key, fields


def customers() -> Made:
    """Payments of 5,000 customers, two a second, of which one in fifty is fraud."""
    for number, event in enumerate(features_job.events(1_000_000, 5_000, 500)):
        yield features_job.PAYMENTS.name, event["customer"], {**event, "fraud": number % 50 == 0}


CARDS, JOB = EXAMPLES / "cards.py", Path(__file__).with_name("job_pipeline.py")
FLIGHTS = ("100", "carrier=16", "airport=3", "traffic=3", "aircraft=3500")
POINTS = {
    "cards": Point(CARDS, payments, 0.1, ("2000",), fit=True),
    "job": Point(JOB, customers, 2.0, ("5000",), own=True),
    "flights": Point(EXAMPLES / "flights.py", flights, 0.0107, FLIGHTS, fit=True, own=True),
    "delays": Point(EXAMPLES / "flights_delay.py", flights, 0.0107, FLIGHTS, own=True),
}


def said(point: Point, folder: Path) -> dict[str, Any]:
    """What `penstock size` says, in a process of its own."""
    line = [sys.executable, "-m", "penstock.stream.cli", "size", str(point.definition), "--json"]
    line += ["--events-per-s", f"{point.rate}"]
    line += itertools.chain.from_iterable(("--entities", one) for one in point.entities)
    if point.own:
        file = folder / "own.ndjson"
        file.write_text(
            "\n".join(json.dumps(event) for _, _, event in itertools.islice(point.made(), OWN_EVENTS))
        )
        line += ["--events", str(file)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def running(name: str) -> Iterator[Running]:
    """A point, on servers of its own."""
    with local_stack("auto", env={}) as stack, tempfile.TemporaryDirectory(prefix="penstock-size-") as folder:
        if stack.kafka is None:
            sys.exit("no Kafka, and this needs one: " + "; ".join(stack.description))
        made = Running(POINTS[name].definition, POINTS[name].made, stack, Path(folder))
        try:
            yield made
        finally:
            made.log.close()


def held_against(name: str, events: int) -> dict[str, Any]:
    """A point beside what is said of it."""
    with running(name) as made:
        before = said(POINTS[name], made.folder)
        found = made.catching_up(events)
        told = said(POINTS[name], made.folder)
    # What else the machine does falls on both: so it is asked before and after.
    us = {role: (used + before["us_per_event"][role]) / 2 for role, used in told["us_per_event"].items()}
    ratio = {role: us[role] / found["us_per_event"][role] for role in ROLES}
    kind = "fit" if POINTS[name].fit else "check"
    load_average = round(os.getloadavg()[0], 1)
    for role, measured in found["us_per_event"].items():
        say(
            f"{name:8} {kind:5} {role:10} {measured:7.1f} us an event; said {us.get(role, 0.0):7.1f}; load {load_average}"
        )
    return {
        **found,
        "said_us_per_event": us,
        "said_mib": told["memory_mib"],
        "said_to_measured": ratio,
        "load": load_average,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the points in turn; print a line for each process, and one JSON object with `--json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--only", action="append", choices=list(POINTS), help="may be given several times")
    parser.add_argument("--events", type=int, default=EVENTS, metavar="N", help="to predict, for each point")
    parser.add_argument(
        "--rate", action="append", type=float, metavar="N", help="keep this rate instead, of cards"
    )
    asked = parser.parse_args(arguments)
    figures: dict[str, Any] = {"machine": machine(), "points": {}, "rates": {}}
    for rate in asked.rate or ():
        with running("cards") as made:
            figures["rates"][f"{rate:g}"] = found = made.at_rate(rate)
        cores = ", ".join(f"{name} {used:.3f}" for name, used in found["cores"].items())
        mib = ", ".join(f"{name} {used:.0f}" for name, used in found["mib"].items())
        say(f"cards at {found['events_per_s']:,.0f} a second: cores {cores}; MiB {mib}")
    for name in [] if asked.rate else asked.only or POINTS:
        figures["points"][name] = held_against(name, asked.events)
    write(figures, asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

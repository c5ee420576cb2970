"""What a race in a process beside it costs the demo through Kafka: records a second, and learn's CPU, with it and without.

    penstock bench race_rate [--days N] [--rounds N] [--race-cpu C] [--json FILE]

The first days of the demo's year, from the first record that kafka-python publishes to the last one folded, on a Kafka and a
Redis that are started anew for every run: once without challengers, once with twelve of them (`race.configurations`) in a
process of their own (`penstock run FILE --role challenge`) that may take `--race-cpu` of a core. The runs are in pairs, and every
second pair begins with the race, so that what else the machine does falls on both.

Laws of this file:
- CPU seconds are of a whole process with all its threads, from the roles being ready until everything is folded and two seconds
  more (which the demo waits for quiet): so a race that is behind goes on for two seconds.
- Within these two seconds nobody else has work, so the figures of the others are those of their work.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import penstock.examples
from benchmarks.peers import java_cpu_s, redis_cpu_s
from penstock.stream.definition_file import load
from penstock.stream.demo.processes import DemoFailed
from penstock.stream.demo.run import Options, Run, run_on_kafka
from penstock.stream.models.version import challenger_of
from penstock.stream.stack import StackError, local_stack

ALONE = str(Path(penstock.examples.__file__).parent / "flights.py")
RACED = str(Path(__file__).parent / "race_rate_flights.py")
FIRST = date(2013, 1, 1)
DAYS, ROUNDS = 59, 3
COLUMNS = (
    "records_per_s", "seconds", "learn_cpu_s", "featurize_cpu_s", "challenge_cpu_s", "kafka_cpu_s", "redis_cpu_s",
)  # fmt: skip


def measured(days: int, *, race: bool) -> dict[str, Any]:
    """One run on servers of its own."""
    options = Options(
        RACED if race else ALONE, "none", end=FIRST + timedelta(days=days), race=race, console=False
    )
    with local_stack(
        "auto", env={name: value for name, value in os.environ.items() if name not in GIVEN}
    ) as stack:
        if stack.kafka is None:
            raise StackError("this needs a broker: install Java 17 and Maven, or Docker")
        broker = stack.servers["kafka"]
        before = java_cpu_s(broker.pid), redis_cpu_s(stack.redis_url)
        with run_on_kafka(load(options.definition), options, stack, quiet, quiet) as done:
            kafka_s, redis_s = java_cpu_s(broker.pid), redis_cpu_s(stack.redis_url)
            found = figures(done)
        found["redis_cpu_s"] = redis_s - before[1]
        if kafka_s is not None and before[0] is not None:
            found["kafka_cpu_s"] = kafka_s - before[0]
    return {**found, "race": race, "load": round(os.getloadavg()[0], 2)}


GIVEN = ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL")  # a run needs servers that hold nothing


def quiet(_said: Any) -> None:
    """Nobody listens."""


def figures(done: Run) -> dict[str, Any]:
    """What is told of a run."""
    inside, learn = done.live[-1].experts if done.live else [], done.pages["learn"]
    joined = value(learn, "penstock_labels_total", 'outcome="joined"')
    found = {
        "records": done.records,
        "seconds": done.seconds,
        "records_per_s": done.records / done.seconds,
        **{f"{name}_cpu_s": used for name, used in done.cpu_s.items()},
        "log_loss": (value(learn, "penstock_log_loss_nats_total") or 0.0) / (joined or 1.0),
        "challengers_inside": sorted(filter(None, (challenger_of(one.parent) for one in inside))),
    }
    page = done.pages.get("challenge")
    if page is not None:
        found["challengers_running"] = value(page, "penstock_challengers", 'state="running"')
        found["challengers_entered"] = value(page, "penstock_challengers_entered_total")
        found["race_lag_records"] = value(page, "penstock_lag_records")
    return found


def value(page: str, name: str, labels: str = "") -> float | None:
    """The sum of a metric on a page, of its series with these labels; None where there is none.

    >>> value('a{x="1"} 3.0', "a"), value("ab 1.0", "a")
    (3.0, None)
    """
    rows = [line for line in page.splitlines() if line.partition(" ")[0].partition("{")[0] == name]
    found = [float(line.rpartition(" ")[2]) for line in rows if labels in line]
    return sum(found) if found else None


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of both kinds, and of the pairs' ratios with the race to without; pairs are neighbours.

    >>> pair = [{"race": True, "seconds": 5.0, "learn_cpu_s": 3.0}, {"race": False, "seconds": 10.0, "learn_cpu_s": 2.0}]
    >>> found = summary(pair)
    >>> found["ratio"], found["alone"]["seconds"], found["pair_ratios"]["learn_cpu_s"]
    ({'seconds': 0.5, 'learn_cpu_s': 1.5}, 10.0, [1.5])
    """
    kinds = {
        name: [one for one in runs if one["race"] is race]
        for name, race in (("alone", False), ("race", True))
    }
    shared = [name for name in COLUMNS if all(one.get(name) is not None for one in runs)]
    ratios = {
        name: [raced[name] / alone[name] for alone, raced in zip(kinds["alone"], kinds["race"], strict=True)]
        for name in shared
    }
    medians = {
        kind: {name: median(one[name] for one in of) for name in COLUMNS if all(name in one for one in of)}
        for kind, of in kinds.items()
    }
    return {**medians, "pair_ratios": ratios, "ratio": {name: median(of) for name, of in ratios.items()}}


def line(one: dict[str, Any]) -> str:
    """A run for people."""
    cpu = ", ".join(f"{name} {one[f'{name}_cpu_s']:.1f}" for name in ("learn", "featurize", "challenge", "kafka", "redis")
                    if f"{name}_cpu_s" in one)  # fmt: skip
    raced = ""
    if one["race"]:
        raced = (
            f"; {one['challengers_running']:.0f} run, {one['challengers_entered']:.0f} asked to take part, inside: "
            f"{', '.join(one['challengers_inside']) or 'none'}; {one['race_lag_records'] or 0:,.0f} records behind"
        )
    return (
        f"{'race ' if one['race'] else 'alone'}  {one['records_per_s']:>7,.0f} records/s in {one['seconds']:5.1f} s; "
        f"CPU s: {cpu}; log loss {one['log_loss']:.4f}; load {one['load']}{raced}"
    )


def run_pairs(rounds: int, days: int, runs: list[dict[str, Any]]) -> None:
    """Run them all, and tell each as it is done."""
    for number in range(rounds):
        for race in (False, True) if number % 2 == 0 else (True, False):
            runs.append(measured(days, race=race))
            print(line(runs[-1]), flush=True)


def main() -> None:
    """Run the pairs, tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--days", type=int, default=DAYS, help=f"of the year, from 1 January (default {DAYS})"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"pairs of runs (default {ROUNDS})")
    parser.add_argument(
        "--race-cpu", type=float, default=1.0, help="share of a core that the race may take (default 1.0)"
    )
    parser.add_argument("--json", metavar="FILE", help="also write every run and the medians as one object")
    asked = parser.parse_args()
    os.environ["RACE_CPU"] = str(asked.race_cpu)  # for the definition, in the roles, too
    runs: list[dict[str, Any]] = []
    try:
        run_pairs(asked.rounds, asked.days, runs)
    except (DemoFailed, StackError) as error:
        sys.exit(f"penstock bench race_rate: {error}")
    found = summary(runs)
    print(
        "race ÷ alone, medians of pairs: "
        + ", ".join(f"{name} {of:.2f}" for name, of in found["ratio"].items())
    )
    if asked.json:
        told = {
            "days": asked.days,
            "race_cpu": asked.race_cpu,
            "cores": os.cpu_count(),
            **found,
            "runs": runs,
        }
        told |= {
            "events_per_s": found["race"]["records_per_s"],
            "events_per_s_alone": found["alone"]["records_per_s"],
        }
        Path(asked.json).write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

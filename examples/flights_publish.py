"""The flights' producer: a kafka-python client that publishes the year as fast as the broker takes it.

Broken records are mixed in when `--malformed SEED` is given: garbage bytes, missing fields, wrong types, NaN, absurd times and
lengths, null values. The last line it prints is a JSON object with what it published.

    python -m examples.flights_publish --bootstrap 127.0.0.1:9092 --incident milliseconds --malformed 2013
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

import msgspec

from penstock.examples.flights_data import ARRIVALS, DEPARTURES, INCIDENTS, Incident, events
from penstock.stream.log.protocol import LogError
from penstock.stream.operate.publish import publish
from penstock.stream.process.settings import Settings

MALFORMED_RECORDS = 40


class Raw(NamedTuple):
    """One record as it goes to the broker."""

    topic: str
    key: bytes | None
    value: bytes | None


def malformed(seed: int, count: int = MALFORMED_RECORDS) -> list[Raw]:
    """`count` records that are no valid event, of every kind, the same for the same seed."""
    chance = random.Random(seed)
    good = {
        DEPARTURES: {
            "flight_id": "broken", "departs_at": 1_370_000_000_000, "tail": "N0", "carrier": "XX", "origin": "JFK", "dest": "BOS",
            "hour": 9, "distance": 200, "dep_delay": 0,
        },
        ARRIVALS: {
            "flight_id": "broken", "landed_at": 1_370_000_000_000, "tail": "N0", "carrier": "XX", "origin": "JFK", "dest": "BOS",
            "delay": 0,
        },
    }  # fmt: skip
    found: list[Raw] = []
    for number in range(count):
        topic = chance.choice((DEPARTURES, ARRIVALS))
        fields = dict(good[topic])
        time_field = "departs_at" if topic == DEPARTURES else "landed_at"
        number_field = "dep_delay" if topic == DEPARTURES else "delay"
        value: bytes | None
        kind = number % 10
        if kind == 0:
            value = chance.randbytes(24)
        elif kind == 1:
            del fields[
                chance.choice(sorted(fields.keys() - {"carrier"}) if topic == DEPARTURES else sorted(fields))
            ]
            value = json.dumps(fields).encode()
        elif kind == 2:
            value = json.dumps({**fields, "flight_id": ["not", "an", "id"]}).encode()
        elif kind == 3:
            value = json.dumps({**fields, number_field: float("nan")}).encode()
        elif kind == 4:
            value = json.dumps({**fields, time_field: 32_503_680_000_000}).encode()
        elif kind == 5:
            value = json.dumps({**fields, time_field: "yesterday"}).encode()
        elif kind == 6:
            value = None
        elif kind == 7:
            value = b"[1, 2, 3]"
        elif kind == 8:
            value = json.dumps({**fields, time_field: 1}).encode()
        else:
            value = json.dumps({**fields, "flight_id": "x" * 600}).encode()
        found.append(Raw(topic, b"broken", value))
    return found


def records(
    incident: Incident = "none",
    start: date | None = None,
    end: date | None = None,
    malformed_seed: int | None = None,
) -> Iterator[Raw]:
    """Every record of the year in event-time order, with the malformed ones spread over the first hundred thousand."""
    broken = [] if malformed_seed is None else malformed(malformed_seed)
    chance = random.Random(malformed_seed)
    places = sorted(chance.randrange(1_000, 20_000) for _ in broken)
    encode = msgspec.json.Encoder().encode
    number = 0
    for topic, key, fields, _ in events(incident, start, end):
        while places and number >= places[0]:
            places.pop(0)
            yield broken.pop()
        number += 1
        yield Raw(topic, None if key is None else key.encode(), encode(fields))
    yield from broken


def main() -> int:
    """Publish, with progress; the process's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bootstrap", default="127.0.0.1:9092", help="Kafka's address")
    parser.add_argument(
        "--incident", choices=INCIDENTS, default="none", help="what goes wrong from 13 to 17 May"
    )
    parser.add_argument("--start", type=date.fromisoformat, help="first New York day (default: the year's)")
    parser.add_argument("--end", type=date.fromisoformat, help="the day after the last one")
    parser.add_argument("--malformed", type=int, metavar="SEED", help="mix in broken records")
    parser.add_argument(
        "--rate", type=float, metavar="PER_S", help="records a second (default: as the broker takes them)"
    )
    args = parser.parse_args()
    every = records(args.incident, args.start, args.end, args.malformed)
    settings = Settings(bootstrap=args.bootstrap)
    try:
        done = publish(every, settings, per_s=args.rate, progress=lambda line: print(line, flush=True))
    except (LogError, FileNotFoundError) as error:
        print(f"flights_publish: {error}")
        return 1
    broken = 0 if args.malformed is None else MALFORMED_RECORDS
    print(json.dumps({"records": done.records, "malformed": broken, "seconds": round(done.seconds, 2)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

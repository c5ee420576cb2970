"""The flights' producer: an independent kafka-python client that publishes the year as fast as the broker takes it.

Broken records are mixed in when `--malformed SEED` is given: garbage bytes, missing fields, wrong types, NaN, absurd times, null values.
The last line it prints is a JSON object with what it published.

    python -m examples.flights_publish --bootstrap 127.0.0.1:9092 --incident milliseconds --malformed 2013
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

import msgspec

from examples.flights_data import ARRIVALS, DEPARTURES, INCIDENTS, Incident, events

MALFORMED_RECORDS = 40
PROGRESS_S = 2.0


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
            "flight_id": "broken", "landed_at": 1_370_000_000_000, "tail": "N0", "carrier": "XX", "origin": "JFK", "dest": "BOS", "delay": 0,
        },
    }  # fmt: skip
    found: list[Raw] = []
    for number in range(count):
        topic = chance.choice((DEPARTURES, ARRIVALS))
        fields = dict(good[topic])
        time_field = "departs_at" if topic == DEPARTURES else "landed_at"
        number_field = "dep_delay" if topic == DEPARTURES else "delay"
        value: bytes | None
        kind = number % 8
        if kind == 0:
            value = chance.randbytes(24)
        elif kind == 1:
            del fields[chance.choice(sorted(fields.keys() - {"carrier"}) if topic == DEPARTURES else sorted(fields))]
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
        else:
            value = b"[1, 2, 3]"
        found.append(Raw(topic, b"broken", value))
    return found


def records(
    incident: Incident = "none", start: date | None = None, end: date | None = None, malformed_seed: int | None = None
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
    from kafka import KafkaProducer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", default="127.0.0.1:9092", help="Kafka's address")
    parser.add_argument("--incident", choices=INCIDENTS, default="none", help="what goes wrong from 13 to 17 May")
    parser.add_argument("--start", type=date.fromisoformat, help="first New York day (default: the year's)")
    parser.add_argument("--end", type=date.fromisoformat, help="the day after the last one")
    parser.add_argument("--malformed", type=int, metavar="SEED", help="mix in broken records")
    args = parser.parse_args()
    failures: list[str] = []
    producer = KafkaProducer(
        bootstrap_servers=args.bootstrap, acks="all", linger_ms=20, batch_size=256 * 1024
    )
    started = said = time.monotonic()
    count = broken = 0
    for topic, key, value in records(args.incident, args.start, args.end, args.malformed):
        producer.send(topic, value=value, key=key).add_errback(lambda error: failures.append(str(error)))
        count += 1
        broken += key == b"broken"
        if count % 2_000 == 0 and time.monotonic() - said > PROGRESS_S:
            said = time.monotonic()
            print(f"{count:,} records, {count / (said - started):,.0f}/s", flush=True)
    producer.flush(timeout=120)
    producer.close()
    seconds = time.monotonic() - started
    if failures:
        print(f"{len(failures)} records were not delivered: {failures[0]}")
        return 1
    print(json.dumps({"records": count, "malformed": broken, "seconds": round(seconds, 2)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

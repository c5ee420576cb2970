"""The flood's producer, with kafka-python: `python -m tests.flood.produce BOOTSTRAP TOPIC RECORDS BAD SEED END_MS FORMAT`.

What is larger than topics take is sent compressed, as whoever sends it would: a bomb.
"""

from __future__ import annotations

import sys

from kafka import KafkaProducer

from tests.flood.stream import Made, stream

PLAIN_BYTES = 1_000_000


def main(bootstrap: str, topic: str, records: int, bad: int, seed: int, end_ms: int, form: str) -> None:
    """Publish all, each partition in its order."""
    plain = KafkaProducer(
        bootstrap_servers=bootstrap, linger_ms=20, batch_size=200_000, delivery_timeout_ms=300_000
    )
    bombs = KafkaProducer(
        bootstrap_servers=bootstrap,
        compression_type="gzip",
        max_request_size=64_000_000,
        delivery_timeout_ms=300_000,
    )
    sent = []
    for number, made in enumerate(stream(records, bad, seed, end_ms, form=form)):
        if _bytes(made) < PLAIN_BYTES:
            sent.append(_send(plain, topic, made))
        else:
            plain.flush()  # the order of a partition is that of event time
            _send(bombs, topic, made).get(300)
        if number % 20_000 == 0:
            for one in sent:
                one.get(300)
            sent.clear()
    plain.flush()
    for one in sent:
        one.get(300)
    plain.close()
    bombs.close()


def _bytes(made: Made) -> int:
    headers = sum(len(name) * 4 + len(value or b"") + 10 for name, value in made.headers)
    return len(made.value or b"") + len(made.key or b"") + headers


def _send(producer: KafkaProducer, topic: str, made: Made):  # type: ignore[no-untyped-def]
    return producer.send(
        topic,
        value=made.value,
        key=made.key,
        headers=[(name, value or b"") for name, value in made.headers],  # it sends no null ones
        partition=made.partition,
        timestamp_ms=made.timestamp_ms,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(one) for one in sys.argv[3:7]), form=sys.argv[7])

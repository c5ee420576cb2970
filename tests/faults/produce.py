"""A producer of somebody else's, with kafka-python: `python -m tests.faults.produce BOOTSTRAP FILE RATE`.

The file is MessagePack, a list of (topic, key, value); `RATE` records a second are sent, 0 for as many as the broker takes.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec
from kafka import KafkaProducer


def main(bootstrap: str, file: str, rate: float) -> None:
    """Publish all; a broker that is away is waited for."""
    records = msgspec.msgpack.decode(Path(file).read_bytes())
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5, delivery_timeout_ms=300_000)
    began, sent = time.monotonic(), []
    for number, (topic, key, value) in enumerate(records):
        if rate and number % 50 == 0:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
        sent.append(producer.send(topic, key=key, value=value))
    producer.flush()
    for one in sent:
        one.get(300)
    producer.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))

"""A broker that was away is found soon after it is back: what commands, control and the console read and write with."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from kafka import KafkaConsumer
from kafka.errors import KafkaError

from penstock.stream.log.kafka_python import options
from penstock.stream.process.settings import Settings

AWAY_S = 12.0
LOOKS_BY_ITSELF = 8  # of kafka-python in that time: it waits twice as long each time, up to half a minute


def test_a_client_goes_on_looking_for_a_broker_about_once_a_second() -> None:
    server, looked = socket.create_server(("127.0.0.1", 0)), []

    def refuse() -> None:
        with suppress(OSError):
            while True:
                server.accept()[0].close()
                looked.append(1)

    threading.Thread(target=refuse, daemon=True).start()
    settings = Settings.from_env(
        {
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{server.getsockname()[1]}",
            "PENSTOCK_CONNECT_TIMEOUT_S": str(AWAY_S),
        }
    )
    with suppress(KafkaError):
        KafkaConsumer(**options(settings)).close()
    server.close()
    assert len(looked) > LOOKS_BY_ITSELF + 1

"""How long a role waits for Kafka to acknowledge: as the log does, and not for long once it was told to end."""

from __future__ import annotations

from collections.abc import Callable

from penstock.stream.log.protocol import AppendFailed
from penstock.stream.process.health_page import Health

LAST_WAIT_S = 5.0
"""What is not acknowledged within it is sent again, by whoever goes on."""


def waiting(health: Health | None, stopped: Callable[[], bool]) -> Callable[[int, float], None]:
    """What `KafkaLog` calls every second: the page hears of it, and once `stopped`, what waits for long is given up."""

    def on_wait(unacked: int, waited_s: float) -> None:
        if health is not None:
            health.waits()
        if stopped() and waited_s >= LAST_WAIT_S:
            raise AppendFailed(unacked, unacked, "this role was told to end")

    return on_wait

"""What is slow, or away: Redis, Kafka, the model."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

from tests.faults.brokers import behind_proxy as kafka_behind_proxy
from tests.faults.stores import behind_proxy as redis_behind_proxy
from tests.pressure.pressed import AWAY_S, Pressed, Pressure

REDIS_LATE_S, KAFKA_LATE_S = 0.05, 0.1


def nothing(_: Pressed) -> None:
    """Nothing is slow: what the others are compared with."""


def redis_slow(round: Pressed) -> None:
    """Every packet late."""
    proxy: Any = round.valkey
    proxy.delay_s = REDIS_LATE_S


def redis_quick(round: Pressed) -> None:
    proxy: Any = round.valkey
    proxy.delay_s = 0.0


def redis_paused(round: Pressed) -> None:
    """It answers nobody, then for a moment everybody, and again nobody: in a thread, as it answers us neither."""
    client: Any = round.place.client

    def pause() -> None:
        until = time.monotonic() + 14.0
        while time.monotonic() < until:
            with suppress(Exception):
                client.execute_command("CLIENT", "PAUSE", 3_000, "ALL")
            time.sleep(3.5)

    threading.Thread(target=pause, daemon=True).start()


def kafka_slow(round: Pressed) -> None:
    """Every packet late."""
    assert round.proxy is not None
    round.proxy.delay_s = KAFKA_LATE_S


def kafka_quick(round: Pressed) -> None:
    assert round.proxy is not None
    round.proxy.delay_s = 0.0


def model_slow(round: Pressed) -> None:
    """It takes 30 ms for each label."""
    round.slow.touch()


def model_quick(round: Pressed) -> None:
    round.slow.unlink()


def redis_gone(round: Pressed) -> None:
    """Killed."""
    assert round.valkey is not None
    round.valkey.kill()


def redis_back(round: Pressed) -> None:
    """Begun again on its append-only file."""
    assert round.valkey is not None
    round.valkey.start()


def kafka_gone(round: Pressed) -> None:
    """Killed."""
    round.servers.kafka.kill()


def kafka_back(round: Pressed) -> None:
    round.servers.kafka.start()


def rights_lost(round: Pressed) -> None:
    """The roles' user may run no script any more."""
    client: Any = round.place.client
    client.execute_command("ACL", "SETUSER", "default", "-eval", "-evalsha")


def rights_back(round: Pressed) -> None:
    client: Any = round.place.client
    client.execute_command("ACL", "SETUSER", "default", "+@all")


WAYS = [
    Pressure("nothing", "nothing is slow", nothing, nothing, lasts_s=2.0),
    Pressure("redis slow", "every packet 50 ms late", redis_slow, redis_quick, own=redis_behind_proxy),
    Pressure("redis paused", "it answers nobody for 3 s, again and again", redis_paused, nothing),
    Pressure("kafka slow", "every packet 100 ms late", kafka_slow, kafka_quick, prepare=kafka_behind_proxy),
    Pressure("model slow", "30 ms for each label", model_slow, model_quick, flow="slow-model"),
    Pressure(
        "redis away",
        "killed, and begun again after 25 s",
        redis_gone,
        redis_back,
        lasts_s=AWAY_S,
        drains=False,
    ),
    Pressure(
        "kafka away",
        "killed, and begun again after 25 s",
        kafka_gone,
        kafka_back,
        lasts_s=AWAY_S,
        drains=False,
    ),
    Pressure(
        "end without redis",
        "killed; roles are told to end while it is away",
        redis_gone,
        redis_back,
        again=False,
    ),
    Pressure(
        "end without kafka",
        "killed; roles are told to end while it is away",
        kafka_gone,
        kafka_back,
        again=False,
    ),
    Pressure(
        "rights lost",
        "Redis refuses the roles' user for a while",
        rights_lost,
        rights_back,
        lasts_s=8.0,
        drains=False,
        ends="Redis refuses this user.*`penstock acls FILE`",
    ),
]

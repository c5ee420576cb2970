"""The broker killed and begun again, standing still, on a full disk, slow, or unheard: replies lost behind what was done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.disks import disk, fill, no_root
from tests.faults.fault import Fault
from tests.faults.round import Round
from tests.faults.servers import Proxy, Servers, servers

SLOW_S = 0.05
STILL_S = 3.0
DISK_MB = 400


def killed(round: Round) -> None:
    """Kill the broker and begin it again on its data."""
    for at in round.points(round.kills):
        round.until(at)
        before = {role: round.position(role) for role in ("featurize", "learn")}
        round.servers.kafka.kill()
        began = time.monotonic()
        round.injected += 1
        round.servers.kafka.start()
        for role, of_role in before.items():
            round.recovers(role, of_role, began)


def still(round: Round) -> None:
    """The broker stands still for some seconds."""
    for at in round.points(round.kills):
        round.until(at)
        before = round.position("featurize")
        round.servers.kafka.pause()
        began = time.monotonic()
        time.sleep(STILL_S)
        round.servers.kafka.resume()
        round.injected += 1
        round.recovers("featurize", before, began)


@contextmanager
def on_small_disk() -> Iterator[Servers]:
    """A broker on a file system of its own."""
    with disk(DISK_MB) as folder, servers(folder / "kafka") as made:
        yield made


def disk_full(round: Round) -> None:
    """The disk under the broker is full until the broker ends, as it does then; it begins again when there is room."""
    round.until(0.15)
    kafka = round.servers.kafka
    before = {role: round.position(role) for role in ("featurize", "learn")}
    filler = kafka.folder / "filler"
    fill(filler)
    round.wait(lambda: not kafka.running, "the broker did not end")
    filler.unlink()
    began = time.monotonic()
    round.injected += 1
    kafka.start()
    for role, of_role in before.items():
        round.recovers(role, of_role, began)


def asks_for_a_write(request: bytes) -> bool:
    """Whether a request to Kafka is a Produce or an OffsetCommit: its API key stands behind its length."""
    return int.from_bytes(request[4:6], "big") in (0, 8)


def behind_proxy(round: Round) -> None:
    """Roles reach the broker through a proxy."""
    round.proxy = Proxy(round.servers.outside, round.servers.inside, asks_for_a_write)
    round.place.env["KAFKA_BOOTSTRAP_SERVERS"] = round.servers.proxied


@contextmanager
def closing(round: Round) -> Iterator[Proxy]:
    """The proxy, which is quick again afterwards; it ends with the round."""
    assert round.proxy is not None
    yield round.proxy
    round.proxy.delay_s = 0.0


def slow(round: Round) -> None:
    """Everything that goes to the broker or comes from it is late, for the middle of the stream."""
    with closing(round) as proxy:
        round.until(0.1)
        proxy.delay_s = SLOW_S
        round.injected += 1
        round.until(0.4)


def unheard(round: Round) -> None:
    """Replies are lost, and their connections."""
    with closing(round) as proxy:
        for at in round.points(round.kills * 3):
            round.until(at)
            before, began = round.position("featurize"), time.monotonic()
            proxy.lose_replies(round.chance.randint(1, 4))
            round.wait(lambda: proxy.to_lose <= 0, "no reply was lost")
            round.recovers("featurize", before, began)
        round.injected = proxy.lost


FAULTS = [
    Fault("kill broker", "parcels", "kill -9 of the broker, which begins again on its data", killed, alone=True),
    Fault("broker stands still", "cards", "SIGSTOP of the broker for 3 s", still, alone=True),
    Fault(
        "broker's disk full", "cards", "the disk under the broker is full, which ends, and begins again when there is room",
        disk_full, broker=on_small_disk, needs=no_root,
    ),
    Fault("broker slow", "cards", "every packet from and to the broker 50 ms late", slow, prepare=behind_proxy, alone=True),
    Fault(
        "broker's replies lost", "cards", "the broker's replies cut after the request was carried out",
        unheard, prepare=behind_proxy, alone=True,
    ),
]  # fmt: skip

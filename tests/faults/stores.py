"""Redis begun again with and without what it had, emptied, set back, failed over, full, slow, or unheard."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from penstock.features.redis.keys import position_key
from tests.faults.disks import disk, fill, no_root
from tests.faults.fault import Fault
from tests.faults.round import Round
from tests.faults.running import Stuck
from tests.faults.servers import Proxy, store
from tests.valkey_sentinel import valkey_sentinel

REBUILT = "state is rebuilt from the topics; documents go back meanwhile, and what is emitted again is recognised by its id"
ROLES = ("featurize", "learn")
UNDER_WAY_S = 0.3


def harmed(round: Round, began: float) -> None:
    """Count one, and wait until both roles go on from where they are when what was under way is written."""
    round.injected += 1
    time.sleep(UNDER_WAY_S)
    role_positions = {role: round.position(role) for role in ROLES}
    for role, before in role_positions.items():
        round.recovers(role, before, began)


def begun_again(round: Round) -> None:
    """Kill the server and begin it on what lies in its folder."""
    assert round.valkey is not None
    for at in round.points(round.kills):
        round.until(at)
        round.valkey.kill()
        began = time.monotonic()
        round.valkey.start()
        harmed(round, began)


def lost(round: Round) -> None:
    """The same, where nothing lies in its folder."""
    round.recovered = True
    begun_again(round)


def emptied(round: Round) -> None:
    """FLUSHALL."""
    round.recovered = True
    for at in round.points(round.kills):
        round.until(at)
        began = time.monotonic()
        round.place.client.flushall()
        harmed(round, began)


def set_back(round: Round) -> None:
    """The server comes back with what it had a while ago."""
    assert round.valkey is not None
    round.recovered = True
    round.until(0.2)
    round.place.client.save()
    round.until(0.5)
    round.valkey.kill()
    began = time.monotonic()
    round.valkey.start()
    harmed(round, began)


@contextmanager
def watched() -> Iterator[tuple[Any, str, int]]:
    """A primary, a replica and sentinels."""
    with valkey_sentinel() as made:
        yield made, made.url, 0


def failed_over(round: Round) -> None:
    """The primary dies; the replica that takes its place has not heard of the newest writes."""
    made: Any = round.valkey
    round.recovered = True
    round.until(0.3)
    primary = made.primary()
    key = position_key(round.place.pipeline.name, "0")
    other = next(port for port in made.servers if port != primary)
    made.client(other).config_set("masterauth", "of nobody")
    made.client(primary).execute_command("CLIENT", "KILL", "TYPE", "replica")
    down = made.client(other)
    round.wait(lambda: down.info("replication")["master_link_status"] == "down", "the replica still hears")
    heard = made.client(primary).get(key)
    round.wait(lambda: made.client(primary).get(key) not in (heard, None), "nothing new was written")
    made.servers[primary].kill()
    harmed(round, time.monotonic())


def refusals(client: Any) -> int:
    """How many commands the server has refused for want of memory, or of room on its disk."""
    said = client.info("errorstats")
    return sum(said.get(f"errorstat_{kind}", {}).get("count", 0) for kind in ("OOM", "MISCONF"))


def full(round: Round) -> None:
    """No memory is left for a while: every write is refused."""
    client: Any = round.place.client
    for at in round.points(round.kills):
        round.until(at)
        refused = refusals(client)
        client.config_set("maxmemory", max(client.info("memory")["used_memory"] - 100_000, 1))
        time.sleep(2.0)
        if refusals(client) == refused:
            raise Stuck("no write was refused")
        began = time.monotonic()
        client.config_set("maxmemory", 0)
        harmed(round, began)


def paused(round: Round) -> None:
    """The server answers nobody for a second and a half."""
    client: Any = round.place.client
    for at in round.points(round.kills):
        round.until(at)
        began = time.monotonic()
        client.execute_command("CLIENT", "PAUSE", 1_500, "ALL")
        harmed(round, began)


def runs_a_script(request: bytes) -> bool:
    """Whether a request to Redis has a script run: the only writes there are."""
    return b"EVALSHA" in request or b"EVAL\r\n" in request


@contextmanager
def behind_proxy() -> Iterator[tuple[Any, str, int]]:
    """A Valkey whose roles reach it through a proxy."""
    from penstock.stream.stack.server import free_ports

    with store() as (_, _, port):
        proxy = Proxy(free_ports(1)[0], port, runs_a_script)
        yield proxy, f"redis://127.0.0.1:{proxy.port}/0", port
        proxy.close()


def unheard(round: Round) -> None:
    """Replies are lost, and their connections: whoever wrote does not know whether it did."""
    proxy: Any = round.valkey
    for at in round.points(round.kills * 4):
        round.until(at)
        began = time.monotonic()
        proxy.lose_replies(round.chance.randint(1, 3))
        round.wait(lambda: proxy.to_lose <= 0, "no reply was lost")
        harmed(round, began)
    round.injected = proxy.lost


def slow(round: Round) -> None:
    """Every packet is late for the middle of the stream."""
    proxy: Any = round.valkey
    round.until(0.1)
    proxy.delay_s = 0.02
    round.injected += 1
    round.until(0.4)
    proxy.delay_s = 0.0


@contextmanager
def on_small_disk() -> Iterator[tuple[Any, str, int]]:
    """A Valkey on a file system of 24 MB of its own."""
    from penstock.stream.stack.valkey import valkey_server

    with disk(24) as folder:
        server, url = valkey_server(kept=folder, more={"auto-aof-rewrite-percentage": "0"})
        yield server, url, 0
        server.close()


def disk_full(round: Round) -> None:
    """The disk under Redis is full for a while: it refuses every write."""
    assert round.valkey is not None
    round.until(0.15)
    filler = round.valkey.folder / "filler"
    fill(filler)
    client: Any = round.place.client
    refused = refusals(client)
    time.sleep(3.0)
    if refusals(client) == refused:
        raise Stuck("no write was refused")
    began = time.monotonic()
    filler.unlink(missing_ok=True)
    harmed(round, began)


NOTHING_KEPT = {"appendonly": "no"}
FAULTS = [
    Fault("redis begun again", "cards", "kill -9 of Redis, which begins again on its append-only file", begun_again),
    Fault("redis begun again empty", "cards", "the same without an append-only file", lost, promise=REBUILT, store=NOTHING_KEPT),
    Fault("redis emptied", "parcels", "FLUSHALL", emptied, promise=REBUILT),
    Fault("redis emptied, shards", "shards", "FLUSHALL where learn has shards", emptied, promise=REBUILT),
    Fault("redis set back", "cards", "Redis comes back as it was a while ago", set_back, promise=REBUILT, store=NOTHING_KEPT),
    Fault(
        "redis failed over", "cards", "the primary dies, and the replica lacks the newest writes", failed_over,
        promise=REBUILT, own=watched,
    ),
    Fault("redis out of memory", "cards", "maxmemory, noeviction: writes are refused for 2 s", full),
    Fault("redis paused", "cards", "CLIENT PAUSE for 1.5 s", paused),
    Fault("redis slow", "cards", "every packet from and to Redis 20 ms late", slow, own=behind_proxy),
    Fault("redis's replies lost", "cards", "Redis's replies cut after the script was carried out", unheard, own=behind_proxy),
    Fault("redis's disk full", "cards", "the disk under Redis is full for 3 s", disk_full, own=on_small_disk, needs=no_root),
]  # fmt: skip

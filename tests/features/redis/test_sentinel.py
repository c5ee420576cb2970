"""A server that Sentinel watches: found by it, followed when it names another, and what was lost meanwhile is noticed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import redis

from penstock.features.read.client import FeatureReader
from penstock.features.redis import keys
from penstock.features.redis.one_connection import OneConnection
from penstock.features.redis.store import (
    RedisStateStore,
    StateLost,
    Unit,
    Write,
    address,
    check_redis,
    connect,
)
from tests.patience import eventually
from tests.valkey_sentinel import Watched, valkey_sentinel


@pytest.fixture
def watched() -> Iterator[Watched]:
    with valkey_sentinel() as made:
        yield made


STATE, DOCUMENT = keys.state_key("p", "all", "airport", "0a", "JFK"), keys.public_key("p", "airport", "JFK")


def unit(n: int) -> Unit:
    """The nth unit of a task that counts."""
    return Unit(
        str(n - 1).encode(), str(n).encode(), [Write(STATE, b"%d" % n, DOCUMENT, b"{%d}" % n, 60_000)]
    )


def test_a_failover_is_followed_and_what_it_lost_is_noticed_and_written_again(watched: Watched) -> None:
    client = connect(watched.url)
    check_redis(client)
    assert address(client) == watched.url
    kept = OneConnection(connect(watched.url))
    store = RedisStateStore(client, "p", "all")
    assert store.acquire() is None
    store.start(b"0")
    store.save([unit(1)])
    assert kept.mget([DOCUMENT]) == [b"{1}"]
    failing = threading.Thread(target=watched.fail_over, args=(keys.position_key("p", "all"),))
    failing.start()
    reached, lost = 1, False
    while failing.is_alive() and not lost:
        try:
            store.save([unit(reached + 1)])
            reached += 1
        except StateLost:
            lost = True
    failing.join()
    if not lost:
        with pytest.raises(StateLost):
            store.alive()
    stored = int(store.acquire() or b"-1")
    assert 1 <= stored < reached, "the other had not heard of all"
    assert (store.load([STATE]), client.get(DOCUMENT)) == ([b"%d" % stored], b"{%d}" % stored), (
        "older, and whole"
    )
    for n in range(stored + 1, reached + 1):
        store.save([unit(n)])
    assert (store.load([STATE]), client.get(DOCUMENT)) == ([b"%d" % reached], b"{%d}" % reached)

    def read() -> bool:
        try:
            return bool(kept.mget([DOCUMENT]) == [b"{%d}" % reached])
        except redis.ConnectionError:  # the former one's; the next read asks where the new one is
            return False

    assert eventually(read)
    kept.close()


def test_a_reader_takes_the_address_of_sentinels(watched: Watched) -> None:
    with_one = connect(watched.url)
    with_one.set("features:p:airport:JFK", b'{"values": {"n": 1}, "at": 5, "until": null, "recipe": "0a"}')
    [found] = FeatureReader(watched.url, "p").read([("airport", "JFK")])
    assert found.values == {"n": 1}

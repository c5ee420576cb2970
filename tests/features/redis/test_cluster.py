"""A cluster whose slots move: what is asked of it meanwhile is done once, or waited for, and nothing is overlooked."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import redis
from redis.crc import key_slot

from penstock.features.read.client import FeatureReader
from penstock.features.redis import keys
from penstock.features.redis.keyspace import RedisKeyspace
from penstock.features.redis.placing import placed, task_of
from penstock.features.redis.store import (
    Fenced,
    RedisStateStore,
    StoreUnavailable,
    Unit,
    Write,
    check_redis,
    connect,
)
from tests.patience import eventually
from tests.valkey_cluster import ValkeyCluster, valkey_cluster

Moving = Callable[[int, Any, Any], None]


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    with valkey_cluster() as made:
        yield made


@pytest.fixture
def client(cluster: ValkeyCluster) -> redis.Redis:
    found = connect(cluster.url)
    check_redis(found)
    return found


@pytest.fixture
def name() -> str:
    return f"p{uuid.uuid4().hex[:8]}"


def live(client: Any, name: str, version: str, partitions: int = 0) -> None:
    document = msgspec.json.encode({"views": {"card": version}, "recipe": version})
    client.publish(keys.live_key(name), document, partitions)


def document(version: str, n: int) -> bytes:
    return msgspec.json.encode({"values": {"n": n}, "at": 5, "until": None, "recipe": version})


def started(client: redis.Redis, name: str, task: str = "all", **more: Any) -> RedisStateStore:
    store = RedisStateStore(client, name, task, **more)
    assert store.acquire() is None
    store.start(b"0")
    return store


def unit(name: str, n: int, count: int, task: str = "all") -> Unit:
    """The nth unit: every entity's state and document say n."""
    writes = [
        Write(
            keys.state_key(name, task, "card", "0a", f"e{e}"),
            b"%d" % n,
            keys.public_key(name, "card", f"e{e}"),
            document("0a", n),
            0,
        )
        for e in range(count)
    ]
    return Unit(b"%d" % (n - 1), b"%d" % n, writes)


def values(client: Any, name: str, count: int, task: str = "all") -> list[tuple[bytes | None, int | None]]:
    """States and documents of a task's entities."""
    states = client.mget([keys.state_key(name, task, "card", "0a", f"e{e}") for e in range(count)])
    documents = client.mget([keys.public_key(name, "card", f"e{e}") for e in range(count)])
    return [
        (state, None if found is None else msgspec.json.decode(found)["values"]["n"])
        for state, found in zip(states, documents, strict=True)
    ]


def test_all_that_a_task_writes_lies_in_one_slot_and_what_is_the_pipelines_is_named_as_on_one_server(
    cluster: ValkeyCluster, client: redis.Redis, name: str
) -> None:
    store = started(client, name, "3", partitions=4)
    opening = Write(keys.definition_key(name, "3"), b"d", keys.live_key(name), b'{"views":{},"recipe":""}', 0)
    first, second = unit(name, 1, 5, "3"), unit(name, 2, 5, "3")
    store.save([first._replace(writes=[opening, *first.writes]), second])
    there = [
        key for node in cluster.nodes if node.is_primary() for key in node.client.scan_iter("*" + name + "*")
    ]
    tagged = {key for key in there if b"{" in key}
    assert {key_slot(key) for key in tagged} == {key_slot(f"{{{name}:3}}".encode())}
    assert len(tagged) == 4 + 2 * 5 and set(there) - tagged == {keys.live_key(name).encode()}
    found = msgspec.json.decode(client.get(keys.live_key(name)) or b"")  # type: ignore[arg-type]
    assert found["partitions"] == 4 and len(found["edition"]) == 8


def test_a_live_document_is_with_a_replica_when_it_counts_as_written(
    cluster: ValkeyCluster, client: redis.Redis, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that hears nothing for a while is waited for."""
    monkeypatch.setattr("penstock.features.redis.cluster.REPLICA_MS", 60_000)
    replica, heard = cluster.replica_of(cluster.owner(keys.live_key(name))).server, threading.Event()

    def hear() -> None:
        heard.set()
        replica.resume()

    replica.pause()
    later = threading.Timer(0.2, hear)
    later.start()
    live(client, name, "0a")
    assert heard.is_set()
    later.join()


def test_a_former_owner_does_not_say_what_is_served(client: redis.Redis, name: str) -> None:
    old = started(client, name)
    opening = Write(
        keys.definition_key(name, "all"), b"d", keys.live_key(name), b'{"views":{},"recipe":""}', 0
    )
    RedisStateStore(client, name, "all").acquire()
    with pytest.raises(Fenced):
        old.save([Unit(b"0", b"1", [opening])])
    assert client.get(keys.live_key(name)) is None


@pytest.mark.parametrize("again", [False, True])
def test_what_is_served_is_the_same_before_and_after_what_is_read_or_all_is_read_again(
    client: Any, name: str, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the version that was served before comes back."""
    key, store = keys.public_key(name, "card", "e0"), started(client, name)
    live(client, name, "0a")
    store.save([unit(name, 1, 1)])
    reader = FeatureReader(client, name)
    assert reader.read([("card", "e0")])[0].values == {"n": 1}
    read, switches = client._documents, iter([True])

    def switched(*given: Any) -> Any:
        found = read(*given)
        if next(switches, False):
            client.set(key, document("0b", 2))
            live(client, name, "0b")
            if again:
                client.set(key, document("0a", 3))
                live(client, name, "0a")
        return found

    monkeypatch.setattr(client, "_documents", switched)
    [found] = reader.read([("card", "e0")])
    assert (found.values, found.recipe) == (({"n": 3}, "0a") if again else ({"n": 2}, "0b"))


def test_documents_are_found_where_murmur2_says_and_wherever_else_a_producer_put_them(
    client: redis.Redis, name: str
) -> None:
    entities, stores = 40, [started(client, name, str(n), partitions=4) for n in range(4)]
    live(client, name, "0a", 4)
    for n, store in enumerate(stores):
        mine = [e for e in range(entities) if (int(task_of(f"e{e}", 4)) + (e % 5 == 0)) % 4 == n]
        whole = unit(name, 1, entities, str(n))
        store.save([whole._replace(writes=[whole.writes[e] for e in mine])])
    wanted: list[tuple[str, Any]] = [("card", f"e{e}") for e in range(entities + 1)]
    found = FeatureReader(client, name).read(wanted)
    assert [one.values for one in found] == [{"n": 1}] * entities + [{}]


@pytest.mark.parametrize("moved", [0, 10, 60])
def test_a_slot_that_is_half_moved_is_read_and_once_it_is_moved_written(
    cluster: ValkeyCluster, name: str, moved: int
) -> None:
    client, count = connect(cluster.url), 30
    store = started(client, name)
    store.save([unit(name, 1, count)])
    key = placed(keys.position_key(name, "all"))
    slot, source = key_slot(key.encode()), cluster.owner(key)
    target = cluster.other(source)
    cluster.move(slot, source, target, until=moved)
    assert values(client, name, count) == [(b"1", 1)] * count
    ending = threading.Timer(0.3, cluster.move, (slot, source, target))
    ending.start()
    store.save([unit(name, 2, count), unit(name, 3, count + 1)])
    store.alive()
    ending.join()
    assert values(client, name, count + 1) == [(b"3", 3)] * (count + 1)
    assert cluster.owner(key) is target and store.acquire() == b"3"


def test_a_slot_whose_keys_have_all_gone_is_written_where_they_are(cluster: ValkeyCluster, name: str) -> None:
    """`ASK`, also by a client that never heard of the node."""
    client = connect(cluster.url)
    store = started(client, name, retry_for_s=0.5)
    store.save([unit(name, 1, 5)])
    key = placed(keys.position_key(name, "all"))
    slot, source = key_slot(key.encode()), cluster.owner(key)
    cluster.move(slot, source, target := cluster.other(source), until=13)
    store.save([unit(name, 2, 5), unit(name, 3, 5)])
    assert values(client, name, 5) == [(b"3", 3)] * 5 and store.reconnects == 0
    cluster.move(slot, source, target)


def test_a_slot_that_stays_half_moved_is_an_error_that_says_where(cluster: ValkeyCluster, name: str) -> None:
    client = connect(cluster.url)
    store = started(client, name, retry_for_s=0.2)
    store.save([unit(name, 1, 30)])
    key = placed(keys.position_key(name, "all"))
    slot, source = key_slot(key.encode()), cluster.owner(key)
    cluster.move(slot, source, target := cluster.other(source), until=10)
    with pytest.raises(StoreUnavailable, match=r"redis\+cluster://127"):
        store.save([unit(name, 2, 30)])
    cluster.move(slot, source, target)
    store.save([unit(name, 2, 30)])
    assert values(client, name, 30) == [(b"2", 2)] * 30


@pytest.mark.parametrize("whole", [True, False])
def test_a_walk_finds_every_key_while_its_slot_moves(cluster: ValkeyCluster, name: str, whole: bool) -> None:
    """From a node that comes late in the walk to one that was walked before."""
    client, count = connect(cluster.url), 2_500
    started(client, name)
    key = placed(keys.position_key(name, "all"))
    slot, owner = key_slot(key.encode()), cluster.owner(key)
    target, *_, source = sorted(
        (node for node in cluster.alive() if node.is_primary()), key=lambda n: str(n.port)
    )
    if owner is not source:
        cluster.move(slot, owner, source)
    for e in range(count):
        client.set(keys.state_key(name, "all", "card", "0a", f"e{e}"), b"x")
    walk = RedisKeyspace(client).scan(keys.states_prefix(name, "all"))
    found = set(next(walk))
    if whole:
        cluster.move_whole(slot, source, target)
        found |= {one for batch in walk for one in batch}
    else:
        cluster.move(slot, source, target, until=1_000)
        ending = threading.Timer(0.5, cluster.move, (slot, source, target))
        ending.start()
        found |= {one for batch in walk for one in batch}
        ending.join()
    assert found == {keys.state_key(name, "all", "card", "0a", f"e{e}") for e in range(count)}


def test_a_command_that_has_no_place_in_a_cluster_is_refused_in_words(client: Any) -> None:
    with pytest.raises(redis.DataError, match="'flushall' is not among the commands"):
        client.flushall()


def test_a_client_that_decodes_is_refused(cluster: ValkeyCluster) -> None:
    with pytest.raises(ValueError, match="states are bytes"):
        RedisStateStore(connect(cluster.url + "?decode_responses=yes"), "p", "all")


@pytest.mark.long
def test_a_reader_and_a_walk_go_on_after_a_primary_died(name: str) -> None:
    """They fail while nobody has the slot, and find whoever has it then, with the clients that they had."""
    with valkey_cluster() as cluster:
        reader, keyspace = FeatureReader(cluster.url, name), RedisKeyspace(connect(cluster.url))
        client = connect(cluster.url)
        store = started(client, name)
        live(client, name, "0a")
        store.save([unit(name, 1, 5)])
        wanted: list[tuple[str, Any]] = [("card", f"e{e}") for e in range(5)]
        assert [one.values for one in reader.read(wanted)] == [{"n": 1}] * 5
        assert len(list(keyspace.scan(keys.states_prefix(name, "all")))[0]) == 5
        primary = cluster.owner(placed(keys.position_key(name, "all")))
        heard = cluster.replica_of(primary).client
        offset = primary.client.info("replication")["master_repl_offset"]
        assert eventually(lambda: heard.info("replication")["slave_repl_offset"] >= offset)
        primary.server.kill()

        def goes_on() -> bool:
            try:
                read = [one.values for one in reader.read(wanted)]
                found = [batch for batch in keyspace.scan(keys.states_prefix(name, "all"))]
            except StoreUnavailable:
                return False
            return read == [{"n": 1}] * 5 and len(found[0]) == 5

        assert not goes_on()
        assert eventually(goes_on)
        store.save([unit(name, 2, 5)])
        assert [one.values for one in reader.read(wanted)] == [{"n": 2}] * 5

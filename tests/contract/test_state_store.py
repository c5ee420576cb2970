"""The contract of a state store, on memory and on a real server."""

import shutil
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from penstock.features.redis import keys
from penstock.features.redis.keyspace import RedisKeyspace
from penstock.features.redis.server_rules import refusal
from penstock.features.redis.store import (
    KEEP_TTL,
    Fenced,
    MemoryServer,
    MemoryStateStore,
    RedisStateStore,
    StateLost,
    StateStore,
    StoreUnavailable,
    Unit,
    Write,
    check_redis,
    connect,
)
from penstock.stream.stack.server import Server
from penstock.stream.stack.valkey import valkey_server
from tests.patience import PATIENCE_S, eventually

OwnServer = Callable[[], tuple[Server, redis.Redis]]


@pytest.fixture
def own_valkey() -> Iterator[OwnServer]:
    """Servers that a test may stop, restart and misconfigure."""
    servers: list[Server] = []

    def start() -> tuple[Server, redis.Redis]:
        server, url = valkey_server()
        servers.append(server)
        return server, connect(url)

    yield start
    for server in servers:
        server.close()


class World:
    """One task's stores, and a look behind them."""

    def __init__(self, stores: Callable[[str], StateStore], raw: Any) -> None:
        self.pipeline = f"p{uuid.uuid4().hex[:8]}"
        self._stores = stores
        self.raw = raw

    def store(self) -> StateStore:
        return self._stores(self.pipeline)

    def get(self, key: str) -> bytes | None:
        return self.raw.mget([key])[0]

    def ttl_ms(self, entity: str) -> int:
        key = self.public_key(entity)
        return int(self.raw.ttl_ms[key] if isinstance(self.raw, MemoryServer) else self.raw.pttl(key))

    def state_key(self, entity: str) -> str:
        return keys.state_key(self.pipeline, "all", "airport", "0a", entity)

    def public_key(self, entity: str) -> str:
        return keys.public_key(self.pipeline, "airport", entity)

    def write(self, entity: str, state: bytes, ttl_ms: int = 60_000) -> Write:
        return Write(self.state_key(entity), state, self.public_key(entity), state and b"{}" + state, ttl_ms)


@pytest.fixture(params=["memory", "redis", "cluster"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "memory":
        server = MemoryServer()
        return World(lambda pipeline: MemoryStateStore(server, pipeline, "all"), server)
    if request.param == "cluster":
        several: Any = connect(request.getfixturevalue("cluster_url"))
        walked = RedisKeyspace(several).scan
        several.keys = lambda glob: [
            key
            for head in ("penstock", "features")
            for batch in walked(f"{head}:{glob.strip('*')}")
            for key in batch
        ]
        return World(lambda pipeline: RedisStateStore(several, pipeline, "all"), several)
    client = connect(request.getfixturevalue("valkey_url"))
    return World(lambda pipeline: RedisStateStore(client, pipeline, "all"), client)


def forget(world: World, key: str) -> None:
    """Lose one key, as an eviction would."""
    if isinstance(world.raw, MemoryServer):
        world.raw.put(key, b"")
    else:
        world.raw.delete(key)


def overwrite(world: World, key: str, value: bytes) -> None:
    """Put an older value back, as a restored backup would."""
    if isinstance(world.raw, MemoryServer):
        world.raw.put(key, value)
    else:
        world.raw.set(key, value)


def started(world: World) -> StateStore:
    store = world.store()
    assert store.acquire() is None
    store.start(b"0")
    return store


BINARY = bytes(range(256))


def test_what_is_saved_is_loaded_and_public(world: World) -> None:
    """Bytes of any value, in the order asked for."""
    store = started(world)
    store.save([Unit(b"0", b"1", [world.write("JFK", BINARY), world.write("LAX", b"x")])])
    assert store.load([world.state_key(e) for e in ("LAX", "none", "JFK")]) == [b"x", None, BINARY]
    assert world.get(world.public_key("JFK")) == b"{}" + BINARY
    assert world.store().acquire() == b"1"
    assert store.load([]) == []
    store_of_nothing = world.store()
    store_of_nothing.acquire()
    store_of_nothing.save([])


def test_units_are_applied_in_order(world: World) -> None:
    """The later write of one entity wins."""
    store = started(world)
    store.save([Unit(b"0", b"1", [world.write("JFK", b"a")]), Unit(b"1", b"2", [world.write("JFK", b"b")])])
    assert store.load([world.state_key("JFK")]) == [b"b"]
    assert world.store().acquire() == b"2"


def test_saying_the_same_units_again_is_success(world: World) -> None:
    """All of them, the last only, or a first part followed by new ones."""
    store = started(world)
    first, second = Unit(b"0", b"1", [world.write("JFK", b"a")]), Unit(b"1", b"2", [world.write("JFK", b"b")])
    third = Unit(b"2", b"3", [world.write("LAX", b"c")])
    store.save([first, second])
    store.save([first, second])
    store.save([second])
    store.save([first, second, third])
    store.save([first, second, third])
    store.alive()
    assert store.load([world.state_key("JFK"), world.state_key("LAX")]) == [b"b", b"c"]


def test_a_former_owner_can_change_nothing(world: World) -> None:
    """Not even repeat what it once did, clear, or start."""
    old = started(world)
    unit = Unit(b"0", b"1", [world.write("JFK", b"a")])
    old.save([unit])
    new = world.store()
    assert new.acquire() == b"1"
    for attempt in (
        lambda: old.save([unit]),
        lambda: old.save([Unit(b"1", b"2", [world.write("JFK", b"zombie")])]),
        old.alive,
        old.clear,
        lambda: old.start(b"0"),
    ):
        with pytest.raises(Fenced, match="another worker"):
            attempt()
    new.alive()
    new.save([Unit(b"1", b"2", [world.write("LAX", b"b")])])
    assert new.load([world.state_key("JFK"), world.state_key("LAX")]) == [b"a", b"b"]


def test_a_flushed_store_is_noticed_by_whatever_comes_first(world: World) -> None:
    """And the next life starts from nothing."""
    if isinstance(world.raw, MemoryServer):
        losses: list[Callable[[], object]] = [world.raw.flushall]
    else:  # the server is shared with other tests, so only what this task has is lost
        losses = [lambda: world.raw.delete(*world.raw.keys(f"*{world.pipeline}*"))]
    store = started(world)
    losses[0]()
    with pytest.raises(StateLost, match="token is gone"):
        store.alive()
    with pytest.raises(StateLost):
        store.save([Unit(b"0", b"1", [world.write("JFK", b"a")])])
    with pytest.raises(StateLost):
        store.start(b"0")
    assert world.get(world.state_key("JFK")) is None
    assert store.acquire() is None
    store.start(b"0")
    store.save([Unit(b"0", b"1", [world.write("JFK", b"a")])])


def test_an_older_position_is_noticed(world: World) -> None:
    """As after a failover or a restored backup; it is consistent, so one can go on from it."""
    store = started(world)
    units = [Unit(b"0", b"1", [world.write("JFK", b"a")]), Unit(b"1", b"2", [world.write("JFK", b"b")])]
    store.save(units)
    overwrite(world, keys.position_key(world.pipeline, "all"), b"0")
    with pytest.raises(StateLost, match="position"):
        store.alive()
    with pytest.raises(StateLost, match="not the base"):
        store.save([Unit(b"2", b"3", [])])
    assert store.acquire() == b"0"
    store.save(units)
    store.alive()


@pytest.mark.parametrize("lost", [keys.generation_key, keys.position_key])
def test_losing_half_of_the_bookkeeping_is_noticed(world: World, lost: Callable[[str, str], str]) -> None:
    """And clearing what is left makes a new start possible, without the old states."""
    store = started(world)
    store.save([Unit(b"0", b"1", [world.write("JFK", b"a")])])
    forget(world, lost(world.pipeline, "all"))
    with pytest.raises(StateLost, match="gone"):
        store.alive()
    with pytest.raises(StateLost, match="gone"):
        store.save([Unit(b"1", b"2", [])])
    with pytest.raises(StateLost):
        store.acquire()
    assert store.clear() == 1
    store.start(b"0")
    assert store.load([world.state_key("JFK")]) == [None]


def test_a_start_clears_what_an_earlier_life_left(world: World) -> None:
    """States without a position would be counted twice."""
    store = world.store()
    assert store.acquire() is None
    overwrite(world, world.state_key("JFK"), b"stale")
    store.start(b"0")
    assert store.load([world.state_key("JFK")]) == [None]
    store.start(b"0")
    with pytest.raises(StateLost):
        store.start(b"1")


def test_clear_leaves_other_tasks_alone(world: World) -> None:
    """The pattern of one task matches nothing else."""
    store = started(world)
    store.save([Unit(b"0", b"1", [world.write(f"E{i}", b"a") for i in range(1200)])])
    other = keys.state_key(world.pipeline, "all2", "airport", "0a", "JFK")
    overwrite(world, other, b"theirs")
    assert store.clear() == 1200
    assert world.get(other) == b"theirs"


def test_empty_bytes_delete(world: World) -> None:
    """State and document alike."""
    store = started(world)
    store.save([Unit(b"0", b"1", [world.write("JFK", b"a")]), Unit(b"1", b"2", [world.write("JFK", b"")])])
    assert world.get(world.state_key("JFK")) is None
    assert world.get(world.public_key("JFK")) is None


def test_units_that_could_not_be_recognised_again_are_refused(world: World) -> None:
    """A unit that writes must move the position, and a chain must hang together."""
    store = started(world)
    with pytest.raises(ValueError, match="ends at its base"):
        store.save([Unit(b"0", b"0", [world.write("JFK", b"a")])])
    with pytest.raises(ValueError, match="does not start where"):
        store.save([Unit(b"0", b"1", []), Unit(b"2", b"3", [])])
    with pytest.raises(ValueError, match="negative"):
        store.save([Unit(b"0", b"1", [world.write("JFK", b"a", ttl_ms=-2)])])


def test_a_write_may_leave_the_public_side_or_its_ttl_alone(world: World) -> None:
    store = started(world)
    first = world.write("JFK", b"a", ttl_ms=60_000)
    private = Write(world.state_key("JFK"), b"b", "", b"", 0)
    store.save([Unit(b"0", b"1", [first]), Unit(b"1", b"2", [private])])
    assert (world.get(world.state_key("JFK")), world.get(world.public_key("JFK"))) == (b"b", b"{}a")
    store.save([Unit(b"2", b"3", [world.write("JFK", b"c", ttl_ms=KEEP_TTL)])])
    assert world.get(world.public_key("JFK")) == b"{}c"
    assert 0 < world.ttl_ms("JFK") <= 60_000


def test_a_document_that_keeps_its_ttl_stays_away_if_it_expired_meanwhile(world: World) -> None:
    store = started(world)
    store.save([Unit(b"0", b"1", [world.write("JFK", b"a")])])
    forget(world, world.public_key("JFK"))
    store.save([Unit(b"1", b"2", [world.write("JFK", b"b", ttl_ms=KEEP_TTL)])])
    assert (world.get(world.state_key("JFK")), world.get(world.public_key("JFK"))) == (b"b", None)


def test_a_unit_that_moves_nothing_checks_ownership(world: World) -> None:
    """Outputs without state, such as ticks, still need an owner."""
    store = started(world)
    idle = Unit(b"0", b"0", [])
    store.save([idle])
    store.save([Unit(b"0", b"1", []), Unit(b"1", b"1", []), Unit(b"1", b"2", [world.write("JFK", b"a")])])
    assert store.load([world.state_key("JFK")]) == [b"a"]
    with pytest.raises(StateLost):
        store.save([idle])
    world.store().acquire()
    with pytest.raises(Fenced):
        store.save([Unit(b"2", b"2", [])])


def test_a_check_beside_a_save_takes_its_positions_for_right_and_no_other(world: World) -> None:
    """One thread saves, another asks whether the task is still its own: it is, wherever the save has come to."""
    store = started(world)
    count, stop = 300, threading.Event()
    raised: list[StateLost] = []
    # whose saves are over before another thread gets to look
    if isinstance(world.raw, MemoryServer):
        put = world.raw.put
        world.raw.put = lambda *given: (put(*given), store.alive())  # type: ignore[method-assign, func-returns-value, assignment]

    def check() -> None:
        try:
            while not stop.is_set():
                store.alive()
        except StateLost as error:
            raised.append(error)

    beside = threading.Thread(target=check)
    beside.start()
    for n in range(count):
        units = [
            Unit(str(at).encode(), str(at + 1).encode(), [world.write(f"{at}", b"a")])
            for at in range(n * 3, n * 3 + 3)
        ]
        store.save(units)
    stop.set()
    beside.join()
    assert raised == []
    with pytest.raises(StateLost):
        overwrite(world, keys.position_key(world.pipeline, "all"), b"7")
        store.alive()


def test_only_public_documents_expire(valkey_url: str) -> None:
    """And a ttl of 0 never does."""
    client = connect(valkey_url)
    world = World(lambda pipeline: RedisStateStore(client, pipeline, "all"), client)
    store = started(world)
    store.save([Unit(b"0", b"1", [world.write("JFK", b"a", 50_000), world.write("LAX", b"a", 0)])])
    assert 0 < client.pttl(world.public_key("JFK")) <= 50_000
    assert client.pttl(world.public_key("LAX")) == -1
    assert client.pttl(world.state_key("JFK")) == -1
    assert client.pttl(keys.position_key(world.pipeline, "all")) == -1


def test_a_lost_script_is_loaded_again(valkey_url: str) -> None:
    """SCRIPT FLUSH, or a server that restarted."""
    client = connect(valkey_url)
    world = World(lambda pipeline: RedisStateStore(client, pipeline, "all"), client)
    store = started(world)
    client.script_flush()
    store.save([Unit(b"0", b"1", [world.write("JFK", b"a")]), Unit(b"1", b"2", [])])
    client.script_flush()
    assert store.acquire() == b"2"


class LossyStore(RedisStateStore):
    """Delivers everything and loses the next reply."""

    lose = False

    def _exchange(self, commands: Any) -> Any:
        replies = super()._exchange(commands)
        if self.lose:
            self.lose = False
            raise redis.ConnectionError("reply lost")
        return replies


def test_a_lost_reply_is_asked_again_and_counted(valkey_url: str) -> None:
    """The units were applied; they are not applied twice."""
    client = connect(valkey_url)
    world = World(lambda pipeline: LossyStore(client, pipeline, "all"), client)
    store = started(world)
    assert isinstance(store, LossyStore)
    store.lose = True
    store.save([Unit(b"0", b"1", [world.write("JFK", b"a")]), Unit(b"1", b"2", [world.write("JFK", b"b")])])
    assert store.reconnects == 1
    assert store.load([world.state_key("JFK")]) == [b"b"]
    assert world.store().acquire() == b"2"


def test_a_server_that_restarts_keeps_or_loses_and_either_is_noticed(own_valkey: OwnServer) -> None:
    """With its log it goes on; without, the loss is found out; when it is down, the error says where."""
    server, client = own_valkey()
    client.config_set("appendfsync", "always")
    port = client.connection_pool.connection_kwargs["port"]
    world = World(lambda pipeline: RedisStateStore(client, pipeline, "all", retry_for_s=0.2), client)
    store = started(world)
    store.save([Unit(b"0", b"1", [world.write("JFK", b"a")])])
    server.kill()
    with pytest.raises(StoreUnavailable, match=rf"127.0.0.1:{port}.*check that Redis runs"):
        store.save([Unit(b"1", b"2", [])])
    server.start()
    client.config_set("appendfsync", "always")  # again: it started with its own settings
    store.save([Unit(b"1", b"2", [world.write("JFK", b"b")])])
    store.alive()
    client.flushall()
    server.kill()
    server.start()
    with pytest.raises(StateLost):
        store.alive()


def test_a_server_that_comes_back_in_time_is_waited_for(own_valkey: OwnServer) -> None:
    """The units go through once it answers, and the wait is counted."""
    server, client = own_valkey()
    client.config_set("appendfsync", "always")
    world = World(lambda pipeline: RedisStateStore(client, pipeline, "all", retry_for_s=PATIENCE_S), client)
    store = started(world)
    server.kill()
    back = threading.Timer(0.1, server.start)
    back.start()
    store.save([Unit(b"0", b"1", [world.write("JFK", b"a")])])
    back.join()
    assert isinstance(store, RedisStateStore) and store.reconnects > 0
    assert store.load([world.state_key("JFK")]) == [b"a"]


def test_a_server_without_the_replicas_that_it_must_have_is_waited_for(own_valkey: OwnServer) -> None:
    """It refuses to write, so that a failover loses no more than was agreed."""
    _, client = own_valkey()
    world = World(lambda pipeline: RedisStateStore(client, pipeline, "all", retry_for_s=PATIENCE_S), client)
    store = started(world)
    client.config_set("min-replicas-to-write", 1)
    again = threading.Timer(0.2, client.config_set, ("min-replicas-to-write", 0))
    again.start()
    store.save([Unit(b"0", b"1", [world.write("JFK", b"a")])])
    again.join()
    assert isinstance(store, RedisStateStore) and store.reconnects > 0
    assert store.load([world.state_key("JFK")]) == [b"a"]


def test_a_full_server_changes_nothing_and_says_so(own_valkey: OwnServer) -> None:
    """Out of memory is refused before the first write of the script."""
    _, client = own_valkey()
    world = World(lambda pipeline: RedisStateStore(client, pipeline, "all"), client)
    store = started(world)
    client.config_set("maxmemory", 1000)
    with pytest.raises(StoreUnavailable, match="raise maxmemory"):
        store.save([Unit(b"0", b"1", [world.write("JFK", b"a"), world.write("LAX", b"b")])])
    assert store.load([world.state_key("JFK")]) == [None]
    store.alive()


def test_a_server_that_cannot_save_changes_nothing_says_so_and_is_good_again_when_it_can(
    own_valkey: OwnServer,
) -> None:
    server, client = own_valkey()
    keyspace = RedisKeyspace(client)
    world = World(lambda pipeline: RedisStateStore(client, pipeline, "all"), client)
    store = started(world)
    assert keyspace.claim("penstock:owner", b"me") == b"me"
    in_the_way = server.folder / client.config_get("dbfilename")["dbfilename"]
    (in_the_way / "of somebody").mkdir(parents=True)
    client.config_set("save", "3600 1")
    client.bgsave()
    eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
    unit = Unit(b"0", b"1", [world.write("JFK", b"a")])
    for attempt in (
        lambda: store.save([unit]),
        world.store().acquire,
        lambda: keyspace.claim("penstock:other", b"me"),
    ):
        with pytest.raises(StoreUnavailable, match=r"MISCONF.*make room on its disk"):
            attempt()
    assert keyspace.claim("penstock:owner", b"me") == b"me", "whoever begins again need write nothing"
    store.alive()
    shutil.rmtree(in_the_way)
    client.bgsave()
    eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "ok")
    store.save([unit])
    assert store.load([world.state_key("JFK")]) == [b"a"]


def test_a_server_that_may_evict_state_is_refused(own_valkey: OwnServer) -> None:
    """With what to change; a bounded server that only evicts public documents is fine."""
    _, client = own_valkey()
    client.config_set("maxmemory", "50mb")
    client.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(StoreUnavailable, match="CONFIG SET maxmemory-policy noeviction"):
        check_redis(client)
    client.config_set("maxmemory-policy", "volatile-lru")
    check_redis(client)


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ({"redis_version": "6.0.9"}, "too old"),
        ({"redis_version": "7.2.4", "cluster_enabled": 1}, "cluster mode"),
        ({"redis_version": "7.2.4", "role": "slave"}, "replica"),
        ({"redis_version": "10.0.0", "maxmemory": 1, "maxmemory_policy": "allkeys-lfu"}, "evict"),
    ],
)
def test_a_server_that_cannot_keep_state_is_refused(info: dict[str, Any], reason: str) -> None:
    """And an unbounded one may have any policy."""
    refused = refusal(info)
    assert refused is not None and reason in refused[0]
    assert refusal({"redis_version": "7.2.4", "maxmemory": 0, "maxmemory_policy": "allkeys-lru"}) is None


def test_a_client_that_retries_silently_or_decodes_is_refused(valkey_url: str) -> None:
    """The retries must be ours, and states are bytes."""
    with pytest.raises(ValueError, match="retries silently"):
        RedisStateStore(redis.Redis(), "p", "all")
    client = connect(valkey_url + "?decode_responses=True")
    with pytest.raises(ValueError, match="decodes"):
        RedisStateStore(client, "p", "all")


def test_an_unreachable_server_is_named_without_its_password() -> None:
    """In every message."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(StoreUnavailable) as raised:
        check_redis(connect(f"redis://user:secret@127.0.0.1:{port}/3"))
    assert f"redis://127.0.0.1:{port}/3" in str(raised.value) and "secret" not in str(raised.value)

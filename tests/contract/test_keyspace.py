"""The contract of a keyspace, on memory and on a real server."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import pytest

from penstock.features.redis.keyspace import BATCH_KEYS, Keyspace, MemoryKeyspace, RedisKeyspace
from penstock.features.redis.store import MemoryServer, StoreUnavailable, connect

GLOBS = ["*", "?", "[a]", "[^a]", "a\\", "\\*", "^", "{a,b}", "a-z]"]


class World:
    """A keyspace, its own part of a server, and a look behind it."""

    def __init__(self, keyspace: Keyspace, raw: Any) -> None:
        self.keyspace, self.raw = keyspace, raw
        self.own = f"k{uuid.uuid4().hex[:8]}:"

    def put(self, key: str, value: bytes, ttl_ms: int = 0) -> None:
        if isinstance(self.raw, MemoryServer):
            self.raw.put(key, value, ttl_ms)
        else:
            self.raw.set(key, value, px=ttl_ms or None)

    def ttl_ms(self, key: str) -> int:
        """What is left of its TTL; 0 for a key that has none."""
        if isinstance(self.raw, MemoryServer):
            return self.raw.ttl_ms.get(key, 0)
        return max(0, int(self.raw.pttl(key)))

    def scanned(self, prefix: str) -> set[str]:
        return {key for batch in self.keyspace.scan(prefix) for key in batch}


@pytest.fixture(params=["memory", "redis", "cluster"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "memory":
        server = MemoryServer()
        return World(MemoryKeyspace(server), server)
    client = connect(request.getfixturevalue("valkey_url" if request.param == "redis" else "cluster_url"))
    return World(RedisKeyspace(client), client)


def keys_of(world: World, names: Sequence[str]) -> list[str]:
    keys = [world.own + name for name in names]
    for key in keys:
        world.put(key, b"x")
    return keys


def test_words_are_exchanged_over_a_hash_that_expires(world: World) -> None:
    key = world.own + "said"
    assert world.keyspace.exchange(key, {}, 60_000) == {}
    assert world.keyspace.exchange(key, {"0": b"a", "1": b"b"}, 60_000) == {"0": b"a", "1": b"b"}
    assert world.keyspace.exchange(key, {"1": b"c"}, 60_000) == {"0": b"a", "1": b"c"}
    if not isinstance(world.raw, MemoryServer):
        assert 0 < world.ttl_ms(key) <= 60_000


def test_a_scan_finds_every_key_with_the_prefix_and_no_other(world: World) -> None:
    inside = keys_of(world, [f"in:{n}" for n in range(3 * BATCH_KEYS)])
    keys_of(world, [f"out:{n}" for n in range(50)])
    world.put("before" + world.own + "in:1", b"x")
    assert world.scanned(world.own + "in:") == set(inside)
    assert world.scanned(world.own + "in:7") == {key for key in inside if ":7" in key}
    assert world.scanned(world.own + "none:") == set()


@pytest.mark.parametrize("glob", GLOBS)
def test_a_prefix_means_itself_whatever_a_glob_would_read_it_as(world: World, glob: str) -> None:
    wanted = keys_of(world, [f"{glob}:1", f"{glob}:2"])
    keys_of(world, ["a:1", "b:1", "ab:1", "a\\b:1", "*:3"] if glob != "*" else ["a:1", "**:1"])
    assert world.scanned(f"{world.own}{glob}:") == set(wanted)


def test_a_scan_finds_what_is_there_all_the_time_while_others_come_and_go(world: World) -> None:
    steady = keys_of(world, [f"steady{n}" for n in range(2 * BATCH_KEYS)])
    keys_of(world, [f"passing{n}" for n in range(BATCH_KEYS)])
    found: set[str] = set()
    for number, batch in enumerate(world.keyspace.scan(world.own)):
        found |= set(batch)
        world.keyspace.delete([f"{world.own}passing{n}" for n in range(BATCH_KEYS)])
        keys_of(world, [f"new{number}-{n}" for n in range(200)])
    assert found >= set(steady)


def test_values_are_read_in_the_order_of_the_names_and_nothing_where_there_is_none(world: World) -> None:
    first, second = keys_of(world, ["1", "2"])
    world.put(second, bytes(range(256)))
    assert world.keyspace.read([second, world.own + "none", first, second]) == [
        bytes(range(256)),
        None,
        b"x",
        bytes(range(256)),
    ]
    assert world.keyspace.read([]) == []


def test_a_document_is_replaced_only_where_it_still_is_what_was_read(world: World) -> None:
    same, other, gone = (world.own + name for name in ("same", "other", "gone"))
    world.put(same, b"read")
    world.put(other, b"written since")
    new = [(key, b"read", b"new") for key in (same, other, gone)]
    assert world.keyspace.replace(new) == 1
    assert world.keyspace.read([same, other, gone]) == [b"new", b"written since", None]
    assert world.keyspace.replace(new) == 0, "said again it changes nothing"
    assert world.keyspace.replace([]) == 0


def test_a_replaced_document_keeps_its_ttl_and_one_without_gets_none(world: World) -> None:
    limited, endless = world.own + "limited", world.own + "endless"
    world.put(limited, b"read", 60_000)
    world.put(endless, b"read")
    assert world.keyspace.replace([(key, b"read", b"new") for key in (limited, endless)]) == 2
    assert 50_000 < world.ttl_ms(limited) <= 60_000
    assert world.ttl_ms(endless) == 0


def test_a_document_replaced_by_nothing_is_deleted_if_it_is_what_was_read(world: World) -> None:
    same, other = world.own + "same", world.own + "other"
    world.put(same, b"read")
    world.put(other, b"written since")
    assert world.keyspace.replace([(same, b"read", b""), (other, b"read", b"")]) == 1
    assert world.keyspace.read([same, other]) == [None, b"written since"]


def test_more_documents_than_one_script_takes_are_all_replaced(world: World) -> None:
    keys = keys_of(world, [f"n{n}" for n in range(1_001)])
    assert world.keyspace.replace([(key, b"x", b"y") for key in keys]) == 1_001
    assert set(world.keyspace.read(keys)) == {b"y"}


def test_deleting_counts_what_was_there(world: World) -> None:
    keys = keys_of(world, [f"n{n}" for n in range(1_001)])
    kept = world.own + "kept"
    world.put(kept, b"x")
    assert world.keyspace.delete([*keys, world.own + "none"]) == 1_001
    assert world.keyspace.delete(keys) == 0
    assert world.scanned(world.own) == {kept}
    assert world.keyspace.delete([]) == 0


def test_a_server_that_does_not_answer_is_an_error_that_says_where() -> None:
    keyspace = RedisKeyspace(connect("redis://127.0.0.1:1/0", 0.2))
    for ask in (
        lambda: list(keyspace.scan("a")),
        lambda: keyspace.read(["a"]),
        lambda: keyspace.replace([("a", b"b", b"c")]),
        lambda: keyspace.delete(["a"]),
    ):
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1.*check that Redis runs there"):
            ask()


def test_the_first_to_claim_a_name_is_whom_everybody_sees(world: World) -> None:
    name = world.own + "whose"
    assert world.keyspace.claim(name, b"first") == b"first"
    assert world.keyspace.claim(name, b"second") == b"first"
    assert world.keyspace.read([name]) == [b"first"]

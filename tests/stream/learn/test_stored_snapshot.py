"""The stored snapshot: whole or the former one wherever its writer dies, each piece written once, nothing left lying about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.features.redis.store import MemoryServer, MemoryStateStore, RedisStateStore, StateStore, Unit
from penstock.stream.learn.snapshot import SnapshotHeader, Taken
from penstock.stream.learn.stored_snapshot import StoredSnapshot
from penstock.stream.models import pieces
from penstock.stream.models.version import BadEnvelope, Keys, Secret
from tests.effort import examples

MODEL = bytes(range(256)) * 8
NewStore = Callable[[], StateStore]


class Killed(Exception):
    """The writer is gone: nothing catches this."""


class Mortal:
    """A state store whose process is killed after so many units of work."""

    def __init__(self, store: StateStore, units: int) -> None:
        self.store, self.left = store, units

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def save(self, units: Sequence[Unit]) -> None:
        for unit in units:
            if self.left == 0:
                raise Killed
            self.left -= 1
            self.store.save([unit])


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 300)
    monkeypatch.setattr("penstock.stream.learn.stored_snapshot.MOST_DELETED", 3)
    yield


@pytest.fixture(params=["memory", "redis"])
def world(request: pytest.FixtureRequest) -> tuple[NewStore, Callable[[], dict[str, bytes]]]:
    """How to open a store of the task, and every key there is."""
    if request.param == "memory":
        server = MemoryServer()
        return (lambda: MemoryStateStore(server, "shop", "learn")), (lambda: dict(server.data))
    valkey: redis.Redis = request.getfixturevalue("valkey")
    return (lambda: RedisStateStore(valkey, "shop", "learn")), lambda: {
        key.decode(): valkey.get(key) or b""  # type: ignore[union-attr,misc]
        for key in valkey.keys()  # type: ignore[union-attr]
    }


def snapshot(position: int, **parts: bytes) -> Taken:
    header = SnapshotHeader(
        pipeline="shop", position=position, rescan_from=0, topic_id="t", recipe="r", rules="rules"
    )
    return Taken(header, parts)


def opened(store: StateStore, secret: Secret = "secret") -> tuple[StoredSnapshot, bytes, Taken | None]:
    """Take the task up, as a worker does."""
    position = store.acquire()
    if position is None:
        position = b"start"
        store.start(position)
    stored = StoredSnapshot(store, "shop", secret)
    return stored, position, stored.load()


def lying(keys: dict[str, bytes]) -> set[str]:
    return {key.rsplit(":", 1)[1] for key in keys if ":piece:" in key}


def named(taken: Taken | None) -> set[str]:
    return set() if taken is None else {name for names in taken.header.parts.values() for name in names}


FIRST = snapshot(1, state=b"one", first=MODEL, v1=MODEL[::-1])
SECOND = snapshot(2, state=b"two", first=MODEL[100:], v1=MODEL[::-1], v2=MODEL[50:])
THIRD = snapshot(3, state=b"three", v2=MODEL[50:])


def test_what_was_saved_is_loaded(world: Any) -> None:
    stored, base, nothing = opened(world[0]())
    assert nothing is None
    stored.save(base, FIRST, b"{}")
    found = opened(world[0]())[2]
    assert found is not None and found.parts == FIRST.parts and found.header.position == 1


def test_a_snapshot_under_a_former_secret_is_gone_on_from_and_the_next_one_is_under_todays(
    world: Any,
) -> None:
    stored, base, _ = opened(world[0](), "old")
    stored.save(base, FIRST, b"{}")
    with pytest.raises(BadEnvelope, match="PENSTOCK_SECRETS_FORMER"):
        opened(world[0](), "new")
    both, base, found = opened(world[0](), Keys("new", ("old",)))
    assert found is not None and found.parts == FIRST.parts
    both.save(base, SECOND, b"{}")
    found = opened(world[0](), "new")[2]
    assert found is not None and found.parts == SECOND.parts


def test_killed_between_any_two_writes_the_former_or_the_new_one_is_whole_and_nothing_is_left_over(
    world: Any,
) -> None:
    """The next worker goes on from what it finds; after its own snapshot only that one's pieces lie there."""
    ends: list[int] = []
    for units in range(200):
        stored, base, _ = opened(world[0]())
        base = stored.save(base, FIRST, b"1")
        stored.store = Mortal(stored.store, units)  # type: ignore[assignment]
        alive = False
        try:
            stored.save(base, SECOND, b"2")
            alive = True
        except Killed:
            pass
        again, base, found = opened(world[0]())
        assert found is not None
        whole = {1: FIRST, 2: SECOND}[found.header.position]
        assert found.parts == whole.parts
        assert world[1]()["model:shop"] == str(found.header.position).encode()
        ends.append(found.header.position)
        again.save(base, THIRD, b"3")
        last = opened(world[0]())[2]
        assert last is not None and last.parts == THIRD.parts
        assert lying(world[1]()) == named(last)
        if alive:
            break
    assert alive and set(ends) == {1, 2} and ends == sorted(ends) and len(ends) > 10


def test_only_what_changed_is_written_again(world: Any) -> None:
    stored, base, _ = opened(world[0]())
    base = stored.save(base, FIRST, b"{}")
    before = stored.written_bytes
    changed = snapshot(2, **{**FIRST.parts, "state": b"changed"})
    base = stored.save(base, changed, b"{}")
    # The list and the index name every piece; of the pieces themselves only the changed one goes.
    assert stored.written_bytes - before < 2_500 < len(MODEL) * 2
    again, base, _ = opened(world[0]())
    again.save(base, snapshot(3, **{**FIRST.parts, "state": b"changed again"}), b"{}")
    assert again.written_bytes < 2_500, "after a restart neither"


def test_a_model_that_two_names_share_is_stored_once(world: Any) -> None:
    stored, base, _ = opened(world[0]())
    stored.save(base, snapshot(1, state=b"s", v1=MODEL, v2=bytes(MODEL)), b"{}")
    held = sum(len(value) for key, value in world[1]().items() if ":piece:" in key)
    assert held <= len(MODEL) + 1


def test_another_secret_opens_nothing(world: Any) -> None:
    stored, base, _ = opened(world[0]())
    stored.save(base, FIRST, b"{}")
    with pytest.raises(BadEnvelope, match="PENSTOCK_SECRET"):
        opened(world[0](), "other")


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_piece_that_is_changed_or_gone_is_refused_and_written_again(how: str) -> None:
    server = MemoryServer()
    stored, base, _ = opened(MemoryStateStore(server, "shop", "learn"))
    stored.save(base, FIRST, b"{}")
    key = next(key for key in server.data if ":piece:" in key)
    if how == "gone":
        del server.data[key]
    else:
        server.data[key] = b"cos\nsystem\n" + server.data[key]
    store = MemoryStateStore(server, "shop", "learn")
    base = store.acquire() or b""
    again = StoredSnapshot(store, "shop", "secret")
    with pytest.raises(BadEnvelope, match="gone or changed"):
        again.load()
    again.save(base, snapshot(2, **FIRST.parts), b"{}")
    found = opened(MemoryStateStore(server, "shop", "learn"))[2]
    assert found is not None and found.parts == FIRST.parts


def test_a_reader_that_owns_nothing_sees_a_whole_one_while_another_is_written() -> None:
    """The list is read, then the writer replaces it and deletes the pieces it named."""
    server = MemoryServer()
    writer, base, _ = opened(MemoryStateStore(server, "shop", "learn"))
    base = writer.save(base, FIRST, b"{}")
    store = MemoryStateStore(server, "shop", "learn")
    loads: list[int] = []

    def slow(keys: Sequence[str]) -> list[bytes | None]:
        loads.append(len(keys))
        if len(loads) == 2:
            writer.save(base, THIRD, b"{}")
        return server.mget(keys)

    store.load = slow  # type: ignore[method-assign]
    found = StoredSnapshot(store, "shop", "secret").load()
    assert found is not None and found.parts == THIRD.parts


@settings(max_examples=examples(50), deadline=None)
@given(st.binary(max_size=400_000))
def test_pieces_joined_give_the_payload_and_fit_a_unit(payload: bytes) -> None:
    found = pieces.cut(payload)
    assert b"".join(found) == payload
    assert all(0 < len(piece) <= 96 * 1024 for piece in found)

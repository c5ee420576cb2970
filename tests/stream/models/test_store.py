"""Versions in memory, in Redis and in a folder: one contract."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from penstock.stream.models.store import MemoryModelStore, ModelStore, RedisModelStore, file_name, id_of
from penstock.stream.models.version import BadEnvelope, Keys, Version

SECRET = "secret"


def version(version_id: str, position: int = 0, pipeline: str = "shop") -> Version:
    return Version(
        id=version_id, pipeline=pipeline, parent=None, kind="copy", position=position, join_from=0, at=0, labels=0,
        recipe="r", digest="d",
    )  # fmt: skip


@pytest.fixture(params=["memory", "redis", "redis and folder", "redis and fsspec"])
def store(request: pytest.FixtureRequest) -> Iterator[ModelStore]:
    if request.param == "memory":
        yield MemoryModelStore()
        return
    folder = str(request.getfixturevalue("tmp_path")) if request.param.endswith("folder") else ""
    if request.param.endswith("fsspec"):
        folder = f"memory://{uuid.uuid4().hex}"
    yield RedisModelStore(request.getfixturevalue("valkey"), "shop", SECRET, folder)


def test_what_was_put_is_got(store: ModelStore) -> None:
    store.put(version("v1"), b"bytes")
    assert store.get("v1") == (version("v1"), b"bytes")


def test_an_unknown_version_is_none(store: ModelStore) -> None:
    assert store.get("v1") is None
    assert store.versions() == []


def test_putting_twice_is_putting_once(store: ModelStore) -> None:
    for _ in range(2):
        store.put(version("v1"), b"bytes")
    assert store.versions() == [version("v1")]


def test_versions_come_oldest_first(store: ModelStore) -> None:
    for name, position in (("v2", 20), ("v10", 100), ("v1", 10)):
        store.put(version(name, position), b"")
    assert [found.id for found in store.versions()] == ["v1", "v2", "v10"]


def test_a_deleted_version_is_gone_and_the_others_are_not(store: ModelStore) -> None:
    for name in ("v1", "v2", "a/b"):
        store.put(version(name), b"bytes")
    for _ in range(2):
        store.delete(["v1", "a/b", "never there"])
    store.delete([])
    assert store.ids() == {"v2"} and store.versions() == [version("v2")]
    assert store.get("v1") is None and store.get("a/b") is None and store.get("v2") is not None


ODD = [
    "a/b", "../../etc/passwd", "..", ".", "/", "", "a b", "a%2Fb", "*", "[x]?", "ä\u2028", "\x00", "a\nb", "x" * 300, "x" * 301,
    "/" * 200, "/" * 201, "v1.model", "v1.model.part", "%-", "~",
]  # fmt: skip


def test_any_text_is_an_id(store: ModelStore) -> None:
    for number, name in enumerate(ODD):
        store.put(version(name, number), name.encode())
    assert store.ids() == set(ODD)
    assert [found.id for found in store.versions()] == ODD
    for number, name in enumerate(ODD):
        assert store.get(name) == (version(name, number), name.encode())
    store.delete(ODD[:-1])
    assert store.ids() == {ODD[-1]}


def test_any_text_is_an_id_in_a_folder_that_outlives_redis(valkey: redis.Redis, tmp_path: Path) -> None:
    store = RedisModelStore(valkey, "shop", SECRET, str(tmp_path / "models"))
    for number, name in enumerate(ODD):
        store.put(version(name, number), name.encode())
    valkey.flushall()
    assert [found.id for found in store.versions()] == ODD
    assert all(store.get(name) == (version(name, n), name.encode()) for n, name in enumerate(ODD))
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "shop"]
    assert outside == [] and len(list((tmp_path / "models" / "shop").iterdir())) == len(ODD)


@given(st.sets(st.text(max_size=400), max_size=20))
def test_no_two_ids_share_a_file_and_a_file_says_its_id(ids: set[str]) -> None:
    names = {version_id: file_name(version_id) for version_id in ids}
    assert len(set(names.values())) == len(ids)
    for version_id, name in names.items():
        assert len(name.encode()) <= 200 and "/" not in name and name not in (".", "..") and name.isascii()
        assert id_of(name) in (version_id, None)
        assert id_of(name) == version_id or len(name) > 120, "only a shortened one must be opened for its id"


Stores = Callable[..., RedisModelStore]


@pytest.fixture
def stores(valkey: redis.Redis) -> Stores:
    return lambda pipeline="shop", secret=SECRET, folder="": RedisModelStore(
        valkey, pipeline, secret, str(folder)
    )


def test_a_folder_outlives_a_lost_redis(stores: Stores, valkey: redis.Redis, tmp_path: Path) -> None:
    stores(folder=tmp_path).put(version("v1"), b"bytes")
    valkey.flushall()
    again = stores(folder=tmp_path)
    assert again.get("v1") == (version("v1"), b"bytes")
    assert again.versions() == [version("v1")]


def test_without_a_folder_a_lost_redis_loses_versions(stores: Stores, valkey: redis.Redis) -> None:
    stores().put(version("v1"), b"bytes")
    valkey.flushall()
    assert stores().get("v1") is None


def test_another_secret_opens_nothing(stores: Stores) -> None:
    stores().put(version("v1"), b"bytes")
    with pytest.raises(BadEnvelope):
        stores(secret="other").get("v1")


def test_changed_bytes_are_refused(stores: Stores, valkey: redis.Redis) -> None:
    store = stores()
    store.put(version("v1"), b"bytes")
    sealed = bytearray(valkey.hget(store.key, "v1"))
    sealed[-60] ^= 1
    valkey.hset(store.key, "v1", bytes(sealed))
    with pytest.raises(BadEnvelope):
        store.get("v1")


def test_a_version_moved_under_another_name_or_pipeline_is_refused(
    stores: Stores, valkey: redis.Redis
) -> None:
    store, other = stores(), stores(pipeline="bank")
    store.put(version("v1"), b"bytes")
    sealed = valkey.hget(store.key, "v1")
    valkey.hset(store.key, "v2", sealed)
    valkey.hset(other.key, "v1", sealed)
    for place, name in ((store, "v2"), (other, "v1")):
        with pytest.raises(BadEnvelope, match="the envelope holds shop/v1"):
            place.get(name)


def test_pipelines_do_not_see_each_other(stores: Stores, tmp_path: Path) -> None:
    stores(folder=tmp_path).put(version("v1"), b"bytes")
    assert stores(pipeline="bank", folder=tmp_path).versions() == []


def test_a_torn_file_is_refused_not_opened(stores: Stores, valkey: redis.Redis, tmp_path: Path) -> None:
    stores(folder=tmp_path).put(version("v1"), b"bytes")
    valkey.flushall()
    path = tmp_path / "shop" / "v1.model"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(BadEnvelope):
        stores(folder=tmp_path).get("v1")


def test_an_older_header_without_newer_fields_still_opens() -> None:
    old = msgspec.msgpack.encode(
        {name: getattr(version("v1"), name) for name in version("v1").__struct_fields__[:10]}
    )
    assert msgspec.msgpack.decode(old, type=Version).id == "v1"


def test_signing_anew_leaves_what_was_stored_as_it_is_and_today_s_secret_alone_opens_it(
    stores: Stores, valkey: redis.Redis, tmp_path: Path
) -> None:
    former = stores(folder=tmp_path)
    for name in ("v1", "name/best", "x" * 300):
        former.put(version(name), name.encode())
    both = stores(secret=Keys("new", ("older", SECRET)), folder=tmp_path)
    both.put(version("v2"), b"v2")
    before = both.versions()
    with pytest.raises(BadEnvelope, match="PENSTOCK_SECRETS_FORMER"):
        stores(secret="new", folder=tmp_path).versions()
    assert both.resign() == sorted(["v1", "name/best", "x" * 300]) and both.resign() == []
    for lose_redis in (False, True):
        if lose_redis:
            valkey.flushall()
        only_new = stores(secret="new", folder=tmp_path)
        assert only_new.versions() == before
        assert only_new.get("v1") == (version("v1"), b"v1") and only_new.get("v2") == (version("v2"), b"v2")
        with pytest.raises(BadEnvelope):
            stores(folder=tmp_path).get("v1")


def test_what_no_known_secret_signed_stops_signing_anew(stores: Stores) -> None:
    stores(secret="stranger").put(version("v1"), b"bytes")
    with pytest.raises(BadEnvelope, match="does not fit"):
        stores(secret=Keys("new", (SECRET,))).resign()


def test_a_version_that_is_stored_again_meanwhile_is_not_put_back(
    stores: Stores, valkey: redis.Redis
) -> None:
    """learn stores it anew between the moment it is read to be signed and the moment it is written."""
    former, both = stores(), stores(secret=Keys("new", (SECRET,)))
    former.put(version("v1"), b"old")

    class Racing:
        def __getattr__(self, name: str) -> Any:
            return getattr(valkey, name)

        def hget(self, key: str, field: str) -> Any:
            stored = valkey.hget(key, field)
            stores(secret="new").put(version("v1", 9), b"newer")
            return stored

    both.client = Racing()
    assert both.resign() == []
    assert stores(secret="new").get("v1") == (version("v1", 9), b"newer")

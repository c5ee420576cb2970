"""A stored version that anybody changed, exchanged or made up is refused before it is unpickled, in Redis and in the folder."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import redis

from penstock.stream.models.store import RedisModelStore
from penstock.stream.models.version import BadEnvelope, Envelope, Keys, Version, key_id, open_version, seal
from penstock.stream.operate.registry import RegistryError, import_file
from tests.security.planted import MARKS, Planted, altered, cut, flipped, swapped
from tests.stream.generated import parcels

SECRET = "a long and random text"
PLANTED = pickle.dumps(Planted())


def version(version_id: str = "v3.1f0c2a", **changes: Any) -> Version:
    given: dict[str, Any] = {"pipeline": "parcels", "parent": "v2", "kind": "copy", "position": 812, "join_from": 700, "at": 5,
                             "labels": 400, "recipe": "0123456789ab", "digest": "00ff"}  # fmt: skip
    return Version(id=version_id, **{**given, **changes})


class Fields:
    """The one hash of a Redis that a version store reads, writable by anybody."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    def hset(self, _key: str, field: str, value: bytes) -> None:
        self.held[field] = value

    def hget(self, _key: str, field: str) -> bytes | None:
        return self.held.get(field)

    def hkeys(self, _key: str) -> list[bytes]:
        return [field.encode() for field in self.held]


@pytest.fixture(autouse=True)
def no_marks() -> Iterator[None]:
    MARKS.clear()
    yield


def store_of(secret: str | Keys = SECRET, folder: str = "", fields: Fields | None = None) -> RedisModelStore:
    return RedisModelStore(cast(redis.Redis, fields or Fields()), "parcels", secret, folder)


def opened(store: RedisModelStore, wanted: str) -> Any:
    """As every reader does it: the version is got, then its model is opened."""
    found = store.get(wanted)
    return None if found is None else open_version(*found)


def test_a_pickle_that_is_rightly_signed_is_opened() -> None:
    """What the other tests rest on: the planted pickle does say that it was opened."""
    store = store_of()
    store.put(version(), PLANTED)
    with pytest.raises(BadEnvelope, match="another model"):
        opened(store, "v3.1f0c2a")
    assert MARKS == ["opened"]


@pytest.mark.parametrize("where", ["redis", "folder"])
def test_every_byte_of_a_stored_version_changed_in_every_bit_cut_or_moved_is_refused_before_it_is_opened(
    where: str,
) -> None:
    fields = Fields()
    folder = f"memory://{uuid.uuid4().hex}" if where == "folder" else ""
    store = store_of(folder=folder, fields=fields)
    store.put(version("v4", position=900), PLANTED[::-1])
    other = fields.held["v4"]
    store.put(version(), PLANTED)
    whole = fields.held["v3.1f0c2a"]
    same = 0
    for number, changed in enumerate(altered(whole, [other])):
        if where == "redis":
            fields.held["v3.1f0c2a"] = changed
        else:
            if number % 7:
                continue  # it is the same code that judges; files take longer
            fields.held.pop("v3.1f0c2a", None)
            store.files.pipe_file(store._path("v3.1f0c2a"), changed)
        try:
            found = store.get("v3.1f0c2a")
        except BadEnvelope:
            continue
        # The key's name alone is not signed, and opens nothing: what it stands before is what was signed.
        same += 1
        assert found == (version(), PLANTED)
        assert msgspec.msgpack.decode(changed, type=Envelope).key_id != key_id(SECRET)
    assert not MARKS and same < 9 * 12 + 60


def test_any_two_bytes_of_a_stored_version_in_each_others_place_are_refused() -> None:
    fields = Fields()
    store = store_of(fields=fields)
    store.put(version(), PLANTED)
    for changed in swapped(fields.held["v3.1f0c2a"]):
        fields.held["v3.1f0c2a"] = changed
        try:
            assert store.get("v3.1f0c2a") == (version(), PLANTED)  # within the key's name
        except BadEnvelope:
            pass
    assert not MARKS


def test_a_pickle_under_another_key_or_none_or_a_borrowed_signature_is_never_opened() -> None:
    fields = Fields()
    store = store_of(fields=fields)
    store.put(version(), b"what learn stored")
    real = msgspec.msgpack.decode(fields.held["v3.1f0c2a"], type=Envelope)
    forged = [
        seal(version(), PLANTED, "another key"),
        seal(version(), PLANTED, ""),
        *(
            msgspec.msgpack.encode(Envelope(real.header, PLANTED, name, mac))
            for name in (real.key_id, "", "00000000")
            for mac in (real.mac, b"", b"\0" * 32, real.mac[:16], real.mac + b"\0")
        ),
        msgspec.msgpack.encode([real.header, PLANTED, real.key_id]),
        msgspec.msgpack.encode([real.header, PLANTED, real.key_id, None]),
        PLANTED,
        b"",
        b"\xc0",
        b"\x94" * 100_000,
    ]
    for sealed in forged:
        fields.held["v3.1f0c2a"] = sealed
        with pytest.raises(BadEnvelope):
            opened(store, "v3.1f0c2a")
    assert not MARKS


def test_a_version_under_another_id_or_of_another_pipeline_is_refused_though_its_signature_fits() -> None:
    fields = Fields()
    store = store_of(fields=fields)
    store.put(version("v3.1f0c2a"), PLANTED)
    store.put(version("v4.1f0c2a"), PLANTED)
    fields.held["v3.1f0c2a"], fields.held["v4.1f0c2a"] = fields.held["v4.1f0c2a"], fields.held["v3.1f0c2a"]
    fields.held["v5"] = seal(version("v5", pipeline="cards"), PLANTED, SECRET)
    for wanted in ("v3.1f0c2a", "v4.1f0c2a", "v5"):
        with pytest.raises(BadEnvelope, match=f"asked for parcels/{wanted}"):
            opened(store, wanted)
    assert not MARKS


def test_of_another_river_or_python_nothing_is_opened() -> None:
    for changes in ({"river": "0.1"}, {"python": "3.2.1"}):
        with pytest.raises(BadEnvelope, match="install those"):
            open_version(version(**changes), PLANTED)
    assert not MARKS


def test_a_former_secret_opens_what_it_signed_until_it_is_taken_off_the_list() -> None:
    fields = Fields()
    store_of("old", fields=fields).put(version(), b"model")
    assert store_of(Keys("new", ("old",)), fields=fields).get("v3.1f0c2a") == (version(), b"model")
    with pytest.raises(BadEnvelope, match="PENSTOCK_SECRETS_FORMER"):
        store_of("new", fields=fields).get("v3.1f0c2a")


def test_an_older_copy_under_a_name_that_people_moved_since_is_taken_for_the_name(tmp_path: Path) -> None:
    """It is not guarded: who writes to the store may move a name back to what it once named, and to nothing else."""
    fields = Fields()
    store = store_of(fields=fields)
    store.put(version("name/best", parent="v2", digest="old"), b"old")
    older = fields.held["name/best"]
    store.put(version("name/best", parent="v3", digest="new"), b"new")
    fields.held["name/best"] = older
    found = store.get("name/best")
    assert found is not None and found[0].digest == "old"


def test_a_file_that_is_imported_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    pipeline, path = parcels(), tmp_path / "version.model"
    whole = seal(version(recipe=pipeline.digest), PLANTED, SECRET)
    path.write_bytes(whole)
    with pytest.raises(BadEnvelope):
        import_file(path, pipeline, store_of(), Keys(SECRET), "mia", "why")
    assert MARKS == ["opened"], "a rightly signed one is opened to see whether it does"
    MARKS.clear()
    for number, changed in enumerate([*flipped(whole), *cut(whole)]):
        if number % 11 and number > 200:
            continue
        path.write_bytes(changed)
        try:
            import_file(path, pipeline, store_of(), Keys(SECRET), "mia", "why")
        except (BadEnvelope, RegistryError):
            pass
        if MARKS:  # the key's name is not signed; what was signed is as it was
            signed, found = (msgspec.msgpack.decode(one, type=Envelope) for one in (whole, changed))
            assert (found.header, found.payload, found.mac) == (signed.header, signed.payload, signed.mac)
            MARKS.clear()
    for forged in (PLANTED, seal(version(recipe=pipeline.digest), PLANTED, "another")):
        path.write_bytes(forged)
        with pytest.raises((BadEnvelope, RegistryError)):
            import_file(path, pipeline, store_of(), Keys(SECRET), "mia", "why")
    for other in (version(recipe="another"), version(recipe=pipeline.digest, pipeline="cards")):
        path.write_bytes(seal(other, PLANTED, SECRET))
        with pytest.raises(RegistryError):
            import_file(path, pipeline, store_of(), Keys(SECRET), "mia", "why")
    assert not MARKS

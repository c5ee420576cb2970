"""Names, and versions in files, over every kind of store."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.stream.models.digest import digest
from penstock.stream.models.store import MemoryModelStore, ModelStore, RedisModelStore
from penstock.stream.models.version import BadEnvelope, Keys, Version, dump
from penstock.stream.operate.registry import (
    RegistryError,
    export_sealed,
    find,
    give_name,
    import_file,
    remove_name,
    to_ask_for,
)
from penstock.stream.operate.version_lines import known_as
from tests.stream.generated import cards

PIPELINE = cards()
KEYS = Keys("secret")
PAYLOAD = dump(PIPELINE.model.clone())
LIVE: dict[str, Any] = {"committed": "v3", "previous": "v0", "states": {"v3": "live", "v0": "first"}}


def version(version_id: str, position: int = 0, **given: Any) -> Version:
    known: dict[str, Any] = {
        "pipeline": "cards", "parent": None, "kind": "copy", "join_from": 0, "at": 0, "labels": 9, "recipe": PIPELINE.digest,
        "digest": digest(PIPELINE.model.clone()), **given,
    }  # fmt: skip
    return Version(id=version_id, position=position, **known)


@pytest.fixture(params=["memory", "redis", "redis and folder", "redis and fsspec"])
def store(request: pytest.FixtureRequest) -> Iterator[ModelStore]:
    if request.param == "memory":
        yield MemoryModelStore()
        return
    folder = str(request.getfixturevalue("tmp_path")) if request.param.endswith("folder") else ""
    if request.param.endswith("fsspec"):
        folder = f"memory://{uuid.uuid4().hex}"
    yield RedisModelStore(request.getfixturevalue("valkey"), "cards", KEYS, folder)


def test_a_name_keeps_what_it_named_although_the_version_is_stored_again_or_goes(store: ModelStore) -> None:
    store.put(version("v3.aaaaaa", 5), PAYLOAD)
    made = give_name(store, "best", "v3", {}, "ann", "quiet week")
    assert (made.parent, made.author, made.why, made.kind) == ("v3.aaaaaa", "ann", "quiet week", "copy")
    store.put(version("v3.aaaaaa", 8, digest="other"), b"other")
    assert find(store, "best", {}) == (made, PAYLOAD)
    store.delete(["v3.aaaaaa"])
    assert find(store, "best", {}) == (made, PAYLOAD)
    assert to_ask_for(store, "best") == ("name/best", made.digest)


def test_a_name_that_moves_says_what_it_was_and_who_said_so(store: ModelStore) -> None:
    for number in (1, 2):
        store.put(version(f"v{number}"), PAYLOAD)
    give_name(store, "best", "v1", {}, "ann", "")
    moved = give_name(store, "best", "v2", {}, "bob", "better")
    assert (moved.parent, moved.why) == ("v2", "better (before: v1, by ann)")
    other = give_name(store, "also", "best", {}, "bob", "")
    assert other.parent == "v2", "a name of a name is one of the version"
    assert remove_name(store, "best").parent == "v2"
    assert store.ids() == {"v1", "v2", "name/also"}
    with pytest.raises(RegistryError, match="no version is named 'best'; names are: also"):
        remove_name(store, "best")


@pytest.mark.parametrize(
    "name", ["champion", "previous", "v3", "v3x", "", "a/b", "1st", "-x", "a b", "x" * 101, "base", "latest"]
)
def test_a_name_that_could_mean_something_else_is_refused(name: str) -> None:
    store = MemoryModelStore()
    store.put(version("v1"), PAYLOAD)
    with pytest.raises(RegistryError, match="cannot be a name"):
        give_name(store, name, "v1", {}, "ann", "")
    assert store.ids() == {"v1"}


def test_aliases_mean_what_is_committed_and_what_was_before_it(store: ModelStore) -> None:
    store.put(version("v2", parent="v0"), PAYLOAD)
    store.put(version("v3"), PAYLOAD)
    assert find(store, "champion", LIVE)[0].id == "v3"
    with pytest.raises(
        RegistryError, match="previous is v0, which takes part and is not stored; its newest .* v2. `penstock"
    ):
        find(store, "previous", LIVE)
    with pytest.raises(RegistryError, match="nothing was committed before"):
        find(store, "previous", {})
    with pytest.raises(RegistryError, match="no version 'v9'; there are: "):
        find(store, "v9", LIVE)
    give_name(store, "best", "champion", LIVE, "ann", "")
    versions = store.versions()
    assert {one.id: known_as(LIVE, one, versions) for one in versions} == {
        "v2": [], "v3": ["champion", "best"], "name/best": [],
    }  # fmt: skip
    assert to_ask_for(store, "champion") == ("champion", None), "the fold knows at that record"
    assert to_ask_for(store, "v3") == ("v3", None)


def test_a_file_brings_the_version_back_as_it_was(store: ModelStore, tmp_path: Path) -> None:
    file = tmp_path / "v3.penstock"
    export_sealed(version("v3.aaaaaa"), PAYLOAD, file, KEYS)
    made, new = import_file(file, PIPELINE, store, KEYS, "ann", "from staging")
    assert new and made.id == f"import-v3.aaaaaa.{made.digest[:6]}" and store.get(made.id) == (made, PAYLOAD)
    assert import_file(file, PIPELINE, store, KEYS, "bob", "again") == (made, False)
    assert to_ask_for(store, "import-v3") == (made.id, made.digest)
    again = tmp_path / "again.penstock"
    export_sealed(made, PAYLOAD, again, KEYS)
    assert import_file(again, PIPELINE, store, KEYS, "bob", "") == (made, False)
    other = MemoryModelStore()
    assert import_file(again, PIPELINE, other, KEYS, "bob", "")[0].id == made.id, "no import of an import"
    other.put(version("v3.aaaaaa"), PAYLOAD)
    assert import_file(file, PIPELINE, other, KEYS, "bob", "") == (version("v3.aaaaaa"), False)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"pipeline": "bank"}, RegistryError, "pipeline 'bank', the definition is that of 'cards'"),
        ({"recipe": "older"}, RegistryError, "under definition older"),
        ({"river": "0.1"}, BadEnvelope, "written under Python .* and river 0.1, here are"),
        ({"digest": "ffff"}, BadEnvelope, "another model"),
    ],
)
def test_a_file_that_does_not_belong_here_is_refused_with_what_to_do(
    tmp_path: Path, change: dict[str, Any], error: type[Exception], said: str
) -> None:
    file, store = tmp_path / "f", MemoryModelStore()
    export_sealed(msgspec.structs.replace(version("v3"), **change), PAYLOAD, file, KEYS)
    with pytest.raises(error, match=said):
        import_file(file, PIPELINE, store, KEYS, "ann", "")
    assert store.ids() == set()


def test_a_changed_file_a_pickle_and_any_other_file_are_not_opened(tmp_path: Path) -> None:
    file, store = tmp_path / "f", MemoryModelStore()
    export_sealed(version("v3"), PAYLOAD, file, KEYS)
    sealed = bytearray(file.read_bytes())
    sealed[-70] ^= 1
    for content, error in ((bytes(sealed), BadEnvelope), (b"hello", BadEnvelope), (PAYLOAD, RegistryError)):
        file.write_bytes(content)
        with pytest.raises(error, match=str(file)):
            import_file(file, PIPELINE, store, KEYS, "ann", "")
    assert store.ids() == set()

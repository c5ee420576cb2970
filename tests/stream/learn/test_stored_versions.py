"""Versions in their store follow the fold, and are deleted only where no later pass over the log can miss them."""

from __future__ import annotations

from penstock.stream.learn.fold import Fold
from penstock.stream.learn.stored_versions import StoredVersions
from penstock.stream.models.store import MemoryModelStore
from penstock.stream.models.version import Version
from tests.stream.generated import parcels

PIPELINE = parcels()


def born(fold: Fold, name: str) -> None:
    version = Version(
        id=name, pipeline="parcels", parent=None, kind="copy", position=0, join_from=0, at=0, labels=0,
        recipe=fold.recipe, digest="d",
    )  # fmt: skip
    fold.outputs.versions.append((version, b"bytes"))
    fold.retention.add(name, fold.at)


def test_a_dropped_version_stays_until_a_snapshot_covers_the_record_that_dropped_it() -> None:
    """Until then a worker may begin again before that record, and a command behind it may name the version."""
    fold, models = Fold(PIPELINE), MemoryModelStore()
    versions = StoredVersions(models)
    versions.taken_up(fold)
    fold.retention.most = 1
    born(fold, "v1")
    born(fold, "v2")
    fold.outputs.dropped += fold.retention.drop(fold.at, fold.in_use())
    versions.put(fold)
    assert models.ids() == {"v1", "v2"}
    versions.covered(fold, caught_up=True)
    assert models.ids() == {"v2"}


def test_what_a_killed_worker_had_still_to_delete_the_next_one_deletes() -> None:
    fold, models = Fold(PIPELINE), MemoryModelStore()
    fold.retention.most = 1
    born(fold, "v1")
    born(fold, "v2")
    StoredVersions(models).put(fold)
    fold.retention.drop(fold.at, fold.in_use())  # and killed once the snapshot was stored
    again = StoredVersions(models)
    again.taken_up(fold)
    again.covered(fold, caught_up=False)
    assert models.ids() == {"v2"}


def test_before_it_has_caught_up_nothing_is_taken_for_unknown() -> None:
    """A fold made anew meets, in the store, versions that it will only make later."""
    fold, models = Fold(PIPELINE), MemoryModelStore()
    for number in range(1, 51):
        born(fold, f"v{number}")
    StoredVersions(models).put(fold)
    anew = Fold(PIPELINE)
    versions = StoredVersions(models)
    versions.taken_up(anew)
    versions.covered(anew, caught_up=False)
    assert len(models.ids()) == 50
    versions.covered(anew, caught_up=True)
    assert len(models.ids()) == 32


def test_what_people_gave_a_name_stays_however_many_versions_nobody_knows_there_are() -> None:
    fold, models = Fold(PIPELINE), MemoryModelStore()
    for number in range(1, 51):
        born(fold, f"v{number}")
    born(fold, "name/best")
    StoredVersions(models).put(fold)
    anew = Fold(PIPELINE)
    versions = StoredVersions(models)
    versions.taken_up(anew)
    versions.covered(anew, caught_up=True)
    assert len(models.ids()) == 33 and "name/best" in models.ids()

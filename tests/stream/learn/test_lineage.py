"""Where a version comes from: who asked for it, what it learned from, how well it did, and which one was the champion before."""

from __future__ import annotations

import pytest
from river import linear_model, preprocessing

from penstock.monitors.losses.drift import log_loss
from penstock.stream.learn import commands
from penstock.stream.learn.engine import probability
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.learner import BASE_RATE
from penstock.stream.learn.records import Replay, Unusable
from penstock.stream.learn.replay import prepare, replay
from penstock.stream.log.memory import MemoryLog
from penstock.stream.log.protocol import Out
from penstock.stream.messages import Command, LabelRecord, Recipe, Sample, encode_entry
from penstock.stream.models.digest import digest
from penstock.stream.models.store import MemoryModelStore
from penstock.stream.models.version import RULE, Version, dump, restore
from penstock.stream.recipes import recipe_of
from tests.stream.learn.courses import Course, light_is_late


@pytest.fixture(autouse=True)
def frozen_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.stream.learn.births.FREEZE_EVERY", 200)


def version_of(course: Course, name: str) -> Version:
    return course.versions[name][0]


def test_a_copy_says_how_the_model_it_is_a_copy_of_did_beside_the_base_rate_over_which_labels() -> None:
    course = Course(seed=3)
    course.go(200, noise=0.1)
    (made,) = [version for version, _ in course.versions.values()]
    assert (made.kind, made.parent, made.author, made.learned_from) == ("copy", "v0", RULE, 0)
    twin = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    own = base_loss = 0.0
    base, x = 0.5, dict[str, float]()
    for entry in course.log:
        if isinstance(entry, Sample):
            x = {"weight": entry.x[0]}  # type: ignore[dict-item]
            p = probability(twin, x)
        elif isinstance(entry, LabelRecord):
            own, base_loss = own + log_loss(p, entry.y), base_loss + log_loss(base, entry.y)
            base += BASE_RATE * (entry.y - base)
            twin.learn_one(x, entry.y)
    measured = made.measured
    assert measured is not None and (measured.labels, measured.start, measured.stop) == (200, 0, 399)
    assert measured.loss == pytest.approx(own / 200, rel=1e-3)
    assert measured.base_loss == pytest.approx(base_loss / 200, rel=1e-9)
    assert measured.live_loss is not None and measured.loss < measured.live_loss < measured.base_loss


def test_one_born_later_is_measured_on_the_labels_since_its_birth_alone() -> None:
    course = Course()
    course.go(450)
    experts = course.fold.experts
    course.command("rollback", version="v0")
    born = experts.add("new", course.fold.pipeline.model.clone(), "late", (450, 0, 901))
    assert course.fold.measured(born) is None
    course.go(30, light_is_late)
    late, first = course.fold.measured(born), course.fold.measured(experts.first)
    assert late is not None and first is not None
    assert (late.labels, late.start, first.labels) == (30, 901, 480)
    base, losses = 0.5, []
    for y in [entry.y for entry in course.log if isinstance(entry, LabelRecord)]:
        losses.append(log_loss(base, y))
        base += BASE_RATE * (y - base)
    assert late.base_loss == pytest.approx(sum(losses[-30:]) / 30)
    assert first.base_loss == pytest.approx(sum(losses) / 480)


def test_a_commitment_by_a_person_keeps_the_model_as_it_is_then_with_who_asked_and_why() -> None:
    course = Course()
    course.go(450)
    assert course.command("promote", version="v0") is None
    made, payload = course.versions["v0"]
    assert (made.kind, made.author, made.why) == ("committed", "ann", "promote: because")
    assert digest(restore(payload)) == made.digest == digest(course.fold.experts.first.model)
    assert course.fold.document()["commit"] == {
        "version": "v0", "by": "ann", "why": "promote: because", "at": course.fold.at, "position": course.fold.position - 1,
    }  # fmt: skip


def test_what_the_evidence_commits_has_no_persons_name() -> None:
    course = Course()
    course.go(450)
    fold = course.fold
    other = fold.experts.add("new", fold.pipeline.model.clone(), "v9", (450, fold.at, 900))
    command = Command("c", "promote", "it leads", "policy", version="v9", episode="e")
    assert commands.replace(fold, 900, command, None) is None
    assert fold.experts.committed is other and fold.commit.by == RULE
    assert fold.outputs.versions[-1][0].author == RULE


def test_the_champion_before_is_remembered_named_and_kept_however_old_it_gets() -> None:
    course = Course()
    course.go(450)
    assert "no version was committed before v0" in (course.command("rollback", version="previous") or "")
    frozen = [one for one in course.fold.experts.models if one.kind == "frozen"][-1]
    assert course.command("rollback", version=frozen.version) is None
    assert course.fold.outputs.live[-1].previous == course.fold.document()["previous"] == "v0"
    assert course.command("rollback", version="previous") is None
    assert (course.fold.version, course.fold.experts.previous) == ("v0", frozen.version)
    assert course.command("promote", version="champion") is None
    assert (course.fold.version, course.fold.experts.previous) == ("v0", frozen.version), "it was it already"
    course.fold.experts.remove(frozen)
    course.fold.retention.most = 0
    course.fold.drop_versions()
    assert course.fold.in_use()[frozen.version] == "previous"
    assert course.fold.retention.why_gone(frozen.version) is None
    wanted = Command("r", "rollback", version="previous")
    assert course.fold.needs(wanted) == Replay(frozen.version, -1, -1), "from the store, by its id"
    course.give(wanted, restore(course.versions[frozen.version][1]))
    assert course.fold.experts.committed.parent == frozen.version


def test_the_champion_before_goes_by_its_new_id_when_all_get_new_ones() -> None:
    course = Course()
    own = course.fold.pipeline
    course.give(recipe_of(own))
    course.go(450)
    frozen = [one for one in course.fold.experts.models if one.kind == "frozen"][-1]
    course.command("rollback", version=frozen.version)
    course.give(Recipe("another", ["x"], "{}"))
    course.give(recipe_of(own))
    experts = course.fold.experts
    assert experts.first.version != "v0"
    assert experts.previous == experts.first.version and course.fold.commit.version == frozen.version


def test_a_retrains_product_carries_who_asked_for_it() -> None:
    course = Course()
    course.go(450)
    course.command("retrain", from_position=100)
    ((job, order),) = course.fold.open_jobs.items()
    assert order.by == "ann"
    adopt = Command(
        f"adopt-{job}", "adopt", version="retrain-x", from_position=100, trained_to=900, digest="d"
    )
    course.give(adopt, course.fold.pipeline.model.clone())
    made = version_of(course, course.fold.experts.models[-1].version)
    assert (made.kind, made.author, made.learned_from, made.measured) == ("adopted", "ann", 100, None)


# -- what lies in the store and not in the log -----------------------------------------------------------------------------------


def imported(course: Course, version_id: str) -> MemoryModelStore:
    """A store with a model that this fold never made."""
    model = course.fold.pipeline.model.clone()
    for n in range(50):
        model.learn_one({"weight": n - 25.0}, n > 25)
    store = MemoryModelStore()
    version = Version(
        id=version_id, pipeline="parcels", parent="v3.9f9f9f", kind="imported", position=7, join_from=7, at=0, labels=50,
        recipe=course.fold.recipe, digest=digest(model),
    )  # fmt: skip
    store.put(version, dump(model))
    return store


def log_of(course: Course) -> MemoryLog:
    log = MemoryLog()
    log.create("parcels.samples", 1)
    log.append([Out("parcels.samples", b"parcels", encode_entry(entry), (), 0) for entry in course.log])
    return log


@pytest.mark.parametrize("version_id", ["import-v3.9f9f9f.123456", "v3.9f9f9f"])
def test_a_version_that_a_command_names_with_its_digest_comes_from_the_store_live_and_replayed(
    version_id: str,
) -> None:
    course = Course(lineage="aaaaaa")
    course.go(450)
    store = imported(course, version_id)
    known = store.stored[version_id][0].digest
    rollback = Command("r", "rollback", "an import", "ann", version=version_id, digest=known)
    need = course.fold.needs(rollback)
    assert need == Replay(version_id, -1, -1)
    found = prepare(course.fold, log_of(course), "parcels.samples", store, 900, rollback, need)
    assert digest(found) == known
    course.give(rollback, found)
    assert course.fold.experts.leader.parent == version_id and course.fold.experts.leader.learned_from is None
    course.go(100)
    again, without = (
        replay(course.fold.pipeline, log_of(course), "parcels.samples", outside=outside)
        for outside in (store, None)
    )
    assert again.chain == course.fold.chain
    assert "r" in again.applied and "r" in without.refused and without.chain != course.fold.chain


def test_another_model_under_the_id_that_was_asked_for_is_refused_with_both_digests() -> None:
    course = Course()
    course.go(450)
    store = imported(course, "import-x")
    rollback = Command("r", "rollback", version="import-x", digest="another")
    need = course.fold.needs(rollback)
    assert need is not None
    found = prepare(course.fold, log_of(course), "parcels.samples", store, 900, rollback, need)
    assert isinstance(found, Unusable) and "another" in found.why and "ask again" in found.why


def test_a_name_that_kept_a_version_brings_it_back_although_the_fold_keeps_it_no_longer() -> None:
    fold = Fold(Course().fold.pipeline)
    fold.retention.add("v1", 0)
    fold.retention.most = 0
    fold.drop_versions()
    assert fold.needs(Command("r", "rollback", version="v1")) is None
    assert fold.needs(Command("r", "rollback", version="v1", digest="d")) == Replay("v1", -1, -1)


def test_a_model_that_has_learned_since_is_not_what_a_digest_means() -> None:
    course = Course()
    course.go(450)
    frozen = [one for one in course.fold.experts.models if one.kind == "frozen"][-1]
    assert course.fold.needs(Command("r", "rollback", version=frozen.version, digest="d")) is None
    assert course.fold.needs(Command("r", "rollback", version="v0", digest="d")) == Replay("v0", -1, -1)

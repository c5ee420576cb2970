"""Births: when, of what, with which weight; and how many models there are at most."""

from __future__ import annotations

import random
from typing import Any

import pytest

from penstock.stream.learn import births, suspicion
from penstock.stream.learn.births import is_due
from penstock.stream.learn.expert import YOUNG_LABELS
from penstock.stream.learn.suspicion import Suspicion
from penstock.stream.messages import Origin, Sample
from penstock.stream.models.digest import digest
from penstock.stream.models.version import restore
from tests.stream.generated import parcels
from tests.stream.learn.courses import Course, heavy_is_late, light_is_late, quick_guard


@pytest.fixture
def unsuspecting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspicion, "CLOCK", 10**9)  # which both engines read, unlike the class's method


# -- fresh models -------------------------------------------------------------------------------------------------------------


def test_fresh_models_are_due_at_ages_that_double_and_again_before_any_is_old() -> None:
    due = [labels for labels in range(1, 100 * YOUNG_LABELS) if is_due(labels)]
    assert {YOUNG_LABELS << n for n in range(6)} <= set(due)
    assert max(b - a for a, b in zip(due, due[1:], strict=False)) <= 8 * YOUNG_LABELS
    assert all(labels % YOUNG_LABELS == 0 for labels in due) and len(due) < 30


def test_a_fresh_model_is_born_at_due_ages_whatever_happens_with_the_shares_weight(
    unsuspecting: None,
) -> None:
    course = Course()
    course.go(YOUNG_LABELS - 1)
    assert course.kinds() == ["first"]
    course.go(1)
    assert course.kinds() == ["first", "new"]
    fresh = course.fold.experts.models[-1]
    assert (fresh.born, fresh.taught, fresh.born_position) == (YOUNG_LABELS, 0, course.fold.position - 1)
    assert course.weights()[fresh.version] < 0.01
    assert digest(fresh.model) == digest(course.fold.pipeline.model.clone())


def test_a_rise_of_the_loss_is_suspected_and_a_fall_never() -> None:
    chance = random.Random(3)
    of_loss = Suspicion()
    assert not any(of_loss.rose(chance.expovariate(1.0) * 1.0) for _ in range(1_500))
    assert not any(of_loss.rose(chance.expovariate(1.0) * 0.1) for _ in range(1_500)), "a fall"
    assert any(of_loss.rose(chance.expovariate(1.0) * 1.5) for _ in range(500)), "a rise"


def test_a_suspicion_has_a_model_born_and_no_other_consequence(
    unsuspecting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A course steps record by record, which is Python's engine: there the class's method is asked."""
    calm, nervous = Course(), Course()
    calm.go(300)
    monkeypatch.setattr(Suspicion, "rose", lambda self, loss: nervous.fold.counts.learned == 150)
    nervous.go(300)
    assert nervous.kinds() == [*calm.kinds(), "new"] and nervous.fold.experts.models[-1].born == 151
    assert nervous.told() == calm.told()
    assert digest(nervous.fold.experts.first.model) == digest(calm.fold.experts.first.model)


def test_the_world_turned_round_is_led_by_a_fresh_model(unsuspecting: None) -> None:
    """A drift that raises no suspicion finds a fresh model at the next due age."""
    course = Course()
    course.go(4 * YOUNG_LABELS - 20)
    course.go(2 * YOUNG_LABELS, light_is_late)
    leader = course.fold.experts.leader
    assert leader.kind == "new" and leader.born > 0
    assert course.weights()[leader.version] > 0.9


# -- frozen copies ------------------------------------------------------------------------------------------------------------


def test_a_frozen_copy_is_a_version_that_holds_the_leader_as_it_was_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(births, "FREEZE_EVERY", 200)
    course = Course()
    course.go(199)
    assert course.versions == {}
    course.go(1)
    frozen = course.fold.experts.models[-1]
    leader = course.fold.experts.leader
    assert (frozen.kind, frozen.parent, frozen.born, frozen.taught) == ("frozen", "v0", 200, 200)
    version, payload = course.versions[frozen.version]
    assert payload == frozen.payload and version.digest == digest(restore(payload)) == digest(leader.model)
    assert (version.kind, version.labels, version.parent) == ("copy", 200, "v0")
    was = digest(frozen.model)
    course.go(150)
    assert digest(frozen.model) == was == version.digest != digest(leader.model)
    assert frozen.version in course.fold.in_use()


def test_a_frozen_copy_that_leads_stays_as_it_is_and_a_copy_with_half_of_its_weight_learns_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(births, "FREEZE_EVERY", 200)
    course = Course()
    course.go(350)
    experts = course.fold.experts
    (frozen,) = [one for one in experts.models if one.kind == "frozen"]
    was = digest(frozen.model)
    experts.gate.give(experts.all.index(frozen), 0.9999)
    for _ in range(births.LOOK_EVERY):
        if experts.leader is not frozen:
            course.go(1)
    resumed = experts.models[-1]
    assert experts.leader is frozen and course.fold.version == frozen.version
    assert (resumed.kind, resumed.parent) == ("resumed", frozen.version)
    weights = course.weights()
    assert weights[resumed.version] == weights[frozen.version] > 0.45
    course.go(20)
    assert digest(frozen.model) == was != digest(resumed.model)
    assert "takes the lead" in course.fold.outputs.live[-1].change


def test_a_leader_that_is_frozen_already_is_not_copied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(births, "FREEZE_EVERY", 200)
    course = Course()
    course.go(399)
    experts = course.fold.experts
    (frozen,) = [one for one in experts.models if one.kind == "frozen"]
    experts.give(frozen)
    course.go(1)
    assert experts.leader is frozen and course.fold.counts.learned == 400
    assert course.kinds().count("frozen") == 1 and len(course.versions) == 1


def test_what_comes_back_is_led_by_the_copy_that_knew_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first model learns the world, then its opposite for long; when the first world returns a frozen copy leads at once."""
    monkeypatch.setattr(births, "FREEZE_EVERY", 2_000)
    course = Course()
    course.go(2_100, noise=0.02)
    course.go(4_000, light_is_late, noise=0.02)
    back = course.fold.counts.learned
    course.go(120, noise=0.02)
    leader = course.fold.experts.leader
    assert leader.born < back and leader.kind in ("frozen", "resumed")
    lead = max(live.at for live in course.fold.outputs.live if "takes the lead" in live.change)
    assert lead <= course.fold.at


# -- values far outside -------------------------------------------------------------------------------------------------------


def test_the_careful_expert_is_copied_from_the_best_learner_at_the_first_record_outside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    course = Course()
    quick_guard(course, monkeypatch)
    course.go(450)
    assert course.fold.experts.careful is None
    best = course.fold.experts.best_learner()
    as_it_was, learned = digest(best.model), course.fold.counts.learned
    course.give(Sample(Origin("odd", 0, 0), "odd", "van", course.fold.at + 1, [9e4]))
    careful = course.fold.experts.careful
    assert careful is not None and (careful.parent, careful.born) == (best.version, learned)
    assert careful.born_position == course.fold.outputs.predictions[-1].position == course.fold.position - 1
    assert careful.taught == best.taught and digest(careful.model) == as_it_was
    assert careful.number in course.fold.pending["odd"].asked, "it answers that very record"
    course.go(1, weight=9e4)
    assert course.fold.experts.careful is careful and course.kinds().count("careful") == 1, "one is enough"
    assert course.told(of="range") == [], "an outlier is no incident"


@pytest.mark.parametrize("guard", ["hold", False])
def test_without_a_forking_guard_there_is_no_careful_expert(
    guard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    course = Course(parcels(views=[], guard=guard))
    if guard:
        quick_guard(course, monkeypatch)
    course.go(450)
    course.go(40, weight=9e4)
    assert course.fold.experts.careful is None


def test_where_a_guard_fires_a_copy_of_before_is_frozen_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    course = Course()
    guard = quick_guard(course, monkeypatch)
    course.go(450)
    course.go(60, weight=9e4, rule=heavy_is_late)
    assert guard.firing
    frozen = [one for one in course.fold.experts.models if one.kind == "frozen"]
    (fired,) = course.told(of="range")
    assert [one.born_position for one in frozen] == [fired.detected_at["position"]]
    assert frozen[0].version in course.versions


# -- how many -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [4, 5, 6, 16])
def test_there_are_never_more_models_than_the_definition_allows(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(births, "FREEZE_EVERY", 150)
    monkeypatch.setattr(births, "is_due", lambda labels: labels % 70 == 0)
    course = Course(parcels(views=[], experts=most))
    quick_guard(course, monkeypatch)
    fold = course.fold
    found = 0
    for stretch in range(24):
        course.go(40, light_is_late if stretch % 4 < 2 else heavy_is_late)
        if stretch % 5 == 4:
            course.go(3, weight=9e4)
        if stretch in (9, 15):
            fold.experts.committed = fold.experts.models[stretch % len(fold.experts.models)]
        found = max(found, len(fold.experts.models))
        assert fold.experts.first in fold.experts.all and fold.experts.leader in fold.experts.all
    assert found <= most + 2, "the first and the careful one beside"
    assert found >= 4, "and those there may be are there"

"""Commands: every one carried out or refused with a reason, and what it does to weights, learning and who predicts."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.stream.learn.expert import Expert
from penstock.stream.learn.records import Replay
from penstock.stream.messages import Command
from penstock.stream.models.digest import digest
from penstock.stream.models.version import restore
from tests.stream.generated import parcels
from tests.stream.learn.courses import Course, light_is_late, quick_losses
from tests.stream.learn.test_experts import Says


@pytest.fixture(autouse=True)
def frozen_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.stream.learn.births.FREEZE_EVERY", 200)


def weights_of(course: Course) -> list[list[float]]:
    return [list(weights) for weights in course.fold.experts.gate.weights]


def frozen_of(course: Course) -> Expert:
    """The newest frozen copy."""
    return [one for one in course.fold.experts.models if one.kind == "frozen"][-1]


# -- hold and resume ----------------------------------------------------------------------------------------------------------


def test_a_persons_hold_stops_weights_and_learning_and_a_resume_goes_on() -> None:
    course = Course()
    course.go(450)
    assert course.command("hold") is None
    before = weights_of(course), [digest(one.model) for one in course.fold.experts.models]
    course.go(300, light_is_late)
    assert before == (weights_of(course), [digest(one.model) for one in course.fold.experts.models])
    assert course.fold.counts.held_back == 300 and course.fold.outputs.live[-1].held
    assert len(course.fold.outputs.predictions) == 750, "it goes on predicting"
    assert course.command("resume") is None
    course.go(50)
    assert course.fold.counts.learned == 500 and not course.fold.outputs.live[-1].held
    assert weights_of(course) != before[0]


def test_what_was_sampled_during_a_hold_is_not_learned_after_it() -> None:
    for holds in (1, 2):
        course = Course()
        for _ in range(holds):
            course.command("hold")
            course.go(2)
            course.command("resume")
        course.go(1)
        assert (course.fold.counts.held_back, course.fold.counts.learned) == (2 * holds, 1)
    late = Course()
    late.command("hold")
    for entry in sampled_then_labelled():
        if entry is None:
            late.command("resume")
        else:
            late.give(entry)
    assert (late.fold.counts.held_back, late.fold.counts.learned) == (1, 0)


def sampled_then_labelled() -> list[Any]:
    made = Course()
    made.go(1)
    return [made.log[0], None, made.log[1]]


def test_a_second_hold_and_a_resume_of_nothing_are_refused() -> None:
    course = Course()
    assert "nothing is held" in (course.command("resume") or "")
    assert course.command("hold") is None
    assert "held already" in (course.command("hold") or "")


# -- rollback and promotion by a person ----------------------------------------------------------------------------------------


def test_a_persons_rollback_gives_a_version_all_the_weight_and_labels_can_take_it_away() -> None:
    course = Course()
    course.go(450)
    frozen = frozen_of(course)
    assert course.command("rollback", version=frozen.version) is None
    experts = course.fold.experts
    assert experts.leader is experts.committed is frozen and course.fold.version == frozen.version
    resumed = experts.models[-1]
    assert resumed.kind == "resumed" and resumed.parent == frozen.version
    assert course.weights()[frozen.version] + course.weights()[resumed.version] > 0.99
    assert course.fold.outputs.live[-1].why == "rollback: because (ann)"
    course.go(400, light_is_late)
    leader = course.fold.experts.leader
    assert leader is not frozen and course.weights()[leader.version] > 0.9
    assert course.fold.version == leader.version


def test_v0_is_the_first_model_untouched_also_after_the_world_turned() -> None:
    course = Course()
    course.go(900)
    course.go(300, light_is_late)
    first = course.fold.experts.first
    assert course.fold.experts.leader is not first
    twin = course.fold.pipeline.model.clone()
    labels = {entry.id: entry.y for entry in course.log if hasattr(entry, "y")}
    for entry in course.log:
        if hasattr(entry, "x"):
            twin.learn_one({"weight": entry.x[0]}, labels[entry.id])
    assert course.command("rollback", version="v0") is None
    assert course.fold.experts.leader is first and course.weights()["v0"] > 0.99
    assert digest(first.model) == digest(twin)


def test_a_rollback_by_onset_takes_the_newest_copy_born_before_it_or_else_the_first_model() -> None:
    course = Course()
    course.go(450)
    course.fold.settled = False  # another regime begins
    course.go(400)
    oldest, newest = [one for one in course.fold.experts.models if one.kind == "frozen"]
    assert course.command("rollback", from_position=newest.born_position - 1) is None
    assert course.fold.experts.leader is oldest
    assert course.command("rollback", from_position=newest.born_position) is None
    assert course.fold.experts.leader is newest
    assert course.command("rollback", from_position=5) is None
    assert course.fold.version == "v0"


def test_a_version_that_is_no_expert_any_more_is_brought_from_the_store_and_learns_on() -> None:
    course = Course()
    course.go(850)
    gone = next(v for v in course.versions if course.fold.experts.find(v) is None)
    rollback = Command("r", "rollback", version=gone)
    assert course.fold.needs(rollback) == Replay(gone, -1, -1)
    course.give(rollback, restore(course.versions[gone][1]))
    leader = course.fold.experts.leader
    assert (leader.kind, leader.parent) == ("resumed", gone) and course.weights()[leader.version] > 0.99
    course.go(5)
    assert digest(leader.model) != digest(restore(course.versions[gone][1]))


def test_a_rollback_to_nothing_known_and_a_promotion_of_nothing_are_refused_and_change_nothing() -> None:
    course = Course()
    course.go(450)
    before = weights_of(course)
    assert course.command("rollback", version="v77") == "version 'v77' is not known"
    assert "no product of a retrain takes part" in (course.command("promote") or "")
    assert weights_of(course) == before and course.fold.outputs.live[-1].refused == course.fold.refused


@pytest.mark.parametrize("kind", ["frozen", "first"])
def test_a_pinned_version_predicts_alone_whatever_labels_say_until_a_resume(kind: str) -> None:
    course = Course()
    course.go(450)
    pinned = frozen_of(course) if kind == "frozen" else course.fold.experts.first
    assert course.command("rollback", version=pinned.version, pin=True) is None
    assert course.fold.outputs.live[-1].pinned
    course.go(600, light_is_late)
    assert course.fold.version == pinned.version and course.fold.experts.leader is not pinned
    p = pinned.model.predict_proba_one({"weight": 1.5})[True]
    course.go(1, weight=1.5)
    made = course.fold.outputs.predictions[-1]
    assert (made.p, made.version, made.weight) == (p, pinned.version, 1.0)
    assert course.command("resume") is None
    course.go(1)
    assert course.fold.version == course.fold.experts.leader.version != pinned.version
    assert not course.fold.outputs.live[-1].pinned


def test_what_the_evidence_asked_for_before_does_not_undo_a_pin() -> None:
    course = Course()
    course.go(450)
    pinned, other = course.fold.experts.first, frozen_of(course)
    assert course.command("rollback", version=pinned.version, pin=True) is None
    evidence: Any = object()
    course.fold.drift.lead = evidence  # a request was on its way when the person pinned
    assert "is pinned" in (course.command("rollback", version=other.version, episode="e") or "")
    assert course.fold.pinned and course.fold.version == pinned.version


def test_labels_of_what_was_predicted_before_a_rollback_are_not_held_against_it() -> None:
    course = Course()
    course.go(450)
    made = Course(seed=2)
    made.number = 450
    made.go(1)
    course.give(made.log[0])
    course.command("rollback", version="v0")
    judged = course.fold.drift.labels
    course.give(made.log[1])
    assert course.fold.drift.labels == judged and course.fold.counts.learned == 451


# -- what answers an episode -----------------------------------------------------------------------------------------------------


def turned(**changes: Any) -> Course:
    """A course on which the world turned: another model than the committed one leads, and that was asked to be committed."""
    course = Course(parcels(views=[], **changes))
    quick_losses(course)
    course.go(900, noise=0.05)
    course.go(900, light_is_late, noise=0.05)
    return course


def asked_for(course: Course) -> list[Any]:
    return [data for data in course.told(of="lead") if data.suggested_action in ("rollback", "promote")]


def test_committing_what_leads_by_a_command_that_answers_an_episode_leaves_all_weights_as_they_are() -> None:
    course = turned()
    *_, asked = asked_for(course)
    assert course.fold.experts.committed.version == "v0" != course.fold.version == asked.target_version
    before = weights_of(course)
    answer = {"version": asked.target_version, "episode": asked.episode}
    assert course.command(asked.suggested_action, **answer) is None
    assert weights_of(course) == before
    assert (
        course.fold.experts.committed.version
        == asked.target_version
        == course.fold.outputs.live[-1].committed
    )
    assert course.told()[-1].state == "resolved" and course.told()[-1].episode == asked.episode
    assert course.command(asked.suggested_action, **answer) == "the episode it answers is over"
    course.go(400, light_is_late, noise=0.05)
    assert asked_for(course)[-1] == asked, "nobody is asked again for what was done"


def test_with_approval_the_committed_model_alone_predicts_and_the_request_that_waits_says_what_leads() -> (
    None
):
    course = turned(approval=True)
    experts = course.fold.experts
    assert experts.committed is experts.first is not experts.leader
    course.fold.outputs.predictions.clear()
    p = experts.first.model.predict_proba_one({"weight": 1.5})[True]
    course.go(1, weight=1.5, rule=light_is_late)
    (made,) = course.fold.outputs.predictions
    assert (made.p, made.version, made.weight) == (p, "v0", 1.0)
    *_, asked = asked_for(course)
    assert asked.target_version == experts.leader.version
    assert experts.leader.version in asked.reason and "nats less than v0" in asked.reason
    assert experts.leader.version in asked.command and asked.model["committed"] == "v0"
    before = weights_of(course)
    assert course.command("promote", version=asked.target_version) is None
    assert course.fold.version == asked.target_version and weights_of(course) == before
    assert f"promoted: committed {asked.target_version}" in course.fold.outputs.live[-1].change
    course.go(1, light_is_late)
    assert course.fold.outputs.predictions[-1].version == asked.target_version


def test_without_anything_found_an_answer_to_an_episode_is_refused() -> None:
    course = Course()
    course.go(300)
    for verb in ("retrain", "rollback", "promote"):
        assert course.command(verb, episode="parcels-harm-1") == "the episode it answers is over"


# -- retrain ---------------------------------------------------------------------------------------------------------------------


def test_a_retrains_product_takes_part_as_an_expert_learns_and_may_lead() -> None:
    course = Course()
    course.go(450)
    assert course.command("retrain", from_position=100) is None
    at = course.fold.position - 1
    job = f"c{at}"
    assert course.fold.open_jobs == {job: (100, at, [], "ann", 0)}
    assert "under way" in (course.command("retrain") or "")
    adopt = Command(
        f"adopt-{job}",
        "adopt",
        version="retrain-x",
        from_position=100,
        trained_to=at,
        digest="d",
        join_from=700,
    )
    assert course.fold.needs(adopt) == Replay("retrain-x", 700, at)
    product = course.fold.pipeline.model.clone()
    before = digest(product)
    leader = course.fold.experts.leader
    course.give(adopt, product)
    made = course.fold.experts.models[-1]
    assert (made.kind, made.parent, made.model) == ("retrained", "retrain-x", product)
    assert course.fold.open_jobs == {} and course.weights()[made.version] < 0.01
    assert course.fold.experts.leader is leader and made.version in course.versions
    course.go(300, light_is_late)
    assert digest(product) != before
    assert course.command("promote") is None, "without a name the newest product is meant"
    assert course.fold.experts.leader is made and course.weights()[made.version] > 0.99


def test_an_adoption_of_what_cannot_be_had_or_was_not_asked_for_is_refused() -> None:
    course = Course()
    course.go(300)
    course.command("retrain")
    job = f"c{course.fold.position - 1}"
    course.give(Command(f"adopt-{job}", "adopt", version="gone"), None)
    assert "could not be fetched" in course.fold.refused[f"adopt-{job}"] and course.fold.open_jobs == {}
    course.give(Command("adopt-c7", "adopt", version="x"), Says())
    assert "is over" in course.fold.refused["adopt-c7"]
    assert "retrained" not in course.kinds()


# -- all commands --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["hold", "rollback", "retrain", "accept"])
def test_every_command_shows_in_the_chain_and_in_what_is_live_and_is_carried_out_once(verb: Any) -> None:
    course, without = Course(), Course()
    course.go(250)
    without.go(250)
    assert course.command(verb) is None
    fold = course.fold
    assert fold.chain != without.fold.chain and fold.outputs.live[-1].applied == list(fold.applied)
    assert "because (ann)" in fold.outputs.live[-1].change
    before = fold.chain, weights_of(course), len(fold.experts.models)
    course.give(Command(fold.applied[-1], verb, "because", "ann"))
    assert (fold.chain, weights_of(course), len(fold.experts.models)) == before


def test_a_refused_command_stays_refused_when_it_is_sent_again() -> None:
    course = Course()
    course.give(Command("r", "resume"))
    assert "r" in course.fold.refused
    course.command("hold")
    course.give(Command("r", "resume"))
    assert course.fold.drift.hold is not None

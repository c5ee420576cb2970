"""What people are told: what each finding leads to, under whose name, and that none of it moves a prediction."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from penstock.monitors.episodes import Transition
from penstock.monitors.inputs.guard import RangeGuard
from penstock.monitors.losses.drift import LossMonitor, log_loss
from penstock.stream.demo.event_lines import story_line
from penstock.stream.learn.drift import MOVED_LABELS, MOVED_NATS, PROVEN_LABELS, VERB_OF, DriftRules
from penstock.stream.learn.expert import Expert, Kind
from penstock.stream.learn.skill import WINDOW_LABELS
from penstock.stream.messages import Command
from tests.stream.generated import HOUR, parcels
from tests.stream.learn.courses import Course, heavy_is_late, light_is_late, quick_guard, quick_losses


def found(
    monitor: str, state: Any, since: int = 500, position: int = 600, subject: str = "loss"
) -> Transition:
    return Transition(
        monitor, subject, state, 30.0, 20.0, 0.1, since * 1000, since, position * 1000, position
    )


def watching(**changes: Any) -> DriftRules:
    pipeline = parcels(**changes)
    return DriftRules(pipeline, pipeline.vector_names, guard=True)


def expert(version: str, kind: Kind = "new") -> Expert:
    return Expert(7, version, kind, None, (400, 400_000, 400))


def said(watch: DriftRules) -> list[tuple[str, str | None, int | None]]:
    """(action asked for, target, onset) of everything said, and forget it."""
    told = [
        (r.event.data.suggested_action, r.event.data.target_version, r.event.data.since["position"])
        for r in watch.requests
    ]
    watch.requests.clear()
    return told


def reasons(watch: DriftRules) -> list[tuple[str, str]]:
    """(state, reason) of everything told."""
    return [(r.event.data.state, r.event.data.reason) for r in watch.requests]


# -- harm -----------------------------------------------------------------------------------------------------------------------


def test_lost_skill_asks_for_a_retrain_from_its_onset() -> None:
    watch = watching()
    watch._lost([found("harm", "firing")])
    assert said(watch) == [("retrain", None, 500)] and watch.harm is not None


def test_a_suspicion_wakes_nobody_and_touches_nothing() -> None:
    watch = watching()
    watch._lost([found("harm", "suspected"), found("lead", "suspected")])
    assert said(watch) == []
    assert watch.harm is None and watch.lead is None


def test_when_the_skill_is_back_the_harm_is_over() -> None:
    watch = watching()
    watch._lost([found("harm", "firing")])
    watch._lost([found("harm", "resolved", position=700)])
    assert [action for action, _, _ in said(watch)] == ["retrain", "none"]
    assert watch.harm is None


def test_skill_is_back_only_after_it_was_lost() -> None:
    watch = watching()
    watch._lost([found("harm", "suspected"), found("harm", "resolved", position=650)])
    assert reasons(watch) == []
    watch.requests.clear()
    watch._lost([found("harm", state, since=800, position=900 + n) for n, state in enumerate(
        ("suspected", "firing", "resolved", "suspected", "resolved")
    )])  # fmt: skip
    told = [
        reason for r, (_, reason) in zip(watch.requests, reasons(watch), strict=True) if story_line(r.event)
    ]
    assert told == [
        "the live prediction lost skill over the base rate",
        "the skill over the base rate is back",
    ]


def test_a_finding_tells_the_two_losses_it_compared() -> None:
    watch = watching()
    detail: dict[str, Any] = {"loss": 0.6931, "against": 0.0102}
    watch._lost([replace(found("harm", "firing"), detail=detail)])
    watch._lost([replace(found("lead", "firing"), detail=detail)])
    watch.ask(expert("v7"), 0.97, 600_000, 600)
    (_, harm), (_, lead) = reasons(watch)
    assert harm == "the live prediction lost skill over the base rate: loss 0.693, base rate 0.0102"
    assert lead.endswith(": loss 0.693, all together 0.0102")


def test_an_episode_that_is_over_says_until_when_its_return_is_the_same_one() -> None:
    watch = watching()
    watch._lost([found("harm", "firing"), found("harm", "resolved", position=700)])
    assert [r.event.data.cooldown_until for r in watch.requests] == [None, 700_000 + 6 * HOUR]


def test_a_model_that_was_never_better_than_the_base_rate_is_told_once_with_both_losses() -> None:
    watch = watching()
    chance = random.Random(3)

    def labels(number: int, p: float, base: float) -> list[tuple[str, str, str]]:
        watch.requests.clear()
        for _ in range(number):
            y, at = chance.random() < 0.1, watch.labels * 1000
            watch.label(at, watch.labels, log_loss(p, y), log_loss(base, y), None)
        return [
            (r.event.data.severity, r.event.data.state, r.event.data.reason)
            for r in watch.requests
            if r.event.data.kind == "skill"
        ]

    assert labels(WINDOW_LABELS - 1, 0.5, 0.1) == []
    ((severity, state, reason),) = labels(1, 0.5, 0.1)
    assert (severity, state) == ("warning", "firing")
    assert reason.startswith("the model has never been better than the base rate: loss 0.693, base rate 0.3")
    assert labels(2 * WINDOW_LABELS, 0.5, 0.1) == [], "once"
    ((severity, state, reason),) = labels(WINDOW_LABELS, 0.1, 0.5)
    assert (severity, state) == ("info", "resolved") and "is now better" in reason
    assert labels(2 * WINDOW_LABELS, 0.5, 0.1) == [], "what it loses from here on is the drift rules' to tell"


def test_a_model_that_was_better_in_its_first_window_is_not_told_of() -> None:
    watch = watching()
    for n in range(3 * WINDOW_LABELS):
        p = 0.2 if n < WINDOW_LABELS else 0.5
        watch.label(n, n, log_loss(p, False), log_loss(0.3, False), None)
    assert [r for r in watch.requests if r.event.data.kind == "skill"] == []


# -- lead -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "verb"),
    [("first", "rollback"), ("frozen", "rollback"), ("resumed", "rollback"), ("new", "retrain"),
     ("retrained", "promote"), ("careful", "promote")],
)  # fmt: skip
def test_what_is_asked_for_is_named_by_what_leads(kind: Kind, verb: str) -> None:
    watch = watching()
    watch._lost([found("lead", "firing")])
    assert watch.requests == [], "as long as nobody else leads there is nothing to ask"
    watch.ask(expert("v7", kind), 0.97, 600_000, 600)
    (request,) = watch.requests
    data = request.event.data
    assert request.event.type == f"penstock.{verb}"
    asks = "promote" if verb == "retrain" else verb
    assert (data.suggested_action, data.target_version, data.since["position"]) == (asks, "v7", 500)
    assert f"penstock {asks} parcels --version v7" in data.command
    assert "v7" in data.reason and "97% of the weight" in data.reason and "less than v0" in data.reason
    assert data.model == {"leader": "v0", "committed": "v0"}
    assert data.detected_at == {"at": 600_000, "position": 600}
    assert VERB_OF.get(kind, "promote") == verb


def test_the_same_leader_is_asked_for_once() -> None:
    watch = watching()
    watch._lost([found("lead", "firing")])
    first, lost = Expert(1, "v0", "first", None, (0, 0, 0)), {1: 1.0, 7: 0.0}
    assert not watch.deserves(expert("v7"), first, {1: 0.0, 7: 0.0})
    watch.labels += 1
    assert watch.deserves(expert("v7"), first, lost)
    watch.ask(expert("v7"), 0.97, 600_000, 600)
    assert not watch.deserves(expert("v7"), first, lost) and watch.deserves(expert("v8"), first, lost)


def judged(worse_labels: int, better: float) -> list[bool]:
    """Whether v7 deserves to be committed, at each label while the committed one is found worse than all together.

    From label 9,000 on the committed one is worse for so many labels, and a block of them is lost altogether; meanwhile v7 is
    better than it by `better`.
    """
    chance = random.Random(2)
    watch = watching()
    one, first = expert("v7"), Expert(1, "v0", "first", None, (0, 0, 0))
    lost = {1: 0.0, 7: 0.0}
    found = []
    for number in range(15_000):
        worse = 9_000 <= number < 9_000 + worse_labels
        together = chance.expovariate(3.0)
        committed = together + 0.2 * worse + 2.0 * (9_250 <= number < 9_375) + chance.gauss(0.0, 0.1)
        base = together + 0.25 + chance.gauss(0.0, 0.1)
        watch.label(number * 60_000, number, together, base, (committed, together))
        lost = {1: lost[1] + committed, 7: lost[7] + committed - better * worse}
        if watch.lead is not None and number % 125 == 124:
            found.append(watch.deserves(one, first, lost))
    assert found
    return found


@pytest.mark.parametrize(("better", "deserved"), [(0.0, False), (0.2, True)])
def test_that_all_together_are_better_is_no_reason_to_commit_one_that_is_not(
    better: float, deserved: bool
) -> None:
    assert any(judged(6_000, better)) is deserved


@pytest.mark.parametrize(("worse_labels", "deserved"), [(625, False), (6_000, True)])
def test_a_model_that_is_worse_for_a_while_is_no_reason_to_commit_another_one(
    worse_labels: int, deserved: bool
) -> None:
    """As a storm does: one block is lost altogether, some more are bad, and then the committed one is as good as before."""
    assert any(judged(worse_labels, 0.2)) is deserved


def shared_out(course: Course, weights: list[float]) -> None:
    """The committed first model is found worse, and so much of the weight is each model's: the base rate's is the rest."""
    fold, experts = course.fold, course.fold.experts
    while len(experts.all) < len(weights) + 1:
        born = (fold.counts.learned, fold.at, fold.position)
        experts.add("new", parcels().model.clone(), fold.new_id(), born)
    for layer in experts.gate.weights:
        layer[:] = [1.0 - sum(weights), *weights]
    if fold.drift.lead is None:
        fold.drift._lost([found("lead", "firing")])
    experts.lead(fold.counts.learned)
    fold._commits(600_000, 600)
    for _ in range(4):
        experts.losses = [
            0.0 if one is not experts.committed else loss + 1.0
            for one, loss in zip(experts.all, experts.losses, strict=True)
        ]
        fold.drift.labels += 1
        fold._commits(600_000, 600)


def test_a_model_with_most_of_the_weight_is_asked_for_though_it_has_not_taken_the_lead() -> None:
    """Copies of one another share what is theirs: it takes long until one of them has 95 %."""
    course = Course()
    shared_out(course, [0.1, 0.05, 0.75, 0.05])
    assert course.told() == [], "nobody has four fifths of it"
    shared_out(course, [0.05, 0.05, 0.85, 0.03])
    (asked,) = course.told(of="lead")
    third, second = course.fold.experts.all[3].version, course.fold.experts.all[2].version
    assert asked.target_version == third and f"{third} (a fresh model" in asked.reason
    assert "has 85% of the weight" in asked.reason and course.fold.experts.leader.version == "v0"
    shared_out(course, [0.05, 0.45, 0.4, 0.05])
    shared_out(course, [0.05, 0.85, 0.05, 0.03])
    assert [data.target_version for data in course.told(of="lead")] == [third, second]


@pytest.mark.parametrize(("labels", "one_story"), [(PROVEN_LABELS - 1, True), (PROVEN_LABELS, False)])
def test_a_model_committed_in_an_incident_that_is_not_proven_yet_is_told_of_in_its_story(
    monkeypatch: pytest.MonkeyPatch, labels: int, one_story: bool
) -> None:
    watch = watching()
    watch._lost([found("lead", "firing")])
    watch.ask(expert("v7"), 0.97, 600_000, 600)
    over = [found("lead", "resolved", position=700)]
    monkeypatch.setattr(LossMonitor, "committed_changed", lambda self, at, position, why: over)
    watch.committed(700_000, 700, "committed v7")
    for number in range(labels):
        watch.label((1_000 + number) * 1_000, 1_000 + number, 0.3, 0.6, None)
    late = 1_000 + PROVEN_LABELS + 7 * HOUR // 1_000
    watch._lost([found("lead", "firing", since=late, position=late + 100)])
    watch.ask(expert("v8"), 0.97, late * 1_000, late + 100)
    first, *_, last = watch.requests
    assert (first.event.data.episode == last.event.data.episode) == one_story


def test_a_lead_that_is_over_is_told_only_if_it_was_asked_for() -> None:
    for asked in (False, True):
        watch = watching()
        watch._lost([found("lead", "firing")])
        if asked:
            watch.ask(expert("v7"), 0.97, 600_000, 600)
        watch.requests.clear()
        watch._lost([found("lead", "resolved", position=700)])
        assert len(watch.requests) == asked and watch.lead is None
        answer = Command("c", "promote", version="v7", episode="e1")
        assert watch.answers(answer) == "the episode it answers is over"


def test_an_answer_to_an_episode_that_is_over_comes_too_late() -> None:
    watch = watching()
    verbs: list[Any] = ["retrain", "rollback", "promote"]
    for verb in verbs:
        assert watch.answers(Command("c", verb, episode="e1")) == "the episode it answers is over"
        assert watch.answers(Command("c", verb)) is None, "a person may ask at any time"
    watch._lost([found("harm", "firing")])
    assert watch.answers(Command("c", "retrain", episode="e1")) is None
    assert watch.answers(Command("c", "rollback", episode="e1")) is not None
    watch._lost([found("lead", "firing")])
    for verb in verbs:
        assert watch.answers(Command("c", verb, episode="e1")) is None


def test_a_model_put_in_place_closes_everything_about_the_one_before() -> None:
    course = Course()
    quick_losses(course)
    course.go(900, noise=0.05)
    course.go(600, light_is_late, noise=0.05)
    drift = course.fold.drift
    assert drift.lead is not None
    course.command("rollback", version="v0")
    assert drift.lead is None and drift.harm is None and not drift.losses.witness.firing
    assert drift.losses.lead.phase == drift.losses.harm.phase == "ok"
    assert drift.models == {"leader": "v0", "committed": "v0"}


def test_two_leaders_asked_for_one_after_the_other_are_two_events() -> None:
    watch = watching()
    watch._lost([found("lead", "firing")])
    watch.ask(expert("v7"), 0.97, 600_000, 600)
    watch.ask(expert("v8"), 0.97, 600_000, 600)
    one, other = watch.requests
    assert one.event.id != other.event.id, "a reader that knows the first id would pass over the second"


def test_a_request_is_detected_where_it_is_made_though_the_test_fired_long_before() -> None:
    watch = watching()
    watch._lost([found("lead", "firing", since=500, position=600)])
    watch.ask(expert("v7"), 0.97, 900_000, 900)
    data = watch.requests[-1].event.data
    assert data.detected_at == {"at": 900_000, "position": 900} and data.since["position"] == 500


# -- guards ---------------------------------------------------------------------------------------------------------------------


def milliseconds(weight: float) -> float:
    return 1_000.0 * weight


def broken(course: Course, count: int, weight: Callable[[float], float] = milliseconds) -> None:
    course.go(count, heavy_is_late, weight)


def test_a_guard_alerts_at_once_holds_nothing_and_a_careful_model_takes_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    course = Course()
    quick_guard(course, monkeypatch)
    course.go(450)
    broken(course, 60)
    (alert,) = course.told(of="range")
    assert (alert.state, alert.severity, alert.suggested_action) == ("firing", "critical", "none")
    assert "a model that leaves them out takes part" in alert.reason
    assert course.fold.drift.hold is None and course.fold.counts.held_back == 0
    assert {"careful", "frozen"} <= set(course.kinds())


def test_with_hold_a_guard_stops_weights_and_learning_until_the_values_are_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    course = Course(parcels(views=[], guard="hold"))
    quick_guard(course, monkeypatch)
    course.go(450)
    course.go(60, weight=5_000.0)
    held = course.fold.drift.hold
    assert held is not None and held.by_guard and held.since_position >= 900
    (told,) = course.told(of="range")
    assert told.suggested_action == "hold" and told.command.startswith("penstock resume parcels")
    weights, learned = course.weights(), course.fold.counts.learned
    course.go(50, weight=5_000.0)
    assert (course.weights(), course.fold.counts.learned) == (weights, learned)
    course.go(400)
    assert course.fold.drift.hold is None and course.fold.counts.learned > learned
    assert course.told(of="range")[-1].state == "resolved"
    first, last = course.fold.quarantined[0]
    assert first == held.since_position < last


def test_without_a_guard_nothing_is_told_and_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    course = Course(parcels(views=[], guard=False))
    course.go(450)
    broken(course, 200)
    assert course.fold.drift.guard is None and course.told(of="range") == []
    assert course.fold.counts.learned == 650 and "careful" not in course.kinds()


def test_a_guard_that_recovers_during_a_persons_hold_only_says_so() -> None:
    watch = watching(guard="hold")
    assert watch.hold_by_command(0, 400, Command("c", "hold", "storm")) is None
    watch._guarded([found("range", "firing", subject="weight")])
    said(watch)
    watch._guarded([found("range", "resolved", subject="weight", position=900)])
    assert [action for action, _, _ in said(watch)] == ["none"]
    assert watch.hold is not None and not watch.hold.by_guard and not watch.hold_over


def test_a_second_input_with_an_earlier_onset_moves_the_hold_back() -> None:
    watch = watching(guard="hold")
    watch._guarded(
        [
            found("range", "firing", since=500, subject="weight"),
            found("nulls", "firing", since=450, subject="weight"),
        ]
    )
    assert watch.hold is not None and watch.hold.since_position == 450


def test_a_hold_during_a_hold_is_refused_with_its_reason() -> None:
    watch = watching()
    watch.hold_by_command(0, 400, Command("c", "hold", "storm"))
    assert "storm" in (watch.hold_by_command(0, 410, Command("d", "hold")) or "")
    released = watch.release(0, 420, accept=True)
    assert released is not None and watch.release(0, 421, accept=True) is None


def test_labels_that_believe_values_outside_make_them_the_new_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """The world has moved: whoever leaves the values out predicts worse, and the guard learns them."""
    course = Course()
    guard = quick_guard(course, monkeypatch)
    course.go(450)
    course.go(40, heavy_is_late, lambda weight: 5_000.0 if weight > 0 else -5_000.0)
    assert guard.firing
    course.go(8 * MOVED_LABELS, heavy_is_late, lambda weight: 5_000.0 if weight > 0 else -5_000.0)
    assert not guard.firing
    last = course.told(of="range")[-1]
    assert last.state == "resolved" and "labels say that weight is right as it comes" in last.reason


def test_what_labels_say_of_values_outside_says_nothing_of_nulls(monkeypatch: pytest.MonkeyPatch) -> None:
    course, meant = Course(), []
    guard = quick_guard(course, monkeypatch)
    monkeypatch.setattr(
        RangeGuard, "accept", lambda self, at, position, kinds=("both",): meant.append(kinds) or []
    )
    course.fold.drift.moved(0, 0, MOVED_LABELS, MOVED_NATS)
    assert meant == [("range",)] and course.fold.drift.guard is guard


def test_labels_that_do_not_believe_them_keep_the_guard_firing(monkeypatch: pytest.MonkeyPatch) -> None:
    course = Course()
    guard = quick_guard(course, monkeypatch)
    course.go(450)
    chance = random.Random(5)
    course.go(3 * MOVED_LABELS, heavy_is_late, lambda weight: chance.choice((-5e3, 5e3)))
    assert course.fold.experts.outside_labels >= MOVED_LABELS
    assert course.fold.experts.outside_gap < MOVED_NATS
    assert guard.firing and course.told(of="range")[-1].state == "firing"


def test_what_labels_said_of_outliers_before_says_nothing_of_an_incident_that_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a guard's first label would make broken values the new range."""
    course = Course()
    guard = quick_guard(course, monkeypatch)
    course.go(450)
    course.go(1, weight=9e4)
    experts = course.fold.experts
    experts.outside_labels, experts.outside_gap = 10 * MOVED_LABELS, 1e3
    chance = random.Random(5)
    for _ in range(60):
        if not course.told(of="range"):
            course.go(1, heavy_is_late, chance.choice((-5e3, 5e3)))
    assert guard.firing and experts.outside_labels <= 1
    course.go(MOVED_LABELS // 2, heavy_is_late, lambda weight: chance.choice((-5e3, 5e3)))
    assert guard.firing


def test_a_person_who_accepts_ends_what_a_guard_fires_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ("accept", "resume"):
        course = Course(parcels(views=[], guard="hold" if command == "resume" else True))
        guard = quick_guard(course, monkeypatch)
        course.go(450)
        course.go(60, weight=5_000.0)
        assert guard.firing
        assert course.command(command) is None
        assert not guard.firing and course.fold.drift.hold is None
        last = course.told(of="range")[-1]
        assert last.state == "resolved" and "is accepted" in last.reason
        learned = course.fold.counts.learned
        course.go(100, weight=5_000.0)
        assert course.fold.drift.hold is None and course.fold.counts.learned == learned + 100


def test_what_is_committed_after_an_input_left_its_range_is_told_as_one_story() -> None:
    watch = watching()
    watch._guarded([found("range", "firing", since=480, position=490, subject="weight")])
    (guarded,) = watch.requests
    watch._lost([found("lead", "firing")])
    watch.ask(expert("v7", "careful"), 0.97, 600_000, 600)
    _, asked = watch.requests
    assert asked.event.data.episode == guarded.event.data.episode
    assert asked.event.data.reason.startswith("weight left its range, and v7")
    assert asked.event.data.kind == "lead" and asked.event.id != guarded.event.id
    command = Command("c", "promote", version="v7", episode=asked.event.data.episode)
    assert watch.answers(command) is None
    watch.requests.clear()
    watch.committed(700_000, 700, "committed v7")
    assert watch.answers(command) is not None
    assert all(r.event.data.episode == guarded.event.data.episode for r in watch.requests)


@pytest.mark.parametrize(("hours", "one_story"), [(0, True), (1, True), (48, False)])
def test_what_is_found_long_after_an_input_is_back_in_its_range_is_a_story_of_its_own(
    hours: int, one_story: bool
) -> None:
    watch = watching()
    watch._guarded([found("range", "firing", since=480, position=490, subject="weight")])
    watch._guarded([found("range", "resolved", since=480, position=600, subject="weight")])
    watch.requests.clear()
    later = 601 + hours * HOUR // 1_000
    watch._lost([found("lead", "firing", since=later - 100, position=later)])
    watch.ask(expert("v7"), 0.97, 600_000, 600)
    (asked,) = watch.requests
    assert ("left its range" in asked.event.data.reason) == one_story


def test_what_was_found_before_an_input_left_its_range_is_a_story_of_its_own() -> None:
    watch = watching()
    watch._lost([found("lead", "firing", position=600)])
    watch._guarded([found("range", "firing", since=700, position=710, subject="weight")])
    watch.ask(expert("v7"), 0.97, 600_000, 600)
    guarded, asked = watch.requests
    assert asked.event.data.episode != guarded.event.data.episode


def test_what_people_are_told_does_not_move_a_prediction() -> None:
    """The same log with alarms that come early: other things are told, and every prediction is the same."""
    made = []
    for early in (False, True):
        course = Course()
        if early:
            quick_losses(course)
        course.go(900, noise=0.05)
        course.go(900, light_is_late, noise=0.05)
        made.append(([p.p for p in course.fold.outputs.predictions], len(course.told())))
    assert made[0][0] == made[1][0] and made[0][1] < made[1][1]


# -- ids ------------------------------------------------------------------------------------------------------------------------


def test_the_same_findings_have_the_same_ids_and_others_have_others() -> None:
    ids = []
    for since in (500, 500, 501):
        watch = watching()
        watch._lost([found("harm", "firing", since=since)])
        ids.append(watch.requests[0].event.id)
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("guard", [True, False])
def test_a_guard_only_judges_what_producers_send(guard: bool) -> None:
    watch = DriftRules(parcels(), parcels().vector_names, guard=guard)
    assert (watch.guard is not None) == guard
    if watch.guard is not None:
        assert watch.guard.names == ("weight",)
    assert DriftRules(parcels(inputs=[]), parcels(inputs=[]).vector_names, guard=guard).guard is None


def test_labels_without_skill_lost_say_nothing() -> None:
    watch = watching()
    for number in range(5_000):
        y = number % 3 == 0
        watch.label(number * 1000, number, log_loss(0.4, y), log_loss(0.33, y), None)
    assert watch.requests == []

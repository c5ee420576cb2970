"""The rule table: what each finding leads to, and what it is allowed to touch."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace
from typing import Any

import pytest

from penstock.monitors.episodes import Transition
from penstock.monitors.losses.drift import log_loss
from penstock.stream.demo.event_lines import story_line
from penstock.stream.learn.anchors import Anchor, Frozen
from penstock.stream.learn.drift import DriftRules
from penstock.stream.learn.fold import Fold
from penstock.stream.learn.skill import WINDOW_LABELS
from penstock.stream.messages import Command, LabelRecord, Origin, Sample
from tests.stream.generated import parcels


def found(
    monitor: str, state: Any, since: int = 500, position: int = 600, subject: str = "loss"
) -> Transition:
    return Transition(
        monitor, subject, state, 30.0, 20.0, 0.1, since * 1000, since, position * 1000, position
    )


def watch_with(*versions: int, trying: int | None = None) -> DriftRules:
    """A watch whose anchors holds versions born at these positions."""
    watch = DriftRules(parcels(), parcels().vector_names, guard=True)
    anchors = watch.anchors
    anchors.kept = [Anchor(f"v{at}", at, at, 0, 0, b"", Frozen(f"v{at}", None)) for at in versions]
    if trying is not None:
        anchors.enter(Anchor(f"v{trying}", trying, trying, 0, 0, b"", Frozen(f"v{trying}", None)))
    return watch


def said(watch: DriftRules) -> list[tuple[str, str | None, int | None]]:
    """(action asked for, target, onset) of everything said, and forget it."""
    told = [
        (r.event.data.suggested_action, r.event.data.target_version, r.event.data.since["position"])
        for r in watch.requests
    ]
    watch.requests.clear()
    return told


def test_a_worse_champion_asks_for_a_rollback_to_a_version_born_before_the_onset() -> None:
    watch = watch_with(100, 400, 550)
    watch._lost([found("rollback", "firing")])
    assert said(watch) == [("rollback", "v400", 500)]
    assert [anchor.version for anchor in watch.anchors.kept] == ["v100", "v400"], (
        "what was born since may have learned it"
    )


def test_without_a_version_from_before_it_asks_for_a_retrain() -> None:
    watch = watch_with(550, trying=580)
    watch._lost([found("rollback", "firing")])
    assert said(watch) == [("retrain", None, 500)]
    assert watch.anchors.current is None and watch.anchors.probation is None


def test_the_onset_of_an_open_harm_counts_when_it_lies_earlier() -> None:
    watch = watch_with(100, 400)
    watch._lost([found("harm", "firing", since=300)])
    assert said(watch) == [("retrain", None, 300)]
    watch._lost([found("rollback", "firing", since=500)])
    assert said(watch) == [("rollback", "v100", 300)]


def test_soon_after_a_rollback_it_is_only_noted_and_asked_again_later() -> None:
    watch = watch_with(100)
    watch.replaced("v100", 0, 450, "rolled back", onset=440)
    watch.requests.clear()
    watch._lost([found("rollback", "firing")])
    assert [action for action, _, _ in said(watch)] == ["none"]
    assert watch.deferred is not None


def test_a_suspicion_is_a_note_and_touches_nothing() -> None:
    watch = watch_with(100, 550, trying=580)
    watch._lost([found("harm", "suspected"), found("rollback", "suspected")])
    assert [action for action, _, _ in said(watch)] == ["none", "none"]
    assert watch.harm is None and len(watch.anchors.kept) == 2 and watch.anchors.probation is not None


def test_when_the_skill_is_back_the_harm_is_over() -> None:
    watch = watch_with(100)
    watch._lost([found("harm", "firing")])
    watch._lost([found("harm", "resolved", position=700)])
    assert [action for action, _, _ in said(watch)] == ["retrain", "none"]
    assert watch.harm is None and watch.models.candidate is None


def reasons(watch: DriftRules) -> list[tuple[str, str]]:
    """(state, reason) of everything told."""
    return [(r.event.data.state, r.event.data.reason) for r in watch.requests]


def test_skill_is_back_only_after_it_was_lost() -> None:
    watch = watch_with(100)
    watch._lost([found("harm", "suspected"), found("harm", "resolved", position=650)])
    told = reasons(watch)
    assert [state for state, _ in told] == ["suspected", "withdrawn"]
    assert not any("back" in reason for _, reason in told)
    assert [story_line(r.event) for r in watch.requests] == [None, None], "no news to who follows the story"
    watch.requests.clear()
    watch._lost([found("harm", state, since=800, position=900 + n) for n, state in enumerate(
        ("suspected", "firing", "resolved", "suspected", "resolved")
    )])  # fmt: skip
    told = [
        reason for r, (_, reason) in zip(watch.requests, reasons(watch), strict=True) if story_line(r.event)
    ]
    assert told == ["the model lost skill over the base rate", "the model's skill over the base rate is back"]


def test_a_model_that_was_worse_than_its_anchor_says_so_before_it_says_that_it_no_longer_is() -> None:
    watch = watch_with(100)
    watch._lost([found("rollback", "suspected"), found("rollback", "resolved", position=650)])
    assert not any("no longer" in reason for _, reason in reasons(watch))


def test_a_finding_tells_the_two_losses_it_compared() -> None:
    watch = watch_with(100)
    detail: dict[str, Any] = {"loss": 0.6931, "against": 0.0102}
    watch._lost([replace(found("harm", "firing"), detail=detail)])
    watch._lost([replace(found("rollback", "firing"), detail=detail)])
    assert [reason for _, reason in reasons(watch)] == [
        "the model lost skill over the base rate: loss 0.693, base rate 0.0102",
        "the model is worse than its anchor: loss 0.693, anchor 0.0102",
    ]


def test_a_model_that_was_never_better_than_the_base_rate_is_told_once_with_both_losses() -> None:
    watch = watch_with()
    chance = random.Random(3)

    def labels(number: int, p: float, base: float) -> list[tuple[str, str, str]]:
        watch.requests.clear()
        for _ in range(number):
            y, at = chance.random() < 0.1, watch.labels * 1000
            watch.label(at, watch.labels, log_loss(p, y), log_loss(base, y), None, None, None)
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
    watch = watch_with()
    for n in range(3 * WINDOW_LABELS):
        p = 0.2 if n < WINDOW_LABELS else 0.5
        watch.label(n, n, log_loss(p, False), log_loss(0.3, False), None, None, None)
    assert [r for r in watch.requests if r.event.data.kind == "skill"] == []


def test_an_episode_that_is_over_says_until_when_its_return_is_the_same_one() -> None:
    watch = watch_with()
    watch._lost([found("harm", "firing"), found("harm", "resolved", position=700)])
    assert [r.event.data.cooldown_until for r in watch.requests] == [None, 700_000 + 6 * 3_600_000]


def test_an_input_out_of_its_range_holds_at_once_and_discards_what_was_born_since() -> None:
    watch = watch_with(100, 550)
    watch._guarded([found("range", "firing", subject="weight")])
    assert watch.hold is not None and (watch.hold.since_position, watch.hold.by_guard) == (500, True)
    assert said(watch) == [("hold", None, 500)]
    assert [anchor.version for anchor in watch.anchors.kept] == ["v100"]
    assert watch.is_open


def test_a_second_input_with_an_earlier_onset_moves_the_hold_back() -> None:
    watch = watch_with()
    watch._guarded(
        [
            found("range", "firing", since=500, subject="weight"),
            found("nulls", "firing", since=450, subject="weight"),
        ]
    )
    assert watch.hold is not None and watch.hold.since_position == 450


def test_when_the_data_are_whole_it_asks_to_roll_back_to_before_the_hold() -> None:
    for versions, target in (((100, 400), "v400"), ((), "v0")):
        watch = watch_with(*versions)
        watch._guarded([found("range", "firing", subject="weight")])
        said(watch)
        watch._guarded([found("range", "resolved", subject="weight", position=900)])
        assert said(watch) == [("rollback", target, 500)]
        assert watch.hold is not None and watch.hold.over, "the hold ends with the rollback, not before"


def test_a_guard_that_recovers_during_a_persons_hold_only_says_so() -> None:
    watch = watch_with(100)
    assert watch.hold_by_command(0, 400, Command("c", "hold", "storm")) is None
    watch._guarded([found("range", "firing", subject="weight")])
    said(watch)
    watch._guarded([found("range", "resolved", subject="weight", position=900)])
    assert [action for action, _, _ in said(watch)] == ["none"]
    assert watch.hold is not None and not watch.hold.by_guard


def test_a_hold_during_a_hold_is_refused_with_its_reason() -> None:
    watch = watch_with()
    watch.hold_by_command(0, 400, Command("c", "hold", "storm"))
    assert "storm" in (watch.hold_by_command(0, 410, Command("d", "hold")) or "")
    released = watch.release(0, 420, accept=True)
    assert released is not None and watch.release(0, 421, accept=True) is None


def test_a_replaced_champion_closes_everything_about_the_old_one() -> None:
    watch = watch_with(100, 550, trying=580)
    watch._lost([found("harm", "firing")])
    watch.candidate_started("v9")
    watch.replaced("v100", 0, 700, "rolled back to v100", onset=500)
    assert watch.harm is None and watch.candidate is None and watch.anchors.probation is None
    assert (watch.models.champion, watch.models.anchor, watch.models.candidate) == ("v100", "v100", None)


def test_an_answer_to_an_episode_that_is_over_comes_too_late() -> None:
    watch = watch_with(100)
    for verb in ("retrain", "rollback"):
        answer = Command("c", verb, episode="e1")  # type: ignore[arg-type]
        assert watch.answers(answer) == "the episode it answers is over"
        assert watch.answers(Command("c", verb)) is None, "a person may ask at any time"  # type: ignore[arg-type]
    watch._lost([found("harm", "firing")])
    assert watch.answers(Command("c", "retrain", episode="e1")) is None


def test_every_event_says_who_is_live_since_when_and_the_command_that_carries_it_out() -> None:
    watch = watch_with(100)
    watch._lost([found("rollback", "firing")])
    (request,) = watch.requests
    data = request.event.data
    assert request.topic == "control.rollback" and data.model["champion"] == "v0"
    assert data.since == {"at": 500_000, "position": 500} and data.detected_at == {
        "at": 600_000,
        "position": 600,
    }
    assert data.command.startswith("penstock rollback parcels --version v100 --from-position 500")
    assert request.event.time == "1970-01-01T00:10:00.000Z"


def test_the_same_findings_have_the_same_ids_and_others_have_others() -> None:
    ids = []
    for since in (500, 500, 501):
        watch = watch_with(100)
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
    watch = watch_with()
    for number in range(5_000):
        y = number % 3 == 0
        watch.label(number * 1000, number, log_loss(0.4, y), log_loss(0.33, y), None, None, None)
    assert watch.requests == []


def broken(fold: Fold, count: int, start: int, weight: float | None = None) -> int:
    """Give `count` labelled samples, of this weight or of usual ones; the next number."""
    chance = random.Random(start)
    for number in range(start, start + count):
        x: list[Any] = [0.0] * len(fold.recipes.names or ())
        x[0] = chance.lognormvariate(0, 1) if weight is None else weight
        at = 1_700_000_000_000 + number * 600_000
        fold.step(fold.position, Sample(Origin("a", 0, number, 0), f"e{number}", "k", at, x))
        fold.step(fold.position, LabelRecord(Origin("b", 0, number, 1), f"e{number}", at + 1, bool(x[0] > 1)))
    return start + count


@pytest.fixture(scope="module")
def learned() -> bytes:
    """A fold whose guard has learned its ranges, pickled."""
    fold = Fold(parcels())
    broken(fold, 11_000, 0)
    fold.drift.requests.clear()
    fold.pipeline = None  # type: ignore[assignment]  # its label is a lambda; the fold keeps all that it needs of it
    return pickle.dumps(fold)


def fold_of(learned: bytes) -> Fold:
    fold: Fold = pickle.loads(learned)
    fold.pipeline = parcels()
    return fold


def test_a_rollback_of_an_earlier_episode_does_not_end_a_hold_while_the_data_are_broken(
    learned: bytes,
) -> None:
    fold = fold_of(learned)
    number = broken(fold, 100, 11_000, weight=5_000.0)
    before = fold.counts.learned
    assert fold.drift.hold is not None
    command = Command("late", "rollback", version="v1", from_position=1, episode="earlier")
    fold.step(fold.position, command, fold.pipeline.model.clone())
    assert "late" in fold.refused
    broken(fold, 200, number, weight=5_000.0)
    assert fold.drift.hold is not None and fold.counts.learned == before


def test_after_a_resume_the_guard_takes_the_new_values_for_normal_and_a_later_hold_still_ends(
    learned: bytes,
) -> None:
    fold = fold_of(learned)
    number = broken(fold, 100, 11_000, weight=5_000.0)
    fold.step(fold.position, Command("c", "resume", "the data are right"))
    assert fold.drift.hold is None and fold.drift.guard is not None and not fold.drift.guard.firing
    before = fold.counts.learned
    broken(fold, 200, number, weight=5_000.0)
    assert fold.drift.hold is None and fold.counts.learned == before + 200


def test_what_the_old_champion_predicted_is_not_held_against_the_new_one(learned: bytes) -> None:
    fold = fold_of(learned)
    at = 1_700_000_000_000 + 11_000 * 600_000
    x: list[Any] = [0.0] * len(fold.recipes.names or ())
    fold.step(fold.position, Sample(Origin("a", 0, 11_000, 0), "waits", "k", at, x))
    fold.step(fold.position, Command("c", "rollback", "by hand", version="v1"))
    assert "c" in fold.applied
    labels = fold.drift.labels
    fold.step(fold.position, LabelRecord(Origin("b", 0, 11_000, 1), "waits", at + 1, True))
    assert fold.drift.labels == labels and fold.counts.joined == 11_001


def test_a_rollback_that_waited_for_the_cooldown_is_dated_when_it_is_asked() -> None:
    watch = watch_with(100, 400)
    watch.replaced("v400", 0, 0, "rolled back", onset=0)
    watch.anchors.kept = watch_with(100, 400).anchors.kept
    watch._lost([found("rollback", "firing", position=600)])
    assert [action for action, _, _ in said(watch)] == ["none"] and watch.deferred is not None
    watch.losses.rollback.detector.phase = "firing"
    later = watch.quiet_until_at + 1
    watch.labels = watch.quiet_until
    watch.label(later, 9_000, 0.1, 0.1, 0.1, None, None)
    (request,) = [r for r in watch.requests if r.event.data.suggested_action == "rollback"]
    assert request.event.data.detected_at == {"at": later, "position": 9_000}

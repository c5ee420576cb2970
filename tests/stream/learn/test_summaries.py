"""What is told of an episode that is over: its length, what it cost, what was done, in words."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.stream.demo.episode_rows import episode_lines, episodes
from penstock.stream.demo.event_lines import story_line
from penstock.stream.learn.published import published
from penstock.stream.learn.summaries import in_words
from penstock.stream.messages import Command, ControlEvent, Tick
from penstock.stream.operate.control_lines import tell
from penstock.stream.story_records import Deed, EpisodeSummary
from tests.stream.generated import HOUR, MINUTE, START_MS, parcels
from tests.stream.learn.courses import Course, light_is_late, quick_guard, quick_losses


def ticked(course: Course, hours: float) -> None:
    """Let the clock of the stream stand so many hours after the newest sample."""
    at = START_MS + course.number * MINUTE + round(hours * HOUR)
    course.give(Tick({"parcels.sent/0": at, "parcels.delivered/0": at}, [], at))


def summaries(course: Course) -> list[ControlEvent]:
    events = [request.event for request in course.fold.drift.requests]
    return [event for event in events if event.data.kind == "summary"]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Course:
    """1,500 labels, 200 of impossible values, and 600 that are right again; then what was asked for is committed."""
    monkeypatch.setattr("penstock.stream.learn.drift.PROVEN_LABELS", 100)
    course = Course()
    quick_losses(course)
    quick_guard(course, monkeypatch)
    course.go(1_500, noise=0.1)
    course.go(200, light_is_late, weight=9e4, noise=0.1)
    course.go(600, noise=0.1)
    (asked,) = [data for data in course.told() if data.target_version]
    assert course.command(asked.suggested_action, version=asked.target_version, episode=asked.episode) is None
    course.go(200, noise=0.1)
    return course


def test_an_episode_is_summed_up_once_when_its_cooldown_is_over(broken: Course) -> None:
    ended = max(data.detected_at["at"] for data in broken.told() if data.state == "resolved")
    since = ended - START_MS - broken.number * MINUTE
    ticked(broken, since / HOUR + 5.9)
    assert summaries(broken) == []
    ticked(broken, since / HOUR + 6.1)
    ticked(broken, since / HOUR + 7)
    (event,) = summaries(broken)
    data, first = event.data, broken.told()[0]
    assert (event.type, event.id) == ("penstock.summary", f"{first.episode}-summary-1")
    assert (data.episode, data.state, data.suggested_action) == (first.episode, "over", "none")
    assert data.since == first.since and data.causes == ["weight left its range"]
    summary = data.summary
    assert summary is not None and summary.until["at"] == ended
    assert summary.length_ms == ended - data.since["at"]
    assert summary.records == summary.until["position"] - data.since["position"] > 400
    assert summary.labels == pytest.approx(summary.records / 2, abs=40), "half of the records are labels"
    assert ("range", "weight") in summary.findings
    assert (
        summary.done[0].what == "v3, the leading model as it was, was kept"
        or "was kept" in summary.done[0].what
    )
    assert data.reason.startswith("the episode is over (weight left its range): it lasted ")


def test_its_cost_is_what_the_live_prediction_lost_more_than_was_usual_before(broken: Course) -> None:
    fold = broken.fold
    ticked(broken, 40)
    (event,) = summaries(broken)
    summary = event.data.summary
    assert summary is not None and summary.clean_ratio is not None
    assert (
        summary.excess_nats is not None and summary.live_loss is not None and summary.error_nats is not None
    )
    ledger = fold.drift.losses.ledger
    start = ledger.before(event.data.since["position"] or 0)
    expected = summary.clean_ratio * (ledger.before(summary.until["position"]).base - start.base)
    lost = summary.live_loss * summary.labels
    assert summary.excess_nats == pytest.approx(lost - expected, abs=25)
    assert summary.excess_per_label == pytest.approx(summary.excess_nats / summary.labels)


def test_what_was_judged_while_something_was_open_is_not_usual_later(broken: Course) -> None:
    marks = list(broken.fold.drift.losses.ledger._marks)
    found, over = (data.detected_at["position"] for data in broken.told(of="range"))
    during = [mark.clean for mark in marks if found < mark.position < over]
    assert during and not any(during)
    assert all(mark.clean for mark in marks if mark.position < found)


def test_what_people_and_rules_did_in_it_is_told_with_who_did_it(broken: Course) -> None:
    ticked(broken, 60)
    (event,) = summaries(broken)
    assert event.data.summary is not None
    kept, promoted = event.data.summary.done
    assert kept.what.endswith(", the leading model as it was, was kept") and kept.by == "penstock"
    assert promoted.what.startswith("promoted: committed v") and promoted.by == "ann"
    assert event.data.since["position"] <= kept.position < promoted.position


def test_a_command_stands_in_the_episode_that_its_line_names(broken: Course) -> None:
    episode = broken.told()[0].episode
    version = broken.fold.experts.committed.version
    broken.give(Command("c-by-hand", "rollback", f"episode {episode}", "ann", version))
    ticked(broken, 60)
    (event,) = summaries(broken)
    assert event.data.summary is not None
    assert event.data.summary.done[-1].what.startswith(f"rolled back: {version}")


def test_a_summary_goes_out_at_the_record_that_ends_it_and_not_again(broken: Course) -> None:
    broken.fold.drift.requests.clear()
    broken.fold.outputs.live.clear()
    broken.fold.outputs.predictions.clear()
    ticked(broken, 60)
    here = broken.fold.position - 1
    outs = published(broken.fold, here, "predictions", "")
    assert [out.topic for out in outs] == ["control.alerts"]
    assert published(broken.fold, here + 1, "predictions", "") == []


def told(**changes: Any) -> str:
    given: dict[str, Any] = {
        "until": {"at": 0, "position": 9},
        "length_ms": 5 * 24 * HOUR,
        "records": 9_968,
        "labels": 4_958,
    }
    return in_words(EpisodeSummary(**{**given, **changes}), ["flow has nulls"])


def test_a_summary_reads_as_sentences() -> None:
    costly = told(
        excess_nats=612.4, error_nats=80.2, excess_per_label=0.124, findings=[("nulls", "flow"), ("harm", "loss")],
        done=[Deed(what="v7 was kept", by="penstock"), Deed(what="promoted: committed v9", by="ann")], segments=["pump p3"],
    )  # fmt: skip
    assert costly == (
        "the episode is over (flow has nulls): it lasted 5 d 0 h, 9,968 records of the samples log and 4,958 labels. The live "
        "prediction lost more than clean data would have cost (+612 ± 80 nats, +0.124 a label). Done: v7 was kept (by penstock); "
        "promoted: committed v9 (by ann). Found: nulls of flow, harm of loss. In the segment pump p3"
    )
    assert "It cost nothing that chance would not explain (+12 ± 80 nats" in told(
        excess_nats=12.0, error_nats=80.0, excess_per_label=0.002
    )
    assert "cannot be said" in told() and "Nothing had to be done" in told()


def test_watch_and_the_demo_tell_it_in_whole_sentences(broken: Course) -> None:
    ticked(broken, 60)
    (event,) = summaries(broken)
    lines = tell(event, 0)
    assert "OVER: the episode is over (weight left its range): it lasted" in lines[0]
    assert "(event time); positions" in lines[1] and any(
        "was kept (by penstock)" in line for line in lines[2:]
    )
    assert event.data.reason in (story_line(event) or "")
    (row,) = [
        row for row in episodes([r.event for r in broken.fold.drift.requests]) if row["kind"] == "range"
    ]
    assert row["summary"]["reason"] == event.data.reason and row["causes"] == ["weight left its range"]
    assert event.data.reason in episode_lines(row)[1]


def test_a_hold_by_a_guard_and_its_end_are_things_that_were_done(monkeypatch: pytest.MonkeyPatch) -> None:
    course = Course(parcels(views=[], guard="hold"))
    quick_losses(course)
    quick_guard(course, monkeypatch)
    course.go(1_500, noise=0.1)
    course.go(100, weight=9e4)
    course.go(400, noise=0.1)
    ticked(course, 40)
    (event,) = summaries(course)
    assert event.data.summary is not None
    done = event.data.summary.done
    assert [deed.what for deed in done if "learning" in deed.what] == [
        "learning was held",
        "learning went on",
    ]
    assert {deed.by for deed in done} == {"penstock"}
    assert course.told()[0].severity == "critical", "learning is held"

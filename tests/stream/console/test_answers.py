"""The overview's three answers, what is to come, and what charts draw: words and figures of a state."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from penstock import OnLabels, OnSchedule
from penstock.stream.console.charts import Axis, losses, moments, spans_of, timeline, weights, width_for
from penstock.stream.console.health import LEAST_DAYS, judged, lag, open_findings, overall
from penstock.stream.console.next_steps import next_steps
from penstock.stream.console.past import DAY_MS, HOUR_MS, Point
from penstock.stream.console.state import PipelineState, States
from penstock.stream.control.policy import BREAKER_REQUESTS
from penstock.stream.control.state import PolicyState, Sending
from penstock.stream.messages import LiveModel, encode_json
from penstock.stream.operate.status_found import RoleStatus, Status
from penstock.stream.trigger_records import TriggerShown
from tests.stream.generated import parcels


def hour(number: int, loss: float | None = 0.5, labels: int = 600, **changes: Any) -> Point:
    """An hour, as a point."""
    given = Point(
        since=number * HOUR_MS, at=(number + 1) * HOUR_MS, since_position=number - 1, position=number, labels=labels,
        samples=labels, loss=loss, base=1.0, mixture=loss, first=loss, rate_s=1.0, weights=(("v0", "first", 1.0),),
        leader="v0", committed="v0", live="v0", held=False,
    )  # fmt: skip
    return given._replace(**changes)


def state_of(points: list[Point], **live: Any) -> PipelineState:
    """A state with these hours."""
    found = PipelineState("parcels")
    found.past.hours = points
    given = {"pipeline": "parcels", "version": "v0", "why": "", "at": 0, "position": 0, "recipe": "", **live}
    found.live = LiveModel(**given)
    found.status = Status("parcels", {"learn": RoleStatus(["l"], 3), "control": RoleStatus(["c"], None)})
    found.event_at = points[-1].at if points else 0
    return found


DAYS = [hour(number, 0.4 + 0.02 * (number // 24 % 5)) for number in range(24 * (LEAST_DAYS + 3))]


@pytest.mark.parametrize(
    ("loss", "says", "tone"),
    [
        (0.44, "as usual", "well"),
        (0.30, "better than usual", "well"),
        (0.70, "worse than usual", "warning"),
        (1.00, "worse than the base rate", "critical"),
    ],
)
def test_a_model_is_judged_against_the_base_rate_and_its_own_days_before(
    loss: float, says: str, tone: str
) -> None:
    found = judged(state_of([*DAYS, hour(len(DAYS), loss)]))
    assert (found.said.text, found.said.tone) == (says, tone)
    assert (found.loss, found.base, found.labels, found.position) == (loss, 1.0, 600, len(DAYS))
    assert found.low is not None and 0.4 <= found.low <= found.high <= 0.48


def test_the_newest_value_is_of_labels_enough_and_of_no_more() -> None:
    few = [hour(len(DAYS) + number, 0.9, labels=200) for number in range(3)]
    assert judged(state_of([*DAYS, *few])).labels == 600
    assert judged(state_of([])).said.text == "no labels yet"
    assert judged(state_of([hour(1, 0.9, labels=10)])).said.text == "too few labels"
    assert judged(state_of([hour(1, 0.9)])).said.text == "better than the base rate", "nothing is usual yet"


@pytest.mark.parametrize(
    ("loss", "says"), [(-1.2, "better than the base rate"), (-0.2, "worse than the base rate")]
)
def test_losses_below_zero_are_compared_and_no_share_is_said(loss: float, says: str) -> None:
    points = [one._replace(loss=-1.0, base=-0.5) for one in DAYS]
    found = judged(state_of([*points, hour(len(DAYS), loss, base=-0.5)]))
    assert (found.said.text, found.ratio, found.low) == (says, None, None)


def test_the_word_for_a_pipeline_is_that_of_what_is_wrong_with_it() -> None:
    state = state_of(DAYS)
    assert overall(state).text == "all is well" and lag(state.status) == 3
    assert state.status is not None
    state.status.wrong = ["nobody runs featurize"]
    assert overall(state).text == "something is wrong"
    state.look_failed = "Kafka does not answer"
    assert overall(state).text == "cannot be asked"
    state.status, state.look_failed = None, ""
    assert overall(state).text == "not known yet" and lag(state.status) is None


def test_what_waits_for_a_person_comes_first_and_says_how_to_answer(states: States) -> None:
    state = states.pipelines["parcels"]
    assert state.status is not None
    event = state.events[-1]
    state.status.waiting = {event.id: "retrain: it was asked"}
    first = next_steps(state, parcels())[0]
    assert (first.who, first.what, first.command) == ("a person", "retrain: it was asked", event.data.command)


def test_a_hold_a_pin_and_an_approval_wait_for_a_person() -> None:
    held = next_steps(state_of(DAYS, held=True, held_since=5), None)
    assert (held[0].who, held[0].at) == ("a person", 5) and "penstock resume parcels" in held[0].command
    [pinned] = next_steps(state_of(DAYS, committed="v3", pinned=True, alone=True), None)
    assert "v3 is pinned" in pinned.what and "penstock resume parcels" in pinned.command
    [alone] = next_steps(state_of(DAYS, committed="v3", alone=True), None)
    assert "a person to approve" in alone.what and "penstock promote parcels" in alone.command


def test_a_trigger_says_when_it_is_due() -> None:
    pipeline = parcels(retrain=[OnSchedule("7d"), OnLabels(10_000)])
    shown = [
        TriggerShown(kind="schedule", rule=str(pipeline.retrain[0]), window="all", due_at=7 * DAY_MS),
        TriggerShown(kind="labels", rule="every 10,000 labels", window="all", labels_missing=4_000),
        TriggerShown(kind="inputs", rule="moved inputs", window="all", proposes=True),
    ]
    state = state_of(DAYS, triggers=shown, retraining=["command-7"])
    running, schedule, labels, inputs = next_steps(state, pipeline)
    assert "command-7" in running.what and schedule.at == 7 * DAY_MS
    assert labels.when == "after about 4,000 more labels" and "a retrain is proposed" in inputs.what


def test_the_cooldown_and_the_breaker_say_until_when() -> None:
    pipeline = parcels()
    state = state_of(DAYS)
    assert state.status is not None
    now, day = state.event_at, DAY_MS
    policy = PolicyState("parcels", unattended=[("rollback", now), ("retrain", now - day // 2)])
    policy.sending = {"command-1": Sending("r", 2, 0)}
    state.status.policy = policy
    sent, cooling = next_steps(state, pipeline)
    assert "command-1 was sent 2 times" in sent.what
    assert (cooling.who, cooling.at) == ("not before", now - day // 2 + pipeline.cooldown_ms)
    policy.unattended = [("retrain", now - n * day) for n in range(BREAKER_REQUESTS, 0, -1)]
    assert [step.who for step in next_steps(state, pipeline)] == ["by itself", "a person"]
    assert "3 retrains did not help" in next_steps(state, pipeline)[1].what


def test_what_is_open_is_as_grave_as_what_was_ever_told_of_it(states: States) -> None:
    state = states.pipelines["parcels"]
    event = state.events[-1]
    data = msgspec.structs.replace(event.data, episode="e", kind="range", state="firing", severity="critical")
    later = msgspec.structs.replace(data, severity="info")
    for number, one in enumerate((data, later)):
        told = msgspec.structs.replace(event, id=f"e-{number}", data=one)
        states.step("control.alerts", states.positions["control.alerts"], 10**13 + number, encode_json(told))
    [found] = [one for one in open_findings(state) if one.newest.data.episode == "e"]
    assert (found.severity, found.newest.id, found.first.id) == ("critical", "e-1", "e-0")


# -- charts ------------------------------------------------------------------------------------------------------------------


def test_a_chart_has_as_many_values_as_moments_and_its_table_says_the_same(states: States) -> None:
    state = states.pipelines["parcels"]
    points, hours = state.past.points, state.past.hours
    axis = Axis(points[0].since, state.event_at)
    bands = spans_of(state)
    for chart in (
        losses(points, [], bands, axis),
        losses(points, hours, bands, axis),
        weights(points, bands, axis),
    ):
        assert chart.x and all(len(one.values) == len(chart.x) for one in chart.series)
        assert list(chart.x) == sorted(set(chart.x)) and (chart.since, chart.until) == (
            axis.since / 1000,
            axis.until / 1000,
        )
        assert chart.rows and all(len(row) == len(chart.headings) for row in chart.rows)
    stacked = zip(*(one.values for one in weights(points, bands, axis).series), strict=True)
    assert all(0.98 <= sum(row) <= 1.0001 for row in stacked)
    assert "@" in weights(points, bands, axis).rows[0][-1]


def test_a_long_past_is_drawn_with_a_bounded_number_of_points() -> None:
    points = [hour(number) for number in range(9_000)]
    chart = losses(points, [], [], Axis(0, points[-1].at))
    assert 200 < len(chart.x) <= 400 and len(chart.rows) <= 60
    assert width_for([one._replace(is_day=True) for one in points[:48]], 400) == DAY_MS


def test_all_models_together_are_drawn_only_where_one_predicts_alone() -> None:
    axis = Axis(0, DAYS[-1].at)
    assert len(losses(DAYS, [], [], axis).series) == 3
    alone = [one._replace(live="v3", mixture=0.3) for one in DAYS]
    assert losses(alone, [], [], axis).series[-1].label == "all models together"


def test_what_happened_is_told_by_event_time_with_its_position(states: States) -> None:
    state = states.pipelines["parcels"]
    found = moments(state, 0)
    assert found == sorted(found, key=lambda one: (one.at, one.position)) and {one.lane for one in found} >= {
        "episodes"
    }
    later = int(found[-1].at * 1000)
    assert all(one.at * 1000 >= later for one in moments(state, later))
    chart = timeline(state, spans_of(state), Axis(0, state.event_at))
    assert len(chart.rows) == len(found) and {one.lane for one in chart.marks} <= set(chart.lanes)


def test_an_incident_is_a_band_from_its_onset_to_its_end(states: States) -> None:
    state = states.pipelines["parcels"]
    firsts: dict[str, Any] = {}
    for event in state.events:
        firsts.setdefault(event.data.episode, event)
    found = spans_of(state)
    assert len(found) == len(firsts)
    for span, event in zip(found, firsts.values(), strict=True):
        assert span.since == event.data.since["at"] / 1000 and (span.until is None or span.until > span.since)

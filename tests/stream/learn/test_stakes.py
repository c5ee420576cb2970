"""How urgent it is to tell: by what the live prediction loses, and not by the verb alone."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest

from penstock.monitors.episodes import EpisodeChange, Transition
from penstock.stream.learn.drift import DriftRules
from penstock.stream.learn.expert import Expert
from penstock.stream.messages import ControlData
from tests.stream.generated import parcels

LABELS = 6_000
LIVE, BASE = 0.3, 0.5
"""So the model is worth 0.2 nats, and the margin is a tenth of that."""


def watching(**changes: Any) -> DriftRules:
    """Rules that have judged many clean labels."""
    pipeline = parcels(**changes)
    watch = DriftRules(pipeline, pipeline.vector_names, guard=True)
    for number in range(LABELS):
        even = 0.01 * (-1) ** (number // 125)
        watch.label(number * 60_000, number, LIVE + even, BASE + even, None)
    assert watch.requests == []
    return watch


def found(monitor: str, effect: float, state: Any = "firing", position: int = LABELS) -> Transition:
    return Transition(
        monitor, "weight", state, 30.0, 20.0, effect, (position - 10) * 60_000, position - 10, position * 60_000, position
    )  # fmt: skip


def told(watch: DriftRules) -> ControlData:
    return watch.requests[-1].event.data


@pytest.mark.parametrize(("share", "severity"), [(0.05, "warning"), (0.2, "critical")])
def test_a_guards_alert_is_critical_where_its_share_of_the_records_is_worth_more_than_the_margin(
    share: float, severity: str
) -> None:
    watch = watching()
    watch._guarded([found("range", share)])
    data = told(watch)
    assert (data.severity, data.losses["margin"]) == (severity, pytest.approx(0.02, abs=1e-4))
    assert data.at_stake["per_label"] == pytest.approx(share * 0.2, abs=1e-4)
    per_day = data.at_stake["per_day"]
    assert per_day is not None and per_day == pytest.approx(share * 0.2 * 1_440, rel=0.05), "a label a minute"


def test_what_was_measured_since_the_onset_counts_where_it_is_more() -> None:
    watch = watching()
    watch._guarded([found("range", 0.01)])
    assert told(watch).severity == "warning"
    for number in range(LABELS, LABELS + 1_000):
        watch.label(number * 60_000, number, LIVE + 0.3, BASE, None)
    watch.requests.clear()
    watch._guarded([replace(found("nulls", 0.01, position=LABELS + 1_000), since_position=LABELS - 5)])
    data = told(watch)
    assert data.severity == "critical" and data.at_stake["per_label"] == pytest.approx(0.3, rel=0.2)


def test_while_learning_is_held_an_alert_is_critical_whatever_it_costs() -> None:
    watch = watching(guard="hold")
    watch._guarded([found("range", 0.001)])
    assert told(watch).severity == "critical" and told(watch).suggested_action == "hold"


def test_lost_skill_is_critical_where_it_is_more_than_the_margin() -> None:
    for effect, severity in ((0.01, "warning"), (0.1, "critical")):
        watch = watching()
        watch._lost([found("harm", effect)])
        assert told(watch).severity == severity


@pytest.mark.parametrize(("approval", "severity"), [(False, "warning"), (True, "critical")])
def test_a_committed_model_that_is_worse_costs_something_only_where_it_predicts_alone(
    approval: bool, severity: str
) -> None:
    watch = watching(approval=approval)
    watch._lost([found("lead", 0.2)])
    frozen = Expert(7, "v7", "frozen", None, (400, 400_000, 400))
    watch.ask(frozen, 0.97, LABELS * 60_000, LABELS)
    assert (told(watch).suggested_action, told(watch).severity) == ("rollback", severity)


def test_a_level_that_rose_beyond_the_margin_is_a_warning_and_its_end_is_none() -> None:
    watch = watching()
    watch._lost([found("adwin", 0.1)])
    assert told(watch).severity == "warning"
    watch._lost([found("adwin", 0.1, "resolved", LABELS + 5)])
    assert told(watch).severity == "info" and told(watch).at_stake == {}


def test_where_nothing_was_judged_an_alert_counts_as_critical() -> None:
    pipeline = parcels()
    watch = DriftRules(pipeline, pipeline.vector_names, guard=True)
    watch._guarded([found("range", 0.001)])
    assert told(watch).severity == "critical" and told(watch).at_stake == {"per_label": None, "per_day": None}


def test_the_highest_severity_told_of_a_finding_stays_until_it_is_over() -> None:
    watch = watching()
    assert watch.severities == {}
    watch._guarded([found("range", 0.2)])
    assert watch.severities == {("range", "weight"): "critical"}
    (episode,) = watch.episodes.open
    where = EpisodeChange(episode, found("range", 0.2, position=LABELS + 50), "told again", reopened=False)
    watch._tell("note", where, "now it can be said where weight is broken")
    assert told(watch).severity == "info" and watch.severities == {("range", "weight"): "critical"}
    watch._lost([found("adwin", 0.1)])
    assert watch.severities == {("range", "weight"): "critical", ("adwin", "weight"): "warning"}
    assert pickle.loads(pickle.dumps(watch)).severities == watch.severities, "a snapshot has them"
    watch._guarded([found("range", 0.2, "resolved", LABELS + 100)])
    assert watch.severities == {("adwin", "weight"): "warning"}

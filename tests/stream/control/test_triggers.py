"""The policy on retrains that a trigger of the definition asks for."""

from __future__ import annotations

from typing import Any

import pytest

from penstock import OnInputs, OnSchedule
from penstock.stream import topology
from penstock.stream.control.policy import decide, withdraw
from penstock.stream.control.state import PolicyConfig, PolicyState
from penstock.stream.control.step import control_step
from penstock.stream.messages import ControlEvent, encode_json
from penstock.stream.trigger_records import TriggerFired
from tests.stream.control.test_policy import CONFIG, DAY, asked, event
from tests.stream.control.test_step import pipeline


def fired(
    name: str, kind: str, *, at: int = 0, window: str = "all", episode: str = "e1", **fields: Any
) -> ControlEvent:
    trigger = TriggerFired(kind=kind, rule=f"On{kind.title()}()", window=window)
    return event(name, "retrain", at, trigger=trigger, target_version=None, episode=episode, **fields)


@pytest.mark.parametrize("kind", ["schedule", "labels"])
@pytest.mark.parametrize("config", [CONFIG, PolicyConfig(cooldown_ms=100 * DAY, approval=True)])
def test_what_the_definition_paces_is_never_held_back_and_holds_nothing_back(
    kind: str, config: PolicyConfig
) -> None:
    state = PolicyState("flights")
    for number in range(12):
        decision = decide(state, fired(f"{kind}{number}", kind, at=number, window="30d"), config, 5)
        assert decision is not None and decision.verdict == "accepted" and decision.command is not None
        assert (decision.command.window, decision.command.from_position) == ("30d", None)
        assert (decision.command.trigger, decision.by) == (
            kind,
            "policy",
        ) and "the definition's" in decision.why
    assert state.unattended == [] and state.waiting == {}


@pytest.mark.parametrize("kind", ["schedule", "labels"])
def test_a_trigger_that_the_definition_lacks_needs_the_leave_that_any_finding_needs(kind: str) -> None:
    assert PolicyConfig.of(pipeline(retrain=[])).paced == frozenset()
    assert PolicyConfig.of(pipeline(retrain=[OnSchedule("7d")])).paced == {"schedule"}
    config = PolicyConfig(DAY, approval=True, paced=frozenset({"schedule", "labels"} - {kind}))
    state = PolicyState("flights")
    decision = decide(state, fired("a", kind), config, 5)
    assert decision is not None and decision.verdict == "waits for approval" and decision.command is None


def test_lost_skill_keeps_cooldown_and_breaker_and_learns_from_its_window() -> None:
    state = PolicyState("flights")
    onset = decide(state, fired("a", "performance", window="since-onset"), CONFIG, 5)
    assert onset is not None and onset.command is not None
    assert (onset.command.from_position, onset.command.window, onset.command.trigger) == (
        70,
        "",
        "performance",
    )
    early = decide(state, fired("b", "performance", at=DAY - 1), CONFIG, 5)
    assert early is not None and early.verdict == "refused" and "cooling down" in early.why
    late = decide(state, fired("c", "performance", at=DAY, window="30d"), CONFIG, 5)
    assert late is not None and late.command is not None
    assert (late.command.from_position, late.command.window) == (None, "30d")


def test_moved_inputs_wait_for_a_person_whose_retrain_approves_them() -> None:
    state = PolicyState("flights")
    decision = decide(state, fired("e1-1-retrain", "inputs"), CONFIG, 5)
    assert decision is not None and (decision.verdict, decision.command) == ("waits for approval", None)
    assert (
        decision.why.startswith("moved inputs alone only propose")
        and "to do it now: penstock retrain" in decision.why
    )
    assert state.waiting == {"e1-1-retrain": "retrain"}
    person = decide(state, asked("r1", "retrain"), CONFIG, 5)
    assert (
        person is not None and person.why == "approved: 1 request to retrain waited" and state.waiting == {}
    )


def test_moved_inputs_act_where_the_definition_says_so_within_the_cooldown() -> None:
    state = PolicyState("flights")
    config = PolicyConfig.of(pipeline(retrain=[OnInputs(acts=True)]))
    first = decide(state, fired("a", "inputs"), config, 5)
    second = decide(state, fired("b", "inputs", at=5), config, 5)
    assert first is not None and first.command is not None and first.command.trigger == "inputs"
    assert second is not None and second.verdict == "refused"


def test_nobody_is_asked_any_more_when_the_episode_that_asked_is_over() -> None:
    state, topics = PolicyState("flights"), (topology.CONTROL_RETRAIN, topology.CONTROL_ALERTS)
    for name, episode in (("e1-1-retrain", "e1"), ("e2-1-retrain", "e2")):
        decide(state, fired(name, "inputs", episode=episode), CONFIG, 5)
    over = event("e1-2-note", "none", state="resolved", episode="e1")
    assert control_step(state, topics[1], encode_json(over), CONFIG, 5), "it is stored"
    assert list(state.waiting) == ["e2-1-retrain"]
    assert not withdraw(state, over) and not control_step(state, topics[1], encode_json(over), CONFIG, 5)


@pytest.mark.parametrize(
    ("fields", "default", "window", "position"),
    [
        ({}, None, "all", None),
        ({}, "30d", "30d", None),
        ({}, "since-onset", "all", None),
        ({"window": "7d"}, "30d", "7d", None),
        ({"window": "since-onset"}, None, "since-onset", None),
        ({"from_position": 9}, "30d", "", 9),
    ],
)  # fmt: skip
def test_a_persons_retrain_learns_from_what_is_said_or_from_the_definitions_window(
    fields: dict[str, Any], default: str | None, window: str, position: int | None
) -> None:
    config = PolicyConfig.of(pipeline(retrain=[OnSchedule("7d")], retrain_window=default))
    decision = decide(PolicyState("flights"), asked("r1", "retrain", **fields), config, 5)
    assert decision is not None and decision.command is not None
    command = decision.command
    assert (command.window, command.from_position, command.trigger) == (window, position, "demand")


@pytest.mark.parametrize(
    ("verb", "fields", "why"),
    [
        ("retrain", {"window": "month"}, "window 'month' is none"),
        ("retrain", {"window": "7d", "from_position": 5}, "a window belongs to a retrain without from_position"),
        ("hold", {"window": "7d"}, "a window belongs to a retrain"),
    ],
)  # fmt: skip
def test_a_window_that_is_none_is_refused(verb: str, fields: dict[str, Any], why: str) -> None:
    decision = decide(PolicyState("flights"), asked("r1", verb, **fields), CONFIG, 5)
    assert decision is not None and decision.verdict == "refused" and why in decision.why

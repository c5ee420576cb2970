"""The policy: pure decisions on requests."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.stream.control.policy import (
    BREAKER_REQUESTS,
    MOST_SENDS,
    REMEMBERED_DECISIONS,
    decide,
    due,
    observe,
)
from penstock.stream.control.state import PolicyConfig, PolicyState, decode_state, encode_state
from penstock.stream.messages import ControlData, ControlEvent, ExpertShown, LiveModel, OperatorRequest

DAY = 86_400_000
CONFIG = PolicyConfig(cooldown_ms=DAY)


def event(name: str, verb: str = "rollback", at: int = 0, state: str = "firing", **data: Any) -> ControlEvent:
    return ControlEvent(
        id=name,
        source="penstock/flights",
        type=f"penstock.{verb}",
        subject="loss",
        time="2013-05-13T00:00:00Z",
        data=ControlData(
            pipeline="flights",
            episode=data.pop("episode", "e1"),
            kind="lead",
            state=state,
            severity=data.pop("severity", "critical"),
            reason="v3 (a frozen copy) leads with 98% of the weight",
            detector={},
            since={"at": at - DAY, "position": 70},
            detected_at={"at": at, "position": 100},
            suggested_action=verb,
            **{"target_version": "v3", "command": f"penstock {verb} flights", **data},
        ),
    )


def asked(name: str, verb: Any = "rollback", **fields: Any) -> OperatorRequest:
    return OperatorRequest(
        **{"id": name, "pipeline": "flights", "verb": verb, "reason": "pager", "by": "mia", **fields}
    )


def live(**fields: Any) -> LiveModel:
    return LiveModel(
        **{"pipeline": "flights", "version": "v4", "why": "", "at": 0, "position": 0, "recipe": "r", **fields}
    )


def expert(version: str, kind: str = "frozen") -> ExpertShown:
    return ExpertShown(version=version, kind=kind, weight=0.1)


def verdicts(state: PolicyState, *events: ControlEvent, config: PolicyConfig = CONFIG) -> list[str]:
    found = [decide(state, one, config, 5) for one in events]
    return [one.verdict for one in found if one is not None]


def test_a_request_within_the_policy_becomes_one_command_with_its_onset_and_target():
    decision = decide(PolicyState("flights"), event("a"), CONFIG, 5)
    assert decision is not None and decision.verdict == "accepted" and decision.command is not None
    command = decision.command
    assert (command.verb, command.version, command.from_position, command.episode) == (
        "rollback",
        "v3",
        70,
        "e1",
    )
    assert decision.request == "a" and command.id == "command-a" and command.wall_ms == 5


def test_the_same_request_later_gets_the_same_decision():
    state = PolicyState("flights")
    first = decide(state, event("a"), CONFIG, 5)
    observe(state, live(version="v9"))
    assert decide(state, event("a"), PolicyConfig(approval=True), 99) == first


def test_a_second_retrain_within_the_cooldown_is_refused_and_says_how_to_do_it_by_hand():
    state = PolicyState("flights")
    found = verdicts(state, event("a", "retrain", at=DAY), event("b", "retrain", at=2 * DAY - 1))
    assert found == ["accepted", "refused"]
    assert "penstock retrain flights" in state.decisions["b"].why
    assert state.decisions["b"].command is None


def test_the_cooldown_ends_in_event_time():
    state = PolicyState("flights")
    assert (
        verdicts(state, event("a", "retrain", at=DAY), event("b", "retrain", at=2 * DAY)) == ["accepted"] * 2
    )


def test_a_commit_is_never_cooled_down_nor_stopped_by_the_breaker():
    """It moves no weight, and what leads leads anyhow: rollbacks and promotions with a target, right after one another."""
    state = PolicyState("flights")
    verdicts(state, event("r", "retrain", at=DAY))
    many = [
        event(str(n), ("rollback", "promote")[n % 2], at=DAY + n, target_version=f"v{n}") for n in range(12)
    ]
    assert verdicts(state, *many) == ["accepted"] * 12
    commands = [state.decisions[str(n)].command for n in range(12)]
    assert [one and one.version for one in commands] == [f"v{n}" for n in range(12)]


def test_commits_neither_start_nor_prolong_the_cooldown_of_retrains():
    state = PolicyState("flights")
    commits = [event(str(n), "promote", at=n) for n in range(BREAKER_REQUESTS + 1)]
    assert verdicts(state, *commits, event("r", "retrain", at=9)) == ["accepted"] * (BREAKER_REQUESTS + 2)


def test_the_breaker_makes_the_fourth_retrain_wait_for_a_person():
    state = PolicyState("flights")
    found = verdicts(state, *(event(str(n), "retrain", at=n * 2 * DAY) for n in range(4)))
    assert found == ["accepted"] * BREAKER_REQUESTS + ["waits for approval"]
    assert "did not help, a person should look: v3 (a frozen copy) leads" in state.decisions["3"].why
    assert decide(state, asked("yes", "retrain"), CONFIG, 6).verdict == "accepted"  # type: ignore[union-attr]
    assert state.waiting == {}


def test_the_breaker_forgets_what_lies_ten_cooldowns_back():
    state = PolicyState("flights")
    found = verdicts(state, *(event(str(n), "retrain", at=n * 4 * DAY) for n in range(8)))
    assert found == ["accepted"] * 8


def test_with_approval_nothing_happens_unasked_and_an_operators_command_approves():
    state = PolicyState("flights")
    assert verdicts(state, event("a"), config=PolicyConfig(DAY, approval=True)) == ["waits for approval"]
    assert state.waiting == {"a": "rollback"} and not state.sending
    decision = decide(state, asked("b", version="v3"), PolicyConfig(DAY, approval=True), 6)
    assert decision is not None and decision.verdict == "accepted" and "approved" in decision.why
    assert state.waiting == {}


@pytest.mark.parametrize("verb", ["retrain", "rollback", "promote"])
def test_what_waits_for_approval_says_what_approval_brings_and_how_to_give_it(verb):
    state = PolicyState("flights")
    decision = decide(state, event("a", verb), PolicyConfig(DAY, approval=True), 5)
    assert decision is not None and decision.command is None
    assert decision.why == (
        "the definition asks for a person's approval: v3 (a frozen copy) leads with 98% of the weight; "
        f"to do it now: penstock {verb} flights"
    )


def test_a_pin_goes_from_the_request_to_the_command():
    state = PolicyState("flights")
    for name, pin in (("a", True), ("b", False)):
        decision = decide(state, asked(name, version="v3", pin=pin), CONFIG, 6)
        assert decision is not None and decision.command is not None
        assert decision.command.pin is pin and decision.command.entry().pin is pin
    assert decide(state, event("c"), CONFIG, 6).command.pin is False  # type: ignore[union-attr]


def test_an_operators_request_passes_every_cooldown():
    state = PolicyState("flights")
    verdicts(state, event("a", at=DAY))
    assert [decide(state, asked(str(n)), CONFIG, 6).verdict for n in range(5)] == ["accepted"] * 5  # type: ignore[union-attr]


def test_an_unknown_version_is_refused_with_what_is_known():
    state = PolicyState("flights")
    observe(state, live(experts=[expert("base", "base"), expert("v2"), expert("v3")]))
    decision = decide(state, asked("a", version="v17"), CONFIG, 6)
    assert decision is not None and decision.verdict == "refused"
    assert decision.why == "version 'v17' is not known; known are v2, v3, v4", "the base rate is no version"


@pytest.mark.parametrize("alias", ["champion", "previous"])
def test_an_alias_is_left_to_learn_which_knows_what_it_means_at_that_record(alias: str) -> None:
    state = PolicyState("flights")
    observe(state, live(experts=[expert("v2")]))
    decision = decide(state, asked("r", version=alias), CONFIG, 0)
    assert decision is not None and decision.command is not None and decision.command.version == alias


def test_a_version_with_a_digest_was_looked_up_already_and_is_passed_on_as_it_is() -> None:
    state = PolicyState("flights")
    observe(state, live(experts=[expert("v2.aaaaaa")]))
    for version in ("name/best", "v2"):
        decision = decide(state, asked(f"r{version}", version=version, digest="d"), CONFIG, 0)
        assert decision is not None and decision.command is not None
        assert (decision.command.version, decision.command.digest) == (version, "d")


def test_a_version_seen_earlier_stays_known():
    state = PolicyState("flights")
    observe(state, live(version="v1"))
    observe(state, live(version="v4", experts=[expert("v2")]))
    decision = decide(state, asked("a", version="v1"), CONFIG, 6)
    assert decision is not None and decision.verdict == "accepted"


def test_without_a_version_a_promotion_means_the_product_of_a_retrain():
    state = PolicyState("flights")
    observe(state, live(experts=[expert("base", "base"), expert("v4", "first")]))
    refused = decide(state, asked("a", "promote"), CONFIG, 6)
    assert refused is not None and refused.verdict == "refused"
    assert "no product of a retrain takes part; `penstock retrain` makes one" in refused.why
    observe(state, live(experts=[expert("v4", "first"), expert("v5", "retrained")]))
    accepted = decide(state, asked("b", "promote"), CONFIG, 6)
    assert accepted is not None and accepted.command is not None and accepted.command.version is None


def test_a_named_version_is_promoted_whatever_kind_it_is():
    state = PolicyState("flights")
    observe(state, live(experts=[expert("v4", "first"), expert("v5", "new")]))
    assert decide(state, asked("a", "promote", version="v6"), CONFIG, 6).verdict == "refused"  # type: ignore[union-attr]
    for number, version in enumerate(("v4", "v5")):
        decision = decide(state, asked(str(number), "promote", version=version), CONFIG, 6)
        assert decision is not None and decision.command is not None and decision.command.version == version


def test_people_may_not_adopt():
    decision = decide(PolicyState("flights"), asked("a", "adopt"), CONFIG, 6)
    assert decision is not None and decision.verdict == "refused"


def test_notes_and_holds_already_taken_ask_for_nothing():
    state = PolicyState("flights")
    assert decide(state, event("a", "none"), CONFIG, 5) is None
    assert decide(state, event("b", "hold"), CONFIG, 5) is None
    assert state == PolicyState("flights")


def test_a_command_is_sent_again_until_learn_shows_it():
    state = PolicyState("flights")
    decide(state, event("a"), CONFIG, 0)
    first = due(state, 0, 100)
    assert [c.id for c in first.commands] == ["command-a"] and [d.request for d in first.decisions] == ["a"]
    assert due(state, 99, 100).commands == []
    again = due(state, 100, 100)
    assert again.commands == first.commands and again.decisions == []
    observe(state, live(applied=["command-a"]))
    assert due(state, 10**9, 100) == ([], [], [])


def test_a_refused_command_is_not_sent_again():
    state = PolicyState("flights")
    decide(state, event("a"), CONFIG, 0)
    observe(state, live(refused={"command-a": "no version was born before the onset"}))
    assert due(state, 0, 100).commands == []


def test_sending_ends_after_so_many_times():
    state = PolicyState("flights")
    decide(state, event("a"), CONFIG, 0)
    sends, given_up = 0, []
    for wall_ms in range(0, 10**6, 100):
        found = due(state, wall_ms, 100)
        sends, given_up = sends + len(found.commands), given_up + found.given_up
    assert (sends, given_up) == (MOST_SENDS, ["a"])


def test_a_retry_sends_the_decision_again_and_the_command_while_it_is_open():
    state = PolicyState("flights")
    decide(state, event("a"), CONFIG, 0)
    due(state, 0, 100)
    decide(state, event("a"), CONFIG, 1)
    again = due(state, 1, 100)
    assert len(again.decisions) == len(again.commands) == 1
    observe(state, live(applied=["command-a"]))
    decide(state, event("a"), CONFIG, 2)
    last = due(state, 2, 100)
    assert len(last.decisions) == 1 and last.commands == []


def test_memory_of_decisions_is_bounded():
    state = PolicyState("flights")
    for number in range(REMEMBERED_DECISIONS + 5):
        decide(state, asked(str(number), "hold"), CONFIG, 0)
    assert len(state.decisions) == REMEMBERED_DECISIONS and "0" not in state.decisions


requests = st.lists(
    st.one_of(
        st.builds(
            event,
            st.sampled_from("abcdefgh"),
            st.sampled_from(["retrain", "rollback", "promote", "none"]),
            st.integers(0, 60 * DAY),
        ),
        st.builds(
            asked,
            st.sampled_from("ijkl"),
            st.sampled_from(["retrain", "rollback", "hold", "resume", "promote"]),
        ),
    ),
    max_size=40,
)


@given(requests, st.booleans())
def test_laws_hold_for_any_requests(many, approval):
    """One decision per id, a command only when accepted, cooldown of retrains never exceeded, commits never held
    back; and state survives its encoding."""
    config = PolicyConfig(DAY, approval)
    state = PolicyState("flights")
    first: dict[str, Any] = {}
    unattended: list[tuple[str, int]] = []
    for wall_ms, request in enumerate(many):
        before = copy.deepcopy(state)
        state = decode_state(encode_state(state))
        assert state == before
        decision = decide(state, request, config, wall_ms)
        if decision is None:
            continue
        if request.id not in first and isinstance(request, ControlEvent) and decision.command is not None:
            unattended.append((decision.command.verb, request.data.detected_at["at"]))
        assert first.setdefault(request.id, decision) == decision
        assert (decision.command is not None) == (decision.verdict == "accepted")
    assert not (approval and unattended)
    if not any(isinstance(request, OperatorRequest) for request in many):
        retrains = sorted(at for verb, at in unattended if verb == "retrain")
        assert all(later - at >= DAY for at, later in zip(retrains, retrains[1:], strict=False))
        commits = {one.id for one in many if one.data.suggested_action in ("rollback", "promote")}
        assert approval or all(
            first[name].command is not None for name in commits if first[name].verb != "retrain"
        )


def test_a_person_may_leave_out_the_end_of_a_versions_id() -> None:
    """The newest known version of that number is meant, and the command names it in full."""
    state = PolicyState("flights")
    experts = [expert(version) for version in ("v2.0a0a0a", "v3.0a0a0a", "v3.1b1b1b")]
    observe(state, live(experts=experts, version="v30.1b1b1b"))
    decided = decide(state, asked("r1", version="v3"), PolicyConfig(), 0)
    assert decided is not None and decided.command is not None and decided.command.version == "v3.1b1b1b"
    exact = decide(state, asked("r2", version="v3.0a0a0a"), PolicyConfig(), 0)
    assert exact is not None and exact.command is not None and exact.command.version == "v3.0a0a0a"
    unknown = decide(state, asked("r3", version="v4"), PolicyConfig(), 0)
    assert unknown is not None and unknown.verdict == "refused"

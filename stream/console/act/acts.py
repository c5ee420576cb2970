"""The acts: what each is called, which request it makes, what its form asks for, and who may.

Laws of this file:
- Pure. Whether an act can be done now is told from what the topics said; what cannot be told so is left to the roles to decide.
- Where a request of the same kind waits for approval, asking for it answers that: then it is the approver's, under whatever name.
"""

from __future__ import annotations

from typing import NamedTuple

from penstock.stream.console.page import Role
from penstock.stream.console.state import PipelineState
from penstock.stream.console.words import moment
from penstock.stream.messages import ControlEvent, Verb
from penstock.stream.operate.asking import VERBS

APPROVE = "approve"


class Act(NamedTuple):
    """One act: `verb` is that of its request (empty: the one that waits), `fields` what its form asks for beside a reason."""

    name: str
    title: str
    verb: Verb | None
    what: str
    fields: tuple[str, ...] = ()
    pin: bool = False
    role: Role = "operator"


ACTS: dict[str, Act] = {
    act.name: act
    for act in (
        Act("hold", "Hold learning", "hold", VERBS["hold"]),
        Act("resume", "Resume learning", "resume", VERBS["resume"]),
        Act("accept", "Accept what is seen", "accept", VERBS["accept"]),
        Act("retrain", "Retrain", "retrain", VERBS["retrain"], ("window", "from_position")),
        Act("rollback", "Roll back", "rollback", VERBS["rollback"], ("version", "from_position", "pin")),
        Act("promote", "Promote", "promote", VERBS["promote"], ("version",)),
        Act(
            "pin",
            "Pin a version",
            "promote",
            "give a version all the weight, and let it predict alone whatever labels say, until a resume",
            ("version",),
            pin=True,
        ),
        Act(
            APPROVE,
            "Approve",
            None,
            "have done what a finding asked for and what waits for a person",
            ("waits",),
            role="approver",
        ),
    )
}


class Waiting(NamedTuple):
    """A request that waits for a person: its id, its verb, and the event that asked for it, where that is still known."""

    id: str
    verb: str
    event: ControlEvent | None


def waiting(state: PipelineState) -> list[Waiting]:
    """What waits for a person: as control's state said when it was last looked at, and what was decided since."""
    policy = state.status.policy if state.status else None
    found = dict(policy.waiting) if policy else {}
    for decision in state.decisions:
        if decision.verdict == "waits for approval" and decision.wall_ms > state.looked_ms:
            found[decision.request] = decision.verb
        elif decision.wall_ms > state.looked_ms and decision.by != "policy" and decision.command is not None:
            found = {request: verb for request, verb in found.items() if verb != decision.verb}
    events = {event.id: event for event in state.events}
    return [Waiting(request, verb, events.get(request)) for request, verb in found.items()]


def role_for(act: Act, state: PipelineState, verb: str | None = None) -> Role:
    """Who may ask for it now."""
    verb = act.verb if verb is None else verb
    return "approver" if act.role == "approver" or verb in {one.verb for one in waiting(state)} else act.role


def cannot(act: Act, state: PipelineState) -> str:
    """Why it would come to nothing now, as a sentence; empty if it may do something."""
    live, name = state.live, state.name
    if act.name == APPROVE:
        return "" if waiting(state) else f"Nothing of {name} waits for approval."
    if live is None:
        return ""
    if act.verb == "resume" and not live.held and not live.pinned:
        return f"Learning of {name} is not held, and no version is pinned: there is nothing to resume."
    if act.verb == "hold" and live.held:
        since = f" since {moment(live.held_since)} (event time)" if live.held_since is not None else ""
        return f"Learning of {name} is held already{since}."
    return ""

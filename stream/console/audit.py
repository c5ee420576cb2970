"""Requests, events and decisions → who asked for what, what was decided, why, and what became of it.

Laws of this file:
- Pure. One entry for each thing that was asked for, under the id of the record that asked, which is there for good.
- An answer without its question (the question is older than what is kept) is an entry by itself.
- What was carried out is what a live model names as applied; until one does it is only accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from penstock.stream.console.episodes import placed
from penstock.stream.console.page import NotFound
from penstock.stream.console.state import PipelineState, Told
from penstock.stream.console.words import moment
from penstock.stream.control.policy import SPARED, UNATTENDED
from penstock.stream.control.state import PolicyConfig
from penstock.stream.messages import CommandSent, ControlEvent, Decision, OperatorRequest
from penstock.stream.operate.reporting.moments import Placed

RULE = "by rule"
OUTCOMES = ("carried out", "accepted", "waits for approval", "refused", "no decision yet", "taken")


class Entry(NamedTuple):
    """One thing asked for. `wall_ms` is when the broker got it, `at` the event time of what was found (None of a person's).

    `who` is a person's name or `by rule`. `why` is the decision's; `carried` says where its command was carried out or refused.
    """

    id: str
    wall_ms: int
    at: int | None
    verb: str
    who: str
    reason: str
    version: str
    outcome: str
    why: str
    episode: str
    asked: ControlEvent | OperatorRequest | None
    decision: Decision | None
    carried: Placed | None
    told: tuple[Told, ...]

    @property
    def order(self) -> tuple[int, int, str]:
        """Newest last: by the broker's clock, then by event time."""
        return self.wall_ms, self.at or 0, self.id


def entries(state: PipelineState) -> list[Entry]:
    """Everything that was asked for, newest first."""
    answers: dict[str, list[Told]] = {}
    asks: dict[str, Told] = {}
    for told in state.told:
        message = told.message
        if isinstance(message, Decision):
            answers.setdefault(message.request, []).append(told)
        elif isinstance(message, OperatorRequest) or (
            isinstance(message, ControlEvent) and message.data.suggested_action in (*UNATTENDED, "hold")
        ):
            asks.setdefault(message.id, told)
    carried = {one.command.id: one for one in placed(state)}
    refused = {name: why for live in state.lived for name, why in live.refused.items()}
    applied = {name for live in state.lived for name in live.applied}
    found = [
        _entry(name, asks.get(name), answers.get(name, []), carried, refused, applied)
        for name in dict.fromkeys([*asks, *answers])
    ]
    return sorted(found, key=lambda one: one.order, reverse=True)


def _entry(
    name: str,
    ask: Told | None,
    answers: Sequence[Told],
    carried: Mapping[str, Placed],
    refused: Mapping[str, str],
    applied: set[str],
) -> Entry:
    message = ask.message if ask is not None else None
    asked = message if isinstance(message, ControlEvent | OperatorRequest) else None
    newest = answers[-1].message if answers else None
    decision = newest if isinstance(newest, Decision) else None
    command = decision.command if decision is not None else None
    outcome, why = _outcome(asked, decision, refused, applied)
    told = tuple([*([ask] if ask is not None else []), *answers])
    return Entry(
        name,
        told[0].wall_ms,
        asked.data.detected_at.get("at") if isinstance(asked, ControlEvent) else None,
        _verb(asked, decision),
        _who(asked, decision),
        _reason(asked, command),
        _version(asked, command),
        outcome,
        why,
        asked.data.episode if isinstance(asked, ControlEvent) else (command.episode or "") if command else "",
        asked,
        decision,
        carried.get(command.id) if command is not None else None,
        told,
    )


def _outcome(
    asked: ControlEvent | OperatorRequest | None,
    decision: Decision | None,
    refused: Mapping[str, str],
    applied: set[str],
) -> tuple[str, str]:
    if decision is None:
        if isinstance(asked, ControlEvent) and asked.data.suggested_action == "hold":
            return "taken", "learn held back by itself: what the definition's guard asks for"
        return "no decision yet", ""
    command = decision.command
    if command is not None and command.id in refused:
        return "refused", f"{decision.why}; learn refused it: {refused[command.id]}"
    if command is not None and command.id in applied:
        return "carried out", decision.why
    return decision.verdict, decision.why


def _verb(asked: ControlEvent | OperatorRequest | None, decision: Decision | None) -> str:
    if isinstance(asked, OperatorRequest):
        return asked.verb
    if isinstance(asked, ControlEvent):
        return asked.data.suggested_action
    return decision.verb if decision is not None else ""


def _who(asked: ControlEvent | OperatorRequest | None, decision: Decision | None) -> str:
    if isinstance(asked, OperatorRequest):
        return asked.by or "unknown"
    if asked is not None or decision is None or decision.by == "policy":
        return RULE
    return decision.by or "unknown"


def _reason(asked: ControlEvent | OperatorRequest | None, command: CommandSent | None) -> str:
    if isinstance(asked, OperatorRequest):
        return asked.reason
    if isinstance(asked, ControlEvent):
        return asked.data.reason
    return command.reason if command is not None else ""


def _version(asked: ControlEvent | OperatorRequest | None, command: CommandSent | None) -> str:
    if command is not None and command.version:
        return command.version
    if isinstance(asked, OperatorRequest):
        return asked.version or ""
    return (asked.data.target_version or "") if asked is not None else ""


def chosen(state: PipelineState, wanted: str) -> Entry:
    """The entry of a record: of what asked, of its decision or of its command. Raises `NotFound`."""
    for one in entries(state):
        names = {one.id, *(getattr(told.message, "id", "") for told in one.told)}
        if one.decision is not None and one.decision.command is not None:
            names.add(one.decision.command.id)
        if wanted in names:
            return one
    raise NotFound(
        f"no request or decision {wanted!r} of {state.name!r} is kept here; older ones are in control.commands and "
        "control.decisions, as far as these reach"
    )


class Suppressed(NamedTuple):
    """Something that does not happen by itself because of an entry: up to an event time (ms), or until somebody acts."""

    what: str
    until: int | None
    ends: str


def suppresses(entry: Entry, state: PipelineState, config: PolicyConfig | None) -> list[Suppressed]:
    """What an entry holds back, and until when."""
    found = []
    done = entry.outcome in ("carried out", "accepted", "taken")
    at = entry.at if entry.at is not None else entry.carried.at if entry.carried else None
    if done and entry.verb == SPARED and entry.who == RULE and config is not None and at is not None:
        what = (
            "another retrain that evidence asks for; what a person or the schedule asks for is not held back"
        )
        found.append(Suppressed(what, at + config.cooldown_ms, _passed(at + config.cooldown_ms, state)))
    if done and entry.verb == "hold":
        found.append(Suppressed("learning", None, "until it is resumed or rolled back"))
    pin = (
        entry.decision.command.pin
        if entry.decision is not None and entry.decision.command is not None
        else False
    )
    if done and pin:
        found.append(Suppressed("labels deciding who predicts", None, "until it is resumed"))
    for event in state.events:
        until = event.data.cooldown_until
        if entry.episode and event.data.episode == entry.episode and until is not None:
            what = f"a new episode, if {event.data.kind} of {event.subject} comes back: it is told as the same one"
            found.append(Suppressed(what, until, _passed(until, state)))
    return found


def _passed(until: int, state: PipelineState) -> str:
    return "until" if until > state.event_at else "was until"


def in_words(entry: Entry) -> str:
    """When and where its command was carried out."""
    if entry.carried is None:
        return ""
    return f"{entry.outcome} at {moment(entry.carried.at)} (event time), position {entry.carried.position:,}"

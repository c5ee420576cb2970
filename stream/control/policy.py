"""What becomes of a request: who may change a model, how often, and when a person is asked first.

Laws of this file:
- Pure: state, request and the time are given; the shells (the Faust app, or the loop on the in-memory log) do
  the rest.
- One decision per request id. The same request again gets the same decision, and its command has the same id,
  so that the fold carries it out once however often it is sent.
- Cooldowns and the loop breaker count in event time, so a catch-up of a year is judged as that year was.
- A person's request is never delayed, nor the commitment of a model that already leads by the weight labels gave it, nor a
  retrain whose pace the definition sets (schedule, count of labels): cooldown and breaker hold back only retrain jobs that
  evidence set off, which cost a process and a stretch of the log.
- Moved inputs alone only propose a retrain: a person is asked, unless the definition says otherwise. When the episode that asked
  is over, nobody is asked any more.
"""

from __future__ import annotations

from typing import NamedTuple

from penstock.stream.control.state import PolicyConfig, PolicyState, Sending
from penstock.stream.messages import (
    MAX_NAME_CHARACTERS,
    MAX_REASON_CHARACTERS,
    Command,
    CommandSent,
    ControlEvent,
    Decision,
    LiveModel,
    OperatorRequest,
    encode_json,
)
from penstock.stream.models.version import ALIASES, named
from penstock.stream.triggers import ALL, SINCE_ONSET, WINDOWS, length_ms

UNATTENDED: tuple[str, ...] = ("retrain", "rollback", "promote")
OPERATORS: tuple[str, ...] = ("retrain", "rollback", "promote", "hold", "resume", "accept")
SPARED = "retrain"
"""The verb that cooldown and breaker hold back."""
FROM_POSITION = frozenset({"retrain", "rollback"})
BREAKER_REQUESTS = 3
BREAKER_COOLDOWNS = 10
REMEMBERED_DECISIONS = 128
REMEMBERED_VERSIONS = 256
MOST_SENDS = 6
MOST_BYTES = 400_000  # of all remembered decisions: the whole state is one Kafka record


def decide(
    state: PolicyState, request: ControlEvent | OperatorRequest, config: PolicyConfig, wall_ms: int
) -> Decision | None:
    """The decision on a request, and `state` changed by it.

    None for an event that asks for nothing: a note, or a hold already taken. `wall_ms` only stamps the decision; what is
    decided depends on event time alone.
    """
    known = state.decisions.get(request.id)
    if known is not None:
        send_again(state, known, wall_ms)
        return known
    if isinstance(request, ControlEvent):
        if request.data.suggested_action not in UNATTENDED:
            return None
        decision = _unattended(state, request, config, wall_ms)
    else:
        decision = _asked(state, request, config, wall_ms)
    keep(state, decision)
    if decision.command is not None:
        state.sending[decision.command.id] = Sending(request.id, 0, wall_ms)
    return decision


def withdraw(state: PolicyState, event: ControlEvent) -> bool:
    """Whether an event ended an episode that a person was asked about: nobody is any more."""
    if event.data.state not in ("resolved", "withdrawn"):
        return False
    over = [request for request in state.waiting if request.startswith(f"{event.data.episode}-")]
    for request in over:
        del state.waiting[request]
    return bool(over)


def keep(state: PolicyState, decision: Decision) -> None:
    """Remember a decision and have it published; the oldest ones give way."""
    state.decisions[decision.request] = decision
    size = sum(map(_bytes, state.decisions.values()))
    while len(state.decisions) > REMEMBERED_DECISIONS or (size > MOST_BYTES and len(state.decisions) > 1):
        size -= _bytes(state.decisions.pop(next(iter(state.decisions))))
    state.unsent.append(decision.request)


def _bytes(decision: Decision) -> int:
    """What it takes in the stored state; its request's id stands there up to four times more."""
    return len(encode_json(decision)) + 4 * len(encode_json(decision.request))


def send_again(state: PolicyState, decision: Decision, wall_ms: int) -> None:
    """Somebody asks again: publish the same decision, and the command once more if it is not known to be carried out."""
    if decision.request not in state.unsent:
        state.unsent.append(decision.request)
    if decision.command is not None and decision.command.id in state.sending:
        state.sending[decision.command.id].next_ms = wall_ms


def _unattended(state: PolicyState, event: ControlEvent, config: PolicyConfig, wall_ms: int) -> Decision:
    data = event.data
    verb, at = data.suggested_action, data.detected_at.get("at", 0)
    fired = data.trigger if verb == SPARED else None
    from_onset = verb in FROM_POSITION and (fired is None or fired.window == SINCE_ONSET)
    command = CommandSent(
        id=f"command-{event.id}",
        verb=verb,  # type: ignore[arg-type]
        reason=data.reason[:MAX_REASON_CHARACTERS],
        by="policy",
        version=data.target_version,
        from_position=data.since.get("position") if from_onset else None,
        episode=data.episode,
        wall_ms=wall_ms,
        window="" if fired is None or from_onset else fired.window,
        trigger="" if fired is None else fired.kind,
    )
    if command.trigger in config.paced:
        why = (
            "the definition's schedule"
            if command.trigger == "schedule"
            else "the definition's count of labels"
        )
        return _decision(state, event.id, verb, "accepted", why, "policy", command, wall_ms)
    by_hand = f"; to do it now: {data.command[:MAX_REASON_CHARACTERS]}" if data.command else ""
    waits = _why_wait(state, verb, at, config, command.trigger)
    if waits:
        waits = f"{waits}: {command.reason}"
        state.waiting[event.id] = verb
        while len(state.waiting) > REMEMBERED_DECISIONS:
            del state.waiting[next(iter(state.waiting))]
        return _decision(
            state, event.id, verb, "waits for approval", waits + by_hand, "policy", None, wall_ms
        )
    since = _cooling_since(state, verb, at, config)
    if since is not None:
        ago, least = _hours(at - since), _hours(config.cooldown_ms)
        why = f"{verb} is cooling down: the last one was {ago} before in event time, the least is {least}"
        return _decision(state, event.id, verb, "refused", why + by_hand, "policy", None, wall_ms)
    state.unattended.append((verb, at))
    del state.unattended[:-16]
    return _decision(state, event.id, verb, "accepted", "within the policy", "policy", command, wall_ms)


def _why_wait(state: PolicyState, verb: str, at: int, config: PolicyConfig, trigger: str) -> str:
    """Why a person must look first; empty if none must."""
    if trigger == "inputs" and not config.inputs_act:
        return "moved inputs alone only propose"
    if config.approval:
        return "the definition asks for a person's approval"
    window_ms = BREAKER_COOLDOWNS * config.cooldown_ms
    recent = sum(1 for done, when in state.unattended if done == SPARED and abs(at - when) <= window_ms)
    if verb == SPARED and recent >= BREAKER_REQUESTS:
        return f"{recent} retrains within {_hours(window_ms)} did not help, a person should look"
    return ""


def _cooling_since(state: PolicyState, verb: str, at: int, config: PolicyConfig) -> int | None:
    """The event time of the newest unattended retrain, if this is one and it is less than a cooldown away."""
    if verb != SPARED:
        return None
    for done, when in reversed(state.unattended):
        if done == verb and abs(at - when) < config.cooldown_ms:
            return when
    return None


def _asked(state: PolicyState, request: OperatorRequest, config: PolicyConfig, wall_ms: int) -> Decision:
    """A person's request: refused only where it names what is not there."""
    refusal = _refusal(state, request)
    if refusal:
        return _decision(state, request.id, request.verb, "refused", refusal, request.by, None, wall_ms)
    why = "asked by a person"
    approved = [waits for waits, verb in state.waiting.items() if verb == request.verb]
    if approved:
        why = f"approved: {len(approved)} request{'s' if len(approved) > 1 else ''} to {request.verb} waited"
    for waits in approved:
        del state.waiting[waits]
    state.unattended = [done for done in state.unattended if done[0] != request.verb]
    trains = request.verb == SPARED
    command = CommandSent(
        id=f"command-{request.id}",
        verb=request.verb,
        reason=request.reason,
        by=request.by,
        version=_version(state, request),
        from_position=request.from_position,
        wall_ms=wall_ms,
        pin=request.pin,
        digest=request.digest,
        window=request.window or config.window if trains and request.from_position is None else "",
        trigger="demand" if trains else "",
    )
    return _decision(state, request.id, request.verb, "accepted", why, request.by, command, wall_ms)


def _version(state: PolicyState, request: OperatorRequest) -> str | None:
    """The id that a person means; one with a digest was looked up already."""
    if request.version is None or request.digest is not None:
        return request.version
    return named(request.version, state.versions)


def _refusal(state: PolicyState, request: OperatorRequest) -> str:
    if request.verb not in OPERATORS:
        return f"{request.verb} is not for people: use {', '.join(OPERATORS)}"
    live = state.live
    if request.window and (request.verb != SPARED or request.from_position is not None):
        return "a window belongs to a retrain without from_position"
    if request.window not in ("", ALL, SINCE_ONSET) and length_ms(request.window) is None:
        return f"window {request.window!r} is none: it is {WINDOWS}"
    if request.from_position is not None and request.from_position < 0:
        return f"from_position {request.from_position} is negative"
    if request.verb == "promote" and request.version is None and live is not None:
        if all(one.kind != "retrained" for one in live.experts):
            return "no product of a retrain takes part; `penstock retrain` makes one, or name a --version"
    elif request.verb in ("rollback", "promote") and request.version is not None and live is not None:
        if request.version in ALIASES or request.digest is not None:  # learn knows, and reads the store
            return ""
        if named(request.version, state.versions) not in state.versions:
            return f"version {request.version!r} is not known; known are {', '.join(state.versions[-16:])}"
    return ""


def _decision(
    state: PolicyState,
    request: str,
    verb: str,
    verdict: str,
    why: str,
    by: str,
    command: CommandSent | None,
    wall_ms: int,
) -> Decision:
    return Decision(
        id=f"decision-{request}",
        pipeline=state.pipeline,
        request=request,
        verb=verb,
        verdict=verdict,  # type: ignore[arg-type]
        why=why,
        by=by,
        command=command,
        wall_ms=wall_ms,
    )


def observe(state: PolicyState, live: LiveModel) -> None:
    """What learn says is live: which commands it took, and which versions there are."""
    state.live = live
    for version in (
        *(one.version for one in live.experts if one.kind != "base"),
        live.committed,
        live.version,
    ):
        if version and len(version) <= MAX_NAME_CHARACTERS and version not in state.versions:
            state.versions.append(version)
    del state.versions[:-REMEMBERED_VERSIONS]
    for command in (*live.applied, *live.refused):
        state.sending.pop(command, None)


class Due(NamedTuple):
    """What is to be sent now. `given_up` names requests whose command was sent often enough; it stays in its log."""

    decisions: list[Decision]
    commands: list[Command]
    given_up: list[str]


def due(state: PolicyState, wall_ms: int, every_ms: int) -> Due:
    """Take from `state` the decisions to publish and the commands to send: first, or again because learn does not show them.

    Each send doubles the wait for the next, from `every_ms`. After `MOST_SENDS` learn is not there, and
    nothing is gained by more.
    """
    decisions = [state.decisions[request] for request in state.unsent if request in state.decisions]
    state.unsent.clear()
    commands: list[Command] = []
    given_up: list[str] = []
    for command_id, sending in list(state.sending.items()):
        decision = state.decisions.get(sending.request)
        if decision is not None and sending.next_ms > wall_ms:
            continue
        if decision is None or decision.command is None or sending.sends >= MOST_SENDS:
            given_up.append(sending.request)
            del state.sending[command_id]
            continue
        sending.next_ms = wall_ms + every_ms * 2**sending.sends
        sending.sends += 1
        commands.append(decision.command.entry())
    return Due(decisions, commands, given_up)


def _hours(span_ms: int) -> str:
    hours = abs(span_ms) / 3_600_000
    return f"{hours / 24:.1f} d" if hours >= 48 else f"{hours:.1f} h"

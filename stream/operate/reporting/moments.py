"""What happened to a pipeline's models, in order: what was found, decided, commanded, and put in place.

Laws of this file:
- Pure. Event time orders everything. Who decides has only a clock, so a decision stands where the event or the command stands
  that it answers; one that answers neither has no event time, and comes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from penstock.stream.messages import Command, ControlEvent, Decision, LiveModel, OperatorRequest
from penstock.stream.operate.control_topics import Told

Lane = Literal["found", "decided", "commanded", "in place"]
LANES: tuple[Lane, ...] = ("found", "decided", "commanded", "in place")


class Placed(NamedTuple):
    """A command of the samples log: its position, and the event time (ms) that the log had reached."""

    position: int
    at: int
    command: Command


class Moment(NamedTuple):
    """One thing that happened. `at` is event time in ms, None where only a clock's time (`wall_ms`) is known.

    `mark` is what became of it: an event's severity and state, a decision's verdict, `carried out` or `refused` of a command.
    """

    at: int | None
    wall_ms: int
    lane: Lane
    mark: str
    head: str
    said: str
    by: str = ""
    episode: str = ""
    version: str = ""
    position: int = -1


AS_ASKED = "as was asked for"


def moments(told: Sequence[Told], placed: Sequence[Placed], lived: Sequence[LiveModel]) -> list[Moment]:
    """Everything that happened, by event time."""
    events = [one.message for one in told if isinstance(one.message, ControlEvent)]
    requests = {one.message.id: one.message for one in told if isinstance(one.message, OperatorRequest)}
    by_request = {event.id: event for event in events}
    at_of = {one.command.id: one for one in placed}
    refused = {command: why for one in lived for command, why in one.refused.items()}
    found = [_event(event) for event in events]
    for one in told:
        if isinstance(one.message, Decision):
            found.append(_decision(one.message, one.wall_ms, by_request, requests, at_of))
    found += [_command(one, refused.get(one.command.id)) for one in placed]
    found += _changes(lived)
    last = max((one.at for one in found if one.at is not None), default=0)
    reasons = sorted({event.data.reason for event in events}, key=len, reverse=True)
    return sorted(
        (one if one.lane == "found" else _once(one, reasons) for one in found),
        key=lambda one: (last if one.at is None else one.at, one.at is None, *_place(one)),
    )


def done_in(found: Sequence[Moment], episode: str) -> list[Moment]:
    """What was found, decided and commanded in an episode, and what was put in place by that."""
    own = [one for one in found if one.episode == episode]
    versions = {one.version for one in own if one.lane == "commanded" and one.version}
    return [
        one
        for one in found
        if one.episode == episode or (one.mark == "committed" and one.version in versions)
    ]


def _once(one: Moment, reasons: Sequence[str]) -> Moment:
    """The same without an event's reason, which stands where the event stands."""
    known = next((reason for reason in reasons if len(reason) > len(AS_ASKED) and reason in one.said), None)
    return one if known is None else one._replace(said=one.said.replace(known, AS_ASKED))


def _place(one: Moment) -> tuple[int, int, int]:
    """What stands first of what happened at the same event time: by position, and what a command ended comes after it."""
    ended = one.lane == "found" and one.mark.endswith("resolved")
    return one.position, ended, LANES.index(one.lane)


def _event(event: ControlEvent) -> Moment:
    data = event.data
    at = data.detected_at.get("at") if "position" in data.detected_at else None
    wall_ms = data.detected_at.get("at", 0) if at is None else 0
    head = f"{data.kind} {event.subject}: {data.state}"
    mark = f"{data.severity} {data.state}"
    position = data.detected_at.get("position", -1)
    return Moment(at, wall_ms, "found", mark, head, data.reason, "", data.episode, "", position)


def _decision(
    decision: Decision,
    wall_ms: int,
    events: dict[str, ControlEvent],
    requests: dict[str, OperatorRequest],
    placed: dict[str, Placed],
) -> Moment:
    event, request = events.get(decision.request), requests.get(decision.request)
    sent = None if decision.command is None else placed.get(decision.command.id)
    at = None if event is None else event.data.detected_at.get("at")
    if at is None and sent is not None:
        at = sent.at
    said = decision.why
    if request is not None:
        said = f"{request.by} asked: {request.reason}; {said}"
    episode = "" if event is None else event.data.episode
    version = "" if decision.command is None else decision.command.version or ""
    head = f"{decision.verb}{f' {version}' if version else ''}: {decision.verdict}"
    position = sent.position if sent is not None else -1
    if event is not None:
        position = event.data.detected_at.get("position", -1)
    return Moment(at, wall_ms, "decided", decision.verdict, head, said, decision.by, episode, "", position)


def _command(one: Placed, refusal: str | None) -> Moment:
    command = one.command
    mark = "carried out" if refusal is None else "refused"
    head = f"{command.verb}{f' {command.version}' if command.version else ''}: {mark}"
    said = command.reason if refusal is None else f"{refusal} (asked for: {command.reason})"
    return Moment(
        one.at, command.wall_ms, "commanded", mark, head, said, command.by, command.episode or "",
        command.version or "", one.position,
    )  # fmt: skip


def _changes(lived: Sequence[LiveModel]) -> list[Moment]:
    """Whenever another version is committed or leads, or learning is held or goes on; first what the log begins with."""
    if not lived:
        return []
    committed = led = lived[0].previous or lived[0].committed
    held = False
    found = [Moment(0, 0, "in place", "committed", f"{led} is committed", "the log begins", "", "", led)]
    for one in lived:
        mark, head = "", ""
        if one.committed != committed:
            mark, head = "committed", f"{one.committed} is committed"
        elif one.held != held:
            mark, head = "held", "learning is held" if one.held else "learning goes on"
        elif one.version != led:
            mark, head = "leads", f"{one.version} leads"
        if mark:
            said = one.change or one.why
            found.append(Moment(one.at, 0, "in place", mark, head, said, "", "", one.committed, one.position))
        committed, led, held = one.committed, one.version, one.held
    return found

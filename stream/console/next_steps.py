"""What a pipeline will do next by itself, and when; and what waits for a person.

Laws of this file:
- Pure. Every entry says by which rule, and the command that does it now, or instead, where there is one.
- Moments are event time (ms): that is what schedules, cooldowns and episodes count in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from penstock.stream.console.state import PipelineState
from penstock.stream.control.policy import BREAKER_COOLDOWNS, BREAKER_REQUESTS, SPARED, UNATTENDED
from penstock.stream.control.state import PolicyConfig
from penstock.stream.definitions import Pipeline
from penstock.stream.messages import ControlEvent


class Step(NamedTuple):
    """One thing to come: `when` in words, `at` the event time (ms) where it is known, `command` what does it by hand.

    `episode` is the one that it comes of, empty where it comes of none alone.
    """

    who: Literal["a person", "by itself", "not before"]
    what: str
    when: str = ""
    at: int | None = None
    command: str = ""
    episode: str = ""


def next_steps(state: PipelineState, definition: Pipeline | None) -> list[Step]:
    """What is to come: what waits for a person first, then what is under way, due, and held back."""
    return [
        *_waiting(state),
        *_held(state),
        *_under_way(state),
        *_triggers(state),
        *_held_back(state, definition),
        *_episodes(state),
    ]


def _waiting(state: PipelineState) -> Iterator[Step]:
    """Requests that a person must answer."""
    status = state.status
    events = {event.id: event for event in state.events}
    for request, what in (status.waiting if status else {}).items():
        event = events.get(request)
        command = event.data.command if event is not None else ""
        episode = event.data.episode if event is not None else ""
        yield Step("a person", what, "until a person answers, or the episode ends", None, command, episode)


def _held(state: PipelineState) -> Iterator[Step]:
    live = state.live
    if live is None:
        return
    name = state.name
    if live.held:
        yield Step(
            "a person",
            "learning is held: predictions go on from the models as they are",
            "until resumed or rolled back",
            live.held_since,
            f"penstock resume {name} --reason …",
        )
    if live.pinned:
        yield Step(
            "a person",
            f"{live.committed} is pinned and predicts alone, whatever labels say",
            "until resumed",
            None,
            f"penstock resume {name} --reason …",
        )
    elif live.alone:
        yield Step(
            "a person",
            f"{live.committed} predicts alone: the definition asks a person to approve another",
            "at each change of the committed model",
            None,
            f"penstock promote {name} --version V --reason …",
        )


def _under_way(state: PipelineState) -> Iterator[Step]:
    live, status = state.live, state.status
    for command in live.retraining if live else ():
        yield Step(
            "by itself",
            f"a retrain is under way ({command}); its product then takes part",
            "when its job ends",
        )
    sending = status.policy.sending if status and status.policy else {}
    for command, sent in sending.items():
        yield Step(
            "by itself",
            f"{command} was sent {sent.sends} times and is not shown as carried out",
            "sent again soon",
        )


def _triggers(state: PipelineState) -> Iterator[Step]:
    """The definition's triggers, as they stood when the live model was last told."""
    live = state.live
    for one in live.triggers if live else ():
        verb = "a retrain is proposed" if one.proposes else "a retrain"
        what = f"{verb}: {one.rule}; {one.window}"
        who: Literal["a person", "by itself"] = "by itself"
        if one.due_at is not None:
            yield Step(who, what, "when event time passes it", one.due_at)
        elif one.labels_missing is not None:
            learned = sum(
                block.counts.learned for block in state.blocks if live and block.position > live.position
            )
            left = max(one.labels_missing - learned, 0)
            yield Step(who, what, f"after about {left:,} more labels")
        else:
            yield Step(who, what, "when its condition holds")


def _held_back(state: PipelineState, definition: Pipeline | None) -> Iterator[Step]:
    """The cooldown after a retrain that evidence set off, and the breaker."""
    policy = state.status.policy if state.status else None
    if policy is None or definition is None:
        return
    config = PolicyConfig.of(definition)
    retrains = [at for verb, at in policy.unattended if verb == SPARED]
    now = state.event_at
    if retrains and retrains[-1] + config.cooldown_ms > now:
        yield Step(
            "not before",
            "the next retrain that evidence asks for: the last one is cooling down",
            "",
            retrains[-1] + config.cooldown_ms,
            f"penstock retrain {state.name} --reason …",
        )
    recent = [at for at in retrains if now - at <= BREAKER_COOLDOWNS * config.cooldown_ms]
    if len(recent) >= BREAKER_REQUESTS:
        yield Step(
            "a person",
            f"{len(recent)} retrains did not help: the next one waits for a person to look",
            "until that much event time has passed",
            recent[-BREAKER_REQUESTS] + BREAKER_COOLDOWNS * config.cooldown_ms,
            f"penstock retrain {state.name} --reason …",
        )


def _episodes(state: PipelineState) -> Iterator[Step]:
    """What happens with findings that are open, and until when one that ended counts as the same."""
    for event in state.open:
        data = event.data
        asks = data.suggested_action in UNATTENDED
        wants = f"{data.suggested_action} is suggested" if asks else "labels go on to decide whom to believe"
        yield Step(
            "by itself", f"{data.kind} of {event.subject} is {data.state}: {wants}", "over when it is quiet again", None,
            data.command, data.episode,
        )  # fmt: skip
    newest: dict[str, ControlEvent] = {event.data.episode: event for event in state.events[-50:]}
    for event in newest.values():
        until = event.data.cooldown_until
        if event.data.state in ("resolved", "over") and until is not None and until > state.event_at:
            yield Step(
                "by itself",
                f"if {event.data.kind} of {event.subject} returns it is told as the same episode",
                "until",
                until,
                episode=event.data.episode,
            )

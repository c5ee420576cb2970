"""Transitions → control events that an operator can act on without any other page.

Laws of this file:
- The id of an event is a function of the episode and its transition: a replay repeats ids, never makes new ones.
- `command` is the exact line that carries the suggestion out by hand.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, NamedTuple

from monitors.transitions import Transition
from stream import topics
from stream.messages import ControlData, ControlEvent

TOPIC_OF = {
    "retrain": topics.CONTROL_RETRAIN,
    "rollback": topics.CONTROL_ROLLBACK,
    "promote": topics.CONTROL_ALERTS,
    "hold": topics.CONTROL_ALERTS,
    "note": topics.CONTROL_ALERTS,
}
SEVERITY: dict[str, Literal["info", "warning", "critical"]] = {
    "retrain": "warning",
    "rollback": "critical",
    "promote": "info",
    "hold": "critical",
    "note": "info",
}


class ModelNames(NamedTuple):
    """The version ids of the live models."""

    champion: str
    anchor: str | None
    candidate: str | None


class Request(NamedTuple):
    """A control event and the topic it belongs on."""

    topic: str
    event: ControlEvent


def rfc3339(at_ms: int) -> str:
    """Event time as RFC 3339 in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def describe(
    pipeline: str,
    episode: str,
    verb: str,
    transition: Transition,
    reason: str,
    models: ModelNames,
    losses: dict[str, float | None],
    target: str | None,
    onset: int | None,
) -> Request:
    """The control event that says what `transition` found and what `verb` would do about it."""
    action = "none" if verb == "note" else verb
    data = ControlData(
        pipeline=pipeline,
        episode=episode,
        kind=transition.monitor,
        state=transition.state,
        severity=SEVERITY[verb],
        reason=reason,
        detector={"name": transition.monitor, "subject": transition.subject, **transition.detail.get("detector", {})},
        statistic=transition.statistic,
        threshold=transition.threshold,
        effect=transition.effect,
        since={"at": transition.since_ms, "position": transition.since_position if onset is None else onset},
        detected_at={"at": transition.at_ms, "position": transition.position},
        window=transition.detail.get("window", {}),
        reference=transition.detail.get("reference", {}),
        top_features=transition.detail.get("top_features", []),
        model=models._asdict(),
        losses=losses,
        suggested_action=action,
        target_version=target,
        command=_command_line(pipeline, verb, target, onset, episode),
    )
    event = ControlEvent(
        id=f"{episode}-{verb}-{transition.state}-{transition.position}",
        source=f"penstock/{pipeline}",
        type=f"penstock.{verb}",
        subject=transition.subject,
        time=rfc3339(transition.at_ms),
        data=data,
    )
    return Request(TOPIC_OF[verb], event)


def _command_line(pipeline: str, verb: str, target: str | None, onset: int | None, episode: str) -> str:
    if verb == "note":
        return ""
    version = f" --version {target}" if target else ""
    position = f" --from-position {onset}" if onset is not None else ""
    return f'penstock {verb} {pipeline}{version}{position} --reason "episode {episode}"'

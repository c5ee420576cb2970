"""Transitions → control events that an operator can act on without any other page.

Laws of this file:
- The id of an event is a function of the episode and its transition: a replay repeats ids, never makes new ones.
- `command` is the exact line that carries the suggestion out by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Literal, NamedTuple

from penstock.monitors.episodes import EpisodeChange, Transition
from penstock.stream import topology
from penstock.stream.messages import ControlData, ControlEvent, rfc3339

TOPIC_OF = {
    "retrain": topology.CONTROL_RETRAIN,
    "rollback": topology.CONTROL_ROLLBACK,
    "promote": topology.CONTROL_ALERTS,
    "hold": topology.CONTROL_ALERTS,
    "note": topology.CONTROL_ALERTS,
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


def describe(
    pipeline: str,
    verb: str,
    change: EpisodeChange,
    reason: str,
    models: ModelNames,
    losses: Mapping[str, float],
    target: str | None,
    onset: int | None,
) -> Request:
    """The control event that says what `change` found and what `verb` would do about it.

    `losses` are means over the harm test's reference, in nats per label.
    """
    transition, episode = change.transition, change.episode
    detail = dict(transition.detail)
    shares = detail.pop("shares", None)
    data = ControlData(
        pipeline=pipeline,
        episode=episode.id,
        kind=transition.monitor,
        state=transition.state,
        severity=SEVERITY[verb],
        reason=reason,
        detector={"name": transition.monitor, "subject": transition.subject, "params": detail},
        statistic=_finite(transition.statistic),
        threshold=_finite(transition.threshold),
        effect=_finite(transition.effect),
        since={"at": transition.since_ms, "position": transition.since_position if onset is None else onset},
        detected_at={"at": transition.at_ms, "position": transition.position},
        top_features=_top(transition, shares),
        model=models._asdict(),
        losses={name: _finite(loss) for name, loss in losses.items()},
        suggested_action="none" if verb == "note" else verb,
        target_version=target,
        command=_command_line(pipeline, verb, target, onset, episode.id),
    )
    event = ControlEvent(
        id=f"{change.event_id}-{verb}",
        source=f"penstock/{pipeline}",
        type=f"penstock.{verb}",
        subject=transition.subject,
        time=rfc3339(transition.at_ms),
        data=data,
    )
    return Request(TOPIC_OF[verb], event)


def _top(transition: Transition, shares: object) -> list[tuple[str, float, float]]:
    """(input and bin, its part of the PSI, its share of the window), the largest parts first; empty but for PSI."""
    if not isinstance(shares, list):
        return []
    return [(f"{transition.subject} {one['bin']}", one["psi"], one["window"]) for one in shares[:5]]


def _finite(value: float) -> float | None:
    """JSON has no infinity: None for it."""
    return float(value) if isfinite(value) else None


def _command_line(pipeline: str, verb: str, target: str | None, onset: int | None, episode: str) -> str:
    if verb == "note":
        return ""
    if verb == "hold":  # taken already: what a person may do is end it
        return f'penstock resume {pipeline} --reason "episode {episode}: the data are right"'
    version = f" --version {target}" if target else ""
    position = f" --from-position {onset}" if onset is not None else ""
    return f'penstock {verb} {pipeline}{version}{position} --reason "episode {episode}"'

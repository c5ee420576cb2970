"""Transitions → control events that an operator can act on without any other page.

Laws of this file:
- The id of an event is a function of the episode, its transition and the version it names: a replay repeats ids, never makes
  new ones, and another version asked for is another event.
- `command` is the exact line that carries the suggestion out by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite
from typing import NamedTuple

from penstock.monitors.episodes import EpisodeChange, Transition
from penstock.stream import topology
from penstock.stream.learn.stakes import UNKNOWN, Severity, Stake, severity_of
from penstock.stream.learn.stories import Story
from penstock.stream.messages import ControlData, ControlEvent, rfc3339
from penstock.stream.segment_blamed import SegmentBlamed

TOLD_ONLY = frozenset({"alert", "warn", "note"})


KINDS = {
    "base": "the base rate",
    "first": "the first model, never touched",
    "new": "a fresh model",
    "frozen": "a frozen copy",
    "resumed": "a copy of an earlier model, learning on",
    "retrained": "the product of a retrain",
    "challenger": "a challenger that won its race",
    "careful": "a copy that leaves out values outside their range",
}
"""What each kind of expert is, for people."""

VERB_OF = {"first": "rollback", "frozen": "rollback", "resumed": "rollback", "new": "retrain"}
"""What it is to commit an expert of a kind: to go back to one of before, or to one trained anew; else a promotion."""


class Request(NamedTuple):
    """A control event and the topic it belongs on."""

    topic: str
    event: ControlEvent


def losses_of(change: EpisodeChange) -> str:
    """The two losses that a finding compared, in words to append to a reason; empty where it compared none.

    They are means over the newest labels judged, in nats per label.
    """
    detail = change.transition.detail
    loss, against = detail.get("loss"), detail.get("against")
    if not isinstance(loss, float) or not isinstance(against, float):
        return ""
    other = "all together" if change.transition.monitor == "lead" else "base rate"
    return f": loss {loss:.3g}, {other} {against:.3g}"


def describe(
    pipeline: str,
    verb: str,
    change: EpisodeChange,
    reason: str,
    models: Mapping[str, str | None],
    losses: Mapping[str, float],
    target: str | None,
    onset: int | None,
    story: Story | None = None,
    severity: Severity | None = None,
    stake: Stake = UNKNOWN,
    segment: SegmentBlamed | None = None,
) -> Request:
    """The control event that says what `change` found and what `verb` would do about it.

    `losses` are means over the harm test's reference, in nats per label. With `story` the event is told under its id. A
    retrain that names a version is made already, by a model born since the onset: what is asked is to commit it. `segment` is the
    one that carries what was found.
    """
    transition, episode = change.transition, change.episode
    told_as = episode.id if story is None else story.id
    asks = "promote" if verb == "retrain" and target is not None else verb
    detail = dict(transition.detail)
    shares = detail.pop("shares", None)
    over = transition.state == "resolved"
    data = ControlData(
        pipeline=pipeline,
        episode=told_as,
        kind=transition.monitor,
        state="withdrawn" if change.withdrawn else transition.state,
        severity=severity or severity_of(verb, transition, stake, inf),
        reason=reason,
        detector={"name": transition.monitor, "subject": transition.subject, "params": detail},
        statistic=_finite(transition.statistic),
        threshold=_finite(transition.threshold),
        effect=_finite(transition.effect),
        since={"at": transition.since_ms, "position": transition.since_position if onset is None else onset},
        detected_at={"at": transition.at_ms, "position": transition.position},
        top_features=_top(transition, shares),
        model=dict(models),
        losses={name: _finite(loss) for name, loss in losses.items()},
        suggested_action="none" if verb in TOLD_ONLY else asks,
        target_version=target,
        cooldown_until=episode.cooldown_until_ms if over and episode.fired else None,
        command=_command_line(pipeline, asks, target, onset, told_as),
        causes=[] if story is None else list(story.causes.values()),
        at_stake={} if over else {"per_label": stake.per_label, "per_day": stake.per_day},
        segment=segment,
    )
    event = ControlEvent(
        id=f"{change.event_id}-{verb}" + (f"-{target}" if target else ""),
        source=f"penstock/{pipeline}",
        type=f"penstock.{verb}",
        subject=transition.subject,
        time=rfc3339(transition.at_ms),
        data=data,
    )
    return Request(topology.EVENT_TOPICS[verb], event)


def _top(transition: Transition, shares: object) -> list[tuple[str, float, float]]:
    """(input and bin, its part of the PSI, its share of the window), the largest parts first; empty but for PSI."""
    if not isinstance(shares, list):
        return []
    return [(f"{transition.subject} {one['bin']}", one["psi"], one["window"]) for one in shares[:5]]


def _finite(value: float) -> float | None:
    """JSON has no infinity: None for it."""
    return float(value) if isfinite(value) else None


def _command_line(pipeline: str, verb: str, target: str | None, onset: int | None, episode: str) -> str:
    if verb in TOLD_ONLY:
        return ""
    if verb == "hold":  # taken already: what a person may do is end it
        return f'penstock resume {pipeline} --reason "episode {episode}: the data are right"'
    version = f" --version {target}" if target else ""
    position = f" --from-position {onset}" if onset is not None and verb in ("retrain", "rollback") else ""
    return f'penstock {verb} {pipeline}{version}{position} --reason "episode {episode}"'

"""Drift as episodes: what the monitors report, and how reports become one incident.

Laws of this file
- A monitor speaks only in transitions (suspected, firing, resolved); a level that does not change is never
  repeated.
- An episode's id is a hash of pipeline, monitor, subject and the onset at its first transition: a replayed
  log gives the same ids, so a repeated event is recognisable.
- A subject that comes back within the cooldown, or with the same onset, reopens its episode. One incident, one id.
- State is bounded: one episode per (monitor, subject), the open ones and the last closed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

State = Literal["suspected", "firing", "resolved"]


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of a monitor's mind about one subject.

    Attributes:
        monitor: which statistic speaks: `harm`, `adwin`, `lead`, `skill`, `failures`, `psi`, `range`, `nulls`,
            `labels`, `segment`.
        subject: what it speaks about: `loss`, or the name of an input.
        state: `suspected` (worth waiting for), `firing` (act) or `resolved` (over, or suspicion withdrawn).
        statistic: the value that crossed; its meaning is the monitor's.
        threshold: what it crossed.
        effect: how large the change is, in the monitor's own units (nats, PSI, share of samples).
        since_ms, since_position: estimated onset, event time and log position.
        at_ms, position: where the log stood when this was decided.
        detail: what an operator needs to understand it; plain JSON values.
    """

    monitor: str
    subject: str
    state: State
    statistic: float
    threshold: float
    effect: float
    since_ms: int
    since_position: int
    at_ms: int
    position: int
    detail: dict[str, object] = field(default_factory=dict)


def episode_id(pipeline: str, monitor: str, subject: str, since_position: int) -> str:
    """Name an episode; the same log gives the same name.

    >>> episode_id("flights", "harm", "loss", 1200) == episode_id("flights", "harm", "loss", 1200)
    True
    """
    text = "\x1f".join((pipeline, monitor, subject, str(since_position)))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(slots=True)
class Episode:
    """One incident of one subject, from its first suspicion to its end.

    `since_*` follows the latest estimate of the onset; `id` keeps the first. `sequence` counts the
    transitions: (id, sequence) names each published event. `fired` stays true once the episode has fired.
    """

    id: str
    monitor: str
    subject: str
    state: State
    since_ms: int
    since_position: int
    fired: bool = False
    cooldown_until_ms: int | None = None
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class EpisodeChange:
    """What to publish: the episode as it stands after the transition, and the transition.

    `event_id` is deterministic and unique in the pipeline. `reopened` says that the episode came back within
    its cooldown or with its onset, so an operator who was paged for it already need not be paged again. `withdrawn` says that
    it was only suspected since then: nothing was found that could be over now.
    """

    episode: Episode
    transition: Transition
    event_id: str
    reopened: bool
    withdrawn: bool = False


class EpisodeLog:
    """Merge transitions into episodes.

    Args:
        pipeline: part of every id.
        cooldown_ms: a subject that speaks again this soon after it resolved reopens its episode.

    Transitions must come in the order of the log. A transition that changes nothing (a repeated state, or a
    resolution of something never opened) is dropped.
    """

    __slots__ = ("_episodes", "cooldown_ms", "pipeline")

    def __init__(self, pipeline: str, cooldown_ms: int = 6 * 3_600_000) -> None:
        if cooldown_ms < 0:
            raise ValueError(f"cooldown_ms must not be negative, got {cooldown_ms}")
        self.pipeline = pipeline
        self.cooldown_ms = cooldown_ms
        self._episodes: dict[tuple[str, str], Episode] = {}

    def apply(self, transition: Transition) -> EpisodeChange | None:
        """Take one transition; return what to publish, or None if nothing changed."""
        key = (transition.monitor, transition.subject)
        episode = self._episodes.get(key)
        closed = episode is None or episode.state == "resolved"
        if closed and transition.state == "resolved":
            return None
        if episode is not None and episode.state == transition.state:
            return None
        reopened = False
        named = episode_id(self.pipeline, *key, transition.since_position)
        # A suspicion that was withdrawn may come back with its old onset: another episode of that name would repeat its events'.
        if episode is None or (
            closed and episode.id != named and not self._cooling(episode, transition.at_ms)
        ):
            episode = self._episodes[key] = Episode(
                id=named,
                monitor=transition.monitor,
                subject=transition.subject,
                state=transition.state,
                since_ms=transition.since_ms,
                since_position=transition.since_position,
            )
        elif closed:
            reopened = True
        withdrawn = transition.state == "resolved" and episode.state == "suspected"
        _advance(episode, transition, self.cooldown_ms)
        return EpisodeChange(episode, transition, f"{episode.id}-{episode.sequence}", reopened, withdrawn)

    def apply_all(self, transitions: Sequence[Transition]) -> list[EpisodeChange]:
        """Take transitions in order; return the changes to publish."""
        if not transitions:
            return []
        changes = (self.apply(transition) for transition in transitions)
        return [change for change in changes if change is not None]

    def get(self, monitor: str, subject: str) -> Episode | None:
        """The latest episode of a subject, open or closed."""
        return self._episodes.get((monitor, subject))

    @property
    def open(self) -> list[Episode]:
        """Episodes that are suspected or firing, oldest onset first."""
        live = [episode for episode in self._episodes.values() if episode.state != "resolved"]
        return sorted(live, key=lambda episode: (episode.since_position, episode.id))

    @property
    def firing(self) -> list[Episode]:
        """Episodes that are firing, oldest onset first."""
        return [episode for episode in self.open if episode.state == "firing"]

    def _cooling(self, episode: Episode, at_ms: int) -> bool:
        # A suspicion that was withdrawn without firing needs no cooldown: nobody was asked to act on it.
        until_ms = episode.cooldown_until_ms
        return episode.fired and until_ms is not None and at_ms < until_ms


def _advance(episode: Episode, transition: Transition, cooldown_ms: int) -> None:
    """Move an episode to the transition's state."""
    episode.state = transition.state
    episode.sequence += 1
    if transition.state == "resolved":
        episode.cooldown_until_ms = transition.at_ms + cooldown_ms
        return
    episode.cooldown_until_ms = None
    # Reopened or fired, the incident began where its earliest onset was seen.
    if transition.since_position < episode.since_position or not episode.fired:
        episode.since_ms = transition.since_ms
        episode.since_position = transition.since_position
    if transition.state == "firing":
        episode.fired = True

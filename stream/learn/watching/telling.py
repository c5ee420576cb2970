"""How a finding becomes an event: its episode, its story, and the request that is published.

Laws of this file:
- What is told is decided by the transition alone: a level that does not change is told once.
- One incident is one story: what began in the course of another finding is told under its name (`stories`).
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.monitors.episodes import EpisodeChange, EpisodeLog
from penstock.monitors.losses.drift import LossMonitor
from penstock.stream.learn.events import Request, describe, losses_of
from penstock.stream.learn.retrain_triggers import RetrainTriggers
from penstock.stream.learn.stories import LOSS, Stories
from penstock.stream.learn.watching.watcher import Finding


class Telling:
    """Episodes, stories, and `requests`: what is to be published, in order. `fired` asks that the leading model be kept."""

    def __init__(self, pipeline: str, losses: LossMonitor, triggers: RetrainTriggers) -> None:
        self.pipeline = pipeline
        self.losses = losses
        self.triggers = triggers
        self.episodes = EpisodeLog(pipeline)
        self.stories = Stories()
        self.fired = False
        self.requests: list[Request] = []
        self.models: dict[str, str | None] = {"leader": "v0", "committed": "v0"}

    def hear(self, findings: Sequence[Finding]) -> None:
        """Tell what watchers found."""
        for transition, verb, reason, forks in findings:
            for change in self.episodes.apply_all([transition]):
                self._tell(verb, change, reason)
                if forks and transition.state == "firing":
                    self.fired = True

    def _tell(
        self, verb: str, change: EpisodeChange, reason: str, target: str | None = None, onset: int | None = None
    ) -> None:  # fmt: skip
        live, base = self.losses.harm.reference_means()
        losses = {"live": live, "base_rate": base, "margin": self.losses.margin}
        story = self.stories.of(change)
        if story.causes and change.transition.monitor in LOSS and change.transition.state == "firing":
            reason = f"{', '.join(story.causes)}, and {reason}"
        reason += losses_of(change)
        told = describe(self.pipeline, verb, change, reason, self.models, losses, target, onset, story.id)
        self.requests.append(self.triggers.claim(told))

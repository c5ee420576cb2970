"""How a finding becomes an event: its episode, its story, and the request that is published.

Laws of this file:
- What is told is decided by the transition alone: a level that does not change is told once.
- One incident is one story: what began in the course of another finding is told under its name (`stories`), and summed up when it
  is over. How urgent it is follows from what is at stake (`stakes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from penstock.monitors.episodes import EpisodeChange, EpisodeLog, Transition
from penstock.monitors.losses.drift import LossMonitor
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.causes import GUARDS, followers_of, sort_of
from penstock.stream.learn.events import Request, describe, losses_of
from penstock.stream.learn.records import Hold
from penstock.stream.learn.retrain_triggers import RetrainTriggers
from penstock.stream.learn.stakes import SEVERITIES, Severity, severity_of, stake_of
from penstock.stream.learn.stories import Stories, Story
from penstock.stream.learn.summaries import summed_up
from penstock.stream.learn.watching.segments import SegmentWatch, shown, told_of
from penstock.stream.learn.watching.watcher import Finding, Watchers
from penstock.stream.look import Look
from penstock.stream.messages import Command, LabelRecord, Value
from penstock.stream.models.version import RULE
from penstock.stream.story_records import Deed


class Telling:
    """Episodes, stories, and `requests`: what is to be published, in order. `fired` asks that the leading model be kept.

    `values` are the newest sample's in the fields of `segments`, where a definition names any; `nameless` are the findings of
    guards that came too early to name one. `severities` are the highest told of what is not over, by monitor and subject; none
    where a snapshot has none.
    """

    severities: Mapping[tuple[str, str], Severity] = MappingProxyType({})

    def __init__(self, pipeline: Pipeline, losses: LossMonitor, triggers: RetrainTriggers) -> None:
        self.pipeline = pipeline.name
        self.alone = pipeline.approval
        self.losses = losses
        self.triggers = triggers
        self.episodes = EpisodeLog(pipeline.name)
        self.stories = Stories(followers_of(pipeline))
        self.watchers = Watchers([])
        self.hold: Hold | None = None
        self.segments: SegmentWatch | None = None
        self.values: tuple[Value, ...] = ()
        self.nameless: dict[tuple[str, str], EpisodeChange] = {}
        self.fired = False
        self.requests: list[Request] = []
        self.models: dict[str, str | None] = {"leader": "v0", "committed": "v0"}

    def arrived(self, position: int, label: LabelRecord) -> None:
        """A label came, at its event time; a sample may wait for it or not."""
        for watcher in self.watchers.of_arrivals:
            if found := watcher.arrived(label.at, position, label):
                self.hear(found)

    def tick(self, at: int, position: int, look: Look | None = None) -> None:
        """The clock of the stream stands at `at`; or, with a `look`, one is told of."""
        if look is not None:
            for watcher in self.watchers.of_looks:
                if found := watcher.look(position, look):
                    self.hear(found)
            return
        self.sum_up(at, position)
        for watcher in self.watchers.of_ticks:
            if found := watcher.tick(at, position):
                self.hear(found)

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
        margin = self.losses.margin
        losses = {"live": live, "base_rate": base, "margin": margin}
        story, transition = self.stories.of(change, reason), change.transition
        self._account(story, transition.position)
        if story.causes and sort_of(transition) == "loss" and transition.state == "firing":
            reason = f"{', '.join(story.causes.values())}, and {reason}"
        reason += losses_of(change)
        segment = None
        if self.segments is not None:
            change, segment = self.segments.attributed(change)
            reason += told_of(segment) if segment else ""
        _, _, where = transition.subject.partition(" where ")
        if segment is not None:
            value = shown(segment.value)
            story.names(f"{segment.field} {value}")
            cause, found = (transition.monitor, transition.subject), f" where {segment.field} is {value}"
            if found not in story.causes.get(cause, found):
                story.causes[cause] += found
        elif where:
            story.names(where.replace(" is ", " ", 1))
        if transition.monitor in GUARDS and self.segments is not None:
            key = transition.monitor, transition.subject
            self.nameless.pop(key, None)
            if segment is None and transition.state == "firing":
                self.nameless[key] = change
        stake = stake_of(transition, story, self.losses, alone=self.alone)
        severity = severity_of(verb, transition, stake, margin, held=self.hold is not None)
        told = describe(
            self.pipeline,
            verb,
            change,
            reason,
            self.models,
            losses,
            target,
            onset,
            story,
            severity,
            stake,
            segment,
        )
        claimed = self.triggers.claim(told)
        self._rank(transition, claimed.event.data.severity)
        self.requests.append(claimed)

    def _rank(self, transition: Transition, severity: Severity) -> None:
        """Keep the highest severity told of a finding until it is over."""
        key = transition.monitor, transition.subject
        kept = {one: rank for one, rank in self.severities.items() if one != key}
        if transition.state != "resolved":
            kept[key] = max(severity, self.severities.get(key, "info"), key=SEVERITIES.index)
        self.severities = kept

    def tell_where(self, at: int, position: int) -> None:
        """Guards fired after too few records to say in which segment: say it as soon as it can be said."""
        for change in list(self.nameless.values()):
            now = replace(change, transition=replace(change.transition, at_ms=at, position=position))
            if self.segments is not None and self.segments.attributed(now)[1] is not None:
                self._tell("note", now, f"now it can be said where {change.transition.subject} is broken")

    def _account(self, story: Story, position: int) -> None:
        """Note what had been judged at a story's onset, and at its end."""
        ledger = self.losses.ledger
        if story.start is None:
            story.start = ledger.before(story.since[1])
            story.clean = ledger.clean_before(story.start)
        if story.end is not None and story.end.sums is None:
            story.end.sums = self.losses.sums(position)
        ledger.clean = not self.stories.troubled

    def sum_up(self, at: int, position: int) -> None:
        """The clock of the stream stands at `at`: tell of the stories that are over."""
        if self.stories.due_ms <= at:
            for story in self.stories.over(at):
                told = summed_up(self.pipeline, story, self.losses.ledger, self.models, at, position)
                self.requests.append(told)

    def carried_out(self, command: Command, done: str, at: int, position: int) -> None:
        """A command was carried out: in the episode that it, or the line a person typed, names, else in all that are open."""
        deed = Deed(what=done, by=command.by or "unknown", at=at, position=position)
        self.stories.did(deed, command.episode or command.reason, command.id)

    def did(self, what: str, at: int, position: int) -> None:
        """Something was done by rule, because of what was told last."""
        if self.stories.told is not None:
            self.stories.did(Deed(what=what, by=RULE, at=at, position=position), self.stories.told.id)

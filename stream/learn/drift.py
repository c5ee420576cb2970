"""Drift of the loss, of the inputs and of the data's quality, and what to do about it: the rule table as a pure fold.

Laws of this file, in the order of the rules:
- Data broken (a range or null guard) → hold learning at once; when it is over, ask to roll back to the newest version born
  before it, and have the labels outside it replayed.
- Candidate better → ask to promote. Champion worse than the anchor → ask to roll back to a version born before the onset.
- Skill over the base rate lost → ask to retrain from the onset; the candidate must win, or the new level is accepted.
- Only inputs moved → a note. Nothing here touches the model: requests come back as commands in the samples log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from penstock.monitors.episodes import EpisodeChange, EpisodeLog, Transition
from penstock.monitors.inputs.guard import RangeGuard
from penstock.monitors.inputs.psi import PsiMonitor
from penstock.monitors.losses.drift import LossConfig, LossMonitor
from penstock.monitors.losses.promotion import CandidateTest
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.anchors import Anchors
from penstock.stream.learn.events import ModelNames, Request, describe, losses_of
from penstock.stream.learn.records import Hold
from penstock.stream.learn.skill import Skill
from penstock.stream.messages import Command

COOLDOWN_LABELS = 2_000
SUSPECTED = {"harm": "a loss of skill over the base rate", "rollback": "a model worse than its anchor"}


class DriftRules:
    """Everything that judges the model and its data. `requests` collects what to publish, in order."""

    def __init__(self, pipeline: Pipeline, names: list[str], *, guard: bool) -> None:
        self.pipeline = pipeline.name
        budget = pipeline.alarms_per_year
        # Guards judge what producers send: the event's own fields. A windowed value is null every night and far from its
        # median every storm, without anything being broken; the population stability index watches those.
        self.inputs = len(pipeline.inputs)
        self.guard = RangeGuard(names[: self.inputs], budget) if guard and self.inputs else None
        self.psi = PsiMonitor([*names, "prediction"], budget)
        self.losses = LossMonitor(LossConfig(false_alarms_per_year=budget))
        self.skill = Skill()
        self.episodes = EpisodeLog(pipeline.name)
        self.candidate: CandidateTest | None = None
        self.anchors = Anchors()
        self.hold: Hold | None = None
        self.harm: Transition | None = None
        self.cooldown_ms = pipeline.cooldown_ms
        self.quiet_until, self.quiet_until_at = 0, 0
        self.deferred: EpisodeChange | None = None
        self.failing = False
        self.labels = 0
        self.requests: list[Request] = []
        self.models = ModelNames("v0", None, None)

    @property
    def is_open(self) -> bool:
        """Whether anything is open that a version must not be born into."""
        return self.hold is not None or self.failing or self.losses.open

    @property
    def wants_candidate(self) -> bool:
        """Whether an episode is open that a retrained candidate may answer."""
        return self.harm is not None or self.losses.rollback.phase == "firing"

    def answers(self, command: Command) -> str | None:
        """Why a command that answers an episode comes too late, or None. An operator's command names no episode."""
        if command.episode is None:
            return None
        if command.verb == "retrain" and not self.wants_candidate:
            return "the episode it answers is over"
        if command.verb == "rollback":
            if self.hold is None and self.losses.rollback.phase != "firing":
                return "the episode it answers is over"
            if self.hold is not None and self.hold.by_guard and not self.hold.over:
                return "the data are broken: a rollback is asked for when they are whole again"
        return None

    # -- samples: guards and population stability -----------------------------------------------------------------------------

    def sample(self, at: int, position: int, values: Sequence[Any], p: float) -> None:
        """One sample's inputs and the champion's prediction."""
        if self.guard is not None:
            found = self.guard.update(at, position, values[: self.inputs], self.hold is None)
            if found:
                self._guarded(found)
        if self.hold is None:
            for change in self.episodes.apply_all(self.psi.update(at, position, [*values, p])):
                moved = "moved" if change.transition.state != "resolved" else "is as before again"
                self._tell("note", change, f"the distribution of {change.transition.subject} {moved}")

    def _guarded(self, found: Iterable[Transition]) -> None:
        for change in self.episodes.apply_all(found):
            transition, hold = change.transition, self.hold
            since = transition.since_position
            if transition.state == "firing":
                if hold is None:
                    self.hold = Hold(since, transition.since_ms, f"guard on {transition.subject}", True)
                elif hold.by_guard:
                    hold.over, hold.since_position = False, min(hold.since_position, since)
                self._discard(since)
                what = "nulls in" if transition.monitor == "nulls" else "values outside the learned range of"
                self._tell("hold", change, f"{what} {transition.subject}: learning is held")
            elif transition.state == "suspected":
                self._tell("note", change, f"{transition.subject} begins to leave what was learned of it")
            elif hold is not None and hold.by_guard and self.guard is not None and not self.guard.firing:
                hold.over = True
                target = self.anchors.before(hold.since_position)
                why = f"{transition.subject} is back in its range: restore from before it, replay the labels outside it"
                self._tell("rollback", change, why, target.version if target else "v0", hold.since_position)
            else:
                self._tell("note", change, f"{transition.subject} is back in its range")

    def hold_by_command(self, at: int, position: int, command: Command) -> str | None:
        """An operator's hold: the reason to refuse it, or None."""
        if self.hold is not None:
            return f"learning is held already: {self.hold.why}"
        self.hold = Hold(position, at, command.reason or "by command", False)
        return None

    def release(self, at: int, position: int, *, accept: bool) -> Hold | None:
        """End the hold, if there is one; what was held. While the guard fires the next one begins, unless a person accepts."""
        hold, self.hold = self.hold, None
        if hold is not None and self.guard is not None and self.guard.firing:
            if accept:
                self.guard.accept()
            else:
                self.hold = Hold(position, at, hold.why, True)
        return hold

    # -- labels: paired losses ------------------------------------------------------------------------------------------------

    def label(
        self, at: int, position: int, champion: float, base: float,
        anchor: float | None, probation: float | None, candidate: float | None,
    ) -> None:  # fmt: skip
        """One label's losses (nats), all predicted at the sample; None for a model there was not."""
        self.labels += 1
        if not self.skill.proven:
            for change in self.episodes.apply_all(self.skill.update(at, position, champion, base)):
                self._tell("warn" if self.skill.told else "note", change, self.skill.reason)
        found = self.losses.update(at, position, champion, base, anchor)
        if found:
            self._lost(found)
        if self.deferred is not None and not self._quiet(at):
            change, self.deferred = self.deferred, None
            if self.losses.rollback.phase == "firing":
                # Asked now: the shell and the policy judge a request by when it is made.
                now = replace(change.transition, at_ms=at, position=position)
                self._anchor_moved(replace(change, transition=now))
        difference = None if probation is None or anchor is None else probation - anchor
        became = self.anchors.label(difference, lambda: self.losses.margin, open_episode=self.is_open)
        if became == "anchor":
            self._anchor_changed()
        if self.candidate is not None and candidate is not None:
            verdict = self.candidate.update(at, position, champion, candidate)
            if verdict:
                self._candidate_judged(at, position, verdict)

    def _lost(self, found: Iterable[Transition]) -> None:
        for change in self.episodes.apply_all(found):
            transition = change.transition
            if transition.state == "suspected":
                what = SUSPECTED[transition.monitor]
                self._tell("note", change, f"{what} is suspected; no version is accepted meanwhile")
            elif change.withdrawn:
                self._tell("note", change, f"the suspicion of {SUSPECTED[transition.monitor]} is withdrawn")
            elif transition.monitor == "harm":
                self._harm_moved(change)
            elif transition.monitor == "rollback":
                self._anchor_moved(change)
            else:
                rose = transition.state == "firing"
                self._tell("note", change, "the level of the loss rose" if rose else "the level is as before")

    def _harm_moved(self, change: EpisodeChange) -> None:
        transition = change.transition
        if transition.state == "resolved":
            self.harm = None
            self._tell("note", change, "the model's skill over the base rate is back")
            self.drop_candidate()
            return
        self.harm = transition
        onset = transition.since_position
        self._discard(onset)
        self._tell("retrain", change, "the model lost skill over the base rate", None, onset)

    def _anchor_moved(self, change: EpisodeChange) -> None:
        transition = change.transition
        if transition.state == "resolved":
            self._tell("note", change, "the model is no longer worse than its anchor")
            return
        onset = transition.since_position
        if self.harm is not None:
            onset = min(onset, self.harm.since_position)
        self._discard(onset)
        target = self.anchors.before(onset)
        if self._quiet(transition.at_ms):
            self.deferred = change
            why = "worse than the anchor, soon after a rollback: asked again when the cooldown is over"
            self._tell("note", change, why)
        elif target is None:
            why = "worse than the anchor, and no version was born before the onset"
            self._tell("retrain", change, why, None, onset)
        else:
            self._tell("rollback", change, "the model is worse than its anchor", target.version, onset)

    def _quiet(self, at: int) -> bool:
        """Whether a rollback is too recent for another one, here or in the policy's eyes."""
        return self.labels < self.quiet_until or at < self.quiet_until_at

    def _discard(self, onset: int) -> None:
        """Drop versions born since `onset`; the anchor that answers may be another one then."""
        before = self.anchors.current
        self.anchors.discard_since(onset)
        if self.anchors.current is not before:
            self._anchor_changed()

    def _anchor_changed(self) -> None:
        current = self.anchors.current
        self.models = self.models._replace(anchor=current.version if current else None)
        if current is None or self.losses.rollback.phase != "firing":
            self.losses.anchor_changed()

    def _candidate_judged(self, at: int, position: int, verdict: Iterable[Transition]) -> None:
        for change in self.episodes.apply_all(verdict):
            if change.transition.state == "firing":
                why = "the candidate is better than the champion"
                self._tell("promote", change, why, self.models.candidate)
                return
        self.drop_candidate()
        if self.harm is not None:
            self.harm = None
            for change in self.episodes.apply_all(self.losses.accept_level(at, position)):
                self._tell("note", change, "the candidate did not win: the new level is accepted")

    def drop_candidate(self) -> None:
        """The candidate did not win, or what it was made for is over."""
        self.candidate = None
        self.models = self.models._replace(candidate=None)

    # -- what was carried out -------------------------------------------------------------------------------------------------

    def candidate_started(self, version: str) -> None:
        """A retrained candidate begins to compete."""
        self.candidate = self.losses.candidate_test()
        self.models = self.models._replace(candidate=version)

    def discard(self, version: str) -> None:
        """A version may no longer be gone back to."""
        self.anchors.discard(version)
        self._anchor_changed()

    def failures(self, transition: Transition, reason: str) -> None:
        """The live model gives no numbers, or gives them again."""
        self.failing = transition.state == "firing"
        for change in self.episodes.apply_all([transition]):
            self._tell("alert" if self.failing else "note", change, reason)

    def accept(self, at: int, position: int) -> None:
        """Take today's level of the loss as the new normal."""
        self.harm = None
        for change in self.episodes.apply_all(self.losses.accept_level(at, position)):
            self._tell("note", change, "the new level is accepted")

    def replaced(self, version: str, at: int, position: int, why: str, onset: int | None = None) -> None:
        """Another model is the champion: a promoted candidate, or with `onset` a restored version.

        After a rollback what was born since the onset is gone, and no other one is asked for within `COOLDOWN_LABELS`.
        """
        if onset is not None:
            self.anchors.discard_since(onset)
            self.quiet_until = self.labels + COOLDOWN_LABELS
            self.quiet_until_at = at + self.cooldown_ms
        self.anchors.probation = None
        self.candidate, self.harm = None, None
        current = self.anchors.current
        self.models = ModelNames(version, current.version if current else None, None)
        for change in self.episodes.apply_all(self.losses.champion_changed(at, position, why)):
            self._tell("note", change, f"closed: {why}")

    def _tell(
        self,
        verb: str,
        change: EpisodeChange,
        reason: str,
        target: str | None = None,
        onset: int | None = None,
    ) -> None:
        champion, base = self.losses.harm.reference_means()
        losses = {"champion": champion, "base_rate": base, "margin": self.losses.margin}
        reason += losses_of(change)
        told = describe(self.pipeline, verb, change, reason, self.models, losses, target, onset)
        self.requests.append(told)

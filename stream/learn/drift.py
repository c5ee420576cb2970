"""What people are told: drift of the loss, of the inputs and of the data's quality, with a budget of false alarms.

Laws of this file:
- Nothing here moves the live prediction: the weights of the experts do that, by labels (`gate`). Requests come back as commands.
- A guard that fires alerts at once; a model that leaves such values out takes part from there on, and labels decide. With
  `guard="hold"` learning stops instead, until the values are as before.
- Committed model worse than all together, and than another by itself, and that lasts → ask to commit the other: a rollback to a
  model of before, a retrain if it is a fresh one, a promotion otherwise. Skill over the base rate lost → ask for a retrain.
- What passes asks for nothing: the weights have followed it already, and committing is for what stays.
- Only inputs moved → a note, which the definition's triggers may make a proposal (`retrain_triggers`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from penstock.monitors.episodes import EpisodeChange, Transition
from penstock.monitors.inputs.guard import RangeGuard
from penstock.monitors.inputs.psi import PsiMonitor
from penstock.monitors.losses.drift import LossConfig, LossMonitor
from penstock.stream.definitions import Pipeline
from penstock.stream.learn.events import KINDS, VERB_OF
from penstock.stream.learn.expert import Expert
from penstock.stream.learn.lasting import Lasting
from penstock.stream.learn.records import FoldCounts, Hold, Pending
from penstock.stream.learn.retrain_triggers import RetrainTriggers
from penstock.stream.learn.score_level import ScoreLevel
from penstock.stream.learn.skill import Skill
from penstock.stream.learn.watching.chosen import watchers_of
from penstock.stream.learn.watching.segments import SegmentWatch, budget_of_whole
from penstock.stream.learn.watching.telling import Telling
from penstock.stream.messages import Command, Sample, rfc3339

NEW_LEVEL_LABELS = 14_000
"""A loss of skill that nothing brought back after so many labels is the new level: the problem has become harder."""
PROVEN_LABELS = 5_000
"""A model committed because of an incident is part of its story for so many labels."""
MOVED_LABELS = 100
MOVED_NATS = 10.0
"""The world has moved when, over so many labels of records outside the range, who leaves them out lost so much more than all."""


class DriftRules(Telling):
    """Everything that judges the model and its data."""

    def __init__(
        self, pipeline: Pipeline, names: list[str], *, guard: bool, triggers: RetrainTriggers | None = None
    ) -> None:
        budget, of_whole = pipeline.alarms_per_year, budget_of_whole(pipeline)
        losses = LossMonitor(LossConfig(false_alarms_per_year=of_whole))
        super().__init__(pipeline, losses, triggers or RetrainTriggers(pipeline, FoldCounts(), {}))
        # Guards judge what producers send: the event's own fields. A windowed value is null every night and far from its
        # median every storm, without anything being broken; the population stability index watches those.
        self.inputs = len(pipeline.inputs)
        self.guard = RangeGuard(names[: self.inputs], budget) if guard and self.inputs else None
        self.holds = pipeline.guard == "hold"
        self.psi = PsiMonitor([*names, "prediction"], of_whole)
        self.segments = SegmentWatch(pipeline, names) if pipeline.segments else None
        self.skill = Skill()
        self.level = None if pipeline.labelled else ScoreLevel()
        self.watchers = watchers_of(pipeline, names)
        self.hold_over = False
        self.lead: EpisodeChange | None = None
        self.lasting: Lasting | None = None
        self.asked_for: str | None = None
        self.told_lead = False
        self.harm: Transition | None = None
        self.failing = False
        self.labels = 0
        self.harm_until = self.proven_at = 0

    def answers(self, command: Command) -> str | None:
        """Why a command that answers an episode comes too late, or None. An operator's command names no episode."""
        if command.episode is None or command.trigger not in ("", "performance"):
            return None
        open_by = {"retrain": self.harm, "rollback": self.lead, "promote": self.lead}
        return "the episode it answers is over" if open_by.get(command.verb, command) is None else None

    def guards(self, at: int, position: int, sample: Sample) -> tuple[str, ...]:
        """Look at one sample's own inputs; the names of those far outside what was learned of them."""
        guard, own = self.guard, tuple(sample.x[: self.inputs])
        found = guard.update(at, position, own, self.hold is None) if guard is not None else ()
        if self.segments is not None:
            self.values = self.segments.sample(at, position, sample, guard)
        if found:
            self._guarded(found)
        elif self.nameless and guard is not None and (guard.outside or guard.nulls):
            self.tell_where(at, position)
        return () if self.holds or guard is None else guard.outside

    def sample(self, at: int, position: int, sample: Sample, p: float) -> None:
        """One sample's inputs and the live prediction."""
        if self.hold is None:
            inputs = None if self.segments is None else self.segments.inputs(at, position, sample.x, p)
            if moves := self.psi.update(at, position, (*sample.x, p)):
                for change in self.episodes.apply_all(moves):
                    moved = "moved" if change.transition.state != "resolved" else "is as before again"
                    self._tell("note", change, f"the distribution of {change.transition.subject} {moved}")
            if inputs and self.segments is not None:
                self.hear(self.segments.moved(inputs, self.psi.firing))
        for watcher in self.watchers.of_samples:
            if found := watcher.sample(at, position, sample, p):
                self.hear(found)

    def scored(self, at: int, position: int, score: float) -> None:
        """One sample's anomaly score, where no labels come."""
        for change in self.episodes.apply_all(self.level.update(at, position, score) if self.level else []):
            rose = change.transition.state == "firing"
            self._tell("note", change, "the level of the score rose" if rose else "the score is as before")

    def _guarded(self, found: Sequence[Transition]) -> None:
        for change in self.episodes.apply_all(found):
            transition, hold = change.transition, self.hold
            if transition.state == "firing":
                what = "nulls in" if transition.monitor == "nulls" else "values outside the learned range of"
                self.fired = True
                if not self.holds:
                    then = "a model that leaves them out takes part, and labels decide which is believed"
                    if self.level is not None:
                        then = 'no label can say what that does; with guard="hold" nothing would be learned from them'
                    elif transition.monitor == "nulls":
                        then = "the leading model as it was before them is kept, and labels decide which is believed"
                    self._tell("alert", change, f"{what} {transition.subject}: {then}")
                    continue
                if hold is None:
                    why = f"guard on {transition.subject}"
                    self.hold = Hold(transition.since_position, transition.since_ms, why, True)
                elif hold.by_guard:
                    hold.since_position = min(hold.since_position, transition.since_position)
                self._tell("hold", change, f"{what} {transition.subject}: learning is held")
                self.did("learning was held", transition.at_ms, transition.position)
                continue
            self._tell("note", change, f"{transition.subject} is back in its range")
            if hold is not None and hold.by_guard and self.guard is not None and not self.guard.firing:
                self.hold_over = True

    def moved(self, at: int, position: int, labels: int, gap: float) -> None:
        """What `labels` of records outside the range say: `gap` is what who leaves such values out lost more than all (nats)."""
        if self.guard is None or labels < MOVED_LABELS or gap < MOVED_NATS:
            return
        for change in self.episodes.apply_all(self.guard.accept(at, position, ("range",))):
            subject = change.transition.subject
            self._tell(
                "note", change, f"labels say that {subject} is right as it comes: its range is learned anew"
            )

    def hold_by_command(self, at: int, position: int, command: Command) -> str | None:
        """An operator's hold: the reason to refuse it, or None."""
        if self.hold is not None:
            return f"learning is held already: {self.hold.why}"
        self.hold = Hold(position, at, command.reason or "by command", False)
        return None

    def release(self, at: int, position: int, *, accept: bool) -> Hold | None:
        """End the hold, if there is one; what was held. While the guard fires the next one begins, unless a person accepts."""
        hold, self.hold, self.hold_over = self.hold, None, False
        if hold is not None and hold.by_guard and not accept:
            self.did("learning went on", at, position)
        if hold is not None and self.guard is not None and self.guard.firing:
            if accept:
                self.accept_ranges(at, position)
            elif self.holds:
                self.hold = Hold(position, at, hold.why, True)
        return hold

    def accept_ranges(self, at: int, position: int) -> None:
        """A person says that the values are right as they come."""
        if self.guard is not None:
            for change in self.episodes.apply_all(self.guard.accept(at, position)):
                self._tell(
                    "note", change, f"{change.transition.subject} is accepted: its range is learned anew"
                )

    def judged(self, at: int, position: int, waits: Pending, y: Any, live: float, base: float) -> None:
        """A sample met its label; the losses (nats) of the live and the base prediction."""
        if self.segments is not None:
            if found := self.segments.label(at, position, waits.segments, live, base, self.losses):
                self.hear(found)
        for watcher in self.watchers.of_labels:
            if found := watcher.label(at, position, waits, y, live, base):
                self.hear(found)

    # -- labels: paired losses ------------------------------------------------------------------------------------------------

    def label(
        self, at: int, position: int, live: float, base: float, rivals: tuple[float, float] | None,
    ) -> None:  # fmt: skip
        """One label's losses (nats); `rivals`: of the committed model and of all together, None where that one said nothing."""
        self.labels += 1
        if not self.skill.proven and (skill := self.skill.update(at, position, live, base)):
            for change in self.episodes.apply_all(skill):
                self._tell("warn" if self.skill.told else "note", change, self.skill.reason)
        if self.labels == self.proven_at:
            self.stories.proven(at)
        found = self.losses.update(at, position, live, base, rivals)
        if found:
            self._lost(found)
        if self.harm is not None and self.labels >= self.harm_until:
            self.accept(at, position, "nothing brought the skill back: the new level is accepted")

    def _lost(self, found: Sequence[Transition]) -> None:
        for change in self.episodes.apply_all(found):
            transition = change.transition
            if transition.monitor == "lead":
                self._lead_moved(change)
            elif change.withdrawn or transition.state == "suspected":
                continue  # half of all suspicions are withdrawn: nobody is woken by one
            elif transition.monitor == "harm":
                self._harm_moved(change)
            else:
                rose = transition.state == "firing"
                self._tell("note", change, "the level of the loss rose" if rose else "the level is as before")

    def _harm_moved(self, change: EpisodeChange) -> None:
        transition = change.transition
        if transition.state == "resolved":
            self.harm = None
            self._tell("note", change, "the skill over the base rate is back")
            return
        self.harm, self.harm_until = transition, self.labels + NEW_LEVEL_LABELS
        why = "the live prediction lost skill over the base rate"
        self._tell("retrain", change, why, onset=transition.since_position)

    def _lead_moved(self, change: EpisodeChange) -> None:
        """The committed model is worse than all together, or no longer; another is asked for when it deserves it."""
        if change.transition.state == "firing":
            self.lead = change
        elif change.transition.state == "resolved":
            if self.told_lead:
                self._tell("note", change, "the committed model is no longer worse than all together")
            self.lead, self.lasting, self.asked_for, self.told_lead = None, None, None, False

    def deserves(self, expert: Expert, committed: Expert, lost: Mapping[int, float]) -> bool:
        """Whether to ask that it be committed: not asked for yet, and by itself better by the margin since the test fired.

        All together may be better than each of them: that alone is no reason to commit another one. And a model that was worse
        for a day may be the better one on the next: so it must have lasted. `lost` is what each expert lost so far, by number.
        """
        if self.lasting is None:
            self.lasting = Lasting(self.losses.lead.gained()[1], self.labels, lost)
        gain = self.lasting.gain(expert.number, committed.number, self.labels, lost)
        return gain is not None and gain >= self.losses.margin and expert.version != self.asked_for

    def ask(self, expert: Expert, weight: float, at: int, position: int) -> None:
        """Ask that an expert be committed, and say what it won, since when, and what it is.

        Detected is here and now, though the test fired before: what is told at a record must say so, or a worker that starts
        again in between takes it for published.
        """
        assert self.lead is not None
        asks = replace(self.lead.transition, at_ms=at, position=position)
        change, self.asked_for = replace(self.lead, transition=asks), expert.version
        onset = asks.since_position
        nats, labels = self.losses.lead.gained()
        verb = VERB_OF.get(expert.kind, "promote")
        holds = "leads with" if expert.version == self.models["leader"] else "has"
        born = f"born {rfc3339(expert.born_at)} at {expert.born:,} labels, {expert.taught:,} learned"
        reason = (
            f"{expert.version} ({KINDS[expert.kind]}; {born}) {holds} {weight:.0%} of the weight; since "
            f"{rfc3339(change.transition.since_ms)} all together lost {nats:,.0f} nats less than "
            f"{self.models['committed']} over {labels:,} labels"
        )
        self.told_lead = True
        self._tell(verb, change, reason, expert.version, onset)

    # -- what was carried out -------------------------------------------------------------------------------------------------

    def failures(self, transition: Transition, reason: str) -> None:
        """The leader gives no numbers, or gives them again."""
        self.failing = transition.state == "firing"
        for change in self.episodes.apply_all([transition]):
            self._tell("alert" if self.failing else "note", change, reason)

    def accept(self, at: int, position: int, why: str = "the new level is accepted") -> None:
        """Take today's level of the loss as the new normal."""
        self.harm = None
        for change in self.episodes.apply_all(self.losses.accept_level(at, position)):
            self._tell("note", change, why)

    def committed(self, at: int, position: int, why: str) -> None:
        """Another expert is the committed one, as was asked for."""
        if self.told_lead:
            self.stories.prove(("lead", "loss"))
            self.proven_at = self.labels + PROVEN_LABELS
        self._closed(self.losses.committed_changed(at, position, why), why)

    def replaced(self, at: int, position: int, why: str) -> None:
        """A person put another model in place."""
        self.harm = None
        if self.segments is not None:
            self.hear(self.segments.restart(at, position, why))
        self._closed(self.losses.live_changed(at, position, why), why)

    def _closed(self, closed: Sequence[Transition], why: str) -> None:
        for change in self.episodes.apply_all(closed):
            if change.transition.monitor != "lead" or self.told_lead:
                self._tell("note", change, f"closed: {why}")
        self.lead, self.lasting, self.asked_for, self.told_lead = None, None, None, False

"""Drift of the loss, of the inputs and of the data's quality, and what to do about it: the rule table as a pure fold.

Laws of this file, in the order of the rules:
- Data broken (a range or null guard) → hold learning at once; when it is over, ask to roll back to the newest version born
  before it, and have the labels outside it replayed.
- Candidate better → ask to promote. Champion worse than the anchor → ask to roll back to a version born before the onset.
- Skill over the base rate lost → ask to retrain from the onset; the candidate must win, or the new level is accepted.
- Only inputs moved → a note. Nothing here touches the model: requests come back as commands in the samples log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monitors.guard import RangeGuard
from monitors.losses import CandidateTest, LossMonitor
from monitors.psi import PsiMonitor
from monitors.transitions import Transition
from stream.anchors import AnchorBook
from stream.definitions import Pipeline
from stream.messages import Command
from stream.reports import ModelNames, Request, describe

COOLDOWN_LABELS = 2_000


@dataclass
class Hold:
    """Learning is paused: since which sample, why, and whether the guard has seen clean data again."""

    since_position: int
    since_at: int
    why: str
    by_guard: bool
    over: bool = False


class Watch:
    """Everything that judges the model and its data. `requests` collects what to publish, in order."""

    def __init__(self, pipeline: Pipeline, names: list[str], *, guard: bool) -> None:
        self.pipeline = pipeline.name
        self.names = names
        budget = pipeline.alarms_per_year
        self.guard = RangeGuard(names) if guard else None
        self.psi = PsiMonitor([*names, "prediction"], budget_per_year=budget)
        self.losses = LossMonitor(budget_per_year=budget)
        self.candidate: CandidateTest | None = None
        self.book = AnchorBook()
        self.hold: Hold | None = None
        self.released: tuple[int, int] | None = None
        self.guard_firing: dict[str, Transition] = {}
        self.harm: Transition | None = None
        self.rollback_open = False
        self.asked: set[str] = set()
        self.quiet_until = 0
        self.labels = 0
        self.requests: list[Request] = []
        self.models = ModelNames("v0", None, None)

    @property
    def is_open(self) -> bool:
        """Whether anything is open that a version must not be born into."""
        return self.hold is not None or self.harm is not None or self.rollback_open or self.losses.suspicious

    def is_quarantined(self, position: int) -> bool:
        """Whether the sample at `position` fell into the last hold: its label must not be learned whenever it comes."""
        return self.released is not None and self.released[0] <= position < self.released[1]

    # -- samples: guards and population stability -----------------------------------------------------------------------------

    def sample(self, at: int, position: int, values: Sequence[Any], p: float) -> None:
        """One sample's inputs and the champion's prediction."""
        if self.guard is not None:
            for transition in self.guard.update(at, position, values):
                self._guarded(transition)
        if self.hold is None:
            for transition in self.psi.update(at, position, [*values, p]):
                self._ask("note", transition, f"the distribution of {transition.subject} moved")

    def _guarded(self, transition: Transition) -> None:
        if transition.state == "firing":
            self.guard_firing[transition.subject] = transition
            if self.hold is None:
                self.hold = Hold(transition.since_position, transition.since_ms, f"guard on {transition.subject}", True)
                self.book.discard_since(transition.since_position)
            else:
                self.hold.over = False
                self.hold.since_position = min(self.hold.since_position, transition.since_position)
            self._ask("hold", transition, f"{transition.subject} left its learned range: learning is held")
        elif transition.state == "resolved" and self.guard_firing.pop(transition.subject, None) is not None:
            hold = self.hold
            if hold is None or not hold.by_guard or self.guard_firing:
                return
            hold.over = True
            target = self.book.before(hold.since_position)
            self._ask(
                "rollback",
                transition,
                f"{transition.subject} is back in its range: restore the model from before and replay the labels outside",
                target=target.version if target else "v0",
                onset=hold.since_position,
            )

    def hold_by_command(self, at: int, position: int, command: Command) -> str | None:
        """An operator's hold: the reason to refuse it, or None."""
        if self.hold is not None:
            return f"learning is held already: {self.hold.why}"
        self.hold = Hold(position, at, command.reason or "by command", False)
        return None

    def release(self) -> Hold | None:
        """End the hold, if there is one; what was held."""
        hold, self.hold = self.hold, None
        if hold is not None:
            self.guard_firing.clear()
        return hold

    # -- labels: paired losses ------------------------------------------------------------------------------------------------

    def label(
        self,
        at: int,
        position: int,
        champion: float,
        base: float,
        anchor: float | None,
        probation: float | None,
        candidate: float | None,
    ) -> str | None:
        """One label's losses (nats), all predicted at the sample. Why the candidate is dropped, or None."""
        self.labels += 1
        for transition in self.losses.update(at, position, champion, base, anchor):
            self._lost(transition)
        difference = None if probation is None or anchor is None else probation - anchor
        became = self.book.label(difference, self.losses.margin, open_episode=self.is_open)
        if became == "anchor":
            self.models = self.models._replace(anchor=self.book.anchors[-1].version)
            self.losses.anchor_changed()
        if self.candidate is None or candidate is None:
            return None
        return self._candidate_judged(at, position, self.candidate.update(champion - candidate, at, position))

    def _lost(self, transition: Transition) -> None:
        if transition.monitor == "harm":
            self._harm_moved(transition)
        elif transition.monitor == "rollback":
            self._anchor_moved(transition)
        else:
            self._ask("note", transition, f"{transition.monitor} on {transition.subject}")

    def _harm_moved(self, transition: Transition) -> None:
        if transition.state == "firing":
            self.harm = transition
            self._discard(transition.since_position)
            self._ask("retrain", transition, "the model lost skill over the base rate", onset=transition.since_position)
        elif transition.state == "resolved" and self.harm is not None:
            self.harm = None
            self._ask("note", transition, "the model's skill is back")

    def _anchor_moved(self, transition: Transition) -> None:
        self.rollback_open = transition.state == "firing"
        if transition.state == "resolved":
            self._ask("note", transition, "the model is no longer worse than its anchor")
        if transition.state != "firing" or self.labels < self.quiet_until:
            return
        onset = transition.since_position
        if self.harm is not None:
            onset = min(onset, self.harm.since_position)
        self._discard(onset)
        target = self.book.before(onset)
        if target is None:
            self._ask("retrain", transition, "worse than the anchor, and no version was born before the onset", onset=onset)
            return
        self._ask("rollback", transition, "the model is worse than its anchor", target=target.version, onset=onset)

    def _discard(self, onset: int) -> None:
        before = self.book.current
        self.book.discard_since(onset)
        after = self.book.current
        if before is not after:
            self.models = self.models._replace(anchor=after.version if after else None)
            self.losses.anchor_changed()

    def _candidate_judged(self, at: int, position: int, transition: Transition | None) -> str | None:
        if transition is None or self.candidate is None:
            return None
        if transition.state == "firing":
            self._ask("promote", transition, "the candidate is better than the champion", target=self.models.candidate)
            return None
        self.candidate = None
        self.models = self.models._replace(candidate=None)
        if self.harm is not None:
            self.losses.accept_level()
            self._ask("note", transition, "the candidate did not win: the new level is accepted")
            self.harm = None
        return "it did not win"

    # -- what was carried out -------------------------------------------------------------------------------------------------

    def candidate_started(self, version: str) -> None:
        """A retrained candidate begins to compete."""
        self.candidate = CandidateTest()
        self.models = self.models._replace(candidate=version)

    def promoted(self, version: str) -> None:
        """The candidate became the champion: its level is the reference from here."""
        self.candidate, self.harm = None, None
        self.models = self.models._replace(champion=version, candidate=None)
        self.losses.accept_level()
        self.losses.anchor_changed()

    def rolled_back(self, version: str, onset: int) -> None:
        """A version was restored: what was born since the onset is gone, and the tests start anew after a cooldown."""
        self.book.discard_since(onset)
        self.candidate, self.harm, self.rollback_open = None, None, False
        current = self.book.current
        self.models = ModelNames(version, current.version if current else None, None)
        self.losses.accept_level()
        self.losses.anchor_changed()
        self.quiet_until = self.labels + COOLDOWN_LABELS

    # -- what is said ---------------------------------------------------------------------------------------------------------

    def _ask(self, verb: str, transition: Transition, reason: str, *, target: str | None = None, onset: int | None = None) -> None:
        episode = _episode(self.pipeline, transition)
        key = f"{episode}-{verb}-{transition.state}-{transition.position}"
        if key in self.asked:
            return
        self.asked.add(key)
        losses = self.losses.means()
        self.requests.append(describe(self.pipeline, episode, verb, transition, reason, self.models, losses, target, onset))


def _episode(pipeline: str, transition: Transition) -> str:
    """The deterministic id of the episode a transition belongs to: the same log gives the same ids."""
    text = f"{pipeline}|{transition.monitor}|{transition.subject}|{transition.since_position}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]
